//! A fan-out as bytes: for another process of the same build, and for the store, from which another
//! build may read it.
//!
//! ```text
//!  [state: what is of use to this proxy only] [record: what the copies are made of]
//! ```

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BufMut, Bytes};

use super::fan_out_job::{FanOutJob, Isf, NOT_SENDABLE_CODE};
use super::keep::{Keep, SenderOf};
use crate::controlling::about::{put_about, put_number, take_about, take_number};
use crate::controlling::attempt::Attempt;
use crate::controlling::handed_over::{
    put, put_claim, put_option, take, take_claim, take_option, take_text,
};
use crate::controlling::host::{AboutRequest, Counter, Host};
use crate::controlling::ids::CopyIds;
use crate::controlling::received::Mode;
use crate::controlling::request_identity::RequestIdentity;
use crate::controlling::service::ControllingFunction;
use crate::shared::{Charge, Claim, Link, MessageNumber, SenderTable};
use crate::sip::StatusCode;
use crate::store::{CopyId, Unsent, Wanted};

/// Of the form of a record. One that is larger was written by a later release.
pub const RECORD_VERSION: u32 = 1;

/// What is of use to this proxy only.
#[derive(Default)]
struct State {
    claim: Option<Claim>,
    reply_headers: Bytes,
    identity: Bytes,
    is_kept: bool,
    place: usize,
    untried: usize,
    failed: u32,
    message: MessageNumber,
    legs: VecDeque<u32>,
    charge: Charge,
}

impl State {
    fn take(bytes: &mut Bytes) -> Option<Self> {
        Some(State {
            claim: take_claim(bytes)?,
            reply_headers: take(bytes)?,
            identity: take(bytes)?,
            is_kept: bytes.try_get_u8().ok()? == 1,
            place: usize::try_from(bytes.try_get_u64().ok()?).ok()?,
            untried: usize::try_from(bytes.try_get_u64().ok()?).ok()?,
            failed: bytes.try_get_u32().ok()?,
            message: take_number(bytes)?,
            legs: take_legs(bytes)?,
            charge: Charge::from_bits(bytes.try_get_u32().ok()?),
        })
    }
}

fn take_legs(bytes: &mut Bytes) -> Option<VecDeque<u32>> {
    let legs = bytes.try_get_u32().ok()?;
    (0..legs).map(|_| bytes.try_get_u32().ok()).collect()
}

impl FanOutJob {
    /// As bytes for another process of the same build.
    pub fn write(&self) -> Vec<u8> {
        let size = self.headers.len() + self.body.len() + self.rest();
        let mut bytes = Vec::with_capacity(size + 1024);
        put_claim(&mut bytes, self.claim);
        put(&mut bytes, &self.reply_headers);
        let keep = self.keep.as_ref();
        put(&mut bytes, keep.map_or(b"", |keep| &keep.identity));
        bytes.put_u8(u8::from(keep.is_some()));
        bytes.put_u64(self.place as u64);
        bytes.put_u64(self.untried as u64);
        bytes.put_u32(self.failed);
        put_number(&mut bytes, self.message);
        bytes.put_u32(u32::try_from(self.legs.len()).unwrap_or(0));
        self.legs.iter().for_each(|leg| bytes.put_u32(*leg));
        bytes.put_u32(self.charge.bits());
        self.write_record(&mut bytes);
        bytes
    }

    /// What the copies are made of, in the form of [`RECORD_VERSION`].
    fn write_record(&self, bytes: &mut Vec<u8>) {
        put(bytes, self.from.as_bytes());
        put(bytes, &self.headers);
        put(bytes, &self.body);
        put_option(bytes, self.next_hop.as_deref().map(str::as_bytes));
        put_option(bytes, self.isf.as_ref().map(|isf| isf.uri.as_bytes()));
        put_option(bytes, self.isf.as_ref().map(|isf| &isf.headers[..]));
        bytes.put_slice(self.ids.secret());
        put(bytes, &self.recipients.as_bytes()[self.position..]);
        put(bytes, self.correlation.as_bytes());
        put_about(bytes, &self.about);
        let keep = self.keep.as_ref();
        // An hour that never comes stands for none.
        bytes.put_u32(keep.and_then(|keep| keep.lifetime_s).unwrap_or(u32::MAX));
        let sender = keep.and_then(|keep| keep.sender.as_ref());
        put_option(bytes, sender.map(|sender| sender.message_id.as_bytes()));
        put_option(bytes, sender.map(|sender| sender.uri.as_bytes()));
        bytes.put_u8(u8::from(sender.is_some_and(|sender| sender.wants_failure)));
    }

