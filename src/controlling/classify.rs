//! Which requests are for the Controlling Function (9.1.1-0, 9.1.2-0).

use std::rc::Rc;

use bytes::Bytes;

use super::disposition::is_notification;
use super::received::{
    Kind, LARGE_MODE_GROUP_SERVICE, LARGE_MODE_SERVICE, Mode, PAGER_MODE_GROUP_SERVICE,
    PAGER_MODE_SERVICE, Received,
};
use super::request::Request;
use super::service::ControllingFunction;
use crate::policy::Trigger;
use crate::sip::{HeaderName, Message, Uri, carries_icsi};
use crate::sip_ua::texts;

impl ControllingFunction {
    /// Whether the request is for the Controlling Function (9.1.1-0): sent to one of its addresses
    /// and marked as a CPM Standalone Message. `None`: it is not, and nothing has changed.
    pub fn classify(self: &Rc<Self>, received: &Received<'_>) -> Option<Request> {
        // The Request-URI first: it excludes nearly all other traffic of a proxy.
        let uri = Uri::parse(received.request_uri).ok()?;
        let kind = self.own_kind(&uri, self.keys(&uri).address).or_else(|| {
            let is_group = self.settings().group_uris.contains(&uri);
            is_group.then_some(Kind::Group)
        })?;
        let message = Message::parse(Bytes::copy_from_slice(received.message)).ok()?;
        let mode = self.mode(&message)?;
        // A notification is for the sender of one message, not for all (readings N37).
        if mode == Mode::Pager && is_notification(&message) {
            return None;
        }
        Some(Request::new(Rc::clone(self), received, message, kind, mode))
    }

    /// The mode of a Standalone Message (9.1.1-0, 9.1.2-0). `None`: it is not one, or large message
    /// mode is off.
    fn mode(&self, message: &Message) -> Option<Mode> {
        match message.method()? {
            "MESSAGE" => self
                .is_marked(message, PAGER_MODE_SERVICE, PAGER_MODE_GROUP_SERVICE)
                .then_some(Mode::Pager),
            // A request inside a dialog starts no session; requests of our own dialogs are
            // recognised by their names.
            "INVITE" if self.large_mode().is_some() && !in_dialog(message) => self
                .is_marked(message, LARGE_MODE_SERVICE, LARGE_MODE_GROUP_SERVICE)
                .then_some(Mode::Large),
            _ => None,
        }
    }

    /// Whether the request carries the ICSI `service`, or names it or `group_service` where that
    /// suffices.
    fn is_marked(&self, message: &Message, service: &str, group_service: &str) -> bool {
        let accept_contact = texts(message, HeaderName::AcceptContact);
        let tagged = carries_icsi(accept_contact.iter().map(AsRef::as_ref), service);
        tagged
            || self.settings().trigger == Trigger::AcceptContactOrService
                && message.all(HeaderName::PAssertedService).any(|field| {
                    [service, group_service]
                        .iter()
                        .any(|service| field.value().eq_ignore_ascii_case(service.as_bytes()))
                })
    }
}

/// Whether the request belongs to a dialog already: its To has a tag (RFC 3261 §12.2).
pub(super) fn in_dialog(message: &Message) -> bool {
    message.tag_in(HeaderName::To).is_some()
}
