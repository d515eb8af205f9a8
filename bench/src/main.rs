//! Measures the product against what its engines do alone, on private servers of its own.
//!
//! Machines differ and are noisy, so what counts is a ratio of two figures of one run, taken in
//! turns over several rounds.

#![allow(clippy::expect_used)]

mod accepted;
mod embedded;
mod stored;

use trailpad_tests::Sandbox;
use trailpad_tests::servers::Servers;

/// Rounds of each pair of figures.
const ROUNDS: usize = 5;

/// Two figures of one round, a second.
struct Pair {
    product: f64,
    limit: f64,
}

#[tokio::main]
async fn main() {
    eprintln!("starting a private PostgreSQL and RabbitMQ …");
    let servers = Servers::start().await;
    let sandbox = Sandbox::on(&servers.postgres_url, &servers.amqp_url).await;
    let webhook = sandbox.seed().await;

    let mut rounds = Vec::new();
    let gateway = sandbox.gateway(&[]).await;
    for round in 1..=ROUNDS {
        eprintln!("accepted, round {round} of {ROUNDS} …");
        let product = accepted::over_http(&sandbox, &webhook.url(&gateway).await).await;
        let limit = accepted::broker_alone(&sandbox).await;
        rounds.push(Pair { product, limit });
    }
    gateway.terminate().await;
    report("accepted/s over HTTP", "confirmed/s, broker alone", &rounds, Some(0.75));

    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("stored, round {round} of {ROUNDS} …");
        let product = stored::by_a_worker(&sandbox, &webhook).await;
        let limit = stored::database_alone(&sandbox).await;
        rounds.push(Pair { product, limit });
    }
    report("stored/s by one worker", "inserted/s, database alone", &rounds, Some(0.65));

    let (mut accepted, mut stored) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprintln!("without servers, round {round} of {ROUNDS} …");
        let limit = embedded::sqlite_alone();
        accepted.push(Pair { product: embedded::accepted().await, limit });
        stored.push(Pair { product: embedded::stored().await, limit });
    }
    report("serve: accepted/s over HTTP", "inserted/s, SQLite alone", &accepted, None);
    report("serve: stored/s", "inserted/s, SQLite alone", &stored, None);
}

fn report(product: &str, limit: &str, rounds: &[Pair], wanted: Option<f64>) {
    println!("\n{:>28}  {:>28}  ratio", product, limit);
    for pair in rounds {
        println!("{:>28.0}  {:>28.0}  {:.2}", pair.product, pair.limit, pair.product / pair.limit);
    }
    let mut ratios: Vec<f64> = rounds.iter().map(|pair| pair.product / pair.limit).collect();
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    let verdict = |wanted| if median >= wanted { "reached" } else { "missed" };
    let judged = wanted.map(|wanted| format!("; at least {wanted} is wanted: {}", verdict(wanted)));
    println!("median ratio {median:.2}{}", judged.unwrap_or_default());
}
