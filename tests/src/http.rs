//! A small HTTP/1.1 client: one connection, one request after another, no redirects or retries.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null if it is not valid JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `type` of a problem; empty if the body is not a problem.
    pub fn problem(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().to_owned()
    }
}

/// A connection to `host:port`.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    host: String,
}

impl Connection {
    pub async fn open(host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new(), host: host.to_owned() })
    }

    /// Sends a request and reads its response.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n",
            self.host,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes).await?;
        self.answer().await
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads a response. Every response of this product has a Content-Length.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        tokio::time::timeout(ANSWER_DEADLINE, self.read_answer())
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        let head_end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.read[..head_end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length =
            headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.read.len() < head_end + length {
            self.fill().await?;
        }
        let body = self.read[head_end..head_end + length].to_vec();
        self.read.drain(..head_end + length);
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Answer { status, headers, body })
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16_384];
        match self.stream.read(&mut chunk).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.read.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

/// Splits `http://host:port/path`.
pub fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").expect("the URL should start with http://");
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}

/// Sends one request on a new connection.
pub async fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let (host, path) = split(url);
    Connection::open(host).await?.request(method, path, headers, body).await
}

/// The Content-Type header of an activity.
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// Posts an activity; panics without a response.
pub async fn post(url: &str, body: &str) -> Answer {
    request("POST", url, &[JSON], body.as_bytes()).await.expect("the request should get a response")
}

/// Outcome of one activity as its sender sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A response of this status.
    Status(u16),
    /// The connection broke before a response.
    Broken,
}

/// Posts `count` activities over `connections` connections and returns the outcome of each. Opens a
/// broken connection again. Calls `url` for each activity, because a restarted gateway has another
/// URL.
pub async fn flood(
    url: impl Fn() -> String + Clone + Send + 'static,
    count: usize,
    connections: usize,
    body: impl Fn(usize) -> String + Clone + Send + 'static,
) -> Vec<(usize, Seen)> {
    let mut senders = tokio::task::JoinSet::new();
    for first in 0..connections {
        let url = url.clone();
        let body = body.clone();
        senders.spawn(async move {
            let mut seen = Vec::new();
            let mut open = None;
            for at in (first..count).step_by(connections) {
                seen.push((at, post_on(&mut open, &url(), &body(at)).await));
            }
            seen
        });
    }
    let mut all: Vec<(usize, Seen)> = senders.join_all().await.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(at, _)| *at);
    all
}

/// Posts `count` activities, each until it is accepted. Returns the number of each outcome.
pub async fn deliver(
    url: impl Fn() -> String + Clone + Send + 'static,
    count: usize,
    connections: usize,
    body: impl Fn(usize) -> String + Clone + Send + 'static,
) -> HashMap<String, usize> {
    let mut senders = tokio::task::JoinSet::new();
    for first in 0..connections {
        let url = url.clone();
        let body = body.clone();
        senders.spawn(async move {
            let mut counts = HashMap::new();
            let mut open = None;
            for at in (first..count).step_by(connections) {
                loop {
                    let seen = post_on(&mut open, &url(), &body(at)).await;
                    *counts.entry(format!("{seen:?}")).or_insert(0) += 1;
                    match seen {
                        Seen::Status(202) => break,
                        // A sender that follows Retry-After, faster than in production.
                        _ => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
            }
            counts
        });
    }
    let mut total = HashMap::new();
    for (seen, times) in senders.join_all().await.into_iter().flatten() {
        *total.entry(seen).or_insert(0) += times;
    }
    total
}

async fn post_on(open: &mut Option<Connection>, url: &str, body: &str) -> Seen {
    let (host, path) = split(url);
    let connected = match open.take() {
        Some(connection) if connection.host == host => Ok(connection),
        _ => Connection::open(host).await,
    };
    let Ok(mut connection) = connected else { return Seen::Broken };
    match connection.request("POST", path, &[JSON], body.as_bytes()).await {
        Ok(answer) => {
            let is_open = answer.headers.get("connection").is_none_or(|value| value != "close");
            *open = is_open.then_some(connection);
            Seen::Status(answer.status)
        }
        Err(_) => Seen::Broken,
    }
}
