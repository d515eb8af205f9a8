//! Traces from the request to the row, exported to a collector.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trailpad_tests::http::{JSON, request};
use trailpad_tests::{Embedded, wait_until};

use super::{SOON, activity};

const TRACE_ID: [u8; 16] = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
const SENDERS_SPAN: [u8; 8] = 0xb7ad_6b71_6920_3331_u64.to_be_bytes();
const TRACEPARENT: (&str, &str) =
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

/// An OTLP collector that records all bytes and answers 200.
struct Collector {
    url: String,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener =
            TcpListener::bind("127.0.0.1:0").await.expect("binding a port should succeed");
        let url = format!(
            "http://{}",
            listener.local_addr().expect("the listener should have an address")
        );
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let seen = bytes.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(take(connection, seen.clone()));
            }
        });
        Self { url, bytes }
    }

    fn count(&self, wanted: &[u8]) -> usize {
        let bytes = self.bytes.lock().expect("the lock should not be poisoned");
        bytes.windows(wanted.len()).filter(|window| *window == wanted).count()
    }
}

async fn take(mut connection: TcpStream, seen: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 64 * 1_024];
    while let Ok(read @ 1..) = connection.read(&mut buffer).await {
        seen.lock().expect("the lock should not be poisoned").extend_from_slice(&buffer[..read]);
        // A request with a few spans arrives in one or two reads; a second response is ignored.
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn a_senders_trace_continues_to_the_row_without_any_payload() {
    let embedded = Embedded::default();
    let collector = Collector::start().await;
    let serve = embedded.serve(&["--otlp-endpoint", &collector.url]).await;
    let url = embedded.url(&serve).await;
    let body = activity("a-secret-of-the-sender");
    let answer = request("POST", &url, &[JSON, TRACEPARENT], body.as_bytes()).await;
    assert_eq!(answer.expect("the request should get a response").status, 202);
    let names = async || (collector.count(b"accept activity"), collector.count(b"store activity"));
    wait_until("both spans are exported", SOON, names, |seen| *seen == (1, 1)).await;
    assert_eq!(collector.count(&TRACE_ID), 2, "both are in the sender's trace");
    assert_eq!(collector.count(&SENDERS_SPAN), 1, "the gateway's is below the sender's");
    assert_eq!(collector.count(b"a-secret-of-the-sender"), 0);
    let token = url.rsplit('/').next().expect("the URL should contain a token");
    assert_eq!(collector.count(token.as_bytes()), 0);
}

#[tokio::test]
async fn an_unavailable_collector_costs_only_spans() {
    let embedded = Embedded::default();
    let words = ["--otlp-endpoint", "http://127.0.0.1:9", "--otlp-sample-ratio", "1"];
    let serve = embedded.serve(&words).await;
    let url = embedded.url(&serve).await;
    let answer = request("POST", &url, &[JSON], activity("a").as_bytes()).await;
    assert_eq!(answer.expect("the request should get a response").status, 202);
    embedded.wait_number("SELECT count(*) FROM activities", 1, SOON).await;
    serve.wait_log("the collector takes no traces").await;
    assert_eq!(serve.terminate().await, Some(0));
}
