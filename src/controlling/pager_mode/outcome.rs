//! Ends of outgoing requests, and interworking (OMA CPM 6.5, 9.1.1 last list; readings N47).

use bytes::Bytes;

use super::fan_out_job::FanOutJob;
use crate::controlling::about::LegCorrelation;
use crate::controlling::attempt::Attempt;
use crate::controlling::header_fields::{put, route_to_isf};
use crate::controlling::host::{AboutRequest, Counter, Fate, Host, Outcome, OutgoingRequest, Sent};
use crate::controlling::ids::{CopyIds, RequestIds};
use crate::controlling::refusal::Reply;
use crate::controlling::service::ControllingFunction;
use crate::log::at;
use crate::policy::ServiceUri;
use crate::shared::RecipientState;
use crate::sip::{HeaderBlock, HeaderName, Message, StatusCode};
use crate::store::CopyId;

/// What ids of copies to the ISF follow from.
const ISF: &str = "isf";

/// Fields that the transaction layer writes itself, and the route of the first copy.
const NOT_COPIED: &[HeaderName] = &[
    HeaderName::Via,
    HeaderName::Route,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::ContentLength,
];

impl ControllingFunction {
    /// The reply to a fan-out's request is due: a repetition of the request gets the same from now
    /// on.
    pub fn handle_reply_due(&self, job: &FanOutJob) {
        if let (Some(requests), Some(claim)) = (self.requests(), job.claim) {
            requests.answered(claim);
        }
    }

    /// The 202, which is to be sent now.
    pub fn accepted(&self, job: &FanOutJob) -> Reply {
        let reply = job.reply();
        self.handle_accepted(&job.about, reply.code.as_u16());
        reply
    }

    /// A fan-out is complete: its reply is due, and recipients whose copy could not be sent have
    /// failed.
    pub fn handle_done(&self, job: &FanOutJob, host: &dyn Host) {
        self.handle_reply_due(job);
        self.handle_unsent(job, host);
    }

    /// The rest of a kept message waits in the store, since there is no room for it now.
    pub fn handle_put_off(&self, job: &FanOutJob, host: &dyn Host) {
        job.tell_failed(host);
        self.handle_unsent(job, host);
    }

    /// Handles the end of an outgoing request: counts it, and sends the message to the ISF if its
    /// code and policy require it. `None`: the request could not be parsed, or is not a copy of a
    /// message.
    pub fn handle_outcome(&self, outcome: &Outcome<'_>, host: &dyn Host) -> Option<Fate> {
        let attempt = Attempt::of_bits(outcome.attempt);
        let Attempt::Copy {
            to_isf,
            is_resent,
            link,
            charge,
        } = attempt
        else {
            return None;
        };
        let recipient = request_uri(outcome.request).filter(|_| !to_isf);
        let is_over = |goes_on| self.release(recipient, charge, goes_on);
        // Of a copy that went out before, 482 says that it has come (RFC 3261 8.2.2.2).
        let has_it = is_resent && outcome.code == StatusCode::LOOP_DETECTED.as_u16();
        if has_it || (200..300).contains(&outcome.code) {
            is_over(false);
            self.set_recipient(outcome.attempt, RecipientState::Delivered, outcome.code);
            host.count(Counter::Delivered, 1);
            return Some(Fate::Delivered);
        }
        let request = Message::parse(Bytes::copy_from_slice(outcome.request)).ok();
        let isf = self
            .settings()
            .interworking_to()
            .filter(|_| !to_isf && self.settings().isf_codes.contains(outcome.code));
        if let (Some(request), Some(isf)) = (&request, isf)
            && send_to_isf(
                request,
                isf,
                self.ids_following(ISF, request),
                Attempt::Copy {
                    to_isf: true,
                    is_resent,
                    link,
                    charge,
                },
                self.about(outcome.attempt).map(|(about, _)| about).as_ref(),
                host,
            )
        {
            is_over(true);
            self.set_recipient(outcome.attempt, RecipientState::Interworked, outcome.code);
            host.count(Counter::Interworked, 1);
            return Some(Fate::Interworked);
        }
        is_over(false);
        // One that went to the ISF has another copy than the store waits with.
        if !to_isf && self.defers(outcome.code) {
            self.set_recipient(outcome.attempt, RecipientState::Waiting, outcome.code);
            return Some(Fate::Deferred);
        }
        self.set_recipient(outcome.attempt, RecipientState::Failed, outcome.code);
        host.count(Counter::Failed, 1);
        let id = |name| {
            let message = request.as_ref()?;
            message.first(name)?.text().ok()
        };
        let about = self.about(outcome.attempt);
        host.log(
            at!(Notice),
            format_args!(
                "{} failed with {}, {}",
                if to_isf {
                    "interworking for a recipient"
                } else {
                    "a recipient"
                },
                outcome.code,
                LegCorrelation {
                    leg: about.as_ref().map(|(_, leg)| *leg),
                    call_id: id(HeaderName::CallId).unwrap_or("-"),
                    about: about.as_ref().map(|(about, _)| about),
                    contribution_id: id(HeaderName::ContributionId),
                },
            ),
        );
        let request = request?;
        let sender = self.messages().map(|messages| messages.sender_of(link));
        self.handle_failed(&request, sender.unwrap_or_default(), 1, host);
        Some(Fate::Failed)
    }
}

impl ControllingFunction {
    /// The name of the copy to the ISF that takes the place of this one.
    pub fn copy_to_isf(&self, request: &[u8]) -> Option<CopyId> {
        let request = Message::parse(Bytes::copy_from_slice(request)).ok()?;
        let ids = CopyIds::of(self.ids_following(ISF, &request));
        Some(ids.copy_of(request.request_uri()?))
    }
}

/// The Request-URI of a sent request, without parsing the rest: most have been delivered.
fn request_uri(request: &[u8]) -> Option<&str> {
    let start = memchr::memchr(b' ', request)? + 1;
    let length = memchr::memchr2(b' ', b'\r', &request[start..])?;
    std::str::from_utf8(&request[start..start + length]).ok()
}

/// The failed copy as a new request: the Request-URI stays the recipient's, the ISF is the next
/// hop.
fn send_to_isf(
    request: &Message,
    isf: &ServiceUri,
    ids: RequestIds,
    attempt: Attempt,
    about: Option<&AboutRequest>,
    host: &dyn Host,
) -> bool {
    let Some(recipient) = request.request_uri() else {
        return false;
    };
    let Some(from) = request.address_without_tag(HeaderName::From) else {
        return false;
    };
    let mut headers = HeaderBlock::new();
    put(&mut headers, "Route", route_to_isf(isf));
    for field in request
        .fields()
        .filter(|field| !NOT_COPIED.contains(&field.name()))
    {
        headers.push_line(&field);
    }
    let to = format!("<{recipient}>");
    let mut ids = CopyIds::of(ids);
    ids.set(recipient);
    let outgoing = OutgoingRequest {
        method: "MESSAGE",
        request_uri: recipient,
        next_hop: Some(isf.as_str()),
        from: &from,
        from_tag: ids.tag(),
        to: &to,
        call_id: ids.call_id(),
        cseq: 1,
        headers: headers.as_bytes(),
        body: &request.body(),
        attempt: attempt.bits(),
        about,
    };
    matches!(host.send(&outgoing), Sent::Queued)
}
