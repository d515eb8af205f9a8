//! A link: one connection to the broker that is made again for ever.
//!
//! lapin's own recovery gives up after a while, so a supervisor outside of it reconnects. Its
//! state is watched by publishers, subscriptions and readiness.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::types::LongString;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tracing::{info, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{Health, HealthWatch};

use super::error::explain;
use super::topology::Topology;

const RECONNECT_FIRST: Duration = Duration::from_millis(200);
const RECONNECT_MOST: Duration = Duration::from_secs(5);
/// Long, because lapin leaves a thread behind for an attempt that is abandoned.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
/// Opening a channel or declaring a queue.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// A broker that says nothing for twice as long is taken for lost.
const HEARTBEAT_SECONDS: u16 = 10;
/// How often a connection is looked at, should the event of its end not come.
const LOOK_AT_CONNECTION: Duration = Duration::from_secs(1);

/// Where a link is.
#[derive(Clone)]
enum State {
    Down(String),
    Up(Arc<Connection>),
    /// The broker reads nothing from publishers: an alarm.
    Blocked(Arc<Connection>, String),
}

/// One connection to the broker, made again whenever it is lost. Ends when it is dropped.
pub(super) struct Link {
    state: watch::Receiver<State>,
    health: HealthWatch,
}

/// What a link connects to, and as what.
#[derive(Clone)]
pub(super) struct Target {
    pub uri: AMQPUri,
    /// Shown by the broker's management pages.
    pub name: String,
    pub topology: Topology,
}

impl Link {
    /// Starts to connect.
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

    /// The connection, if it may be published to.
    pub fn for_publishing(&self) -> Result<Arc<Connection>, String> {
        match &*self.state.borrow() {
            State::Up(connection) => Ok(connection.clone()),
            State::Blocked(_, why) | State::Down(why) => Err(why.clone()),
        }
    }

    /// The connection, if it may be consumed from.
    pub fn for_consuming(&self) -> Result<Arc<Connection>, Unavailable> {
        match &*self.state.borrow() {
            State::Up(connection) | State::Blocked(connection, _) => Ok(connection.clone()),
            State::Down(why) => Err(Unavailable(why.clone())),
        }
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
            State::Blocked(_, why) | State::Down(why) => Health::Down(why.clone()),
        };
        // In this order: whoever waits for the health finds the connection.
        self.state.send_replace(state);
        self.health.send_replace(health);
    }
}

async fn supervise(target: Target, reporter: Reporter) {
    let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_MOST);
    loop {
        let why = match connect(&target).await {
            Ok(connection) => {
                backoff.reset();
                info!(link = target.name, "connected to the broker");
                reporter.report(State::Up(connection.clone()));
                tokio::select! {
                    why = follow(&connection, &reporter) => why,
                    () = reporter.state.closed() => {
                        let _ = connection.close(200, "bye".into()).await;
                        return;
                    }
                }
            }
            Err(why) => why,
        };
        warn!(link = target.name, reason = why, "no connection to the broker; trying again");
        reporter.report(State::Down(why));
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
        Ok(connected) => connected.map_err(|error| explain(&error))?,
        Err(_) => return Err("the broker takes connections but does not answer".into()),
    };
    let declared = async {
        let channel = connection.create_channel().await?;
        target.topology.declare(&channel).await?;
        channel.close(200, "declared".into()).await
    };
    match tokio::time::timeout(CALL_TIMEOUT, declared).await {
        Ok(Ok(())) => Ok(Arc::new(connection)),
        Ok(Err(error)) => Err(format!("could not declare the queues: {}", explain(&error))),
        Err(_) => Err("the broker does not answer the declaration of the queues".into()),
    }
}

/// Follows a connection until it is lost; gives the reason.
async fn follow(connection: &Arc<Connection>, reporter: &Reporter) -> String {
    let mut events = std::pin::pin!(connection.events_listener());
    loop {
        let event = tokio::time::timeout(LOOK_AT_CONNECTION, events.next()).await;
        match event {
            Ok(Some(Event::ConnectionBlocked(why))) => {
                let why = format!("the broker blocks publishers ({why})");
                warn!(reason = why, "blocked by the broker");
                reporter.report(State::Blocked(connection.clone(), why));
            }
            Ok(Some(Event::ConnectionUnblocked)) => {
                info!("unblocked by the broker");
                reporter.report(State::Up(connection.clone()));
            }
            Ok(Some(Event::Error(error))) => return explain(&error),
            Ok(None) => return "the connection ended".into(),
            Ok(Some(_)) | Err(_) => {}
        }
        if connection.status().blocked() && reporter.is_up() {
            // Blocked before anybody listened.
            let why = "the broker blocks publishers".to_owned();
            reporter.report(State::Blocked(connection.clone(), why));
        }
        if !connection.status().connected() {
            return "the connection was lost".into();
        }
    }
}
