//! The checks of 9.1.1, in the order of the specification; the first that fails answers.

use std::rc::Rc;

use bytes::Bytes;

use super::header_fields::texts;
use super::host::{Counter, Host};
use super::originator::Originator;
use super::pager_mode::ReceivedList;
use super::recipients::{Recipients, RecipientsError};
use super::refusal::Refusal;
use super::request::{GroupLookup, Request};
use super::service::Kind;
use crate::group::{Group, Permissions};
use crate::mime::{Entity, EntityFields, Leaf, MimeError, Rebuilt};
use crate::policy::{MissingListCode, UnknownGroupCode};
use crate::resource_lists::{Entry, ResourceLists};
use crate::sip::{HeaderName, Message, StatusCode, Uri, option_tag, products, requests_anonymity};

pub(super) const NOT_AUTHORISED: &str = "127 Service not authorised";
const VERSION_NOT_SUPPORTED: &str = "132 Version not supported";
const ANONYMITY_NOT_ALLOWED: &str = "119 Anonymity not allowed";
const TOO_MANY_RECIPIENTS: &str = "102 Too many recipients";
const NO_DESTINATIONS: &str = "129 No destinations";

/// Option tags of Require that we understand (RFC 5365 §5, RFC 5366 §5; spec-notes N29).
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
/// identifiers: RFC 3261 §8.2.2) come once the originator is known to be allowed to ask.
const EXPLODER_AND_ADHOC: &[Step] = &[
    authorised_originator,
    operator,
    user_agent_version,
    understood_option_tags,
    hops_left,
    identifiers,
    anonymity,
    resource_list,
    recipient_limit,
    destinations,
    content,
];

/// For pre-defined groups (9.1.1-4; spec-notes N14, N15: what a group allows is known once it is found).
const GROUP: &[Step] = &[
    authorised_originator,
    operator,
    user_agent_version,
    understood_option_tags,
    hops_left,
    identifiers,
    group,
    group_exists,
    group_permits,
    group_supports_cpm,
    group_anonymity,
    members,
    destinations,
    group_content,
];

