//! Publishing on a channel with at most one unconfirmed message.
//!
//! lapin pairs returned messages with acks by their order of arrival. With one message at a time
//! that pairing is unambiguous, so an ack of a returned message is never mistaken for a confirm.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use trailpad_common::queue::{Destination, MessageKind, PublishError, Publisher};

use super::error::{describe, is_precondition_failed};
use super::link::{CALL_TIMEOUT, Link};
use super::topology::Topology;

/// AMQP 0-9-1 `delivery-mode`: the message survives a restart of the broker.
const PERSISTENT: u8 = 2;

pub(super) struct RabbitPublisher {
    link: Arc<Link>,
    topology: Topology,
    channel: Option<Channel>,
}

impl RabbitPublisher {
    pub fn new(link: Arc<Link>, topology: Topology) -> Self {
        Self { link, topology, channel: None }
    }

    /// Takes the open channel, or opens one in confirm mode.
    async fn channel(&mut self) -> Result<Channel, String> {
        let connection = self.link.for_publishing()?;
        if let Some(channel) = self.channel.take_if(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let open = async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            // Recreates a queue that was deleted.
            self.topology.declare(&channel).await?;
            Ok(channel)
        };
        match tokio::time::timeout(CALL_TIMEOUT, open).await {
            Ok(opened) => opened.map_err(|error: lapin::Error| describe(&error)),
            Err(_) => Err("the broker did not open a channel in time".into()),
        }
    }

    /// Classifies a nack. It promises nothing, because a quorum queue may nack a message while it
    /// elects a leader and keep it. Only a full queue surely holds no copy.
    async fn nacked(&self, to: Destination) -> PublishError {
        let is_full = async {
            let connection = self.link.for_publishing().ok()?;
            self.topology.is_full(&connection, to).await.ok()
        };
        match tokio::time::timeout(CALL_TIMEOUT, is_full).await {
            Ok(Some(true)) => PublishError::Refused("the queue is full".into()),
            _ => PublishError::Unknown("the broker did not take the message (basic.nack)".into()),
        }
    }
}

/// The broker closes the channel with 406 if the message is larger than its `max_message_size`.
fn unconfirmed(error: &lapin::Error) -> PublishError {
    if is_precondition_failed(error) {
        PublishError::Refused(describe(error))
    } else {
        PublishError::Unknown(describe(error))
    }
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(
        &mut self,
        to: Destination,
        kind: MessageKind,
        body: &[u8],
    ) -> Result<(), PublishError> {
        let channel = self.channel().await.map_err(PublishError::NotAccepted)?;
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(ShortString::from("application/json"))
            .with_type(ShortString::from(kind.as_str()));
        let routing_key = ShortString::from(self.topology.queue(to).as_str());
        let confirm = channel
            .basic_publish(ShortString::from(""), routing_key, options, body, properties)
            .await
            .map_err(|error| unconfirmed(&error))?;
        match confirm.await.map_err(|error| unconfirmed(&error))? {
            Confirmation::Ack(None) => {
                self.channel = Some(channel);
                Ok(())
            }
            // The channel is dropped: after a nack, the next message goes over another one.
            Confirmation::Nack(None) => Err(self.nacked(to).await),
            // The channel is dropped, so that the next call opens one and declares the queues.
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
                Err(PublishError::NotAccepted("the queue does not exist".into()))
            }
            Confirmation::NotRequested => {
                Err(PublishError::Unknown("the channel is not in confirm mode".into()))
            }
        }
    }
}
