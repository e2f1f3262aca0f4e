//! The fan-out of one message: the same header lines and body to each recipient, one after another.
//!
//! It begins in the SIP worker that received the request. When the host finds that it takes too
//! long, or that the transactions in progress use too much memory, the rest is passed to a process
//! that has nothing else to do: no worker is kept from other requests.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::keep::Keep;
use crate::controlling::attempt::Attempt;
use crate::controlling::host::{AboutRequest, Counter, Host, OutgoingRequest, Sent};
use crate::controlling::ids::CopyIds;
use crate::controlling::refusal::Reply;
use crate::log::at;
use crate::shared::{Charge, Claim, MessageNumber, MessageTable, RecipientState};
use crate::sip::Message;

/// Status code of a recipient whose request cannot be sent (RFC 3261 §8.1.3.1).
pub(in crate::controlling) const NOT_SENDABLE_CODE: u16 = 503;

/// A fan-out in progress: the parts that all copies share, the recipients, and the position.
#[derive(Debug)]
pub struct FanOutJob {
    pub(in crate::controlling) from: String,
    pub(in crate::controlling) headers: Vec<u8>,
    pub(in crate::controlling) body: Bytes,
    pub(in crate::controlling) next_hop: Option<String>,
    /// The ISF for recipients whose URI is not routable.
    pub(in crate::controlling) isf: Option<Isf>,
    pub(in crate::controlling) ids: CopyIds,
    /// The claim that prevents a second fan-out, if requests are remembered.
    pub(in crate::controlling) claim: Option<Claim>,
    /// The recipients' URIs, each followed by a line end, which no URI contains.
    pub(in crate::controlling) recipients: String,
    /// Header lines of the 202.
    pub(in crate::controlling) reply_headers: Vec<u8>,
    /// For the log.
    pub(in crate::controlling) correlation: String,
    /// Offset of the next recipient's URI, and its index in the list. A recipient that is busy
    /// moves to the end of the list, so that the others do not wait for it.
    pub(in crate::controlling) position: usize,
    pub(in crate::controlling) place: usize,
    /// Number of recipients not tried yet. The 202 does not wait for recipients that take longer.
    pub(in crate::controlling) untried: usize,
    pub(in crate::controlling) failed: u32,
    /// The record of the message, and the number in it of each recipient that is left.
    pub(in crate::controlling) message: MessageNumber,
    pub(in crate::controlling) legs: VecDeque<u32>,
    /// Where it is; `None`: nowhere.
    pub(in crate::controlling) messages: Option<MessageTable>,
    /// The shares that count its recipients.
    pub(in crate::controlling) charge: Charge,
    /// For the operator's script.
    pub(in crate::controlling) about: AboutRequest,
    /// What is to be known of it beside that; `None`: it is not kept.
    pub(in crate::controlling) keep: Option<Keep>,
    /// Of recipients that were sent to before, by their numbers: the number of the attempt, and
    /// whether it may have been made already.
    pub(in crate::controlling) attempts: BTreeMap<u32, (u32, bool)>,
    /// The code of recipients that no copy is sent to.
    pub(in crate::controlling) unsent_code: u16,
}

/// The Interworking Selection Function, for URIs of a scheme that only it can handle. Sent
/// elsewhere, they would result in the 416 that leads to the ISF (9.1.1 last list).
#[derive(Debug)]
pub(in crate::controlling) struct Isf {
    pub(in crate::controlling) uri: String,
    /// The header lines of all copies, preceded by the Route to the ISF.
    pub(in crate::controlling) headers: Vec<u8>,
}

/// Progress of a fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every recipient's request has been passed on, dropped by the operator, or has failed.
    Done,
    /// The host's time for it is used up.
    Enough,
    /// There is no memory for more transactions now.
    NoRoom,
}

