//! Compares the throughput of the product with the limit of the server or file that it uses.
//!
//! Starts private servers. Machines differ and are noisy, so the result is the median ratio of two
//! figures of the same run, measured alternately over several rounds.

#![allow(clippy::expect_used)]

mod accepted;
mod embedded;
mod parse;
mod stored;

use trailpad_tests::Sandbox;
use trailpad_tests::servers::Servers;

const ROUNDS: usize = 5;

/// The two figures of one round, per second.
struct Pair {
    product: f64,
    limit: f64,
}

#[tokio::main]
async fn main() {
    parser();
    // `bench parser` needs no server.
    if std::env::args().nth(1).as_deref() != Some("parser") {
        system().await;
    }
}

fn parser() {
    for sample in parse::samples() {
        eprintln!("parsing: {} …", sample.name);
        let rounds: Vec<Pair> = (0..ROUNDS).map(|_| parse::measure(&sample)).collect();
        report(&format!("MB/s, {}", sample.name), "MB/s, serde_json skips", &rounds, None);
    }
}

async fn system() {
    eprintln!("starting a private PostgreSQL and RabbitMQ …");
    let servers = Servers::start().await;
    let sandbox = Sandbox::on(&servers.postgres_url, &servers.amqp_url).await;
    let webhook = sandbox.seed().await;

    let mut rounds = Vec::new();
    let gateway = sandbox.gateway(&[]).await;
    for round in 1..=ROUNDS {
        eprintln!("accepted, round {round} of {ROUNDS} …");
        let product = accepted::over_http(&sandbox, &webhook.url(&gateway).await).await;
        let limit = accepted::broker_only(&sandbox).await;
        rounds.push(Pair { product, limit });
    }
    gateway.terminate().await;
    report("accepted/s over HTTP", "confirmed/s, broker only", &rounds, Some(0.75));

    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("stored, round {round} of {ROUNDS} …");
        let product = stored::by_a_worker(&sandbox, &webhook).await;
        let limit = stored::database_only(&sandbox).await;
        rounds.push(Pair { product, limit });
    }
    report("stored/s by one worker", "inserted/s, database only", &rounds, Some(0.65));

    let mut accepted = Vec::new();
    let mut stored = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("without servers, round {round} of {ROUNDS} …");
        let limit = embedded::sqlite_only().await;
        accepted.push(Pair { product: embedded::accepted().await, limit });
        stored.push(Pair { product: embedded::stored().await, limit });
    }
    report("serve: accepted/s over HTTP", "inserted/s, SQLite only", &accepted, None);
    report("serve: stored/s", "inserted/s, SQLite only", &stored, None);
}

fn report(product: &str, limit: &str, rounds: &[Pair], target: Option<f64>) {
    println!("\n{:>28}  {:>28}  ratio", product, limit);
    for pair in rounds {
        println!("{:>28.0}  {:>28.0}  {:.2}", pair.product, pair.limit, pair.product / pair.limit);
    }
    let mut ratios: Vec<f64> = rounds.iter().map(|pair| pair.product / pair.limit).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    let outcome = |target| if median >= target { "reached" } else { "missed" };
    let target = target.map(|target| format!("; target {target}: {}", outcome(target)));
    println!("median ratio {median:.2}{}", target.unwrap_or_default());
}
