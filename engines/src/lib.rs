//! The adapters of the ports: the only crate that names an engine.

pub mod postgres;
pub mod rabbitmq;
pub mod sqlite;