impl FanOutJob {
    /// Sends the next portion. With `last`, recipients for whom there is no memory or connection
    /// fail.
    pub fn run(&mut self, host: &dyn Host, last: bool) -> Progress {
        let (mut handed, mut interworked) = (0, 0);
        let mut to = String::new();
        // Once all remaining recipients were busy in this run, it can only wait.
        let mut busy_from = None;
        let progress = loop {
            if busy_from.is_some_and(|from| self.position >= from) {
                break Progress::NoRoom;
            }
            let rest = &self.recipients[self.position..];
            let Some(length) = memchr::memchr(b'\n', rest.as_bytes()) else {
                break Progress::Done;
            };
            let uri = &rest[..length];
            let next = self.position + length + 1;
            self.ids.set(uri);
            to.clear();
            to.push('<');
            to.push_str(uri);
            to.push('>');
            let isf = self.isf.as_ref().filter(|_| !is_sip(uri));
            let leg = self.legs.front().copied().unwrap_or(0);
            let link = self.message.recipient(leg);
            let (cseq, is_resent) = self.attempts.get(&leg).copied().unwrap_or((1, false));
            if let Some(messages) = &self.messages {
                messages.set_recipient(self.message, leg, uri);
            }
            let outgoing = OutgoingRequest {
                method: "MESSAGE",
                request_uri: uri,
                next_hop: isf.map(|isf| isf.uri.as_str()).or(self.next_hop.as_deref()),
                from: &self.from,
                from_tag: self.ids.tag(),
                to: &to,
                call_id: self.ids.call_id(),
                cseq,
                headers: isf.map_or(&self.headers, |isf| &isf.headers),
                body: &self.body,
                attempt: Attempt::Copy {
                    to_isf: isf.is_some(),
                    link,
                    is_resent,
                    charge: self.charge,
                }
                .bits(),
                about: Some(&self.about),
            };
            let mut sent = host.send(&outgoing);
            if last && matches!(sent, Sent::NoRoom | Sent::Busy) {
                sent = host.give_up(&outgoing);
            }
            let mut ended = None;
            match sent {
                Sent::NoRoom if !last => break Progress::NoRoom,
                Sent::Busy if !last => {
                    busy_from.get_or_insert(self.recipients.len());
                    let again = self.recipients[self.position..next].to_owned();
                    self.recipients.push_str(&again);
                    self.legs.push_back(leg);
                }
                Sent::NoRoom | Sent::Busy | Sent::Failed => {
                    self.failed += 1;
                    ended = Some((RecipientState::Failed, self.unsent_code));
                }
                Sent::Deferred => ended = Some((RecipientState::Waiting, NOT_SENDABLE_CODE)),
                Sent::Queued if isf.is_some() => interworked += 1,
                Sent::Queued => handed += 1,
                Sent::Dropped => ended = Some((RecipientState::Dropped, 0)),
            }
            if let (Some(messages), Some((state, code))) = (&self.messages, ended) {
                messages.set(link, state, code);
            }
            self.position = next;
            self.place += 1;
            self.legs.pop_front();
            self.untried = self.untried.saturating_sub(1);
            if !last && self.position < self.recipients.len() && host.is_turn_over() {
                break Progress::Enough;
            }
        };
        host.count(Counter::Recipients, handed);
        host.count(Counter::Interworked, interworked);
        if progress == Progress::Done {
            self.tell_failed(host);
        }
        progress
    }

    /// Counts those whose request could not even be sent, at the end of its turns.
    pub(in crate::controlling) fn tell_failed(&self, host: &dyn Host) {
        if self.failed > 0 {
            host.count(Counter::Failed, self.failed);
            host.log(
                at!(Notice),
                format_args!(
                    "{} of {} outgoing requests could not be sent, {}",
                    self.failed, self.about.recipients, self.correlation
                ),
            );
        }
    }

    /// A copy as it would be sent, except for the parts that differ between recipients. `None`: it
    /// cannot be parsed.
    pub(in crate::controlling) fn copy(&self) -> Option<Message> {
        let length = format!("Content-Length: {}\r\n\r\n", self.body.len());
        let start = b"MESSAGE sip:x SIP/2.0\r\n";
        let bytes = [&start[..], &self.headers, length.as_bytes(), &self.body].concat();
        Message::parse(bytes.into()).ok()
    }

