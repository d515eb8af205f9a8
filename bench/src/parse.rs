//! A micro-benchmark of the payload parser, compared with `serde_json` skipping the same bytes.
//!
//! The parser checks more than the grammar (depth, repeated keys, number ranges, NUL and surrogates)
//! and builds the activity; `serde_json` only finds the end of the value.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use trailpad_common::activity::{Activity, Handling, Limits};

use crate::Pair;

const ROUND: Duration = Duration::from_millis(300);

pub struct Sample {
    pub name: &'static str,
    body: String,
}

/// The documented example, a payload with a large `metadata`, and one with many escapes.
pub fn samples() -> [Sample; 3] {
    let activity = |title: &str, metadata: &str| {
        format!(
            r#"{{"title":"{title}","description":"Handled customer inquiry from Jane Doe regarding billing.","startTime":"2024-08-03T11:30:00Z","trigger":"Manual Log","event":"Call Center Log","externalId":"call-log-9876","metadata":{metadata}}}"#
        )
    };
    let items: Vec<String> = (0..1_000)
        .map(|n| format!(r#"{{"id":{n},"price":{n}.25,"tags":["a","b"],"name":"item {n}"}}"#))
        .collect();
    let large = format!(r#"{{"items":[{}]}}"#, items.join(","));
    let escapes = r"\u00e9\n\ud83e\udd80\\".repeat(2_000);
    [
        Sample { name: "documented example", body: activity("Customer Inquiry Handled", "{}") },
        Sample { name: "metadata of 60 KB", body: activity("Order", &large) },
        Sample {
            name: "text of escapes",
            body: activity("Note", &format!(r#"{{"text":"{escapes}"}}"#)),
        },
    ]
}

/// MB parsed per second.
pub fn measure(sample: &Sample) -> Pair {
    let product = rate(&sample.body, |body| {
        Activity::parse(body, Handling::Lenient, &Limits::INGRESS).is_ok()
    });
    let limit = rate(&sample.body, |body| serde_json::from_slice::<IgnoredAny>(body).is_ok());
    Pair { product, limit }
}

fn rate(body: &str, parse: impl Fn(&[u8]) -> bool) -> f64 {
    let began = Instant::now();
    let mut bytes = 0;
    while began.elapsed() < ROUND {
        assert!(parse(black_box(body.as_bytes())), "the payload should be valid");
        bytes += body.len();
    }
    bytes as f64 / 1e6 / began.elapsed().as_secs_f64()
}
