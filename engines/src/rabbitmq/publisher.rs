//! Publishing: one channel with at most one unconfirmed message.
//!
//! lapin pairs returned messages and acks by their order of arrival; with one message at a time
//! there is nothing to pair wrongly, and an ack that came with a return is never taken for a
//! confirm.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use trailpad_common::queue::{Destination, MessageKind, PublishError, Publisher};

use super::error::explain;
use super::link::{CALL_TIMEOUT, Link};
use super::topology::Topology;

/// Survives a restart of the broker (AMQP 0-9-1, `delivery-mode`).
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

    /// The open channel, or a new one in confirm mode.
    async fn channel(&mut self) -> Result<Channel, String> {
        let connection = self.link.for_publishing()?;
        if let Some(channel) = self.channel.take_if(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let open = async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            // Brings back a queue that somebody deleted.
            self.topology.declare(&channel).await?;
            Ok(channel)
        };
        match tokio::time::timeout(CALL_TIMEOUT, open).await {
            Ok(opened) => opened.map_err(|error: lapin::Error| explain(&error)),
            Err(_) => Err("the broker does not open a channel".into()),
        }
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
        let unknown = |error: lapin::Error| PublishError::Unknown(explain(&error));
        let confirm = channel
            .basic_publish(ShortString::from(""), routing_key, options, body, properties)
            .await
            .map_err(unknown)?;
        match confirm.await.map_err(unknown)? {
            Confirmation::Ack(None) => {
                self.channel = Some(channel);
                Ok(())
            }
            Confirmation::Nack(None) => {
                self.channel = Some(channel);
                Err(PublishError::Refused("the broker did not take the message".into()))
            }
            // The channel is not kept: the next one declares the queues again.
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => {
                Err(PublishError::NotAccepted("the queue does not exist".into()))
            }
            Confirmation::NotRequested => {
                Err(PublishError::Unknown("the channel is not in confirm mode".into()))
            }
        }
    }
}
