//! What is recorded about a large message once its header has arrived.

use bytes::Bytes;

use super::message_table::{MessageNumber, MessageTable};
use super::sender_table::SenderNote;
use crate::imdn::MessageHead;

/// What to record once the header of a large message has arrived.
#[derive(Clone, Debug)]
pub struct HeadNote {
    /// Its sender, if notifications are forwarded to it.
    pub sender: Option<SenderNote>,
    /// The record of the message, which lacks the Message-ID.
    pub message: Option<(MessageTable, MessageNumber)>,
}

impl HeadNote {
    /// Records it. `head`: a CPIM message, which may end anywhere after its header.
    pub fn note(&self, head: &Bytes) {
        let Some(head) = MessageHead::of(head) else {
            return;
        };
        if let Some(sender) = self.sender.as_ref().filter(|_| head.wanted.is_some()) {
            sender.note(&head.message_id);
        }
        if let Some((messages, number)) = &self.message {
            messages.set_message_id(*number, head.message_id.as_bytes());
        }
    }
}
