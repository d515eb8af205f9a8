//! Faults of PostgreSQL and of its configuration: each is passed over, or reported with its cause.

use std::process::Output;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use trailpad_engines::postgres::{Config, migrate_files};
use trailpad_tests::http::post;
use trailpad_tests::postgres::{Postgres, connect};
use trailpad_tests::proxy::Proxy;
use trailpad_tests::role::Role;
use trailpad_tests::{Sandbox, wait_until};
use uuid::Uuid;

use super::{SOON, activity};

/// The advisory lock of migrations, as in `engines/src/postgres/migrate`.
const MIGRATION_LOCK: i64 = 0x7472_6169_6c70_6164;

/// Accepts TCP connections and never answers.
async fn silent_host() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("binding a free port should succeed")
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("the listener should have an address").port()
}

/// `host:port` of a URL.
fn authority(url: &str) -> String {
    let url = url::Url::parse(url).expect("the URL should be valid");
    format!("127.0.0.1:{}", url.port().expect("the URL should have a port"))
}

/// The sandbox with a silent host before the server in its URL.
fn behind(sandbox: &Sandbox, silent: &TcpListener) -> Sandbox {
    let server = authority(&sandbox.database_url);
    let hosts = format!("127.0.0.1:{},{server}", port_of(silent));
    Sandbox { database_url: sandbox.database_url.replace(&server, &hosts), ..sandbox.clone() }
}

/// A new database with these options, without a schema.
async fn empty_database(sandbox: &Sandbox, options: &str) -> Sandbox {
    let name = format!("trailpad_test_{}", Uuid::now_v7().simple());
    sandbox.execute(&format!("CREATE DATABASE {name} {options}")).await;
    let mut url = url::Url::parse(&sandbox.database_url).expect("the URL should be valid");
    url.set_path(&name);
    Sandbox { database_url: url.into(), queue: name, ..sandbox.clone() }
}

/// The same database as a new user without rights. Returns the name of the user too.
async fn new_user(sandbox: &Sandbox) -> (Sandbox, String) {
    let name = format!("user_{}", Uuid::now_v7().simple());
    sandbox.execute(&format!("CREATE ROLE {name} LOGIN")).await;
    let database_url = sandbox.database_url.replace("postgres@", &format!("{name}@"));
    (Sandbox { database_url, ..sandbox.clone() }, name)
}

async fn output(sandbox: &Sandbox, words: &[&str]) -> Output {
    sandbox.command(words).output().await.expect("the binary should be built")
}

/// Runs a command that has to fail; returns its exit code and its error text.
async fn failure(sandbox: &Sandbox, words: &[&str]) -> (Option<i32>, String) {
    let output = output(sandbox, words).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "trailpad {words:?} should fail");
    (output.status.code(), error)
}

fn start(sandbox: &Sandbox, role: &str) -> Role {
    let mut command = sandbox.command(&[role]);
    command.env("TRAILPAD_LISTEN", "127.0.0.1:0").env("TRAILPAD_DASHBOARD_LISTEN", "127.0.0.1:0");
    Role::spawn(role, command)
}

/// Every role ends with exit code 1 and this text.
async fn every_role_refuses(sandbox: &Sandbox, texts: &[&str]) {
    for name in ["gateway", "worker", "dashboard"] {
        let mut role = start(sandbox, name);
        assert_eq!(role.wait().await, Some(1), "{name}");
        for text in texts {
            role.wait_log(text).await;
        }
    }
}

#[tokio::test]
async fn a_silent_host_is_passed_over_by_commands_and_roles() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let silent = silent_host().await;
    let behind = behind(&sandbox, &silent);
    let began = Instant::now();
    behind.cli(&["webhook", "list"]).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let (gateway, _worker) = tokio::join!(behind.gateway(&[]), behind.worker(&[]));
    assert_eq!(post(&webhook.url(&gateway).await, &activity("a")).await.status, 202);
    sandbox.wait_rows(1, SOON).await;
}

