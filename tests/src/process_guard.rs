//! A process guard: starts a server and ends it with this process, even if this process is killed
//! with -9.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Runs the given script as a job in a separate process group. When this process's end of its
/// standard input closes, for whatever reason, it kills the group and removes the directory, unless
/// it has read `keep`.
const SCRIPT: &str = r#"
set -m
exec 3<&0
eval "$1" <&- 3<&- &
job=$!
word=
read -r word <&3
kill -"$3" -- -$job 2>/dev/null
for _ in $(seq 50); do kill -0 -- -$job 2>/dev/null || break; sleep 0.1; done
kill -9 -- -$job 2>/dev/null
wait 2>/dev/null
[ "$word" = keep ] || rm -rf "$2"
"#;

/// Guards a server process; dropping it ends the server.
pub struct ProcessGuard {
    child: Child,
    input: Option<ChildStdin>,
}

impl ProcessGuard {
    /// Starts `script` in `bash`. Its output goes to `log` in `dir`, the server's directory; `end` is
    /// the signal that ends it.
    pub fn start(script: &str, environment: &[(String, String)], dir: &Path, end: &str) -> Self {
        let log = File::options().create(true).append(true).open(dir.join("log"));
        let log = log.expect("opening the log file should succeed");
        let mut child = Command::new("bash")
            .args(["-c", SCRIPT, "process-guard", script])
            .arg(dir)
            .arg(end)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("opening the log file should succeed"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("bash should start");
        let input = child.stdin.take();
        Self { child, input }
    }

    /// Ends the server and keeps its directory.
    pub fn end_and_keep_dir(mut self) {
        if let Some(input) = &mut self.input {
            input.write_all(b"keep\n").expect("the guard should read its input");
        }
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Sends a signal, such as `-9` or `-STOP`.
pub fn signal(pid: u32, signal: &str) {
    let status =
        Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status();
    status.expect("kill should start");
}

/// `true` if the process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener =
        std::net::TcpListener::bind("127.0.0.1:0").expect("binding a free port should succeed");
    listener.local_addr().expect("the listener should have an address").port()
}

/// A new directory below the system's temporary directory. The guard of its server removes it.
pub fn temp_dir(name: &str) -> PathBuf {
    let dir =
        std::env::temp_dir().join(format!("trailpad-{name}-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir(&dir).expect("creating a directory should succeed");
    dir
}
