//! What the store needs of a message beside what its copies are made of.

use bytes::Bytes;

use crate::controlling::request::Request;
use crate::controlling::request_identity::RequestIdentity;
use crate::sip::{HeaderName, Message};

/// What is remembered of a message that is to be kept, beside what its copies are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::controlling) struct Keep {
    /// What its sender's repetitions are known by.
    pub(in crate::controlling) identity: Bytes,
    /// For how many seconds it is of use, as its sender says.
    pub(in crate::controlling) lifetime_s: Option<u32>,
    /// Who gets disposition notifications about it.
    pub(in crate::controlling) sender: Option<SenderOf>,
}

/// The sender of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controlling) struct SenderOf {
    pub(in crate::controlling) message_id: String,
    pub(in crate::controlling) uri: String,
    /// Whether it wants to know when all recipients have failed.
    pub(in crate::controlling) wants_failure: bool,
}

impl Keep {
    /// For how many seconds a message is of use, as its sender says.
    pub(in crate::controlling) fn lifetime_of(message: &Message) -> Option<u32> {
        let seconds = |name| {
            let field = message.first(name)?;
            field.text().ok()?.trim().parse::<u32>().ok()
        };
        let lifetimes = [HeaderName::Expires, HeaderName::MessageExpires].map(seconds);
        lifetimes.into_iter().flatten().min()
    }
}

impl Request {
    /// What the store needs of it.
    pub(in crate::controlling) fn keep(&self) -> Keep {
        let noted = || {
            let head = self.message_head()?;
            let wanted = head.wanted?;
            Some(SenderOf {
                uri: self.notifications_to()?.to_owned(),
                wants_failure: self.service.settings().failure_imdn && wanted.failed,
                message_id: head.message_id.clone(),
            })
        };
        Keep {
            identity: RequestIdentity::of(&self.message).write().into(),
            lifetime_s: Keep::lifetime_of(&self.message),
            sender: self.service.senders().and_then(|_| noted()),
        }
    }
}
