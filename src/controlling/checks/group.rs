//! The checks for pre-defined groups only (9.1.1-4; readings N14-N17).

use std::cell::Cell;
use std::rc::Rc;

use super::common::{ANONYMITY_NOT_ALLOWED, Checked, no_destinations, too_many};
use crate::controlling::body::{ReceivedList, cpim_of, entity, has_content_encoding, malformed};
use crate::controlling::host::{Counter, Journal};
use crate::controlling::originator::Originator;
use crate::controlling::received::Mode;
use crate::controlling::recipients::Recipients;
use crate::controlling::refusal::Refusal;
use crate::controlling::request::{GroupLookup, Request};
use crate::controlling::verdict::NOT_AUTHORISED;
use crate::group::{Group, Permissions};
use crate::log::at;
use crate::mime::Rebuilt;
use crate::policy::UnknownGroupCode;
use crate::resource_lists::Entry;
use crate::sip::{StatusCode, Uri};

/// The group must be looked up: the following checks need it.
pub(super) fn wanted(_: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    Ok(Checked::WantGroup)
}

/// 9.1.1-4b.
pub(super) fn exists(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    match request.group {
        Some(GroupLookup::Known(..)) => Ok(Checked::Passed),
        Some(GroupLookup::Unavailable { retry_after_s }) => Err(Refusal::with_header(
            // Each request to a group ends here meanwhile; the outage itself is logged.
            at!(Debug),
            StatusCode::TEMPORARILY_UNAVAILABLE,
            Some(("Retry-After", retry_after_s.to_string())),
            "no group source could say whether the group exists",
        )),
        Some(GroupLookup::Unknown) | None => match request.service.settings().unknown_group_code {
            UnknownGroupCode::NotFound => Err(Refusal::with_header(
                at!(Notice),
                StatusCode::NOT_FOUND,
                None,
                "there is no such group",
            )),
            UnknownGroupCode::Forbidden => Err(Refusal::forbidden(
                at!(Notice),
                NOT_AUTHORISED,
                "there is no such group",
            )),
        },
    }
}

/// The group, whose existence [`exists`] has checked.
fn known(request: &Request) -> Result<(&Rc<Group>, Permissions), Refusal> {
    match &request.group {
        Some(GroupLookup::Known(group, permissions)) => Ok((group, *permissions)),
        _ => Err(Refusal::with_header(
            at!(Notice),
            StatusCode::NOT_FOUND,
            None,
            "there is no such group",
        )),
    }
}

/// 9.1.1-4a.
pub(super) fn permits(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if !known(request)?.1.may_send {
        return Err(Refusal::forbidden(
            at!(Notice),
            NOT_AUTHORISED,
            "the group's rules do not permit the originator to send",
        ));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-4c, 9.1.2-4a (readings N13).
pub(super) fn supports_cpm(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if !known(request)?.0.supports_cpm() {
        let code = match request.mode() {
            Mode::Pager => StatusCode::NOT_ACCEPTABLE_HERE,
            Mode::Large => {
                let code = request.service.settings().large_mode.group_no_cpm_code;
                StatusCode::new(code).unwrap_or(StatusCode::NOT_FOUND)
            }
        };
        return Err(Refusal::with_header(
            at!(Notice),
            code,
            None,
            "the group's supported-services do not name CPM",
        ));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-4d: the group's allow-anonymity decides (readings N17).
pub(super) fn anonymity(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if request.anonymity_requested() && !known(request)?.1.anonymity_allowed {
        return Err(Refusal::forbidden(
            at!(Notice),
            ANONYMITY_NOT_ALLOWED,
            "the group does not allow anonymity",
        ));
    }
    Ok(Checked::Passed)
}

/// 9.1.1-4g, without the group itself (readings N36), and without the sender unless it wants a copy
/// (N34).
pub(super) fn members(request: &mut Request, host: &dyn Journal) -> Result<Checked, Refusal> {
    let settings = request.service.settings();
    let (group, _) = known(request)?;
    let sender = request
        .originator
        .as_ref()
        .map(Originator::identities)
        .unwrap_or_default();
    let own = Uri::parse(group.uri()).ok();
    let loops = Cell::new(0);
    let is_recipient = |uri: &str| {
        // A text that is not a URI is reported below.
        let Ok(uri) = Uri::parse(uri) else {
            return true;
        };
        let is_own = own.is_some_and(|own| own.equivalent(&uri));
        loops.set(loops.get() + u32::from(is_own));
        let is_sender = || sender.iter().any(|identity| identity.equivalent(&uri));
        !is_own && (settings.copy_to_sender || !is_sender())
    };
    let entries = group
        .members()
        .filter(|member| is_recipient(member.uri))
        .map(|member| Entry {
            uri: member.uri,
            display_name: member.display_name,
            copy_control: None,
            anonymize: false,
        });
    let about = entries.size_hint().1.unwrap_or(0);
    let recipients = Recipients::of(entries, about, settings.max_group_members, &request.service);
    // The fault is in the group document, not in the sender's request.
    request.recipients = recipients.map_err(|_| {
        let code = StatusCode::SERVER_INTERNAL_ERROR;
        Refusal::with_header(
            at!(Notice),
            code,
            None,
            "a member of the group has no URI that requests can be sent to",
        )
    })?;
    let loops = request.recipients.loops() + loops.get();
    if loops > 0 {
        host.count(Counter::Loops, loops);
    }
    if request.recipients.over_limit() {
        return Err(too_many(
            at!(Notice),
            request,
            "more members than max_group_members",
        ));
    }
    // 9.1.1-4f.
    if request.recipients.is_empty() {
        return Err(no_destinations(
            at!(Notice),
            request,
            "the group has no members besides the sender",
        ));
    }
    Ok(Checked::Passed)
}

/// The body of a message to a group is passed on as received, except lists of recipients, which do
/// not belong in it (9.1.1-6g-ex2).
pub(super) fn content(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    if request.mode() == Mode::Large {
        return Ok(Checked::Passed);
    }
    let whole = || Rebuilt {
        header_fields: None,
        body: request.message.body(),
    };
    // A body encoded as a whole cannot be read, and must reach the members unchanged.
    let rebuilt = if has_content_encoding(&request.message) {
        Some(whole())
    } else {
        let entity = entity(&request.message)?;
        request.cpim = cpim_of(&entity);
        match ReceivedList::in_body(&request.message, entity).map_err(malformed(at!(Notice)))? {
            Some(list) => list.replaced(None).map_err(malformed(at!(Notice)))?,
            None => Some(whole()),
        }
    };
    if rebuilt.is_none() {
        return Err(Refusal::bad_request(
            at!(Notice),
            "No Message Beside The Resource List",
        ));
    }
    request.outgoing_body = rebuilt;
    Ok(Checked::Passed)
}
