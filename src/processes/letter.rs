//! Messages between processes: written and read only here, by the same build.

use bytes::{Buf as _, BufMut as _, Bytes};

use super::codec::{Reader, Writer};
use super::outgoing::{Outgoing, OwnedRequest};
use crate::controlling::large_message_mode::TransactionKey;
use crate::msrp_control::{SESSION_ID_BYTES, SessionId};
use crate::sessions::Question;
use crate::store::{CopyId, RecipientKey, SenderName, Settled};

/// An entry of a process's queue.
#[derive(Debug)]
pub(super) enum Letter {
    /// CPM fan-out: the rest of a fan-out ([`FanOutJob`](crate::controlling::FanOutJob)), with the
    /// transaction for its reply.
    Job(TransactionKey, Bytes),
    /// CPM fan-out: a request that waits for the name of its next hop.
    Waiting(Box<Waiting>),
    /// CPM fan-out: a disposition notification whose sender another node may have told the store.
    Inquiry(Box<Inquired>),
    /// CPM fan-out: how a copy of a message that is kept has ended.
    Settled(CopyId, Settled, RecipientKey),
    /// CPM fan-out: a late 2xx to a copy that another process may have sent.
    Late(CopyId),
    /// CPM fan-out: the second copy has taken the place of the first.
    Replaced(CopyId, CopyId),
    /// CPM fan-out: an operator's question about stored messages, with its number.
    Asked(u64, String),
    /// CPM fan-out: the message of a session is to be kept
    /// ([`KeptInvite`](crate::controlling::KeptInvite)), with content of this
    /// size.
    Keep(SessionId, u64, Bytes),
    /// CPM fan-out: a kept message is of no use.
    Discard(u64),
    /// CPM sessions: the message of a session is kept, under this number.
    Kept(SessionId, u64),
    /// CPM sessions: the message of a session is not kept, and its content is of this size.
    NotKept(SessionId, u64),
    /// CPM sessions: recipients of a kept message are to be invited.
    Resume(u64, Bytes),
    /// CPM fan-out: the express lane has timers to run.
    Wake,
    /// CPM groups: a request for a pre-defined group. CPM fan-out: one with a long list.
    Unfinished(Box<Unfinished>),
    /// CPM sessions.
    Session(SessionInput),
    /// CPM sessions: an operator's question, with its number.
    Query(u64, Question),
    /// CPM sessions: the files of certificates may have changed.
    Reload,
}

/// A received disposition notification about a message that is unknown here.
#[derive(Debug)]
pub(super) struct Inquired {
    /// Suspended, or kept open if the group sends its own notification.
    pub(super) transaction: TransactionKey,
    /// What its message is known by.
    pub(super) name: SenderName,
    /// The next hop, if it is not the sender of the message.
    pub(super) next_hop: Option<String>,
    /// For the log.
    pub(super) correlation: String,
    /// The notification and its Request-URI, if the group sends its own in its place.
    pub(super) nameless: Option<(Bytes, String)>,
}

/// A request whose checks go on where its group can be looked up or its list be read.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) transaction: TransactionKey,
    /// When its sender no longer needs an answer.
    pub(super) deadline_ms: u64,
    pub(super) originator: String,
    /// The originator's limit.
    pub(super) max_recipients: usize,
    pub(super) request_uri: String,
    pub(super) source_address: String,
    pub(super) message: Bytes,
}

/// A SIP event for a session.
#[derive(Debug)]
pub(super) enum SessionInput {
    /// An INVITE that has passed its checks
    /// ([`AcceptedInvite`](crate::controlling::large_message_mode::AcceptedInvite)).
    Invite(TransactionKey, Bytes),
    /// A request inside one of our dialogs; an ACK has no transaction.
    Request(Option<TransactionKey>, Bytes),
    /// The INVITE of this transaction was cancelled; the CANCEL has its 200.
    Cancel(TransactionKey),
    /// A response to a request of ours.
    Response(Bytes),
    /// A request of ours, as sent, has ended with this code and without a response.
    NoResponse(u16, Bytes),
    /// Another process has sent the INVITE with this Call-ID, or failed to send it.
    Invited(Option<TransactionKey>, Bytes),
}

/// A waiting request.
#[derive(Debug)]
pub(super) struct Waiting {
    /// URI of the next hop, whose host is a name.
    pub(super) hop: String,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// An outgoing request, in the form left by the operator's script.
    Request(OwnedRequest),
    /// A received disposition notification, whose transaction is suspended.
    Forward {
        transaction: TransactionKey,
        request_uri: String,
        /// For the log.
        correlation: String,
    },
}

