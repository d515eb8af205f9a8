//! The engines: implementations of the ports on PostgreSQL, RabbitMQ and SQLite.
//!
//! `engines/README.md` describes how to write another one.

pub mod postgres;
pub mod rabbitmq;
pub mod sqlite;
