//! The checks of 9.1.1, in the order of the specification; the first that fails answers. Those that only
//! pre-defined groups have are in `check_group`.

use bytes::Bytes;

use super::check_group;
use super::disposition::cpim_of;
use super::header_fields::texts;
use super::host::{Counter, Host};
use super::large_message_mode;
use super::pager_mode::ReceivedList;
use super::recipients::{Recipients, RecipientsError};
use super::refusal::Refusal;
use super::request::Request;
use super::sent_on::not_sent_on;
use super::service::{Kind, Mode};
use crate::mime::{Entity, EntityFields, Leaf, MimeError};
use crate::policy::{MissingListCode, NoDestinationsText};
use crate::resource_lists::ResourceLists;
use crate::sip::{HeaderName, Message, StatusCode, option_tag, products, requests_anonymity};

pub(super) const NOT_AUTHORISED: &str = "127 Service not authorised";
const VERSION_NOT_SUPPORTED: &str = "132 Version not supported";
pub(super) const ANONYMITY_NOT_ALLOWED: &str = "119 Anonymity not allowed";
const TOO_MANY_RECIPIENTS: &str = "102 Too many recipients";
const NO_DESTINATIONS: &str = "129 No destinations";
/// As 9.1.2 writes it (spec-notes N11).
const NO_DESTINATIONS_BARE: &str = "No destinations";

/// Option tags of Require that we understand in a MESSAGE (RFC 5365 §5, RFC 5366 §5; spec-notes N29).
const UNDERSTOOD: &[&str] = &["recipient-list-message", "recipient-list-invite"];

/// What came of one check.
pub(super) enum Checked {
    /// Passed: on to the next one.
    Passed,
    /// Passed if the operator's own policy says so.
    AskOperator,
    /// The group has to be looked up first.
    WantGroup,
    /// There is no further check.
    All,
}

type Step = fn(&mut Request, &dyn Host) -> Result<Checked, Refusal>;

/// For 1-to-many and ad-hoc groups. The steps that the specification does not name (option tags, hops,
/// identifiers: RFC 3261 §8.2.2) come once the originator is known to be allowed to ask; but who that is cannot be told of a
/// request that says things twice.
const EXPLODER_AND_ADHOC: &[Step] = &[
    no_repeated_field,
    authorised_originator,
    operator,
    user_agent_version,
    understood_option_tags,
    hops,
    from,
    not_sent_on,
    identifiers,
    anonymity,
    resource_list,
    recipient_limit,
    destinations,
    content,
    session,
];

/// For pre-defined groups (9.1.1-4; spec-notes N14, N15: what a group allows is known once it is found).
const GROUP: &[Step] = &[
    no_repeated_field,
    authorised_originator,
    operator,
    user_agent_version,
    understood_option_tags,
    hops,
    from,
    not_sent_on,
    identifiers,
    check_group::wanted,
    check_group::exists,
    check_group::permits,
    check_group::supports_cpm,
    check_group::anonymity,
    check_group::members,
    check_group::content,
    session,
];

/// Where [`GROUP`] asks for the group.
const GROUP_STEP: usize = 9;

fn plan(kind: Kind) -> &'static [Step] {
    match kind {
        Kind::Exploder | Kind::AdHoc => EXPLODER_AND_ADHOC,
        Kind::Group => GROUP,
    }
}

/// The check that wants the group, for destinations that are one.
pub(super) fn group_step(kind: Kind) -> Option<usize> {
    (kind == Kind::Group).then_some(GROUP_STEP)
}

/// Runs the check of this number.
pub(super) fn run(request: &mut Request, step: usize, host: &dyn Host) -> Result<Checked, Refusal> {
    let check = plan(request.kind()).get(step);
    check.map_or(Ok(Checked::All), |check| check(request, host))
}

fn no_repeated_field(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    single_fields(&request.message).map(|()| Checked::Passed)
}

/// RFC 3261 §7.3.1: of a field that may occur once, nobody says which one counts.
pub(super) fn single_fields(message: &Message) -> Result<(), Refusal> {
    let name = message.repeated_field().and_then(HeaderName::as_str);
    name.map_or(Ok(()), |name| {
        Err(Refusal::bad_request(format!("Two {name} Header Fields")))
    })
}

