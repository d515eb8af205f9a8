//! Texts for lapin's errors, built from the kind of an error, not from data that it may quote.

use lapin::{Error, ErrorKind};

/// Describes an error for an operator.
pub(super) fn describe(error: &Error) -> String {
    match error.kind() {
        ErrorKind::IOError(io) => format!("broker connection: {io}"),
        ErrorKind::ProtocolError(protocol) => {
            // The broker's message holds codes and names of queues, never content of messages.
            format!("the broker reported {} ({})", protocol.get_message(), protocol.get_id())
        }
        ErrorKind::MissingHeartbeatError => "the broker stopped sending heartbeats".into(),
        other => format!("broker connection: {}", describe_kind(other)),
    }
}

fn describe_kind(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ChannelsLimitReached => "the limit of channels is reached",
        ErrorKind::InvalidChannelState(..) => "the channel is closed",
        ErrorKind::InvalidConnectionState(_) => "the connection is closed",
        ErrorKind::AuthProviderError(_) => "authentication failed",
        ErrorKind::InvalidProtocolVersion(_) => "the server does not support AMQP 0-9-1",
        _ => "the connection failed",
    }
}
