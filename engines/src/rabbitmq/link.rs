//! A broker connection that reconnects indefinitely.
//!
//! lapin's own recovery stops after a limited number of attempts, so a supervisor task reconnects.
//! Publishers, subscriptions and readiness watch the state of the link.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::types::LongString;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tracing::{debug, info, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::Destination;
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{Health, HealthWatch};

use super::error::describe;
use super::feature_flag;
use super::topology::Topology;

const RECONNECT_FIRST: Duration = Duration::from_millis(200);
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// Long, because lapin leaks a thread for each attempt that is abandoned.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
/// Limits a call on an open connection, for example opening a channel or declaring a queue.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Wait for a link that has just been started.
const CONNECTED_TIMEOUT: Duration = Duration::from_secs(2);
/// The connection counts as lost after two intervals without a frame from the broker.
const HEARTBEAT_SECONDS: u16 = 10;
/// Interval of the status check that finds a lost connection for which no event arrived.
const STATUS_CHECK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone)]
enum State {
    /// Not connected; the text is the reason.
    Down(String),
    Up(Arc<Connection>),
    /// A memory or disk alarm: the broker reads nothing from publishers.
    Blocked(Arc<Connection>, String),
}

/// One connection to the broker that reconnects whenever it is lost, until the link is dropped.
pub(super) struct Link {
    state: watch::Receiver<State>,
    health: HealthWatch,
}

#[derive(Clone)]
pub(super) struct Target {
    pub uri: AMQPUri,
    /// The name of the connection, shown by the broker's management pages.
    pub name: String,
    pub topology: Topology,
    /// `true` once a connection of this process has found the broker's feature flag enabled. A
    /// broker can't disable it again.
    pub feature_flag_is_enabled: Arc<AtomicBool>,
}

impl Link {
    /// Connects in the background.
    pub fn start(target: Target) -> Self {
        let connecting = "connecting to the broker".to_owned();
        let (state_sender, state) = watch::channel(State::Down(connecting.clone()));
        let (health_sender, health) = watch::channel(Health::Down(connecting));
        tokio::spawn(supervise(target, Reporter { state: state_sender, health: health_sender }));
        Self { state, health }
    }

    pub fn health(&self) -> HealthWatch {
        self.health.clone()
    }

    /// Returns the connection if the broker accepts messages on it, otherwise the reason.
    pub fn for_publishing(&self) -> Result<Arc<Connection>, String> {
        match &*self.state.borrow() {
            State::Up(connection) => Ok(connection.clone()),
            State::Blocked(_, reason) | State::Down(reason) => Err(reason.clone()),
        }
    }

    /// Returns the connection if it is up. The broker may block it for publishers.
    pub fn for_consuming(&self) -> Result<Arc<Connection>, Unavailable> {
        match &*self.state.borrow() {
            State::Up(connection) | State::Blocked(connection, _) => Ok(connection.clone()),
            State::Down(reason) => Err(Unavailable(reason.clone())),
        }
    }

    /// Returns the connection; while the link is down, waits a short time for it.
    pub async fn connected(&self) -> Result<Arc<Connection>, Unavailable> {
        let mut state = self.state.clone();
        let up = state.wait_for(|state| !matches!(state, State::Down(_)));
        let _ = tokio::time::timeout(CONNECTED_TIMEOUT, up).await;
        self.for_consuming()
    }
}

struct Reporter {
    state: watch::Sender<State>,
    health: watch::Sender<Health>,
}

impl Reporter {
    fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up(_))
    }

    fn report(&self, state: State) {
        let health = match &state {
            State::Up(_) => Health::Up,
            State::Blocked(_, reason) | State::Down(reason) => Health::Down(reason.clone()),
        };
        // State first: a task that waits for the health then finds the connection.
        self.state.send_replace(state);
        self.health.send_replace(health);
    }
}

async fn supervise(target: Target, reporter: Reporter) {
    let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_MAX);
    loop {
        let reason = match connect(&target).await {
            Ok(connection) => {
                backoff.reset();
                info!(link = target.name, "connected to the broker");
                reporter.report(State::Up(connection.clone()));
                tokio::select! {
                    reason = follow(&connection, &reporter) => reason,
                    () = reporter.state.closed() => {
                        let _ = connection.close(200, "closed by client".into()).await;
                        return;
                    }
                }
            }
            Err(reason) => reason,
        };
        warn!(link = target.name, reason, "no connection to the broker; reconnecting");
        reporter.report(State::Down(reason));
        tokio::select! {
            () = tokio::time::sleep(backoff.next_wait()) => {}
            () = reporter.state.closed() => return,
        }
    }
}

async fn connect(target: &Target) -> Result<Arc<Connection>, String> {
    let mut uri = target.uri.clone();
    uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT_SECONDS));
    let properties = ConnectionProperties::default()
        .with_connection_name(LongString::from(target.name.as_str()));
    let attempt = tokio::time::timeout(CONNECT_TIMEOUT, Connection::connect_uri(uri, properties));
    let connection = match attempt.await {
        Ok(connected) => connected.map_err(|error| describe(&error))?,
        Err(_) => return Err("the broker accepts connections but does not respond".into()),
    };
    match tokio::time::timeout(CALL_TIMEOUT, prepare(&connection, target)).await {
        Ok(Ok(())) => Ok(Arc::new(connection)),
        Ok(Err(reason)) => Err(reason),
        Err(_) => Err("the broker did not confirm the declaration of the queues in time".into()),
    }
}

/// Checks the broker and declares the queues.
async fn prepare(connection: &Connection, target: &Target) -> Result<(), String> {
    if !target.feature_flag_is_enabled.load(Ordering::Relaxed) {
        feature_flag::check(connection, &target.topology.queue(Destination::Activities)).await?;
        target.feature_flag_is_enabled.store(true, Ordering::Relaxed);
    }
    let declared = target.topology.declare_over(connection).await;
    declared.map_err(|error| format!("declaring the queues failed: {}", describe(&error)))
}

/// Reports the state of a connection until it is lost; returns the reason.
async fn follow(connection: &Arc<Connection>, reporter: &Reporter) -> String {
    let mut events = std::pin::pin!(connection.events_listener());
    loop {
        let event = tokio::time::timeout(STATUS_CHECK_INTERVAL, events.next()).await;
        match event {
            Ok(Some(Event::ConnectionBlocked(alarm))) => {
                let reason = format!("the broker blocks publishers ({alarm})");
                warn!(reason, "blocked by the broker");
                reporter.report(State::Blocked(connection.clone(), reason));
            }
            Ok(Some(Event::ConnectionUnblocked)) => {
                info!("unblocked by the broker");
                reporter.report(State::Up(connection.clone()));
            }
            Ok(Some(Event::Error(error))) => {
                let reason = describe(&error);
                // lapin reports the error of a channel with the same event as the error of the
                // connection, but leaves the connection connected. The owner of the channel opens
                // another one.
                if !connection.status().connected() {
                    return reason;
                }
                debug!(reason, "the broker closed a channel");
            }
            Ok(None) => return "the connection to the broker ended".into(),
            Ok(Some(_)) | Err(_) => {}
        }
        if connection.status().blocked() && reporter.is_up() {
            // The broker blocked the connection before the listener was registered.
            let reason = "the broker blocks publishers".to_owned();
            reporter.report(State::Blocked(connection.clone(), reason));
        }
        if !connection.status().connected() {
            return "the connection to the broker was lost".into();
        }
    }
}
