//! A large message in the store: what its recipients are invited with once more.
//!
//! ```text
//!  [job: recipients and their copies' names, as in pager mode] [invite] [content]
//! ```

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes};

use super::large_message_mode::AcceptedInvite;
use crate::controlling::handed_over::{put, take};
use crate::controlling::header_fields::put as put_field;
use crate::controlling::host::Host;
use crate::controlling::ids::CopyIds;
use crate::controlling::pager_mode::{
    FanOutJob, Keep, NOT_SENDABLE_CODE, RECORD_VERSION, SenderOf,
};
use crate::controlling::received::Kind;
use crate::controlling::service::ControllingFunction;
use crate::imdn::MessageHead;
use crate::msrp::Field;
use crate::msrp_control::{SESSION_ID_BYTES, SessionId, StoredContent};
use crate::msrp_session::OutgoingMessage;
use crate::shared::{Charge, Link, MessageNumber, MessageText};
use crate::sip::{HeaderBlock, HeaderName};

/// Of the form of a large message's record. Those of pager mode are smaller.
pub const LARGE_RECORD_VERSION: u32 = 0x101;

/// Header fields of the INVITE that a notification about the message needs.
const OF_NOTIFICATIONS: &[HeaderName] = &[
    HeaderName::AcceptContact,
    HeaderName::ConversationId,
    HeaderName::ContributionId,
];

/// A large message in the store.
#[derive(Debug)]
pub struct KeptInvite {
    /// Its recipients that are left.
    pub job: FanOutJob,
    /// Its INVITE.
    pub invite: AcceptedInvite,
    /// Its content.
    pub content: StoredContent,
}

impl KeptInvite {
    /// A message whose content is whole. `secret`: random.
    pub fn new(
        invite: AcceptedInvite,
        content: StoredContent,
        service: &ControllingFunction,
        secret: [u8; 32],
    ) -> Self {
        let mut headers = HeaderBlock::new();
        for field in OF_NOTIFICATIONS
            .iter()
            .flat_map(|name| invite.message.all(*name))
        {
            headers.push_line(&field);
        }
        if invite.kind == Kind::Group {
            let own = format!("<{}>", invite.own_address);
            put_field(&mut headers, "P-Asserted-Identity", own);
        }
        put_field(&mut headers, "Content-Type", "message/cpim");
        let mut about = invite.about.clone();
        about.bytes = content.size;
        if let Some(head) = MessageHead::of(&content.head) {
            about = about.with(MessageText::MessageId, Some(head.message_id));
        }
        let recipients = invite.recipients.lines().count();
        let job = FanOutJob {
            from: format!("<{}>", invite.originator),
            headers: headers.into_bytes(),
            body: content.head.clone(),
            next_hop: None,
            isf: None,
            ids: CopyIds::of_secret(secret),
            claim: None,
            recipients: invite.recipients.clone(),
            reply_headers: Vec::new(),
            correlation: format!("session={}", invite.session),
            position: 0,
            place: 0,
            untried: 0,
            failed: 0,
            message: invite.record,
            legs: (0..).take(recipients).collect(),
            messages: None,
            charge: Charge::default(),
            about,
            keep: Some(Keep {
                identity: Bytes::new(),
                lifetime_s: Keep::lifetime_of(&invite.message),
                sender: sender_of(&invite, &content.head, service),
            }),
            attempts: BTreeMap::new(),
            unsent_code: NOT_SENDABLE_CODE,
        };
        KeptInvite {
            job,
            invite,
            content,
        }
    }

    /// For another process of the same build.
    pub fn write(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.write_rest(&mut rest);
        Self::hand_over(&self.job, &rest)
    }

    /// What the store keeps of what [`write`](Self::write) has written, in the form of
    /// [`LARGE_RECORD_VERSION`], and its job. `None`: it is torn.
    pub fn record_in(mut written: Bytes) -> Option<(Bytes, FanOutJob)> {
        let job = take(&mut written)?;
        let (record, _) = FanOutJob::record_in(&job)?;
        let mut bytes = Vec::with_capacity(record.len() + written.len() + 8);
        put(&mut bytes, &record);
        bytes.put_slice(&written);
        Some((bytes.into(), FanOutJob::read(job)?))
    }

    fn write_rest(&self, bytes: &mut Vec<u8>) {
        let invite = AcceptedInvite {
            claim: None,
            record: MessageNumber::default(),
            ..self.invite.clone()
        };
        put(bytes, &invite.write());
        let StoredContent {
            file,
            size,
            message,
            head,
        } = &self.content;
        bytes.put_slice(file.as_bytes());
        bytes.put_u64(*size);
        put(bytes, head);
        put(bytes, &message.message_id);
        put(bytes, &message.content_type);
        bytes.put_u32(u32::try_from(message.content_fields.len()).unwrap_or(0));
        for field in &message.content_fields {
            put(bytes, &field.name);
            put(bytes, &field.value);
        }
    }

