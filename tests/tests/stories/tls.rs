//! TLS to broker and database: used only if the certificate verifies.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use trailpad_tests::postgres::Postgres;
use trailpad_tests::process_guard::free_port;
use trailpad_tests::rabbitmq::RabbitMq;
use trailpad_tests::{Role, Sandbox, post};

use super::{SOON, activity};

#[tokio::test]
async fn tls_to_broker_and_database_requires_certificates_that_verify() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])
        .expect("generating a certificate should succeed");
    let certificate = cert.pem();
    let key = signing_key.serialize_pem();
    let dir = tempfile::tempdir().expect("creating a directory should succeed");
    let [certificate_file, key_file] =
        ["certificate.pem", "key.pem"].map(|name| dir.path().join(name).display().to_string());
    std::fs::write(&certificate_file, &certificate).expect("writing the file should succeed");
    std::fs::write(&key_file, &key).expect("writing the file should succeed");
    let port = free_port();
    let settings = format!(
        r#"{{ssl_listeners, [{{"127.0.0.1", {port}}}]}},
           {{ssl_options, [{{certfile, "{certificate_file}"}}, {{keyfile, "{key_file}"}}]}}"#
    );
    let (postgres, rabbitmq) = tokio::join!(Postgres::start(), RabbitMq::start(&settings));
    let plain = Sandbox::on(&postgres.url(), &rabbitmq.url()).await;
    let webhook = plain.seed().await;
    postgres.offer_tls(&certificate, &key).await;
    let secure = Sandbox {
        amqp_url: RabbitMq::tls_url(port),
        database_url: format!(
            "{}?sslmode=require",
            plain.database_url.replace("127.0.0.1", "localhost")
        ),
        ..plain.clone()
    };
    let start = |role: &str, words: &[&str], trusted: Option<&str>| {
        let mut command = secure.command(&[&[role], words].concat());
        command.env_remove("SSL_CERT_FILE").envs(trusted.map(|file| ("SSL_CERT_FILE", file)));
        Role::spawn(role, command)
    };

    let gateway = start("gateway", &["--listen", "127.0.0.1:0"], Some(&certificate_file));
    let worker = start("worker", &[], Some(&certificate_file));
    tokio::join!(gateway.wait_ready(), worker.wait_ready());
    assert_eq!(post(&webhook.url(&gateway).await, &activity("a")).await.status, 202);
    plain.wait_rows(1, SOON).await;
    let connections = |tls: bool| {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name LIKE 'trailpad %' AND ssl = {tls}"
        );
        let plain = plain.clone();
        async move { plain.number(&sql).await }
    };
    assert!(connections(true).await >= 2);
    assert_eq!(connections(false).await, 0);

    let stranger = start("gateway", &["--listen", "127.0.0.1:0"], None);
    stranger.wait_unready("broker connection: invalid peer certificate").await;
    let mut command = secure.command(&["webhook", "list"]);
    let output =
        command.env_remove("SSL_CERT_FILE").output().await.expect("the binary should be built");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("SSL_CERT_FILE names certificates to trust"), "{stderr}");
}
