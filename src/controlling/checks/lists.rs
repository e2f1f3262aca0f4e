//! The checks of messages to a list: 1-to-many and ad-hoc groups (9.1.1-3, -5).

use super::common::{ANONYMITY_NOT_ALLOWED, Checked, no_destinations, too_many};
use crate::controlling::body::{
    ReceivedList, cpim_of, entity, has_content_encoding, malformed, names_recipients,
};
use crate::controlling::host::{Counter, Journal};
use crate::controlling::received::Mode;
use crate::controlling::recipients::{Recipients, RecipientsError};
use crate::controlling::refusal::Refusal;
use crate::controlling::request::Request;
use crate::log::at;
use crate::policy::MissingListCode;
use crate::resource_lists::ResourceLists;
use crate::sip::StatusCode;

/// 9.1.1-3a, -5a.
pub(super) fn anonymity(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if !request.policy.allow_anonymity && request.anonymity_requested() {
        return Err(Refusal::forbidden(
            at!(Notice),
            ANONYMITY_NOT_ALLOWED,
            "anonymity is not allowed",
        ));
    }
    Ok(Checked::Passed)
}

/// A longer body is better read in another process: a list of a thousand recipients takes 1 ms, in
/// which this SIP worker serves nobody else. Some 200 recipients.
const MAX_BODY_BYTES_HERE: usize = 16 * 1024;

/// Whether to read the list elsewhere.
pub(super) fn long_list(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    let is_long = request.message.body().len() > MAX_BODY_BYTES_HERE;
    Ok(match is_long {
        true => Checked::LongList,
        false => Checked::Passed,
    })
}

/// Finds and reads the resource lists (9.1.1-3d, -5d; RFC 5365 §7.1). Several are treated as one,
/// in the order of the body (RFC 5363 §4.1), and none as an empty one (readings N19).
pub(super) fn resource_list(request: &mut Request, host: &dyn Journal) -> Result<Checked, Refusal> {
    if has_content_encoding(&request.message) {
        return Err(unsupported_encoding());
    }
    let entity = entity(&request.message)?;
    let mut lists = Vec::new();
    for leaf in entity.leaves().filter(names_recipients) {
        if leaf
            .field("Content-Encoding")
            .is_some_and(|value| !value.eq_ignore_ascii_case(b"identity"))
        {
            return Err(unsupported_encoding());
        }
        let document = leaf.content().map_err(malformed(at!(Notice)))?;
        let list = ResourceLists::parse(&document);
        lists.push(list.map_err(|error| Refusal::bad_request(at!(Notice), error.to_string()))?);
    }
    if lists.is_empty() {
        return match request.service.settings().missing_list_code {
            MissingListCode::Forbidden => Err(no_destinations(
                at!(Notice),
                request,
                "it has no resource list",
            )),
            MissingListCode::BadRequest => {
                Err(Refusal::bad_request(at!(Notice), "Missing Resource List"))
            }
        };
    }
    let recipients = Recipients::of(
        lists.iter().flat_map(ResourceLists::entries),
        lists.iter().map(ResourceLists::len).sum(),
        request.policy.max_recipients,
        &request.service,
    )
    .map_err(|error| match error {
        RecipientsError::NotAUri => Refusal::bad_request(at!(Notice), "Bad URI In Resource List"),
    })?;
    if recipients.loops() > 0 {
        host.count(Counter::Loops, recipients.loops());
    }
    request.cpim = cpim_of(&entity);
    request.received_list =
        ReceivedList::in_body(&request.message, entity).map_err(malformed(at!(Notice)))?;
    request.recipients = recipients;
    Ok(Checked::Passed)
}

/// 9.1.1-3b, -5b: distinct recipients, without own addresses (readings N18).
pub(super) fn recipient_limit(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if request.recipients.over_limit() {
        return Err(too_many(
            at!(Notice),
            request,
            "more recipients than max_recipients",
        ));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-3c, -5c.
pub(super) fn destinations(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if request.recipients.is_empty() {
        let cause = match request.recipients.loops() {
            0 => "its resource list is empty",
            _ => "its resource list names only the Controlling Function itself",
        };
        return Err(no_destinations(at!(Notice), request, cause));
    }
    Ok(Checked::Passed)
}

/// The outgoing body (9.1.1-6g): built once, here, so that a request for which it cannot be built
/// is refused before anything is sent. Recipients of a large message get our session description
/// instead.
pub(super) fn content(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if request.mode() == Mode::Large {
        return Ok(Checked::Passed);
    }
    request.outgoing_body = request
        .without_received_list()
        .map_err(malformed(at!(Notice)))?;
    if request.outgoing_body.is_none() {
        return Err(Refusal::bad_request(
            at!(Notice),
            "No Message Beside The Resource List",
        ));
    }
    Ok(Checked::Passed)
}

/// RFC 3261 §8.2.3.
fn unsupported_encoding() -> Refusal {
    Refusal::with_header(
        at!(Notice),
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Some(("Accept-Encoding", "identity".to_owned())),
        "its Content-Encoding is not supported",
    )
}