#[tokio::test]
async fn the_connect_timeout_of_the_url_is_the_limit_of_each_host() {
    let sandbox = Sandbox::new().await;
    let silent = silent_host().await;
    let behind = behind(&sandbox, &silent);
    let url = format!("{}?connect_timeout=6", behind.database_url);
    let behind = Sandbox { database_url: url, ..behind };
    let began = Instant::now();
    behind.cli(&["webhook", "list"]).await;
    let took = began.elapsed();
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(9), "{took:?}");
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_by_migrate_and_by_every_role() {
    let sandbox = Sandbox::new().await;
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let options = format!("TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING {encoding}");
        let other = empty_database(&sandbox, &options).await;
        let (code, error) = failure(&other, &["migrate"]).await;
        assert_eq!(code, Some(1));
        assert!(error.contains(encoding) && error.contains("UTF8"), "{error}");
        every_role_refuses(&other, &[encoding, "UTF8"]).await;
    }
}

#[tokio::test]
async fn every_role_refuses_an_older_schema_and_names_the_command() {
    let sandbox = Sandbox::new().await;
    let empty = empty_database(&sandbox, "").await;
    every_role_refuses(&empty, &["run `trailpad migrate`"]).await;
    sandbox.execute("DELETE FROM refinery_schema_history WHERE version > 3").await;
    every_role_refuses(&sandbox, &["version 3", "run `trailpad migrate`"]).await;
}

#[tokio::test]
async fn a_role_starts_on_a_newer_schema() {
    let sandbox = Sandbox::new().await;
    sandbox
        .execute("INSERT INTO refinery_schema_history VALUES (9000, 'next', now()::text, '1')")
        .await;
    start(&sandbox, "gateway").wait_ready().await;
    start(&sandbox, "worker").wait_ready().await;
    start(&sandbox, "dashboard").wait_ready().await;
    let (code, error) = failure(&sandbox, &["migrate"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("newer version") && error.contains("V9000__next"), "{error}");
}

#[tokio::test]
async fn every_role_refuses_a_user_without_its_rights_and_names_the_right() {
    let sandbox = Sandbox::new().await;
    let (limited, user) = new_user(&sandbox).await;
    every_role_refuses(&limited, &["SELECT", "refinery_schema_history"]).await;
    sandbox.execute(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")).await;
    for (name, right) in [
        ("gateway", "INSERT on webhook_traffic"),
        ("worker", "INSERT on activities"),
        ("dashboard", "INSERT on workspaces"),
    ] {
        let mut role = start(&limited, name);
        assert_eq!(role.wait().await, Some(1), "{name}");
        role.wait_log(right).await;
    }
    let (_, error) = failure(
        &limited,
        &["workspace", "create", "--name", "Acme", "--owner", "owner@example.com"],
    )
    .await;
    assert!(error.contains("workspaces") && error.contains("SQLSTATE 42501"), "{error}");
    sandbox.execute(&format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}")).await;
    start(&limited, "gateway").wait_ready().await;
    start(&limited, "worker").wait_ready().await;
}

#[tokio::test]
async fn a_role_that_starts_without_its_database_checks_it_as_soon_as_it_answers() {
    let sandbox = Sandbox::new().await;
    let empty = empty_database(&sandbox, "").await;
    let (proxy, url) = Proxy::of_url(&sandbox.database_url).await;
    let (empty_proxy, empty_url) = Proxy::of_url(&empty.database_url).await;
    proxy.cut();
    empty_proxy.cut();
    let sound = Sandbox { database_url: url, ..sandbox.clone() };
    let faulty = Sandbox { database_url: empty_url, ..empty.clone() };
    for name in ["gateway", "worker", "dashboard"] {
        proxy.cut();
        empty_proxy.cut();
        let role = start(&sound, name);
        let mut refused = start(&faulty, name);
        role.wait_unready("store").await;
        refused.wait_unready("store").await;
        proxy.heal();
        empty_proxy.heal();
        role.wait_ready().await;
        assert_eq!(refused.wait().await, Some(1), "{name}");
        refused.wait_log("run `trailpad migrate`").await;
    }
}

/// A proxy that keeps every connection to the server after its client has left, as a pooler does.
/// Returns its port.
async fn pooler(server: String) -> u16 {
    let listener = silent_host().await;
    let port = port_of(&listener);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pool(client, server.clone()));
        }
    });
    port
}

