//! A keeper: starts a server and ends it with this process, even if that is killed with -9.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Runs the script given to it in a process group of its own; when our end of its standard input
/// closes, for whatever reason, it kills the group.
const SCRIPT: &str = r#"exec 3<&0; eval "$1" <&- 3<&- & cat <&3 >/dev/null; kill -9 -$$"#;

/// A server's keeper; dropping it ends the server.
pub struct Keeper {
    child: Child,
    input: Option<ChildStdin>,
}

impl Keeper {
    /// Starts `script` (for `sh`) with an environment, writing its output to `log`.
    pub fn start(script: &str, environment: &[(String, String)], log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT, "keeper", script])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("sh");
        let input = child.stdin.take();
        Self { child, input }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Sends a signal, such as `-9` or `-STOP`, to a process of ours.
pub fn signal(pid: u32, signal: &str) {
    let status =
        Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status();
    status.expect("kill");
}

/// Whether a process is there, zombies not counted.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A new directory below the system's temporary one, removed when it is dropped.
pub struct TempDir(std::path::PathBuf);

impl TempDir {
    /// Makes one.
    pub fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trailpad-{name}-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&path).expect("a temporary directory");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
