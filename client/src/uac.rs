//! The user agent client: transactions, digest authentication and CANCEL (RFC 3261 §8.1, §9, §22).

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use cpm_wire::sip::{HeaderName, Message, StatusCode};
use cpm_wire::sip_ua::{cseq, text};

use super::digest::{Asked, Authenticator, Credentials};
use super::identifiers::{Random, branch};
use super::request::{OutRequest, branch_of};
use super::transaction::{ClientTransaction, HEAD_START, Standing, TIMEOUT, Tick};
use super::{OwnAddresses, Way};

/// How often one request is sent again because of challenges: two proxies and a server may each ask
/// once, and each may then declare its nonce stale.
pub const MAX_CHALLENGES: u8 = 6;

/// Sends requests, each with a purpose of the caller's, and reports the results.
#[derive(Debug)]
pub(super) struct Uac<P> {
    own: OwnAddresses,
    authenticator: Option<Authenticator>,
    random: Random,
    entries: Vec<Entry<P>>,
    /// The source of the last response, while its connection exists.
    heard: Option<Way>,
    /// Whether another server could be tried.
    has_next: bool,
    output: VecDeque<(Way, Bytes)>,
}

#[derive(Debug)]
struct Entry<P> {
    purpose: P,
    way: Way,
    request: OutRequest,
    transaction: ClientTransaction,
    challenges: u8,
    asked: Asked,
    cancel_wanted: bool,
    /// Whether it was sent again because its connection was lost.
    is_sent_anew: bool,
}

/// Result of a request.
#[derive(Debug)]
pub(super) enum UacEvent<P> {
    /// A response; `request` is as it was last sent.
    Response {
        purpose: P,
        request: OutRequest,
        message: Message,
    },
    /// A retransmitted final response, or that of another fork: a 2xx to an INVITE must be
    /// acknowledged.
    Again {
        request: OutRequest,
        message: Message,
    },
    /// There was no answer in time.
    TimedOut(P),
    /// The server is unreachable.
    Lost(P),
}

impl<P: Copy + PartialEq> Uac<P> {
    pub(super) fn new(own: OwnAddresses, credentials: Option<Credentials>, random: Random) -> Self {
        Self {
            own,
            authenticator: credentials.map(|own| Authenticator::new(own, random)),
            random,
            entries: Vec::new(),
            heard: None,
            has_next: false,
            output: VecDeque::new(),
        }
    }

    /// Whether another server could be tried, if this one does not answer.
    pub(super) fn set_has_next(&mut self, has_next: bool) {
        self.has_next = has_next;
    }

    /// Sends a request in a transaction of its own.
    pub(super) fn send(&mut self, now: Instant, way: Way, purpose: P, request: OutRequest) {
        self.send_entry(now, way, purpose, request, 0, Asked::default());
    }

    fn send_entry(
        &mut self,
        now: Instant,
        way: Way,
        purpose: P,
        mut request: OutRequest,
        challenges: u8,
        asked: Asked,
    ) {
        if let Some(authenticator) = &mut self.authenticator {
            authenticator.authorize(&mut request);
        }
        let branch = branch(self.random);
        let bytes = self.write(way, &request, &branch);
        let reliable = way.transport.is_reliable();
        let mut transaction =
            ClientTransaction::new(now, request.method, branch, bytes.clone(), reliable);
        let is_answered_at_once = matches!(request.method, "INVITE" | "REGISTER");
        if self.has_next && is_answered_at_once && self.heard != Some(way) {
            transaction.hurry(now, HEAD_START);
        }
        self.output.push_back((way, bytes));
        self.entries.push(Entry {
            purpose,
            way,
            request,
            transaction,
            challenges,
            asked,
            cancel_wanted: false,
            is_sent_anew: false,
        });
    }

    fn write(&self, way: Way, request: &OutRequest, branch: &str) -> Bytes {
        let sent_by = self.own.of(way.transport).to_string();
        request.write(way.transport.as_str(), &sent_by, branch)
    }

    /// Sends a request without a response: the ACK for a 2xx.
    pub(super) fn send_ack(&mut self, way: Way, ack: &OutRequest) {
        let bytes = self.write(way, ack, &branch(self.random));
        self.output.push_back((way, bytes));
    }

    /// Cancels an INVITE: with a CANCEL once a provisional response has arrived (§9.1, readings
    /// N73). The answer to the INVITE then arrives as its response. True if there is such an
    /// INVITE.
    pub(super) fn cancel(&mut self, now: Instant, purpose: P) -> bool {
        let pending =
            |entry: &Entry<P>| entry.purpose == purpose && !entry.transaction.is_completed();
        let Some(index) = self.entries.iter().position(pending) else {
            return false;
        };
        self.entries[index].cancel_wanted = true;
        if self.entries[index].transaction.is_proceeding() {
            self.send_cancel(now, index);
        }
        true
    }

