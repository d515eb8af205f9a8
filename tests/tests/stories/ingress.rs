//! The ingress as senders see it: rejections, limits and shutdown.

use std::time::{Duration, Instant};

use serde_json::json;
use trailpad_tests::http::{Connection, JSON, Seen, flood, post, request, split};
use trailpad_tests::proxy::Proxy;
use trailpad_tests::{Sandbox, wait_until};

use super::{SOON, activity};

#[tokio::test]
async fn each_invalid_request_is_answered_with_how_to_fix_it() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let body = activity("a");
    let send = async |method: &str, headers: &[(&str, &str)], body: &str| {
        request(method, &url, headers, body.as_bytes())
            .await
            .expect("the request should get a response")
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (answer, status, problem, advice) in [
        (
            send("POST", &[form], &body).await,
            415,
            "unsupported-media-type",
            "Content-Type: application/json",
        ),
        (
            send("POST", &[], &body).await,
            415,
            "unsupported-media-type",
            "Content-Type: application/json",
        ),
        (
            send("POST", &[JSON, ("content-encoding", "lzma")], &body).await,
            415,
            "unsupported-encoding",
            "gzip",
        ),
        (send("POST", &[JSON], "{").await, 400, "not-json", "line 1, column 2"),
        (send("POST", &[JSON], "[]").await, 400, "not-an-object", "JSON object"),
        (send("POST", &[JSON], "{}").await, 422, "invalid-activity", "2 faults"),
        (
            send("POST", &[JSON, ("idempotency-key", "")], &body).await,
            400,
            "invalid-header",
            "Idempotency-Key",
        ),
        (send("PUT", &[JSON], &body).await, 405, "method-not-allowed", "POST"),
    ] {
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (status, problem),
            "{}",
            answer.text()
        );
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert!(
            answer.json()["detail"].as_str().unwrap_or_default().contains(advice),
            "{}",
            answer.text()
        );
    }
    assert_eq!(send("PUT", &[], "").await.headers["allow"], "POST");
    let strict = send(
        "POST",
        &[JSON, ("prefer", "handling=strict")],
        &body.replace("externalId", "externalID"),
    )
    .await;
    assert_eq!(strict.status, 422);
    assert_eq!(strict.json()["errors"][0]["pointer"], "/externalID");
    let lenient = send("POST", &[JSON], &body.replace("externalId", "externalID")).await;
    assert_eq!(lenient.status, 202);
    assert_eq!(lenient.json()["warnings"][0]["code"], json!("unknown-field"));
    let metrics = gateway.metrics().await;
    assert_eq!(metrics["trailpad_gateway_rejected_total{reason=\"unsupported-media-type\"}"], 2.0);
}

#[tokio::test]
async fn a_sender_in_the_middle_of_its_body_receives_an_early_rejection() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let host = gateway.ingress_url().await;
    let host = split(&host).0;
    for (path, length, chunked, status) in [
        ("/webhooks/ingress/nonsense", 5_000_000, false, 401),
        (webhook.path.as_str(), 5_000_000, false, 413),
        (webhook.path.as_str(), 5_000_000, true, 413),
    ] {
        let mut connection = Connection::open(host).await.expect("connecting should succeed");
        let framing = if chunked {
            "transfer-encoding: chunked".into()
        } else {
            format!("content-length: {length}")
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
        );
        connection.send(head.as_bytes()).await.expect("sending should succeed");
        let chunk = vec![b' '; 50_000];
        for _ in 0..length / chunk.len() {
            let sent = if chunked {
                connection
                    .send(format!("{:x}\r\n", chunk.len()).as_bytes())
                    .await
                    .expect("sending should succeed");
                connection.send(&chunk).await.expect("sending should succeed");
                connection.send(b"\r\n").await
            } else {
                connection.send(&chunk).await
            };
            sent.expect("the gateway should read the whole body");
        }
        let answer = connection.answer().await.expect("the rejection should arrive");
        assert_eq!(answer.status, status, "{path} {chunked}");
    }
}

#[tokio::test]
async fn the_gateway_works_despite_a_thousand_idle_and_slow_connections() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&["--body-timeout", "3s", "--head-timeout", "3s"]).await;
    let url = webhook.url(&gateway).await;
    let (host, path) = split(&url);
    let mut slow = Vec::new();
    for at in 0..1_000 {
        let mut connection = Connection::open(host).await.expect("connecting should succeed");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"title\""
        );
        let bytes = match at % 3 {
            0 => "",
            1 => &head[..20],
            _ => &head,
        };
        connection.send(bytes.as_bytes()).await.expect("sending should succeed");
        slow.push(connection);
    }
    let url = url.clone();
    let began = Instant::now();
    let seen = flood(move || url.clone(), 500, 10, |at| activity(&format!("a-{at}"))).await;
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // A sender of half a body gets a response, and every slow connection frees its place.
    let answer = slow[2].answer().await.expect("the request should get a response");
    assert_eq!((answer.status, answer.problem().as_str()), (408, "too-slow"));
    let in_flight = async || gateway.metric("trailpad_gateway_in_flight_requests").await;
    wait_until("nothing is in flight", SOON, in_flight, |count| *count == 0.0).await;
}