/// Kinds of letters, as they are written.
mod kind {
    pub(super) const JOB: u8 = 0;
    pub(super) const REQUEST: u8 = 1;
    pub(super) const FORWARD: u8 = 2;
    pub(super) const UNFINISHED: u8 = 3;
    pub(super) const INVITE: u8 = 4;
    pub(super) const IN_DIALOG: u8 = 5;
    pub(super) const CANCEL: u8 = 6;
    pub(super) const RESPONSE: u8 = 7;
    pub(super) const NO_RESPONSE: u8 = 8;
    pub(super) const INVITED: u8 = 9;
    pub(super) const QUERY: u8 = 10;
    pub(super) const WAKE: u8 = 11;
    pub(super) const SETTLED: u8 = 12;
    pub(super) const REPLACED: u8 = 13;
    pub(super) const LATE: u8 = 14;
    pub(super) const RELOAD: u8 = 15;
    pub(super) const ASKED: u8 = 16;
    pub(super) const KEEP: u8 = 18;
    pub(super) const DISCARD: u8 = 19;
    pub(super) const KEPT: u8 = 21;
    pub(super) const NOT_KEPT: u8 = 22;
    pub(super) const RESUME: u8 = 23;
    pub(super) const INQUIRY: u8 = 24;
}

pub(super) fn job(transaction: TransactionKey, job: &[u8]) -> Vec<u8> {
    numbered(kind::JOB, transaction.0, job)
}

pub(super) fn request(outgoing: &Outgoing<'_>, hop: &str) -> Vec<u8> {
    let mut to = Writer::new(
        kind::REQUEST,
        outgoing.headers.all().len() + outgoing.body.len(),
    );
    to.bytes(hop.as_bytes());
    OwnedRequest::write(outgoing, &mut to);
    to.0
}

pub(super) fn forward(
    transaction: TransactionKey,
    request_uri: &str,
    hop: &str,
    correlation: &str,
) -> Vec<u8> {
    let mut to = Writer::new(kind::FORWARD, request_uri.len() + hop.len());
    to.bytes(hop.as_bytes());
    to.number(transaction.0);
    to.bytes(request_uri.as_bytes());
    to.bytes(correlation.as_bytes());
    to.0
}

pub(super) fn inquiry(inquired: &Inquired) -> Vec<u8> {
    let nameless = inquired.nameless.as_ref();
    let mut to = Writer::new(
        kind::INQUIRY,
        nameless.map_or(0, |(message, _)| message.len()),
    );
    to.number(inquired.transaction.0);
    to.bytes(&inquired.name.0);
    to.option(inquired.next_hop.as_deref().map(str::as_bytes));
    to.bytes(inquired.correlation.as_bytes());
    to.option(nameless.map(|(message, _)| &message[..]));
    to.bytes(nameless.map_or(b"", |(_, uri)| uri.as_bytes()));
    to.0
}

pub(super) fn unfinished(request: &Unfinished) -> Vec<u8> {
    let mut to = Writer::new(kind::UNFINISHED, request.message.len());
    to.number(request.transaction.0);
    to.number(request.deadline_ms);
    to.bytes(request.originator.as_bytes());
    to.number(request.max_recipients as u64);
    to.bytes(request.request_uri.as_bytes());
    to.bytes(request.source_address.as_bytes());
    to.bytes(&request.message);
    to.0
}

pub(super) fn session(input: &SessionInput) -> Vec<u8> {
    let number = |transaction: &Option<TransactionKey>| transaction.map_or(0, |key| key.0);
    match input {
        SessionInput::Invite(transaction, invite) => numbered(kind::INVITE, transaction.0, invite),
        SessionInput::Request(transaction, request) => {
            numbered(kind::IN_DIALOG, number(transaction), request)
        }
        SessionInput::Cancel(transaction) => numbered(kind::CANCEL, transaction.0, b""),
        SessionInput::Response(response) => numbered(kind::RESPONSE, 0, response),
        SessionInput::NoResponse(code, request) => {
            numbered(kind::NO_RESPONSE, u64::from(*code), request)
        }
        SessionInput::Invited(transaction, call_id) => {
            numbered(kind::INVITED, number(transaction), call_id)
        }
    }
}

pub(super) fn query(number: u64, question: &Question) -> Vec<u8> {
    numbered(kind::QUERY, number, question.to_string().as_bytes())
}

pub(super) fn reload() -> Vec<u8> {
    numbered(kind::RELOAD, 0, b"")
}

pub(super) fn wake() -> Vec<u8> {
    numbered(kind::WAKE, 0, b"")
}

pub(super) fn settled(copy: CopyId, settled: Settled, recipient: RecipientKey) -> Vec<u8> {
    let rest = [&copy.0[..], &recipient.bits().to_be_bytes()].concat();
    numbered(kind::SETTLED, u64::from(settled.bits()), &rest)
}

pub(super) fn asked(number: u64, question: &str) -> Vec<u8> {
    numbered(kind::ASKED, number, question.as_bytes())
}

pub(super) fn keep(session: SessionId, size: u64, kept: &[u8]) -> Vec<u8> {
    numbered(kind::KEEP, size, &[session.as_bytes(), kept].concat())
}

pub(super) fn discard(number: u64) -> Vec<u8> {
    numbered(kind::DISCARD, number, b"")
}

pub(super) fn kept(session: SessionId, number: u64) -> Vec<u8> {
    numbered(kind::KEPT, number, session.as_bytes())
}