    /// The inverse of [`FanOutJob::write`]; `None` for anything else.
    pub fn read(bytes: Bytes) -> Option<Self> {
        let mut bytes = bytes;
        let state = State::take(&mut bytes)?;
        FanOutJob::new(state, bytes)
    }

    /// What the store keeps of what [`FanOutJob::write`] has written: the record, and what
    /// repetitions of the request are known by.
    pub fn record_in(written: &Bytes) -> Option<(Bytes, Bytes)> {
        let mut bytes = written.clone();
        let state = State::take(&mut bytes)?;
        Some((bytes, state.identity))
    }

    /// A message that a process before this one has kept. Its copies go out once more. `None`: the
    /// record is torn, or of a later release.
    pub fn of_record(version: u32, record: Bytes) -> Option<Self> {
        if version != RECORD_VERSION {
            return None;
        }
        let state = State {
            is_kept: true,
            ..State::default()
        };
        let mut job = FanOutJob::new(state, record)?;
        job.legs = (0..).take(job.recipients_left()).collect();
        Some(job)
    }

    fn new(state: State, mut bytes: Bytes) -> Option<Self> {
        let bytes = &mut bytes;
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).ok();
        let from = take_text(bytes)?;
        let headers = take(bytes)?.to_vec();
        let body = take(bytes)?;
        let next_hop = take_option(bytes)?.and_then(text);
        let isf_uri = take_option(bytes)?.and_then(text);
        let isf_headers = take_option(bytes)?;
        let isf = isf_uri.zip(isf_headers).map(|(uri, headers)| Isf {
            uri,
            headers: headers.to_vec(),
        });
        let mut secret = [0; 32];
        bytes.try_copy_to_slice(&mut secret).ok()?;
        let recipients = take_text(bytes)?;
        let correlation = take_text(bytes)?;
        let about = take_about(bytes)?;
        let lifetime_s = Some(bytes.try_get_u32().ok()?).filter(|seconds| *seconds < u32::MAX);
        let message_id = take_option(bytes)?.and_then(text);
        let uri = take_option(bytes)?.and_then(text);
        let wants_failure = bytes.try_get_u8().ok()? == 1;
        let sender = message_id.zip(uri).map(|(message_id, uri)| SenderOf {
            message_id,
            uri,
            wants_failure,
        });
        let keep = Keep {
            identity: state.identity,
            lifetime_s,
            sender,
        };
        Some(FanOutJob {
            from,
            headers,
            body,
            next_hop,
            isf,
            ids: CopyIds::of_secret(secret),
            claim: state.claim,
            recipients,
            reply_headers: state.reply_headers.to_vec(),
            correlation,
            position: 0,
            place: state.place,
            untried: state.untried,
            failed: state.failed,
            message: state.message,
            legs: state.legs,
            messages: None,
            charge: state.charge,
            about,
            keep: state.is_kept.then_some(keep),
            attempts: BTreeMap::new(),
            unsent_code: NOT_SENDABLE_CODE,
        })
    }

    /// The names of all copies, one after another.
    pub fn copies(&self) -> impl Iterator<Item = CopyId> {
        self.recipients()
            .map(|recipient| self.ids.copy_of(recipient))
    }

    /// Leaves out all recipients but those that are to be sent to, or given up for this reason.
    /// `wanted`: in the order of [`copies`](Self::copies).
    pub fn keep_only(&mut self, wanted: &[Option<Wanted>], give_up: Option<Unsent>) {
        let is_kept = |wanted: &Option<Wanted>| wanted.filter(|wanted| wanted.give_up == give_up);
        let wanted: Vec<Option<Wanted>> = wanted.iter().map(is_kept).collect();
        let recipients = self.recipients[self.position..].split_inclusive('\n');
        let left = recipients
            .zip(&wanted)
            .filter(|(_, wanted)| wanted.is_some());
        self.recipients = left.map(|(recipient, _)| recipient).collect();
        let legs = self.legs.iter().zip(&wanted);
        let legs = legs.filter_map(|(leg, wanted)| wanted.map(|wanted| (*leg, wanted)));
        let attempt = |(leg, wanted): (u32, Wanted)| (leg, (wanted.cseq, wanted.is_again));
        self.attempts = legs.clone().map(attempt).collect();
        self.legs = legs.map(|(leg, _)| leg).collect();
        self.position = 0;
        if let Some(why) = give_up {
            self.unsent_code = why.code();
        }
    }

    /// The recipients that are left.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.recipients[self.position..].lines()
    }

    /// The record of its request.
    pub fn about(&self) -> &AboutRequest {
        &self.about
    }

    /// Their numbers in the message.
    pub fn places(&self) -> Vec<u32> {
        self.legs.iter().copied().collect()
    }

    /// The name of the copy for this recipient.
    pub fn copy_of(&self, recipient: &str) -> CopyId {
        self.ids.copy_of(recipient)
    }

    /// How many recipients are left.
    pub fn recipients_left(&self) -> usize {
        memchr::memchr_iter(b'\n', &self.recipients.as_bytes()[self.position..]).count()
    }

    /// Whether it goes to the store before anything is sent.
    pub fn is_to_be_kept(&self) -> bool {
        self.keep.is_some()
    }

    /// For how many seconds it is of use, as its sender says.
    pub fn lifetime_s(&self) -> Option<u64> {
        self.keep.as_ref()?.lifetime_s.map(u64::from)
    }

    /// Its record in the table of messages, as numbers; 0: none.
    pub fn mark(&self) -> [u64; 2] {
        self.message.to_words()
    }

    /// The inverse.
    pub fn set_mark(&mut self, mark: [u64; 2]) {
        self.message = MessageNumber::of_words(mark);
    }

    /// For log lines.
    pub fn correlation(&self) -> &str {
        &self.correlation
    }
}

