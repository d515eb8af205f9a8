//! A TCP proxy that cuts, freezes and restores connections.

use std::sync::Arc;

use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    /// Accepts connections and forwards nothing.
    Frozen,
    /// Drops connections and accepts none.
    Cut,
}

/// A proxy on a free port of 127.0.0.1.
pub struct Proxy {
    port: u16,
    mode: Arc<watch::Sender<Mode>>,
}

impl Proxy {
    /// A proxy to `target`, as `host:port`.
    pub async fn start(target: &str) -> Self {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.expect("binding a free port should succeed");
        let port = listener.local_addr().expect("the listener should have an address").port();
        let mode = Arc::new(watch::Sender::new(Mode::Open));
        let target = target.to_owned();
        let modes = mode.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target.clone(), modes.subscribe()));
            }
        });
        Self { port, mode }
    }

    /// A proxy to the server of a URL, and the URL that goes through it.
    pub async fn of_url(url: &str) -> (Self, String) {
        let mut parsed = url::Url::parse(url).expect("the URL should be valid");
        let host = parsed.host_str().expect("the URL should have a host");
        let target = format!("{host}:{}", parsed.port().expect("the URL should have a port"));
        let proxy = Self::start(&target).await;
        parsed.set_host(Some("127.0.0.1")).expect("setting the host should succeed");
        parsed.set_port(Some(proxy.port)).expect("setting the port should succeed");
        (proxy, parsed.into())
    }

    /// Drops every connection and accepts no new ones.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Keeps every connection and forwards nothing.
    pub fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }

    /// Forwards again.
    pub fn heal(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

async fn forward(client: TcpStream, target: String, mode: watch::Receiver<Mode>) {
    if *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = copy(from_client, to_server, mode.clone()) => {}
        () = copy(from_server, to_client, mode.clone()) => {}
    }
}

async fn copy(
    mut from: impl io::AsyncRead + Unpin,
    mut to: impl io::AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
) {
    use io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = vec![0; 65_536];
    loop {
        let read = tokio::select! {
            _ = mode.wait_for(|mode| *mode == Mode::Cut) => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(read @ 1..) = read else { return };
        let mode = mode.wait_for(|mode| *mode != Mode::Frozen).await.map(|mode| *mode);
        if !matches!(mode, Ok(Mode::Open)) {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
