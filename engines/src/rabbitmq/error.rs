//! lapin's errors in words. Built from their kind, never from what they might quote.

use lapin::{Error, ErrorKind};

/// What happened, for an operator.
pub(super) fn explain(error: &Error) -> String {
    match error.kind() {
        ErrorKind::IOError(io) => format!("broker connection: {io}"),
        ErrorKind::ProtocolError(protocol) => {
            // The broker's own words: codes and names of queues, never of messages.
            format!("the broker said {} ({})", protocol.get_message(), protocol.get_id())
        }
        ErrorKind::MissingHeartbeatError => "the broker stopped answering heartbeats".into(),
        other => format!("broker connection: {}", name(other)),
    }
}

fn name(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ChannelsLimitReached => "no channel is left on it",
        ErrorKind::InvalidChannelState(..) => "the channel was closed",
        ErrorKind::InvalidConnectionState(_) => "it was closed",
        ErrorKind::AuthProviderError(_) => "authentication failed",
        ErrorKind::InvalidProtocolVersion(_) => "the server speaks no AMQP 0-9-1",
        _ => "it failed",
    }
}