impl ControllingFunction {
    /// A kept message could not be kept after all: it may come again.
    pub fn handle_not_kept(&self, job: &FanOutJob, host: &dyn Host) {
        self.give_back(job.claim);
        self.forget_message(job.message);
        if let Some(outstanding) = &self.outstanding {
            outstanding.release(job.charge, job.about.recipients as usize);
        }
        host.count(Counter::Refused, 1);
        self.handle_refused(Mode::Pager, StatusCode::SERVICE_UNAVAILABLE.as_u16());
        host.count(Counter::StoreRefused, 1);
    }

    /// A copy has not left after all, for want of room: it is not awaited for now.
    pub fn handle_unsent_copy(&self, attempt: u64, recipient: &str) {
        if let Attempt::Copy { charge, to_isf, .. } = Attempt::of_bits(attempt) {
            self.release(Some(recipient).filter(|_| !to_isf), charge, false);
        }
    }

    /// The requests with this identity were taken by a process before this one, and have their
    /// answer.
    pub fn remember(&self, identity: &[u8]) {
        if let Some(requests) = self.requests()
            && let Some(identity) = RequestIdentity::read(identity)
            && let Ok(claimed) = requests.claim(&identity.name(requests, false))
        {
            requests.answered(claimed.claim);
        }
    }

    /// Whether a message has its record, and its sender is known.
    pub fn is_noted(&self, job: &FanOutJob) -> bool {
        let [number, _] = job.mark();
        let sender = job.keep.as_ref().and_then(|keep| keep.sender.as_ref());
        let is_known = |senders: &SenderTable| {
            sender.is_none_or(|sender| senders.find(&sender.message_id).is_some())
        };
        number != 0
            && self
                .messages()
                .is_none_or(|messages| messages.message(number).is_some())
            && self.senders().is_none_or(is_known)
    }

    /// Notes the sender of a message that a process before this one has kept, for disposition
    /// notifications, and how many of its recipients have failed.
    pub fn note_kept(&self, job: &mut FanOutJob, failed: usize) {
        // Another boot of the machine has another clock.
        let now_ms = self.messages().map_or(0, |messages| messages.now_ms());
        job.about.received_ms = job.about.received_ms.min(now_ms);
        let link = self.note_kept_sender(job, failed);
        job.message = self.note_message(&job.about, link.unwrap_or_default());
    }