#[tokio::test]
async fn over_its_rate_limit_a_webhook_gets_429_and_other_webhooks_do_not() {
    let sandbox = Sandbox::new().await;
    let busy = sandbox.seed().await;
    let quiet = sandbox.webhook("Quiet").await;
    let gateway = sandbox.gateway(&["--rate-limit", "5", "--rate-burst", "10"]).await;
    let url = busy.url(&gateway).await;
    let seen = flood(move || url.clone(), 50, 5, |at| activity(&format!("a-{at}"))).await;
    let count = |status| seen.iter().filter(|(_, seen)| *seen == Seen::Status(status)).count();
    assert!((10..=40).contains(&count(202)), "{} were accepted", count(202));
    assert_eq!(count(202) + count(429), 50);
    assert_eq!(post(&quiet.url(&gateway).await, &activity("q")).await.status, 202);
    // Posts faster than the bucket fills, so one is rejected with Retry-After.
    let url = busy.url(&gateway).await;
    let ask = async || post(&url, &activity("r")).await;
    let rejected = wait_until("it is rejected", SOON, ask, |answer| answer.status == 429).await;
    assert_eq!(rejected.headers["retry-after"], "1");
}

#[tokio::test]
async fn beyond_its_limit_of_requests_in_flight_the_gateway_answers_503_at_once() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&["--in-flight-max", "4"]).await;
    let url = webhook.url(&gateway).await;
    let (host, path) = split(&url);
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut connection = Connection::open(host).await.expect("connecting should succeed");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        connection.send(head.as_bytes()).await.expect("sending should succeed");
        slow.push(connection);
    }
    let in_flight = async || gateway.metric("trailpad_gateway_in_flight_requests").await;
    wait_until("four are in flight", SOON, in_flight, |count| *count == 4.0).await;
    let answer = post(&url, &activity("a")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "not-accepted"));
    drop(slow);
    let ask = async || post(&url, &activity("a")).await.status;
    wait_until("it accepts activities again", SOON, ask, |status| *status == 202).await;
}

#[tokio::test]
async fn without_a_confirm_the_response_reports_an_unknown_outcome() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let (proxy, through_proxy) = Proxy::of_url(&sandbox.amqp_url).await;
    let behind = Sandbox { amqp_url: through_proxy, ..sandbox.clone() };
    let gateway = behind.gateway(&["--publish-timeout", "1s", "--publish-slots", "1"]).await;
    let url = webhook.url(&gateway).await;
    assert_eq!(post(&url, &activity("a")).await.status, 202);
    proxy.freeze();
    let answer = post(&url, &activity("published")).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "outcome-unknown"),
        "{}",
        answer.text()
    );
    assert!(answer.headers.contains_key("retry-after"));
    // The only slot is taken, so this activity was never published.
    let answer = post(&url, &activity("waiting")).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "not-accepted"),
        "{}",
        answer.text()
    );
    proxy.heal();
    let ask = async || post(&url, &activity("b")).await.status;
    wait_until("it recovers", SOON, ask, |status| *status == 202).await;
}

#[tokio::test]
async fn a_terminated_gateway_answers_the_requests_in_flight_and_exits() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let worker = sandbox.worker(&[]).await;
    let url = webhook.url(&gateway).await;
    let sender =
        tokio::spawn(flood(move || url.clone(), 3_000, 50, |at| activity(&format!("a-{at}"))));
    let accepted = async || gateway.metric("trailpad_gateway_accepted_total").await;
    wait_until("some are accepted", SOON, accepted, |count| *count > 500.0).await;
    assert_eq!(gateway.terminate().await, Some(0));
    let seen = sender.await.expect("the sender should not panic");
    let count = |wanted: &Seen| seen.iter().filter(|(_, seen)| seen == wanted).count();
    let accepted = i64::try_from(count(&Seen::Status(202))).expect("the count should fit");
    sandbox.wait_rows(accepted, SOON).await;
    assert_eq!(
        sandbox.number("SELECT count(*) FROM activities").await,
        accepted,
        "each 202 and nothing else"
    );
    assert_eq!(worker.terminate().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_exits_at_once() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let mut gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let (host, path) = split(&url);
    let mut slow = Connection::open(host).await.expect("connecting should succeed");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    slow.send(head.as_bytes()).await.expect("sending should succeed");
    let in_flight = async || gateway.metric("trailpad_gateway_in_flight_requests").await;
    wait_until("one is in flight", SOON, in_flight, |count| *count == 1.0).await;
    gateway.signal("-TERM");
    gateway.wait_log("draining").await;
    gateway.wait_unready("shutting down").await;
    gateway.signal("-INT");
    assert_eq!(gateway.wait().await, Some(130));
}
