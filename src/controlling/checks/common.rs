//! The checks that lists and groups share, and the texts of their Warnings.

use crate::controlling::hops::hops_left;
use crate::controlling::host::Journal;
use crate::controlling::large_message_mode;
use crate::controlling::received::Mode;
use crate::controlling::refusal::Refusal;
use crate::controlling::request::Request;
use crate::controlling::verdict::NOT_AUTHORISED;
use crate::log::{LogAt, at};
use crate::operator::Event;
use crate::policy::NoDestinationsText;
use crate::sip::{HeaderName, Message, StatusCode, option_tag, products};
use crate::sip_ua::texts;

const VERSION_NOT_SUPPORTED: &str = "132 Version not supported";
pub(super) const ANONYMITY_NOT_ALLOWED: &str = "119 Anonymity not allowed";
const TOO_MANY_RECIPIENTS: &str = "102 Too many recipients";
const NO_DESTINATIONS: &str = "129 No destinations";
/// As written in 9.1.2 (readings N11).
const NO_DESTINATIONS_BARE: &str = "No destinations";

/// Option tags of Require that are supported in a MESSAGE (RFC 5365 §5, RFC 5366 §5; readings N29).
const UNDERSTOOD: &[&str] = &["recipient-list-message", "recipient-list-invite"];

/// Result of one check.
pub(super) enum Checked {
    /// Passed: continue with the next one.
    Passed,
    /// Passed if the operator's script agrees.
    Ask(Event),
    /// The group must be looked up first.
    WantGroup,
    /// Passed; another process may run the further checks, which take long.
    LongList,
    /// There is no further check.
    All,
}

/// RFC 3261 §7.3.1.
pub(super) fn no_repeated_field(
    request: &mut Request,
    _: &dyn Journal,
) -> Result<Checked, Refusal> {
    single_fields(&request.message).map(|()| Checked::Passed)
}

/// RFC 3261 §7.3.1: if a field that may occur once occurs twice, it is undefined which one applies.
pub(in crate::controlling) fn single_fields(message: &Message) -> Result<(), Refusal> {
    let name = message.repeated_field().and_then(HeaderName::as_str);
    name.map_or(Ok(()), |name| {
        Err(Refusal::bad_request(
            at!(Notice),
            format!("Two {name} Header Fields"),
        ))
    })
}

/// 9.1.1-1.
pub(super) fn authorised_originator(
    request: &mut Request,
    _: &dyn Journal,
) -> Result<Checked, Refusal> {
    match request.originator {
        Some(_) => Ok(Checked::Passed),
        None => Err(Refusal::forbidden(
            at!(Notice),
            NOT_AUTHORISED,
            "nobody vouches for the originator",
        )),
    }
}

/// 9.1.1-1, the operator's own policy.
pub(super) fn authorised_by_script(_: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    Ok(Checked::Ask(Event::Authorize))
}

/// 9.1.1-2 (and -4e, which repeats the same check).
pub(super) fn user_agent_version(
    request: &mut Request,
    _: &dyn Journal,
) -> Result<Checked, Refusal> {
    let required = &request.service.settings().required_user_agent;
    let fits = |text: &str| {
        products(text).any(|named| {
            required
                .iter()
                .any(|product| product.matches(named.name, named.version))
        })
    };
    let user_agent = request
        .message
        .first(HeaderName::UserAgent)
        .map(|field| field.unfolded_text());
    if required.is_empty() || user_agent.is_some_and(|text| fits(&text)) {
        Ok(Checked::Passed)
    } else {
        Err(Refusal::forbidden(
            at!(Notice),
            VERSION_NOT_SUPPORTED,
            "the User-Agent names no required product",
        ))
    }
}

/// RFC 3261 §8.2.2.3.
pub(super) fn understood_option_tags(
    request: &mut Request,
    _: &dyn Journal,
) -> Result<Checked, Refusal> {
    let required = texts(&request.message, HeaderName::Require);
    let understood = match request.mode() {
        Mode::Pager => UNDERSTOOD,
        Mode::Large => large_message_mode::UNDERSTOOD,
    };
    let unknown: Vec<&str> = option_tag::tags(required.iter().map(AsRef::as_ref))
        .filter(|tag| {
            !understood
                .iter()
                .any(|known| known.eq_ignore_ascii_case(tag))
        })
        .collect();
    if unknown.is_empty() {
        return Ok(Checked::Passed);
    }
    Err(Refusal::with_header(
        at!(Notice),
        StatusCode::BAD_EXTENSION,
        Some(("Unsupported", unknown.join(", "))),
        "it requires an extension that is not supported",
    ))
}

/// RFC 3261 §16.3 item 3.
pub(super) fn hops(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    hops_left(&request.message).map(|()| Checked::Passed)
}

/// Outgoing requests contain the URI of this From (readings N25).
pub(super) fn from(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    match request.message.uri_in(HeaderName::From) {
        Some(_) => Ok(Checked::Passed),
        None => Err(Refusal::bad_request(at!(Notice), "Malformed From")),
    }
}

/// Readings N39.
pub(super) fn identifiers(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if !request.service.settings().require_ids {
        return Ok(Checked::Passed);
    }
    if request.conversation_id().is_none_or(<[u8]>::is_empty) {
        return Err(Refusal::bad_request(at!(Notice), "Missing Conversation-ID"));
    }
    if request.contribution_id().is_none_or(<[u8]>::is_empty) {
        return Err(Refusal::bad_request(at!(Notice), "Missing Contribution-ID"));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-3b-w, 9.1.2-3b-w.
pub(super) fn too_many(at: LogAt, request: &Request, cause: &'static str) -> Refusal {
    let warning = match request.mode() {
        Mode::Pager => TOO_MANY_RECIPIENTS,
        Mode::Large => large_message_mode::TOO_MANY_PARTICIPANTS,
    };
    Refusal::busy_here(at, warning, cause)
}

/// 9.1.1-3c-w, 9.1.2-3c-w.
pub(super) fn no_destinations(at: LogAt, request: &Request, cause: &'static str) -> Refusal {
    let text = request.service.settings().large_mode.no_destinations_text;
    let warning = match (request.mode(), text) {
        (Mode::Large, NoDestinationsText::Bare) => NO_DESTINATIONS_BARE,
        _ => NO_DESTINATIONS,
    };
    Refusal::forbidden(at, warning, cause)
}

/// Checks for INVITE only: session timer, offer, size (9.1.2-6).
pub(super) fn session(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if request.mode() == Mode::Large
        && let Some(settings) = request.service.large_mode()
    {
        large_message_mode::check_invite(&request.message, settings)?;
    }
    Ok(Checked::Passed)
}

/// The operator's own policy, once everything is known.
pub(super) fn accepted_by_script(_: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    Ok(Checked::Ask(Event::Checked))
}
