//! A private RabbitMQ server from the system's package, with a private epmd.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process_guard::{ProcessGuard, free_port, is_alive, signal, temp_dir};
use crate::wait::{wait_blocking, wait_until};

const START_DEADLINE: Duration = Duration::from_secs(120);

/// A running broker; dropping it ends it and removes its data.
pub struct RabbitMq {
    guard: Option<ProcessGuard>,
    dir: PathBuf,
    port: u16,
    environment: Vec<(String, String)>,
}

impl RabbitMq {
    /// Starts a broker with extra settings of its application `rabbit`, as Erlang terms.
    pub async fn start(settings: &str) -> Self {
        Self::start_in(settings, &[]).await
    }

    /// Starts a broker that enables only these feature flags when it creates its data.
    pub async fn start_with_feature_flags(flags: &str) -> Self {
        Self::start_in("", &[("RABBITMQ_FEATURE_FLAGS", flags)]).await
    }

    async fn start_in(settings: &str, variables: &[(&str, &str)]) -> Self {
        let dir = temp_dir("rabbitmq");
        let [port, dist, epmd] = [(); 3].map(|()| free_port());
        let path = |name: &str| dir.join(name).display().to_string();
        std::fs::write(path("plugins"), "[].\n").expect("writing the file should succeed");
        std::fs::write(path("advanced.config"), format!("[{{rabbit, [{settings}]}}].\n"))
            .expect("writing the file should succeed");
        let environment = [
            ("HOME", dir.display().to_string()),
            ("RABBITMQ_NODENAME", format!("trailpad{port}@localhost")),
            ("RABBITMQ_NODE_PORT", port.to_string()),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_DIST_PORT", dist.to_string()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}".into(),
            ),
            ("RABBITMQ_CTL_ERL_ARGS", "-start_epmd false -dist_listen false".into()),
            ("ERL_CRASH_DUMP", path("erl_crash.dump")),
            ("ERL_EPMD_PORT", epmd.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
            ("RABBITMQ_MNESIA_BASE", path("data")),
            ("RABBITMQ_LOG_BASE", path("logs")),
            ("RABBITMQ_PID_FILE", path("pid")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins")),
        ];
        let mut environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        environment.extend(variables);
        let mut server = Self { guard: None, dir, port, environment };
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
        // The broker uses the running epmd, and does not start one that would outlive it.
        let script = "epmd & exec /usr/lib/rabbitmq/bin/rabbitmq-server";
        self.guard = Some(ProcessGuard::start(script, &self.environment, &self.dir, "KILL"));
    }

    /// Waits until it speaks AMQP.
    pub async fn ready(&self) {
        let speaks = async || self.speaks_amqp().await.unwrap_or(false);
        wait_until("RabbitMQ starts", START_DEADLINE, speaks, |speaks| *speaks).await;
    }

    async fn speaks_amqp(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        let mut first = [0];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut first)).await;
        Ok(matches!(read, Ok(Ok(1))) && first == [1])
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// The URL over TLS, if the settings have a TLS listener on this port.
    pub fn tls_url(port: u16) -> String {
        format!("amqps://guest:guest@localhost:{port}/%2f")
    }

    fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()
    }

    /// Kills the broker with -9 and waits until its process has ended.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid() {
            signal(pid, "-9");
            wait_blocking("RabbitMQ ends", START_DEADLINE, || !is_alive(pid));
        }
        self.release();
    }

    /// Starts it again on the same port and data, and waits until it speaks AMQP.
    pub async fn restart(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// Raises or clears the memory alarm.
    pub async fn set_alarm(&self, raised: bool) {
        // A fraction of the memory; 0.4 is RabbitMQ's default.
        let watermark = if raised { "0.0000001" } else { "0.4" };
        self.ctl(&["set_vm_memory_high_watermark", watermark]).await;
    }

    /// Runs `rabbitmqctl` and returns its output.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.arg("--quiet").args(arguments).envs(environment).stdin(Stdio::null());
        let output = command.output().await.expect("rabbitmqctl should start");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("the output should be UTF-8")
    }
}