/// 9.1.1-1.
fn authorised_originator(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    match request.originator {
        Some(_) => Ok(Checked::Passed),
        None => Err(Refusal::forbidden(
            NOT_AUTHORISED,
            "nobody vouches for the originator",
        )),
    }
}

/// 9.1.1-1, the operator's own part of it.
fn operator(_: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    Ok(Checked::AskOperator)
}

/// 9.1.1-2 (and -4e, which asks the same again).
fn user_agent_version(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
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
            VERSION_NOT_SUPPORTED,
            "the User-Agent names no required product",
        ))
    }
}

/// RFC 3261 §8.2.2.3.
fn understood_option_tags(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
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
        StatusCode::BAD_EXTENSION,
        Some(("Unsupported", unknown.join(", "))),
        "it requires an extension that is not supported",
    ))
}

fn hops(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    hops_left(&request.message).map(|()| Checked::Passed)
}

/// RFC 3261 §16.3 item 3: what we send on has one hop less, which also ends loops through others.
pub(super) fn hops_left(message: &Message) -> Result<(), Refusal> {
    match message
        .first(HeaderName::MaxForwards)
        .map(|field| field.text())
    {
        None => Ok(()),
        Some(Ok(text)) if text.trim().parse::<u8>().is_ok_and(|hops| hops > 0) => Ok(()),
        Some(Ok(text)) if text.trim().parse::<u8>() == Ok(0) => Err(Refusal::with_header(
            StatusCode::TOO_MANY_HOPS,
            None,
            "Max-Forwards has come down to 0",
        )),
        Some(_) => Err(Refusal::bad_request("Malformed Max-Forwards")),
    }
}

/// What goes out has the URI of this From (spec-notes N25).
fn from(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    match request.message.uri_in(HeaderName::From) {
        Some(_) => Ok(Checked::Passed),
        None => Err(Refusal::bad_request("Malformed From")),
    }
}

