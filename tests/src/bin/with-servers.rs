//! Runs a command with private servers: `with-servers COMMAND [ARGUMENT…]`.

#![allow(clippy::expect_used)]

use std::process::{Command, ExitCode};
use std::time::Instant;

use trailpad_tests::servers::{AMQP_URL, POSTGRES_URL, Servers};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("usage: with-servers COMMAND [ARGUMENT…]");
        return ExitCode::from(2);
    };
    eprintln!("starting a private PostgreSQL and RabbitMQ (about 8 s) …");
    let began = Instant::now();
    let runtime = tokio::runtime::Runtime::new().expect("starting the runtime should succeed");
    let servers = runtime.block_on(Servers::start());
    eprintln!("both are up after {:.1} s", began.elapsed().as_secs_f64());
    let status = Command::new(program)
        .args(words)
        .env(AMQP_URL, &servers.amqp_url)
        .env(POSTGRES_URL, &servers.postgres_url)
        .status();
    match status {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("the command did not start: {error}");
            ExitCode::from(127)
        }
    }
}
