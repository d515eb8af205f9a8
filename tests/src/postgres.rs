//! A private PostgreSQL server from the system's package.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::process_guard::{ProcessGuard, free_port, is_alive, signal, temp_dir};
use crate::wait::{wait_blocking, wait_until};

const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running server; dropping it ends it and removes its data.
pub struct Postgres {
    guard: Option<ProcessGuard>,
    dir: PathBuf,
    port: u16,
}

impl Postgres {
    /// Creates a cluster and starts it. fsync stays on, because tests kill the server.
    pub async fn start() -> Self {
        let dir = temp_dir("postgres");
        let data = dir.join("data").display().to_string();
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&dir));
        }
        let initdb = bin("initdb").display().to_string();
        let init = format!(
            "{}{initdb} -D {data} -U postgres -A trust -E UTF8 --no-sync --no-instructions",
            prefix()
        );
        run(Command::new("sh").args(["-c", &init]));
        let mut server = Self { guard: None, dir, port: free_port() };
        server.launch();
        server.ready().await;
        server
    }

    /// Ends the remaining processes of the server and keeps its data.
    fn release(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.end_and_keep_dir();
        }
    }

    fn launch(&mut self) {
        self.release();
        let dir = self.dir.display();
        let port = self.port;
        let postgres = bin("postgres");
        let script = format!(
            "{}{} -D {dir}/data -p {port} -k {dir} -c listen_addresses=127.0.0.1 -c max_connections=200",
            prefix(),
            postgres.display()
        );
        // An immediate shutdown (PostgreSQL, 19.5) that still removes its shared memory.
        self.guard = Some(ProcessGuard::start(&script, &[], &self.dir, "QUIT"));
    }

    /// Waits until it accepts connections.
    pub async fn ready(&self) {
        let connect = async || connect(&self.url()).await.map(|_| ());
        wait_until("PostgreSQL starts", START_DEADLINE, connect, Result::is_ok).await.ok();
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn pid(&self) -> Option<u32> {
        let pid = std::fs::read_to_string(self.dir.join("data/postmaster.pid")).ok()?;
        pid.lines().next()?.trim().parse().ok()
    }

    /// Kills the server with -9 and waits until its process has ended.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid() {
            signal(pid, "-9");
            wait_blocking("PostgreSQL ends", START_DEADLINE, || !is_alive(pid));
        }
        self.release();
    }

    /// Starts it again on the same port and data, and waits until it accepts connections.
    pub async fn restart(&mut self) {
        // The backends of a killed server hold its shared memory until they exit, so a start may
        // have to be repeated.
        let mut starts_left = 50;
        loop {
            self.launch();
            let answers = async || connect(&self.url()).await.is_ok();
            let started =
                wait_until("PostgreSQL answers", START_DEADLINE, answers, |answers| *answers);
            if tokio::time::timeout(Duration::from_secs(5), started).await.is_ok() {
                return;
            }
            starts_left -= 1;
            assert!(starts_left > 0, "PostgreSQL did not start again: {}", self.log());
        }
    }

    /// Makes every new transaction read-only or writable again, also on open connections.
    pub async fn set_read_only(&self, read_only: bool) {
        let client = connect(&self.url()).await.expect("PostgreSQL should accept a connection");
        let on = if read_only { "on" } else { "off" };
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {on}");
        let writable = "SET default_transaction_read_only = off";
        for sql in [writable, &set, "SELECT pg_reload_conf()"] {
            client.batch_execute(sql).await.expect("a superuser should be allowed to run this");
        }
    }

    /// Offers TLS with these PEM files.
    pub async fn offer_tls(&self, certificate: &str, key: &str) {
        for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.dir.join("data").join(name);
            std::fs::write(&path, pem).expect("writing the file should succeed");
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))
                .expect("writing the file should succeed");
            if is_root() {
                run(Command::new("chown").arg("postgres").arg(&path));
            }
        }
        let client = connect(&self.url()).await.expect("PostgreSQL should accept a connection");
        for sql in ["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"] {
            client.batch_execute(sql).await.expect("a superuser should be allowed to run this");
        }
        let on = async || {
            let client = connect(&self.url()).await.ok()?;
            Some(client.query_one("SHOW ssl", &[]).await.ok()?.get::<_, String>(0))
        };
        let is_on = |seen: &Option<String>| seen.as_deref() == Some("on");
        wait_until("PostgreSQL offers TLS", START_DEADLINE, on, is_on).await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

/// Connects; a background task drives the connection.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// PostgreSQL refuses to run as root, so root switches to the user `postgres`.
fn prefix() -> &'static str {
    if is_root() {
        "exec setpriv --reuid postgres --regid postgres --clear-groups "
    } else {
        "exec "
    }
}

/// Path of a program of the newest installed PostgreSQL.
fn bin(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.max_by_key(|dir| dir.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    let newest = newest.expect("PostgreSQL is not installed: run scripts/install-test-deps");
    newest.path().join("bin").join(name)
}

fn run(command: &mut Command) {
    let output = command.output().expect("the command should start");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