/// Spec-notes N39.
fn identifiers(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if !request.service.settings().require_ids {
        return Ok(Checked::Passed);
    }
    if request.conversation_id().is_none_or(<[u8]>::is_empty) {
        return Err(Refusal::bad_request("Missing Conversation-ID"));
    }
    if request.contribution_id().is_none_or(<[u8]>::is_empty) {
        return Err(Refusal::bad_request("Missing Contribution-ID"));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-3a, -5a.
fn anonymity(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if !request.service.settings().allow_anonymity && request.anonymity_requested() {
        return Err(Refusal::forbidden(
            ANONYMITY_NOT_ALLOWED,
            "anonymity is not allowed",
        ));
    }
    Ok(Checked::Passed)
}

/// Finds and reads the resource list (9.1.1-3d, -5d; RFC 5365 §7.1). No list is an empty one
/// (spec-notes N19); more than one would make it a guess who is meant.
fn resource_list(request: &mut Request, host: &dyn Host) -> Result<Checked, Refusal> {
    if has_content_encoding(&request.message) {
        return Err(unsupported_encoding());
    }
    let entity = entity(&request.message)?;
    let mut list_leaves = entity.leaves().filter(is_resource_list);
    let list = list_leaves.next();
    if list.is_some() && list_leaves.next().is_some() {
        return Err(Refusal::bad_request("Two Resource Lists"));
    }
    let is_recipient_list =
        |leaf: &Leaf<'_>| leaf.disposition().is_none_or(|d| d.is("recipient-list"));
    let Some(leaf) = list.filter(is_recipient_list) else {
        return match request.service.settings().missing_list_code {
            MissingListCode::Forbidden => Err(no_destinations(request, "it has no resource list")),
            MissingListCode::BadRequest => Err(Refusal::bad_request("Missing Resource List")),
        };
    };
    if leaf
        .field("Content-Encoding")
        .is_some_and(|value| !value.eq_ignore_ascii_case(b"identity"))
    {
        return Err(unsupported_encoding());
    }
    let document = leaf.content().map_err(malformed)?;
    let lists =
        ResourceLists::parse(&document).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let recipients = Recipients::of(
        lists.entries(),
        request.service.settings().max_recipients,
        &request.service,
    )
    .map_err(|error| match error {
        RecipientsError::NotAUri => Refusal::bad_request("Bad URI In Resource List"),
        RecipientsError::WithHeaders => Refusal::bad_request("Header Fields In Recipient URI"),
        RecipientsError::WithMethod => Refusal::bad_request("Method In Recipient URI"),
    })?;
    if recipients.loops() > 0 {
        host.count(Counter::Loops, recipients.loops());
    }
    let list = leaf.id();
    drop(list_leaves);
    request.cpim = cpim_of(&entity);
    request.received_list = Some(ReceivedList { entity, leaf: list });
    request.recipients = recipients;
    Ok(Checked::Passed)
}

/// The body as a tree (RFC 5621).
pub(super) fn entity(message: &Message) -> Result<Entity, Refusal> {
    let value = |name| {
        let field = message.first(name);
        field.map(|field| Bytes::copy_from_slice(field.value()))
    };
    let fields = EntityFields {
        content_type: value(HeaderName::ContentType),
        content_disposition: value(HeaderName::ContentDisposition),
        content_transfer_encoding: value(HeaderName::ContentTransferEncoding),
    };
    Entity::parse(fields, message.body()).map_err(malformed)
}

pub(super) fn is_resource_list(leaf: &Leaf<'_>) -> bool {
    leaf.content_type().is("application", "resource-lists+xml")
}

pub(super) fn has_content_encoding(message: &Message) -> bool {
    let encoding = message.first(HeaderName::ContentEncoding);
    encoding.is_some_and(|field| !field.value().eq_ignore_ascii_case(b"identity"))
}

/// 9.1.1-3b, -5b: distinct recipients, own addresses not counted (spec-notes N18).
fn recipient_limit(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if request.recipients.over_limit() {
        return Err(too_many(request, "more recipients than max_recipients"));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-3b-w, 9.1.2-3b-w.
pub(super) fn too_many(request: &Request, cause: &'static str) -> Refusal {
    let warning = match request.mode() {
        Mode::Pager => TOO_MANY_RECIPIENTS,
        Mode::Large => large_message_mode::TOO_MANY_PARTICIPANTS,
    };
    Refusal::busy_here(warning, cause)
}

/// 9.1.1-3c-w, 9.1.2-3c-w.
pub(super) fn no_destinations(request: &Request, cause: &'static str) -> Refusal {
    let text = request.service.settings().large_mode.no_destinations_text;
    let warning = match (request.mode(), text) {
        (Mode::Large, NoDestinationsText::Bare) => NO_DESTINATIONS_BARE,
        _ => NO_DESTINATIONS,
    };
    Refusal::forbidden(warning, cause)
}

/// 9.1.1-3c, -5c.
fn destinations(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if request.recipients.is_empty() {
        let cause = match request.recipients.loops() {
            0 => "its resource list is empty",
            _ => "its resource list names nobody but ourselves",
        };
        return Err(no_destinations(request, cause));
    }
    Ok(Checked::Passed)
}

/// The body that goes out (9.1.1-6g): made once, here, so that what cannot be made is refused before
/// anything is sent. Recipients of a large message get a session description of ours instead.
fn content(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if request.mode() == Mode::Large {
        return Ok(Checked::Passed);
    }
    request.outgoing_body = request.without_received_list().map_err(malformed)?;
    if request.outgoing_body.is_none() {
        return Err(Refusal::bad_request("No Message Beside The Resource List"));
    }
    Ok(Checked::Passed)
}

/// What only an INVITE has: session timer, offer, size (9.1.2-6).
fn session(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if request.mode() == Mode::Large
        && let Some(settings) = request.service.large_mode()
    {
        large_message_mode::check_invite(&request.message, settings)?;
    }
    Ok(Checked::Passed)
}

pub(super) fn malformed(error: MimeError) -> Refusal {
    Refusal::bad_request(error.to_string())
}

/// RFC 3261 §8.2.3.
fn unsupported_encoding() -> Refusal {
    Refusal::with_header(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Some(("Accept-Encoding", "identity".to_owned())),
        "its Content-Encoding is not supported",
    )
}

impl Request {
    /// Spec-notes N17.
    pub(super) fn anonymity_requested(&self) -> bool {
        requests_anonymity(&self.message)
    }
}