    /// Whether no recipient has been tried yet.
    pub fn is_untouched(&self) -> bool {
        self.place == 0
    }

    /// The length of the remaining list, in bytes.
    pub fn rest(&self) -> usize {
        self.recipients.len() - self.position
    }

    /// Whether the 202 is due: each recipient has been tried. Recipients whose connection is full
    /// are retried after it.
    pub fn is_reply_due(&self) -> bool {
        self.untried == 0
    }

    /// The 202 (9.1.1-7), once it is due. Its To tag is ours, since another process than the
    /// receiving one may send it, and a repetition gets the same.
    pub fn reply(&self) -> Reply {
        Reply::accepted(self.reply_headers.clone(), self.ids.to_tag())
    }
}

fn is_sip(uri: &str) -> bool {
    let has_scheme = |scheme: &str| {
        let start = uri.get(..scheme.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    has_scheme("sip:") || has_scheme("sips:")
}

#[cfg(test)]
pub(in crate::controlling) mod tests {
    use std::cell::{Cell, RefCell};
    use std::fmt;

    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::controlling::{ControllingFunction, Journal};
    use crate::log::LogAt;
    use crate::policy::Settings;
    use crate::shared::{MessageText, SenderTable};

    /// A host that answers each send as scripted, then with "queued".
    #[derive(Default)]
    pub(in crate::controlling) struct Scripted {
        pub(in crate::controlling) answers: RefCell<Vec<Sent>>,
        /// Request-URI and Call-ID.
        pub(in crate::controlling) sent: RefCell<Vec<(String, String)>>,
        pub(in crate::controlling) bodies: RefCell<Vec<Vec<u8>>>,
        pub(in crate::controlling) counted: RefCell<Vec<(Counter, u32)>>,
        /// Whether another process takes what is handed over.
        pub(in crate::controlling) takes: Cell<bool>,
        pub(in crate::controlling) handed: RefCell<Vec<Vec<u8>>>,
        /// The turn ends after this many more sends.
        pub(in super::super) turn: Cell<Option<usize>>,
    }

    impl Journal for Scripted {
        fn log(&self, _: LogAt, _: fmt::Arguments<'_>) {}

        fn count(&self, counter: Counter, n: u32) {
            self.counted.borrow_mut().push((counter, n));
        }
    }

    impl Host for Scripted {
        fn send(&self, outgoing: &OutgoingRequest<'_>) -> Sent {
            let mut answers = self.answers.borrow_mut();
            let answer = if answers.is_empty() {
                Sent::Queued
            } else {
                answers.remove(0)
            };
            if !matches!(answer, Sent::NoRoom | Sent::Busy) {
                self.sent
                    .borrow_mut()
                    .push((outgoing.request_uri.to_owned(), outgoing.call_id.to_owned()));
                self.bodies.borrow_mut().push(outgoing.body.to_vec());
            }
            answer
        }

        fn give_up(&self, _: &OutgoingRequest<'_>) -> Sent {
            Sent::Failed
        }

        fn is_turn_over(&self) -> bool {
            let left = self.turn.get();
            self.turn
                .set(left.filter(|&left| left > 1).map(|left| left - 1));
            left == Some(1)
        }

        fn hand_over(&self, job: &[u8]) -> bool {
            self.handed.borrow_mut().push(job.to_vec());
            self.takes.get()
        }

        fn begin_session(&self, invite: &[u8]) -> bool {
            self.handed.borrow_mut().push(invite.to_vec());
            self.takes.get()
        }
    }

    /// A service that shares the tables of messages and of senders with other processes.
    pub(in crate::controlling) fn sharing(parameters: &[(&str, &str)]) -> ControllingFunction {
        let mut settings = Settings::default();
        settings.set("exploder_uri", "sip:all@example.com").unwrap();
        for (name, value) in parameters {
            settings.set(name, value).unwrap();
        }
        let words = |count| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        let messages = MessageTable::new(words(MessageTable::words(4)).leak(), 4, || 1_000);
        let senders = words(SenderTable::words(4)).leak();
        ControllingFunction::new(settings, 7)
            .unwrap()
            .with_messages(messages)
            .with_senders(SenderTable::new(senders, |bytes| bytes.fill(7), || 1))
    }

    /// The content of a message of Anne that is to be told of a failure.
    pub(in crate::controlling) const CPIM: &[u8] =
        b"From: <sip:anne@example.com>\r\nTo: <sip:all@example.com>\r\n\
        DateTime: 2026-01-02T03:04:05Z\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
        imdn.Message-ID: m1\r\nimdn.Disposition-Notification: negative-delivery\r\n\r\n\
        Content-Type: text/plain\r\n\r\nHello";

    /// The job of such a message.
    pub(in crate::controlling) fn cpim_job() -> FanOutJob {
        FanOutJob {
            headers: b"Max-Forwards: 69\r\nConversation-ID: c1\r\nContent-Type: message/cpim\r\n"
                .to_vec(),
            body: Bytes::from_static(CPIM),
            ..job()
        }
    }

    #[test]
    fn the_202_is_due_once_everybody_has_been_tried() {
        let mut job = job();
        let host = Scripted::default();
        *host.answers.borrow_mut() = vec![Sent::Queued, Sent::Failed];
        host.turn.set(Some(2));
        assert_eq!(
            job.run(&host, false),
            Progress::Enough,
            "a failure takes time too"
        );
        assert!(!job.is_reply_due());
        // The last recipient's connection is full, repeatedly.
        let mut job = FanOutJob::read(job.write().into()).unwrap();
        for _ in 0..3 {
            *host.answers.borrow_mut() = vec![Sent::Busy, Sent::Busy];
            assert_eq!(job.run(&host, false), Progress::NoRoom);
            assert!(job.is_reply_due());
            job = FanOutJob::read(job.write().into()).unwrap();
        }
        *host.answers.borrow_mut() = vec![Sent::Busy];
        assert_eq!(job.run(&host, true), Progress::Done);
        assert_eq!(job.failed, 2);
    }

    pub(in crate::controlling) fn job() -> FanOutJob {
        FanOutJob {
            from: "<sip:anne@example.com>".to_owned(),
            headers: b"Max-Forwards: 69\r\n".to_vec(),
            body: Bytes::from_static(b"Hello"),
            next_hop: None,
            isf: None,
            ids: CopyIds::of_secret([1; 32]),
            claim: Some(Claim::of_words([1, 2])),
            recipients: "sip:a@example.com\nsip:b@example.com\nsip:c@example.com\n".to_owned(),
            reply_headers: b"Server: CPM-serv/OMA2.2\r\n".to_vec(),
            correlation: "callid=1".to_owned(),
            position: 0,
            place: 0,
            untried: 3,
            failed: 0,
            message: MessageNumber::default(),
            legs: (0..3).collect(),
            messages: None,
            charge: Charge::default(),
            about: AboutRequest {
                recipients: 3,
                ..AboutRequest::default()
            }
            .with(MessageText::Kind, Some("exploder"))
            .with(MessageText::ContributionId, Some("1")),
            keep: None,
            attempts: BTreeMap::new(),
            unsent_code: NOT_SENDABLE_CODE,
        }
    }

    /// For the copy to this user.
    fn call_id(user: &str) -> String {
        let mut ids = job().ids;
        ids.set(&format!("sip:{user}@example.com"));
        ids.call_id().to_owned()
    }

    fn sent(host: &Scripted) -> Vec<String> {
        host.sent
            .borrow()
            .iter()
            .map(|(uri, _)| uri[4..5].to_owned())
            .collect()
    }

    #[test]
    fn all_get_their_copy_under_a_call_id_of_their_own() {
        let host = Scripted::default();
        assert_eq!(job().run(&host, false), Progress::Done);
        let call_ids: Vec<_> = host
            .sent
            .borrow()
            .iter()
            .map(|(_, id)| id.clone())
            .collect();
        assert_eq!(call_ids, ["a", "b", "c"].map(call_id));
    }

    #[test]
    fn the_rest_goes_on_in_another_process() {
        let host = Scripted::default();
        host.turn.set(Some(1));
        let mut first = job();
        assert_eq!(first.run(&host, false), Progress::Enough);
        let mut second = FanOutJob::read(first.write().into()).expect("what write has written");
        assert_eq!(second.run(&host, false), Progress::Done);
        assert_eq!(sent(&host), ["a", "b", "c"]);
        assert_eq!(host.sent.borrow()[2].1, call_id("c"));
        assert_eq!(second.claim, first.claim);
        assert_eq!(second.reply().to_tag, first.reply().to_tag);
        assert_eq!(second.reply().headers, first.reply().headers);
        let handed: u32 = host.counted.borrow().iter().map(|(_, n)| n).sum();
        assert_eq!(handed, 3);
    }

    #[test]
    fn without_room_it_waits_and_misses_nobody() {
        let host = Scripted::default();
        host.answers
            .borrow_mut()
            .extend([Sent::Queued, Sent::NoRoom, Sent::NoRoom]);
        let mut job = job();
        assert_eq!(job.run(&host, false), Progress::NoRoom);
        assert_eq!(job.run(&host, false), Progress::NoRoom);
        assert_eq!(job.run(&host, false), Progress::Done);
        assert_eq!(sent(&host), ["a", "b", "c"]);
    }

    #[test]
    fn who_is_busy_keeps_nobody_waiting() {
        let host = Scripted::default();
        host.answers.borrow_mut().extend([
            Sent::Busy,
            Sent::Queued,
            Sent::Queued,
            Sent::Busy,
            Sent::Busy,
        ]);
        let mut job = job();
        assert_eq!(job.run(&host, false), Progress::NoRoom);
        assert_eq!(sent(&host), ["b", "c"]);
        let mut job = FanOutJob::read(job.write().into()).expect("what write has written");
        assert_eq!(job.run(&host, false), Progress::NoRoom);
        assert_eq!(job.run(&host, false), Progress::NoRoom);
        assert_eq!(job.run(&host, false), Progress::Done);
        assert_eq!(sent(&host), ["b", "c", "a"]);
        // A waiting recipient keeps its ids.
        assert_eq!(host.sent.borrow()[2].1, call_id("a"));
    }

    #[test]
    fn only_the_isf_can_do_something_with_other_schemes() {
        let host = Scripted::default();
        let mut job = job();
        job.recipients = "tel:+15550100\nSIP:b@example.com\n".to_owned();
        job.isf = Some(Isf {
            uri: "sip:isf.example.com".to_owned(),
            headers: b"Route: <sip:isf.example.com;lr>\r\nMax-Forwards: 69\r\n".to_vec(),
        });
        let mut job = FanOutJob::read(job.write().into()).expect("what write has written");
        assert_eq!(job.run(&host, false), Progress::Done);
        let counted = host.counted.borrow();
        assert!(counted.contains(&(Counter::Interworked, 1)), "{counted:?}");
        assert!(counted.contains(&(Counter::Recipients, 1)), "{counted:?}");
    }

    #[test]
    fn the_last_run_ends_whatever_the_room() {
        let host = Scripted::default();
        host.answers
            .borrow_mut()
            .extend([Sent::Queued, Sent::NoRoom, Sent::Failed]);
        host.turn.set(Some(1));
        let mut job = job();
        assert_eq!(job.run(&host, true), Progress::Done);
        assert_eq!(sent(&host), ["a", "c"]);
        assert!(host.counted.borrow().contains(&(Counter::Failed, 2)));
    }
}