pub(super) fn not_kept(session: SessionId, size: u64) -> Vec<u8> {
    numbered(kind::NOT_KEPT, size, session.as_bytes())
}

pub(super) fn resume(number: u64, kept: &[u8]) -> Vec<u8> {
    numbered(kind::RESUME, number, kept)
}

pub(super) fn late(copy: CopyId) -> Vec<u8> {
    numbered(kind::LATE, 0, &copy.0)
}

pub(super) fn replaced(copy: CopyId, other: CopyId) -> Vec<u8> {
    numbered(kind::REPLACED, 0, &[copy.0, other.0].concat())
}

fn numbered(kind: u8, number: u64, rest: &[u8]) -> Vec<u8> {
    let mut to = Writer::new(kind, rest.len());
    to.number(number);
    to.0.put_slice(rest);
    to.0
}

fn session_in(mut bytes: Bytes) -> Option<(SessionId, Bytes)> {
    let mut session = [0; SESSION_ID_BYTES];
    bytes.try_copy_to_slice(&mut session).ok()?;
    Some((SessionId::from_bytes(session), bytes))
}

impl Letter {
    /// `None`: it is corrupt, which only an internal error can cause.
    pub(super) fn read(bytes: Bytes) -> Option<Self> {
        let mut from = Reader(bytes);
        let kind = from.0.try_get_u8().ok()?;
        match kind {
            kind::REQUEST => {
                let hop = from.text()?;
                let what = What::Request(OwnedRequest::read(&mut from)?);
                return Some(Letter::Waiting(Box::new(Waiting { hop, what })));
            }
            kind::FORWARD => {
                return Some(Letter::Waiting(Box::new(Waiting {
                    hop: from.text()?,
                    what: What::Forward {
                        transaction: TransactionKey(from.number()?),
                        request_uri: from.text()?,
                        correlation: from.text()?,
                    },
                })));
            }
            kind::UNFINISHED => {
                return Some(Letter::Unfinished(Box::new(Unfinished {
                    transaction: TransactionKey(from.number()?),
                    deadline_ms: from.number()?,
                    originator: from.text()?,
                    max_recipients: usize::try_from(from.number()?).ok()?,
                    request_uri: from.text()?,
                    source_address: from.text()?,
                    message: from.bytes()?,
                })));
            }
            kind::INQUIRY => {
                let transaction = TransactionKey(from.number()?);
                let name = SenderName(from.bytes()?[..].try_into().ok()?);
                let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).ok();
                let next_hop = from.option()?.and_then(text);
                let correlation = from.text()?;
                let message = from.option()?;
                let request_uri = from.text()?;
                return Some(Letter::Inquiry(Box::new(Inquired {
                    transaction,
                    name,
                    next_hop,
                    correlation,
                    nameless: message.map(|message| (message, request_uri)),
                })));
            }
            kind::WAKE => return Some(Letter::Wake),
            kind::RELOAD => return Some(Letter::Reload),
            _ => {}
        }
        let number = from.number()?;
        let rest = from.0;
        let key = TransactionKey(number);
        let due = (number != 0).then_some(key);
        Some(match kind {
            kind::JOB => Letter::Job(key, rest),
            kind::SETTLED => {
                let settled = Settled::of_bits(u16::try_from(number).ok()?);
                let (copy, recipient) = rest.split_at_checked(16)?;
                let recipient = u64::from_be_bytes(recipient.try_into().ok()?);
                let recipient = RecipientKey::of_bits(recipient);
                Letter::Settled(CopyId(copy.try_into().ok()?), settled, recipient)
            }
            kind::ASKED => Letter::Asked(number, String::from_utf8(rest.to_vec()).ok()?),
            kind::KEEP => {
                let (session, rest) = session_in(rest)?;
                Letter::Keep(session, number, rest)
            }
            kind::DISCARD => Letter::Discard(number),
            kind::KEPT => Letter::Kept(session_in(rest)?.0, number),
            kind::NOT_KEPT => Letter::NotKept(session_in(rest)?.0, number),
            kind::RESUME => Letter::Resume(number, rest),
            kind::LATE => Letter::Late(CopyId(rest[..].try_into().ok()?)),
            kind::REPLACED => {
                let (copy, other) = rest.split_at_checked(16)?;
                Letter::Replaced(
                    CopyId(copy.try_into().ok()?),
                    CopyId(other.try_into().ok()?),
                )
            }
            kind::INVITE => Letter::Session(SessionInput::Invite(key, rest)),
            kind::IN_DIALOG => Letter::Session(SessionInput::Request(due, rest)),
            kind::CANCEL => Letter::Session(SessionInput::Cancel(key)),
            kind::RESPONSE => Letter::Session(SessionInput::Response(rest)),
            kind::NO_RESPONSE => {
                Letter::Session(SessionInput::NoResponse(u16::try_from(number).ok()?, rest))
            }
            kind::INVITED => Letter::Session(SessionInput::Invited(due, rest)),
            kind::QUERY => {
                Letter::Query(number, Question::parse(std::str::from_utf8(&rest).ok()?)?)
            }
            _ => return None,
        })
    }
}
