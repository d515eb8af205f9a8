//! The commands, one file each: the arguments beside the `run` that reads them.

pub mod activity;
mod admin;
pub mod backup;
pub mod dashboard;
pub mod dead_letter;
pub mod gateway;
pub mod health;
pub mod member;
pub mod migrate;
pub mod openapi;
pub mod project;
pub mod purge;
pub mod retry;
pub mod serve;
pub mod webhook;
pub mod worker;
pub mod workspace;