async fn pool(client: TcpStream, server: String) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        // `Terminate` (PostgreSQL, 55.7) ends the client's session, not the server's.
        let bytes = buffer[..read].strip_suffix(b"X\0\0\0\x04").unwrap_or(&buffer[..read]);
        if to_server.write_all(bytes).await.is_err() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_migration_through_a_pooler_leaves_no_lock() {
    let sandbox = empty_database(&Sandbox::new().await, "").await;
    let server = authority(&sandbox.database_url);
    let port = pooler(server.clone()).await;
    let url = sandbox.database_url.replace(&server, &format!("127.0.0.1:{port}"));
    let pooled = Sandbox { database_url: url, ..sandbox.clone() };
    assert!(pooled.cli(&["migrate"]).await.contains("Applied V6__dead_letters"));
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(sandbox.number(held).await, 0);
    assert!(sandbox.cli(&["migrate"]).await.contains("up to date"));
}

#[tokio::test]
async fn a_waiting_migration_names_the_holder_of_the_lock_and_gives_up() {
    let sandbox = Sandbox::new().await;
    let holder = connect(&format!("{}?application_name=stranded", sandbox.database_url))
        .await
        .expect("PostgreSQL should accept a connection");
    let row = holder
        .query_one("SELECT pg_backend_pid(), pg_advisory_lock($1)::text", &[&MIGRATION_LOCK])
        .await
        .expect("locking should succeed");
    let pid = format!("pid {} (stranded)", row.get::<_, i32>(0));
    let waiting = Role::spawn("migrate", sandbox.command(&["migrate"]));
    waiting.wait_log(&pid).await;
    let began = Instant::now();
    let mut gives_up = Role::spawn("migrate", sandbox.command(&["migrate"]));
    let ended = async || gives_up.has_ended();
    wait_until("migrate gives up", Duration::from_secs(90), ended, |ended| *ended).await;
    assert!(began.elapsed() > Duration::from_secs(50), "{:?}", began.elapsed());
    assert_eq!(gives_up.wait().await, Some(1));
    gives_up.wait_log("pg_terminate_backend").await;
    drop(holder);
    assert!(sandbox.cli(&["migrate"]).await.contains("up to date"));
}

