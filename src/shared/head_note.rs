//! What is recorded about a large message once its header has arrived.

use bytes::Bytes;

use super::message_table::{MessageNumber, MessageTable};
use super::sender_table::SenderNote;
use crate::imdn::{self, NotificationRequest};

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
        if let (Some(sender), Some(request)) = (&self.sender, NotificationRequest::of(head)) {
            sender.note(&request.message_id);
        }
        if let (Some((messages, number)), Some(id)) = (&self.message, imdn::message_id_of(head)) {
            messages.set_message_id(*number, id.as_bytes());
        }
    }
}