/// Where [`GROUP`] asks for the group.
const GROUP_STEP: usize = 6;

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
        .and_then(|field| field.text().ok());
    if required.is_empty() || user_agent.is_some_and(fits) {
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
    let unknown: Vec<&str> = option_tag::tags(required.iter().map(AsRef::as_ref))
        .filter(|tag| {
            !UNDERSTOOD
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

/// RFC 3261 §16.3 item 3: what we send on has one hop less, which also ends loops through others.
fn hops_left(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    match request
        .message
        .first(HeaderName::MaxForwards)
        .map(|field| field.text())
    {
        None => Ok(Checked::Passed),
        Some(Ok(text)) if text.trim().parse::<u8>().is_ok_and(|hops| hops > 0) => {
            Ok(Checked::Passed)
        }
        Some(Ok(text)) if text.trim().parse::<u8>() == Ok(0) => Err(Refusal::with_header(
            StatusCode::TOO_MANY_HOPS,
            None,
            "Max-Forwards has come down to 0",
        )),
        Some(_) => Err(Refusal::bad_request("Malformed Max-Forwards")),
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
            MissingListCode::Forbidden => Err(Refusal::forbidden(
                NO_DESTINATIONS,
                "it has no resource list",
            )),
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
    request.received_list = Some(ReceivedList { entity, leaf: list });
    request.recipients = recipients;
    Ok(Checked::Passed)
}

/// The body as a tree (RFC 5621).
fn entity(message: &Message) -> Result<Entity, Refusal> {
    let value = |name| {
        let field = message.first(name);
        field.map(|field| Bytes::copy_from_slice(field.value()))
    };
    let transfer_encoding = message.fields().find(|field| {
        field
            .raw_name()
            .eq_ignore_ascii_case("Content-Transfer-Encoding")
    });
    let fields = EntityFields {
        content_type: value(HeaderName::ContentType),
        content_disposition: value(HeaderName::ContentDisposition),
        content_transfer_encoding: transfer_encoding
            .map(|field| Bytes::copy_from_slice(field.value())),
    };
    Entity::parse(fields, message.body()).map_err(malformed)
}

fn is_resource_list(leaf: &Leaf<'_>) -> bool {
    leaf.content_type().is("application", "resource-lists+xml")
}

fn has_content_encoding(message: &Message) -> bool {
    let encoding = message.first(HeaderName::ContentEncoding);
    encoding.is_some_and(|field| !field.value().eq_ignore_ascii_case(b"identity"))
}

/// 9.1.1-3b, -5b: distinct recipients, own addresses not counted (spec-notes N18).
fn recipient_limit(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if request.recipients.over_limit() {
        return Err(Refusal::busy_here(
            TOO_MANY_RECIPIENTS,
            "more recipients than max_recipients",
        ));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-3c, -5c.
fn destinations(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if request.recipients.is_empty() {
        let cause = match (request.kind(), request.recipients.loops()) {
            (Kind::Group, _) => "the group has no members beside the sender and ourselves",
            (_, 0) => "its resource list is empty",
            _ => "its resource list names nobody but ourselves",
        };
        return Err(Refusal::forbidden(NO_DESTINATIONS, cause));
    }
    Ok(Checked::Passed)
}

/// The body that goes out (9.1.1-6g): made once, here, so that what cannot be made is refused before
/// anything is sent.
fn content(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    request.outgoing_body = request.without_received_list().map_err(malformed)?;
    if request.outgoing_body.is_none() {
        return Err(Refusal::bad_request("No Message Beside The Resource List"));
    }
    Ok(Checked::Passed)
}

/// Step [`GROUP_STEP`].
fn group(_: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    Ok(Checked::WantGroup)
}

/// 9.1.1-4b.
fn group_exists(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    match request.group {
        Some(GroupLookup::Known(..)) => Ok(Checked::Passed),
        Some(GroupLookup::Unavailable { retry_after_s }) => Err(Refusal::with_header(
            StatusCode::TEMPORARILY_UNAVAILABLE,
            Some(("Retry-After", retry_after_s.to_string())),
            "no group source could say whether the group exists",
        )),
        Some(GroupLookup::Unknown) | None => match request.service.settings().unknown_group_code {
            UnknownGroupCode::NotFound => Err(Refusal::with_header(
                StatusCode::NOT_FOUND,
                None,
                "there is no such group",
            )),
            UnknownGroupCode::Forbidden => {
                Err(Refusal::forbidden(NOT_AUTHORISED, "there is no such group"))
            }
        },
    }
}

/// The group, which [`group_exists`] has seen.
fn known(request: &Request) -> Result<(&Rc<Group>, Permissions), Refusal> {
    match &request.group {
        Some(GroupLookup::Known(group, permissions)) => Ok((group, *permissions)),
        _ => Err(Refusal::with_header(
            StatusCode::NOT_FOUND,
            None,
            "there is no such group",
        )),
    }
}

/// 9.1.1-4a.
fn group_permits(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if !known(request)?.1.may_send {
        return Err(Refusal::forbidden(
            NOT_AUTHORISED,
            "the group's rules do not let the originator send",
        ));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-4c.
fn group_supports_cpm(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if !known(request)?.0.supports_cpm() {
        return Err(Refusal::with_header(
            StatusCode::NOT_ACCEPTABLE_HERE,
            None,
            "the group's supported-services do not name CPM",
        ));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-4d: what counts is the group's allow-anonymity (spec-notes N17).
fn group_anonymity(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    if request.anonymity_requested() && !known(request)?.1.anonymity_allowed {
        return Err(Refusal::forbidden(
            ANONYMITY_NOT_ALLOWED,
            "the group does not allow anonymity",
        ));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-4g, without the sender unless he wants a copy (spec-notes N34).
fn members(request: &mut Request, host: &dyn Host) -> Result<Checked, Refusal> {
    let settings = request.service.settings();
    let (group, _) = known(request)?;
    let sender = request
        .originator
        .as_ref()
        .map(Originator::identities)
        .unwrap_or_default();
    let is_sender = |uri: &str| {
        !settings.copy_to_sender
            && Uri::parse(uri)
                .is_ok_and(|uri| sender.iter().any(|identity| identity.equivalent(&uri)))
    };
    let entries = group
        .members()
        .filter(|member| !is_sender(member.uri))
        .map(|member| Entry {
            uri: member.uri,
            display_name: member.display_name,
            copy_control: None,
            anonymize: false,
        });
    let recipients = Recipients::of(entries, settings.max_group_members, &request.service);
    // What is wrong here is the group document, which is not the sender's fault.
    request.recipients = recipients.map_err(|_| {
        let code = StatusCode::SERVER_INTERNAL_ERROR;
        Refusal::with_header(
            code,
            None,
            "a member of the group has no URI that a request can go to",
        )
    })?;
    if request.recipients.loops() > 0 {
        host.count(Counter::Loops, request.recipients.loops());
    }
    if request.recipients.over_limit() {
        return Err(Refusal::busy_here(
            TOO_MANY_RECIPIENTS,
            "more members than max_group_members",
        ));
    }
    Ok(Checked::Passed)
}

/// The body of a message to a group goes out as it came; only a resource list, which does not belong into it, does
/// not (9.1.1-6g-ex2).
fn group_content(request: &mut Request, _: &dyn Host) -> Result<Checked, Refusal> {
    let whole = || Rebuilt {
        header_fields: None,
        body: request.message.body(),
    };
    // What is encoded as a whole cannot be looked into, and has to reach the members as it is.
    let rebuilt = if has_content_encoding(&request.message) {
        Some(whole())
    } else {
        let entity = entity(&request.message)?;
        match entity.leaves().find(is_resource_list).map(|leaf| leaf.id()) {
            Some(list) => entity.with_leaf(list, None).map_err(malformed)?,
            None => Some(whole()),
        }
    };
    if rebuilt.is_none() {
        return Err(Refusal::bad_request("No Message Beside The Resource List"));
    }
    request.outgoing_body = rebuilt;
    Ok(Checked::Passed)
}

fn malformed(error: MimeError) -> Refusal {
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
        requests_anonymity(
            self.message
                .all(HeaderName::Privacy)
                .filter_map(|field| field.text().ok()),
        )
    }
}