#[tokio::test]
async fn a_failed_migration_names_its_cause() {
    let sandbox = Sandbox::new().await;
    let empty = empty_database(&sandbox, "").await;
    let (limited, user) = new_user(&empty).await;
    let (code, error) = failure(&limited, &["migrate"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("SQLSTATE 42501"), "{error}");
    assert!(error.contains("GRANT CREATE ON SCHEMA public"), "{error}");
    empty.execute(&format!("GRANT CREATE ON SCHEMA public TO {user}")).await;
    empty.execute(&format!("ALTER ROLE {user} SET default_transaction_read_only = on")).await;
    let (_, error) = failure(&limited, &["migrate"]).await;
    assert!(error.contains("read-only") && error.contains("target_session_attrs"), "{error}");
    empty.execute(&format!("ALTER ROLE {user} RESET default_transaction_read_only")).await;
    limited.cli(&["migrate"]).await;
}

#[tokio::test]
async fn an_invalid_url_names_its_part_and_no_secret() {
    let sandbox = Sandbox::new().await;
    let server = authority(&sandbox.database_url);
    for (url, wanted) in [
        (format!("postgres://u:SECRET@{server}/d?sslmode=verify-full"), "sslmode"),
        (format!("postgres://u:SECRET@{server}/d?sslrootcert=x"), "sslrootcert"),
        (format!("postgres://u:SECRET@{server}/d?schema=public"), "schema"),
        (format!("postgres://u:pa@SECRET@{server}/d"), "percent-encoded"),
        (format!("postgres://u:pa@x?SECRET=1@{server}/d"), "percent-encoded"),
    ] {
        let other = Sandbox { database_url: url, ..sandbox.clone() };
        let (code, error) = failure(&other, &["webhook", "list"]).await;
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(wanted), "{wanted}: {error}");
        assert!(!error.contains("SECRET"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_connection_names_the_setting_that_refuses_it() {
    let postgres = Postgres::start().await;
    let client = connect(&postgres.url()).await.expect("PostgreSQL should accept a connection");
    let mut sandbox = Sandbox::new().await;
    sandbox.database_url = format!("{}?sslmode=require", postgres.url());
    let (_, error) = failure(&sandbox, &["webhook", "list"]).await;
    assert!(error.contains("offers no TLS"), "{error}");
    for (rules, url, wanted) in [
        ("hostssl all all all trust", "sslmode=disable", "sslmode=require"),
        ("host all all all scram-sha-256", "sslmode=disable", "no password"),
    ] {
        let sql = format!(
            "DO $$ BEGIN EXECUTE format('COPY (VALUES (''{rules}'')) TO %L',
                                        current_setting('hba_file')); END $$"
        );
        for sql in [sql.as_str(), "SELECT pg_reload_conf()"] {
            client.batch_execute(sql).await.expect("a superuser should be allowed to run this");
        }
        sandbox.database_url = format!("{}?{url}", postgres.url());
        let seen = async || failure(&sandbox, &["webhook", "list"]).await.1;
        let is_named = |error: &String| error.contains(wanted);
        let error = wait_until("the rules are loaded", SOON, seen, is_named).await;
        assert!(!error.contains("password is wrong"), "{error}");
    }
}

fn config(sandbox: &Sandbox) -> Config {
    Config::parse(&sandbox.database_url, "test").expect("the database URL should be valid")
}

#[tokio::test]
async fn a_migration_that_waits_for_a_table_lock_holds_up_no_reader() {
    let sandbox = empty_database(&Sandbox::new().await, "").await;
    let first = ("V1__first", "CREATE TABLE t (id int)");
    let second = ("V2__second", "ALTER TABLE t ADD COLUMN x int");
    let config = config(&sandbox);
    migrate_files(&config, &[first]).await.expect("migrating should succeed");
    let reader =
        connect(&sandbox.database_url).await.expect("PostgreSQL should accept a connection");
    reader.batch_execute("BEGIN; SELECT FROM t").await.expect("reading should succeed");
    let migrating = tokio::spawn(async move { migrate_files(&config, &[first, second]).await });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass";
    sandbox.wait_number(waits, 1, SOON).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        let read = Instant::now();
        sandbox.number("SELECT count(*) FROM t").await;
        assert!(read.elapsed() < Duration::from_secs(3), "{:?}", read.elapsed());
        assert!(!migrating.is_finished());
    }
    reader.batch_execute("COMMIT").await.expect("the reader should commit");
    let applied = migrating.await.expect("the migration should not panic");
    assert_eq!(applied, Ok(vec!["V2__second".to_owned()]));
    sandbox.number("SELECT count(x) FROM t").await;
}

#[tokio::test]
async fn an_online_migration_replaces_an_invalid_index_and_blocks_no_writer() {
    let sandbox = empty_database(&Sandbox::new().await, "").await;
    let first = ("V1__first", "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (1)");
    let online = (
        "V2__t_id_online",
        "-- One row for each id.
         CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_id ON t (id);
         DROP INDEX CONCURRENTLY IF EXISTS t_old;",
    );
    let config = config(&sandbox);
    let error = migrate_files(&config, &[first, online]).await.expect_err("ids are not unique");
    assert!(error.0.contains("V2__t_id_online") && error.0.contains("23505"), "{error}");
    let indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass";
    let valid = "SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass AND indisvalid";
    assert_eq!((sandbox.number(indexes).await, sandbox.number(valid).await), (1, 0));
    sandbox.execute("DELETE FROM t; INSERT INTO t VALUES (1)").await;

    // The build waits for this writer, so it is running while the next one writes.
    let writer =
        connect(&sandbox.database_url).await.expect("PostgreSQL should accept a connection");
    writer.batch_execute("BEGIN; INSERT INTO t VALUES (2)").await.expect("it should be written");
    let migrating = tokio::spawn(async move { migrate_files(&config, &[first, online]).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND wait_event_type = 'Lock' AND query LIKE '%CONCURRENTLY%'";
    sandbox.wait_number(waits, 1, SOON).await;
    sandbox.execute("INSERT INTO t VALUES (3)").await;
    writer.batch_execute("COMMIT").await.expect("the writer should commit");
    let applied = migrating.await.expect("the migration should not panic");
    assert_eq!(applied, Ok(vec!["V2__t_id_online".to_owned()]));
    assert_eq!((sandbox.number(indexes).await, sandbox.number(valid).await), (1, 1));
}
