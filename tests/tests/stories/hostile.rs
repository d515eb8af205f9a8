//! Hostile bodies: rejected with a 4xx, or stored exactly as sent.

use std::io::Write;

use serde_json::{Value, json};
use trailpad_tests::Sandbox;
use trailpad_tests::http::{Answer, JSON, request};

use super::SOON;

fn with(extra: &str) -> Vec<u8> {
    format!(r#"{{"title":"T","startTime":"2024-08-03T11:30:00Z"{extra}}}"#).into_bytes()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).expect("compressing should succeed");
    encoder.finish().expect("compressing should succeed")
}

#[tokio::test]
async fn hostile_bodies_get_a_4xx_and_never_a_5xx() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let metadata = |json: &str| with(&format!(r#","metadata":{json}"#));
    let deep = |levels: usize| {
        metadata(&format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels)))
    };
    let start = |text: &str| format!(r#"{{"title":"T","startTime":{text}}}"#).into_bytes();
    let bomb = gzip(&vec![b' '; 200 << 20]);
    let zstd_bomb =
        zstd::stream::encode_all(&*vec![b' '; 64 << 20], 3).expect("compressing should succeed");
    let cases: Vec<(&str, Vec<u8>, Option<&str>, u16)> = vec![
        ("empty", vec![], None, 400),
        ("cut short", with("")[..20].to_vec(), None, 400),
        ("a lone brace", b"{".to_vec(), None, 400),
        ("trailing garbage", [with(""), b"x".to_vec()].concat(), None, 400),
        ("two documents", [with(""), with("")].concat(), None, 400),
        ("an array", b"[]".to_vec(), None, 400),
        ("a string", b"\"x\"".to_vec(), None, 400),
        ("not UTF-8", [with("").as_slice(), b"\xff"].concat(), None, 400),
        (
            "not UTF-8 inside",
            with("").iter().map(|b| if *b == b'T' { 0xc3 } else { *b }).collect(),
            None,
            400,
        ),
        (
            "UTF-16",
            "{\"title\":\"T\"}".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            None,
            400,
        ),
        ("a byte order mark", [b"\xef\xbb\xbf".to_vec(), with("")].concat(), None, 400),
        ("a raw NUL", with(",\"event\":\"\0\""), None, 400),
        ("a raw newline in a string", with(",\"event\":\"\n\""), None, 400),
        ("a bad escape", with(r#","event":"\x41""#), None, 400),
        ("NaN", metadata(r#"{"a":NaN}"#), None, 400),
        ("single quotes", b"{'title':'T'}".to_vec(), None, 400),
        ("a comment", with("/*x*/"), None, 400),
        ("deep", deep(100), None, 422),
        ("very deep", deep(100_000), None, 422),
        ("an escaped NUL", with(r#","event":"a\u0000b""#), None, 422),
        ("a NUL in a name", metadata(r#"{"a\u0000b":1}"#), None, 422),
        ("a lone high surrogate", with(r#","event":"\ud800""#), None, 422),
        ("a lone low surrogate", metadata(r#"{"a":["\udfff"]}"#), None, 422),
        ("a duplicate key", with(r#","title":"U""#), None, 422),
        ("a duplicate key in metadata", metadata(r#"{"a":1,"a":2}"#), None, 422),
        ("an escaped duplicate key", metadata(r#"{"a":1,"\u0061":2}"#), None, 422),
        ("a giant number", metadata(r#"{"a":1e131000}"#), None, 422),
        ("a tiny number", metadata(r#"{"a":1e-400}"#), None, 422),
        ("a long number", metadata(&format!(r#"{{"a":{}}}"#, "9".repeat(1_000))), None, 422),
        (
            "a title that is a number",
            b"{\"title\":1,\"startTime\":\"2024-08-03T11:30:00Z\"}".to_vec(),
            None,
            422,
        ),
        ("metadata that is an array", metadata("[]"), None, 422),
        ("an empty object", b"{}".to_vec(), None, 422),
        (
            "a blank title",
            "{\"title\":\"\u{2003}\\t\",\"startTime\":\"2024-08-03T11:30:00Z\"}".into(),
            None,
            422,
        ),
        ("a time that is a number", start("1722684600"), None, 422),
        ("the day without a time", start("\"2024-08-03\""), None, 422),
        ("the thirtieth of February", start("\"2024-02-30T00:00:00Z\""), None, 422),
        ("a leap second", start("\"2016-12-31T23:59:60Z\""), None, 422),
        ("twenty-four o'clock", start("\"2024-08-03T24:00:00Z\""), None, 422),
        ("the year 0", start("\"0000-12-31T23:59:59Z\""), None, 422),
        ("the year 10000", start("\"9999-12-31T23:59:59-01:00\""), None, 422),
        ("infinity", start("\"infinity\""), None, 422),
        ("an end before its start", with(r#","endTime":"2024-08-03T11:29:59.999999Z""#), None, 422),
        ("a long externalId", with(&format!(r#","externalId":"{}""#, "x".repeat(513))), None, 422),
        ("a wrong instruction", metadata(r#"{"processing":{"onDuplicate":"merge"}}"#), None, 422),
        ("huge", metadata(&format!(r#"{{"a":"{}"}}"#, "x".repeat(300_000))), None, 413),
        ("a gzip bomb", bomb, Some("gzip"), 413),
        ("a zstd bomb", zstd_bomb, Some("zstd"), 413),
        ("invalid gzip", with(""), Some("gzip"), 400),
        ("gzip cut short", gzip(&with(""))[..30].to_vec(), Some("gzip"), 400),
        ("invalid brotli", b"\xff\xff\xff\xff".to_vec(), Some("br"), 400),
    ];
    for (name, body, encoding, status) in cases {
        let answer = send(&url, &body, encoding).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{name}");
        assert!(answer.body.len() < 64_000, "{name}: {} bytes", answer.body.len());
    }
    assert_eq!(send(&url, &with(""), None).await.status, 202, "and it still works");
}

async fn send(url: &str, body: &[u8], encoding: Option<&str>) -> Answer {
    let headers: Vec<_> =
        std::iter::once(JSON).chain(encoding.map(|name| ("content-encoding", name))).collect();
    request("POST", url, &headers, body).await.expect("the request should get a response")
}

#[tokio::test]
async fn accepted_activities_are_stored_exactly_as_sent() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let _worker = sandbox.worker(&["--retry-schedule", "100ms"]).await;
    let url = webhook.url(&gateway).await;
    let nested = (0..60).fold(json!(1), |inner, _| json!([inner]));
    let long = "x".repeat(60_000);
    let metadatas = [
        json!({}),
        json!({"": "", " ": null, "a/b~c\"\\": [true, false, null]}),
        json!({"text": "é ß 漢字 🦀 \u{202e} \u{7f} \u{ffff} \u{1}\t\n\r"}),
        json!({"numbers": [0, -1, 1.5, 1e308, -1e308, 5e-324, 9_007_199_254_740_993_i64, u64::MAX]}),
        json!({"nested": nested}),
        json!({"long": long, "many": (0..500).collect::<Vec<_>>()}),
        json!({"processing": "not an instruction", "onDuplicate": "data"}),
    ];
    let mut sent = Vec::new();
    for (at, metadata) in metadatas.iter().enumerate() {
        let activity = json!({
            "title": format!(" T\u{2003}{at} \\ \" '; DROP TABLE activities; -- "),
            "description": "\u{1f980}\n\t", "startTime": "0001-01-01T00:00:00Z", "endTime": "9999-12-31T23:59:59.999999Z",
            "trigger": "", "event": "é", "externalId": format!("k-{at} \u{0301}"), "metadata": metadata,
        });
        let body = serde_json::to_vec(&activity).expect("serializing to JSON should succeed");
        let (body, encoding) = match at % 3 {
            0 => (body, None),
            1 => (gzip(&body), Some("gzip")),
            _ => (
                zstd::stream::encode_all(&*body, 3).expect("compressing should succeed"),
                Some("zstd"),
            ),
        };
        let answer = send(&url, &body, encoding).await;
        assert_eq!(answer.status, 202, "{at}: {}", answer.text());
        sent.push((answer.json()["id"].clone(), activity));
    }
    // More digits than a double holds are stored as sent.
    let digits = r#"{"n":123456789012345678901234567890.123456789012345678901234567890}"#;
    assert_eq!(
        send(&url, &with(&format!(r#","externalId":"digits","metadata":{digits}"#)), None)
            .await
            .status,
        202
    );
    sandbox.wait_rows(8, SOON).await;
    let rows = sandbox.json(&["activity", "list", "--limit", "100"]).await;
    for (id, activity) in sent {
        let row = rows
            .as_array()
            .expect("the output should be a list")
            .iter()
            .find(|row| row["id"] == id)
            .expect("the activity should have a row");
        for field in ["title", "description", "trigger", "event", "externalId"] {
            assert_eq!(row[field], activity[field], "{field}");
        }
        assert_eq!(row["startTime"], "0001-01-01T00:00:00.000000Z");
        assert_eq!(row["endTime"], "9999-12-31T23:59:59.999999Z");
        assert!(
            equal(&row["metadata"], &activity["metadata"]),
            "{}\n{}",
            row["metadata"],
            activity["metadata"]
        );
    }
    let text = sandbox.cli(&["activity", "list", "--external-id", "digits", "--json"]).await;
    assert!(
        text.contains("123456789012345678901234567890.123456789012345678901234567890"),
        "{text}"
    );
    assert_eq!(sandbox.number("SELECT count(*) FROM dead_letters").await, 0);
}

/// Equal as JSON; numbers may be written differently.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}
