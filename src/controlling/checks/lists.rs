//! The checks of 9.1.1, in the order of the specification; the first that fails answers. Those that only
//! pre-defined groups have are in `check_group`.

use bytes::Bytes;

use super::group as check_group;
use super::sent_on::not_sent_on;
use crate::controlling::disposition::cpim_of;
use crate::controlling::header_fields::texts;
use crate::controlling::host::{Counter, Host};
use crate::controlling::large_message_mode;
use crate::controlling::pager_mode::ReceivedList;
use crate::controlling::recipients::{Recipients, RecipientsError};
use crate::controlling::refusal::Refusal;
use crate::controlling::request::Request;
use crate::controlling::service::{Kind, Mode};
use crate::mime::{Entity, EntityFields, Leaf, MimeError};
use crate::policy::{MissingListCode, NoDestinationsText};
use crate::resource_lists::ResourceLists;
use crate::sip::{HeaderName, Message, StatusCode, option_tag, products, requests_anonymity};

pub(in crate::controlling) const NOT_AUTHORISED: &str = "127 Service not authorised";
const VERSION_NOT_SUPPORTED: &str = "132 Version not supported";
pub(in crate::controlling) const ANONYMITY_NOT_ALLOWED: &str = "119 Anonymity not allowed";
const TOO_MANY_RECIPIENTS: &str = "102 Too many recipients";
const NO_DESTINATIONS: &str = "129 No destinations";
/// As 9.1.2 writes it (spec-notes N11).
const NO_DESTINATIONS_BARE: &str = "No destinations";

/// Option tags of Require that we understand in a MESSAGE (RFC 5365 §5, RFC 5366 §5; spec-notes N29).
const UNDERSTOOD: &[&str] = &["recipient-list-message", "recipient-list-invite"];