    fn send_cancel(&mut self, now: Instant, index: usize) {
        let entry = &mut self.entries[index];
        entry.cancel_wanted = false;
        entry.transaction.limit(now, TIMEOUT);
        let cancel = entry.request.same_transaction("CANCEL", None);
        let (way, branch, purpose) = (entry.way, entry.transaction.branch.clone(), entry.purpose);
        let bytes = self.write(way, &cancel, &branch);
        let reliable = way.transport.is_reliable();
        self.output.push_back((way, bytes.clone()));
        self.entries.push(Entry {
            purpose,
            way,
            request: cancel,
            transaction: ClientTransaction::new(now, "CANCEL", branch, bytes, reliable),
            challenges: MAX_CHALLENGES,
            asked: Asked::default(),
            cancel_wanted: false,
            is_sent_anew: false,
        });
    }

    /// Handles a response. `None`: it matches no request, or means nothing to the caller.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        message: Message,
    ) -> Option<UacEvent<P>> {
        let status = message.status()?;
        let (branch, (_, method)) = (branch_of(&message)?, cseq(&message)?);
        let index = self.entries.iter().position(|entry| {
            entry.transaction.branch == branch && entry.transaction.method == method
        })?;
        let entry = &mut self.entries[index];
        let standing = entry
            .transaction
            .handle_response(now, status.is_provisional());
        self.heard = Some(entry.way);
        let is_invite = method == "INVITE";
        if is_invite && !status.is_provisional() && !status.is_success() {
            let to = text(&message, HeaderName::To);
            let ack = entry.request.same_transaction("ACK", to.as_deref());
            let way = entry.way;
            let bytes = self.write(way, &ack, &branch);
            self.output.push_back((way, bytes));
        }
        let entry = &self.entries[index];
        let (purpose, request) = (entry.purpose, entry.request.clone());
        if method == "CANCEL" {
            if standing == Standing::Final {
                self.entries.remove(index);
            }
            return None;
        }
        match standing {
            Standing::Repeated => return Some(UacEvent::Again { request, message }),
            Standing::Provisional => {
                if entry.cancel_wanted {
                    self.send_cancel(now, index);
                }
            }
            Standing::Final => {
                if let Some(entry) = self.answer_challenge(index, status, &message) {
                    let Entry {
                        way,
                        purpose,
                        request,
                        challenges,
                        asked,
                        ..
                    } = entry;
                    self.send_entry(now, way, purpose, request, challenges, asked);
                    return None;
                }
                // That of an INVITE stays, to acknowledge retransmissions.
                if !is_invite {
                    self.entries.remove(index);
                }
            }
        }
        Some(UacEvent::Response {
            purpose,
            request,
            message,
        })
    }

    /// Removes the entry if it must be sent again with an answer to a challenge.
    fn answer_challenge(
        &mut self,
        index: usize,
        status: StatusCode,
        message: &Message,
    ) -> Option<Entry<P>> {
        let is_challenge = [
            StatusCode::UNAUTHORIZED,
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        ]
        .contains(&status);
        let authenticator = self.authenticator.as_mut().filter(|_| is_challenge)?;
        let entry = &mut self.entries[index];
        if entry.cancel_wanted || entry.challenges == MAX_CHALLENGES {
            return None;
        }
        if !authenticator.take(&entry.request, message, &mut entry.asked) {
            return None;
        }
        let mut entry = self.entries.remove(index);
        entry.request.cseq += 1;
        entry.challenges += 1;
        Some(entry)
    }

    /// This connection is lost, or could not be opened. A server may close one at any time, such as
    /// after its 401: requests waiting for an answer are sent again, over a new connection, if the
    /// old one had worked. All others are lost.
    pub(super) fn handle_way_lost(&mut self, way: Way) -> Vec<UacEvent<P>> {
        let was_good = self.heard == Some(way) && way.transport.is_reliable();
        if self.heard == Some(way) {
            self.heard = None;
        }
        let mut events = Vec::new();
        let mut index = 0;
        while let Some(entry) = self.entries.get_mut(index) {
            if entry.way != way || entry.transaction.is_completed() {
                index += 1;
            } else if was_good && !entry.is_sent_anew {
                entry.is_sent_anew = true;
                let bytes = entry.transaction.bytes.clone();
                // Pending output goes over the new connection anyway.
                if self.output.iter().all(|(_, waiting)| *waiting != bytes) {
                    self.output.push_back((way, bytes));
                }
                index += 1;
            } else {
                let entry = self.entries.remove(index);
                if entry.request.method != "CANCEL" {
                    events.push(UacEvent::Lost(entry.purpose));
                }
            }
        }
        events
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let entries = self.entries.iter();
        entries
            .filter_map(|entry| entry.transaction.poll_timeout())
            .min()
    }

    /// Time has passed: retransmits due requests, and reports time-outs.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<UacEvent<P>> {
        let mut events = Vec::new();
        let mut index = 0;
        while let Some(entry) = self.entries.get_mut(index) {
            match entry.transaction.handle_timeout(now) {
                Tick::Nothing => index += 1,
                Tick::SendAgain(bytes) => {
                    self.output.push_back((entry.way, bytes));
                    index += 1;
                }
                Tick::TimedOut => {
                    let entry = self.entries.remove(index);
                    if entry.request.method != "CANCEL" {
                        events.push(UacEvent::TimedOut(entry.purpose));
                    }
                }
            }
        }
        events
    }

    pub(super) fn poll_output(&mut self) -> Option<(Way, Bytes)> {
        self.output.pop_front()
    }
}