    /// The job of a record, and the rest of it. `None`: it is torn.
    pub fn job_of(mut record: Bytes) -> Option<(FanOutJob, Bytes)> {
        let job = FanOutJob::of_record(RECORD_VERSION, take(&mut record)?)?;
        Some((job, record))
    }

    /// For another process of the same build: what is left of the job, and the rest of a record.
    pub fn hand_over(job: &FanOutJob, rest: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, &job.write());
        bytes.put_slice(rest);
        bytes
    }

    /// The inverse of [`write`](Self::write) and [`hand_over`](Self::hand_over). `None`: it is
    /// torn.
    pub fn read(mut bytes: Bytes) -> Option<Self> {
        let bytes = &mut bytes;
        let job = FanOutJob::read(take(bytes)?)?;
        let mut invite = AcceptedInvite::read(take(bytes)?)?;
        invite.record = job.message;
        invite.recipients = job.recipients[job.position..].to_owned();
        let mut file = [0; SESSION_ID_BYTES];
        bytes.try_copy_to_slice(&mut file).ok()?;
        let size = bytes.try_get_u64().ok()?;
        let head = take(bytes)?;
        let (message_id, content_type) = (take(bytes)?, take(bytes)?);
        let fields = bytes.try_get_u32().ok()?;
        let mut field = || {
            Some(Field {
                name: take(bytes)?,
                value: take(bytes)?,
            })
        };
        let content_fields = (0..fields).map(|_| field()).collect::<Option<_>>()?;
        Some(KeptInvite {
            job,
            invite,
            content: StoredContent {
                file: SessionId::from_bytes(file),
                size,
                message: OutgoingMessage {
                    message_id,
                    content_type,
                    content_fields,
                    total: Some(size),
                },
                head,
            },
        })
    }
}

impl ControllingFunction {
    /// Notes the sender of a large message that is kept now, which may want to know if all
    /// recipients fail.
    pub fn note_large(&self, job: &FanOutJob) {
        if let (Some(messages), Some(link)) = (self.messages(), self.note_kept_sender(job, 0)) {
            messages.set_sender(job.message, link);
        }
    }

    /// A recipient of a kept large message has finally failed.
    pub fn handle_kept_failed(&self, job: &FanOutJob, host: &dyn Host) {
        let sender = self
            .messages()
            .map(|messages| messages.sender_link(job.message));
        if let Some(sender) = sender.filter(|sender| *sender != Link::default())
            && let Some(copy) = job.copy()
        {
            self.handle_failed(&copy, sender, 1, host);
        }
    }
}

/// Who gets disposition notifications about a message. `head`: the header of its CPIM wrapper.
fn sender_of(
    invite: &AcceptedInvite,
    head: &Bytes,
    service: &ControllingFunction,
) -> Option<SenderOf> {
    service.senders()?;
    let head = MessageHead::of(head)?;
    let wanted = head.wanted?;
    Some(SenderOf {
        uri: invite.notifications_to.clone()?,
        wants_failure: service.settings().failure_imdn && wanted.failed,
        message_id: head.message_id,
    })
}

#[cfg(test)]
mod tests {
    use super::super::pager_mode::fixtures::{Scripted, cpim_job, sharing};
    use super::*;

    /// Whether Anne is told once three recipients have failed.
    fn is_told(wants_failure: bool) -> bool {
        let (service, host) = (sharing(&[]), Scripted::default());
        let mut job = cpim_job();
        job.keep = Some(Keep {
            sender: Some(SenderOf {
                message_id: "m1".to_owned(),
                uri: "sip:anne@example.com".to_owned(),
                wants_failure,
            }),
            ..Keep::default()
        });
        job.message = service.note_message(&job.about, Link::default());
        service.note_large(&job);
        service.handle_kept_failed(&job, &host);
        service.handle_kept_failed(&job, &host);
        assert!(host.sent.borrow().is_empty());
        service.handle_kept_failed(&job, &host);
        let sent = host.sent.borrow();
        sent.iter().any(|(uri, _)| uri == "sip:anne@example.com")
    }

    #[test]
    fn the_sender_of_a_kept_message_is_told_if_it_wants_to_know() {
        assert!(is_told(true));
        assert!(!is_told(false));
    }
}
