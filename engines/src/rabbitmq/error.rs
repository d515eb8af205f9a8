//! Texts for lapin's errors, built from the kind of an error, not from data that it may quote.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
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

/// `true` if the broker closed the channel and not the connection (a soft error of AMQP 0-9-1).
pub(super) fn is_channel_error(error: &Error) -> bool {
    soft(error).is_some()
}

/// `true` if the queue does not exist (404).
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(soft(error), Some(AMQPSoftError::NOTFOUND))
}

/// `true` if the broker refused an argument or a message (406).
pub(super) fn is_precondition_failed(error: &Error) -> bool {
    matches!(soft(error), Some(AMQPSoftError::PRECONDITIONFAILED))
}

/// `true` if the broker could not complete a call (541). It also closes the connection.
pub(super) fn is_internal_error(error: &Error) -> bool {
    let ErrorKind::ProtocolError(protocol) = error.kind() else { return false };
    matches!(protocol.kind(), AMQPErrorKind::Hard(AMQPHardError::INTERNALERROR))
}

fn soft(error: &Error) -> Option<&AMQPSoftError> {
    let ErrorKind::ProtocolError(protocol) = error.kind() else { return None };
    match protocol.kind() {
        AMQPErrorKind::Soft(soft) => Some(soft),
        AMQPErrorKind::Hard(_) => None,
    }
}