/// What came of one check.
pub(in crate::controlling) enum Checked {
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

/// The first checks of every destination. The steps that the specification does not name (option tags,
/// hops, identifiers: RFC 3261 §8.2.2) come once the originator is known to be allowed to ask; but who
/// that is cannot be told of a request that says things twice.
const OF_ALL: &[Step] = &[
    no_repeated_field,
    authorised_originator,
    operator,
    user_agent_version,
    understood_option_tags,
    hops,
    from,
    not_sent_on,
    identifiers,
];

/// The further ones for 1-to-many and ad-hoc groups.
const EXPLODER_AND_ADHOC: &[Step] = &[
    anonymity,
    resource_list,
    recipient_limit,
    destinations,
    content,
    session,
];

/// The further ones for pre-defined groups, of which the first asks for the group (9.1.1-4; readings
/// N14, N15: what a group allows is known once it is found).
const GROUP: &[Step] = &[
    check_group::wanted,
    check_group::exists,
    check_group::permits,
    check_group::supports_cpm,
    check_group::anonymity,
    check_group::members,
    check_group::content,
    session,
];

/// The check that asks for the group, for destinations that are one.
pub(in crate::controlling) fn group_step(kind: Kind) -> Option<usize> {
    (kind == Kind::Group).then_some(OF_ALL.len())
}

/// Runs the check of this number.
pub(in crate::controlling) fn run(
    request: &mut Request,
    step: usize,
    host: &dyn Host,
) -> Result<Checked, Refusal> {
    let further = match request.kind() {
        Kind::Exploder | Kind::AdHoc => EXPLODER_AND_ADHOC,
        Kind::Group => GROUP,
    };
    match OF_ALL.iter().chain(further).nth(step) {
        Some(check) => check(request, host),
        None => Ok(Checked::All),
    }
}

fn no_repeated_field(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    single_fields(&request.message).map(|()| Checked::Passed)
}

/// RFC 3261 §7.3.1: of a field that may occur once, nobody says which one counts.
pub(in crate::controlling) fn single_fields(message: &Message) -> Result<(), Refusal> {
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
pub(in crate::controlling) fn hops_left(message: &Message) -> Result<(), Refusal> {
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

/// Finds and reads the resource lists (9.1.1-3d, -5d; RFC 5365 §7.1). Several are one, in the order of the body (RFC 5363
/// §4.1), and none is an empty one (spec-notes N19).
fn resource_list(request: &mut Request, host: &dyn Host) -> Result<Checked, Refusal> {
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
        let document = leaf.content().map_err(malformed)?;
        let list = ResourceLists::parse(&document);
        lists.push(list.map_err(|error| Refusal::bad_request(error.to_string()))?);
    }
    if lists.is_empty() {
        return match request.service.settings().missing_list_code {
            MissingListCode::Forbidden => Err(no_destinations(request, "it has no resource list")),
            MissingListCode::BadRequest => Err(Refusal::bad_request("Missing Resource List")),
        };
    }
    let recipients = Recipients::of(
        lists.iter().flat_map(ResourceLists::entries),
        request.service.settings().max_recipients,
        &request.service,
    )
    .map_err(|error| match error {
        RecipientsError::NotAUri => Refusal::bad_request("Bad URI In Resource List"),
    })?;
    if recipients.loops() > 0 {
        host.count(Counter::Loops, recipients.loops());
    }
    request.cpim = cpim_of(&entity);
    request.received_list = ReceivedList::in_body(&request.message, entity).map_err(malformed)?;
    request.recipients = recipients;
    Ok(Checked::Passed)
}

/// The body as a tree (RFC 5621).
pub(in crate::controlling) fn entity(message: &Message) -> Result<Entity, Refusal> {
    Entity::parse(entity_fields(message), message.body()).map_err(malformed)
}

/// What the header says of the body.
pub(in crate::controlling) fn entity_fields(message: &Message) -> EntityFields {
    let value = |name| {
        let field = message.first(name);
        field.map(|field| Bytes::copy_from_slice(field.value()))
    };
    EntityFields {
        content_type: value(HeaderName::ContentType),
        content_disposition: value(HeaderName::ContentDisposition),
        content_transfer_encoding: value(HeaderName::ContentTransferEncoding),
    }
}

/// Whether a part is a list of recipients: what a resource list is for, its disposition says (RFC 5363 §4). One without is
/// taken for that.
fn names_recipients(leaf: &Leaf<'_>) -> bool {
    is_resource_list(leaf) && leaf.disposition().is_none_or(|d| d.is("recipient-list"))
}

/// Whether a part is a list that speaks of the message's recipients: of those to come, or of those whom another list server
/// sent it to (RFC 5364 §5). No copy has it (9.1.1-6g-ex2). One of another disposition is content, as an attachment is.
pub(in crate::controlling) fn is_recipient_list(leaf: &Leaf<'_>) -> bool {
    names_recipients(leaf)
        || is_resource_list(leaf)
            && leaf
                .disposition()
                .is_some_and(|d| d.is("recipient-list-history"))
}

fn is_resource_list(leaf: &Leaf<'_>) -> bool {
    leaf.content_type().is("application", "resource-lists+xml")
}

pub(in crate::controlling) fn has_content_encoding(message: &Message) -> bool {
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
pub(in crate::controlling) fn too_many(request: &Request, cause: &'static str) -> Refusal {
    let warning = match request.mode() {
        Mode::Pager => TOO_MANY_RECIPIENTS,
        Mode::Large => large_message_mode::TOO_MANY_PARTICIPANTS,
    };
    Refusal::busy_here(warning, cause)
}

/// 9.1.1-3c-w, 9.1.2-3c-w.
pub(in crate::controlling) fn no_destinations(request: &Request, cause: &'static str) -> Refusal {
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

pub(in crate::controlling) fn malformed(error: MimeError) -> Refusal {
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
    pub(in crate::controlling) fn anonymity_requested(&self) -> bool {
        requests_anonymity(&self.message)
    }
}