    pub(in crate::controlling) fn note_kept_sender(
        &self,
        job: &FanOutJob,
        failed: usize,
    ) -> Option<Link> {
        let sender = job.keep.as_ref()?.sender.as_ref()?;
        let senders = self.senders()?;
        let counted = if sender.wants_failure {
            job.about.recipients as usize
        } else {
            0
        };
        let ttl_s = self.settings().imdn_ttl_s as u64;
        let noted = senders.note_counted(&sender.message_id, &sender.uri, ttl_s, counted);
        // Those that are left have not failed: that is never all of them.
        noted.map(|noted| {
            senders.fail(noted.link(), failed);
            noted.link()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fan_out_job::tests::{job, sharing};
    use super::*;

    fn kept() -> FanOutJob {
        FanOutJob {
            keep: Some(Keep {
                identity: Bytes::from_static(b"who"),
                lifetime_s: Some(60),
                sender: Some(SenderOf {
                    message_id: "m1".to_owned(),
                    uri: "sip:anne@example.com".to_owned(),
                    wants_failure: true,
                }),
            }),
            ..job()
        }
    }

    /// After a restart, a message of the store has its record and its sender once, and again when
    /// the rings have given their places to others.
    #[test]
    fn a_kept_message_is_noted_until_its_place_is_given_away() {
        let service = sharing(&[]);
        let mut job = kept();
        assert!(!service.is_noted(&job));
        service.note_kept(&mut job, 0);
        assert!(service.is_noted(&job));
        let mark = job.mark();
        let mut again = kept();
        again.set_mark(mark);
        assert!(service.is_noted(&again));
        let senders = service.senders().unwrap();
        let others = |n: usize| {
            for other in 0..n {
                senders.note(&other.to_string(), "sip:b@example.com", 60);
            }
        };
        others(3);
        assert!(service.is_noted(&job));
        others(1);
        assert!(!service.is_noted(&job), "its sender is gone");
        service.note_kept(&mut job, 0);
        assert!(service.is_noted(&job));
        service.forget_message(job.message);
        assert!(!service.is_noted(&job), "its record is gone");
        // One whose sender wants no notifications needs its record only.
        job.keep = None;
        service.note_kept(&mut job, 0);
        assert!(service.is_noted(&job));
    }

    /// Those that failed before the restart count.
    #[test]
    fn a_kept_message_knows_who_has_failed() {
        for (failed, left) in [(0, 3), (1, 2), (2, 1)] {
            let service = sharing(&[]);
            let mut job = kept();
            service.note_kept(&mut job, failed);
            let link = service.messages().unwrap().sender_link(job.message);
            let senders = service.senders().unwrap();
            assert_eq!(senders.fail(link, left - 1), None, "{failed}");
            let sender = senders.fail(link, 1);
            assert_eq!(sender.as_deref(), Some("sip:anne@example.com"), "{failed}");
        }
    }

    #[test]
    fn what_is_cut_is_no_job() {
        let bytes = kept().write();
        for end in 0..bytes.len() {
            let cut = Bytes::copy_from_slice(&bytes[..end]);
            assert!(FanOutJob::read(cut).is_none(), "{end}");
        }
    }

    #[test]
    fn a_record_makes_the_same_copies_once_more() {
        let first = kept();
        let (record, identity) = FanOutJob::record_in(&first.write().into()).unwrap();
        assert_eq!(identity, "who");
        let mut again = FanOutJob::of_record(RECORD_VERSION, record.clone()).unwrap();
        assert_eq!(
            again.copies().collect::<Vec<_>>(),
            first.copies().collect::<Vec<_>>()
        );
        assert_eq!((&again.headers, &again.body), (&first.headers, &first.body));
        assert_eq!(again.lifetime_s(), Some(60));
        assert_eq!(
            again.keep.as_ref().unwrap().sender,
            first.keep.as_ref().unwrap().sender
        );
        assert_eq!((again.claim, again.charge), (None, Charge::default()));
        let sent = |cseq, give_up| {
            Some(Wanted {
                cseq,
                is_again: cseq == 1,
                give_up,
            })
        };
        again.keep_only(&[sent(1, None), None, sent(3, None)], None);
        assert_eq!(again.recipients, "sip:a@example.com\nsip:c@example.com\n");
        assert_eq!(again.recipients_left(), 2);
        assert_eq!(again.attempts, [(0, (1, true)), (2, (3, false))].into());
        let mut over = FanOutJob::of_record(RECORD_VERSION, record.clone()).unwrap();
        let too_many = Some(Unsent::TooMany(480));
        over.keep_only(&[sent(1, None), sent(2, too_many), None], too_many);
        assert_eq!(over.recipients, "sip:b@example.com\n");
        assert_eq!((over.unsent_code, over.legs), (480, [1].into()));
        assert!(FanOutJob::of_record(RECORD_VERSION + 1, record).is_none());
    }

    /// What version 1 looks like: another form needs another number.
    #[test]
    fn a_record_of_version_1_is_read_by_every_build() {
        let (record, _) = FanOutJob::record_in(&kept().write().into()).unwrap();
        let written = hex::encode(&record);
        assert_eq!(written, include_str!("testdata/record-1.hex").trim_end());
    }
}
