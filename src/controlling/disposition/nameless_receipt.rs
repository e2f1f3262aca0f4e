//! Receipts from members of a pre-defined group, whose list is not shown to senders (RFC 5438;
//! readings N37): the group tells the sender the outcome, but not of which member.
//!
//! Nothing is passed on as the member wrote it, except data that cannot name anybody: the
//! Message-ID, which is the sender's own, the time, the disposition, and ids of hexadecimal digits.

use super::own_notification::OwnNotification;
use crate::controlling::group_session_identity::names_group_session;
use crate::controlling::header_fields::put;
use crate::controlling::hops::hops_of;
use crate::controlling::host::{Host, Sent};
use crate::controlling::ids::CopyIds;
use crate::controlling::received::PAGER_MODE_SERVICE;
use crate::controlling::refusal::{RETRY_AFTER_S, Refusal, Reply};
use crate::controlling::request::Correlation;
use crate::controlling::request_identity::RequestIdentity;
use crate::controlling::service::ControllingFunction;
use crate::imdn::Notification;
use crate::log::at;
use crate::sip::{HeaderBlock, HeaderName, Message, StatusCode, Uri};

/// Maximum length of a time that is passed on. RFC 3339 with fractions of a second has 35
/// characters.
const MAX_DATE_TIME_BYTES: usize = 40;

/// Maximum length of an id that is passed on: twice a UUID.
const MAX_ID_BYTES: usize = 72;

/// A receipt that the group sends in place of its member.
#[derive(Debug)]
pub struct NamelessReceipt {
    notification: OwnNotification,
    to_tag: String,
    /// Identifies the receipt in log lines.
    correlation: String,
}

impl ControllingFunction {
    /// Whether this is the address of a pre-defined group. A session of an ad-hoc group, which a
    /// wide pattern may match, is not one.
    pub(in crate::controlling) fn is_group_address(&self, uri: &Uri<'_>) -> bool {
        self.own_kind(uri, self.keys(uri).address).is_none()
            && self.settings().group_uris.contains(uri)
            && !uri.user().is_some_and(names_group_session)
    }

    /// The group's notification to `sender` in place of the receipt `message`, whose document is
    /// `document`. Refused with 400 if it cannot be given without possibly naming the member.
    pub(in crate::controlling) fn nameless(
        &self,
        message: &Message,
        group: &Uri<'_>,
        document: &[u8],
        sender: String,
    ) -> Result<NamelessReceipt, Refusal> {
        let malformed = || Refusal::bad_request(at!(Notice), "Malformed Disposition Notification");
        let own = bare_address(group).ok_or_else(malformed)?;
        let received = Notification::parse(document).map_err(|_| malformed())?;
        if !is_date_time(&received.date_time) {
            return Err(malformed());
        }
        let request_ids = self.ids().of_request(&RequestIdentity::of(message));
        let mut ids = CopyIds::of(request_ids);
        ids.set(&sender);
        let mut headers = HeaderBlock::new();
        let icsi = PAGER_MODE_SERVICE.replace(':', "%3A");
        let tag = format!("*;+g.3gpp.icsi-ref=\"{icsi}\"");
        put(&mut headers, "Accept-Contact", tag);
        for name in [HeaderName::ConversationId, HeaderName::ContributionId] {
            for field in message.all(name).filter(|field| is_plain_id(field.value())) {
                headers.push_line(&field);
            }
        }
        Ok(NamelessReceipt {
            to_tag: request_ids.to_tag(),
            correlation: Correlation::of(message).to_string(),
            notification: OwnNotification {
                notification: Notification {
                    recipient: Some(own.clone()),
                    original_recipient: None,
                    ..received
                },
                own,
                cpim_to: format!("<{sender}>"),
                sender,
                ids,
                hops: hops_of(message).saturating_sub(1),
                headers,
            },
        })
    }

    /// Sends it, once the received receipt has a transaction that absorbs retransmissions. Returns
    /// the reply to that, and whether the transaction layer has accepted the notification.
    pub fn send_nameless(&self, receipt: &NamelessReceipt, host: &dyn Host) -> (Reply, bool) {
        let sent = self.send_notification(&receipt.notification, host);
        let is_handed = matches!(sent, Some(Sent::Queued));
        let refusal = match sent {
            Some(Sent::Queued | Sent::Dropped) => {
                let mut headers = HeaderBlock::new();
                put(&mut headers, "Server", self.product());
                let reply = Reply::accepted(headers.into_bytes(), receipt.to_tag.clone());
                return (reply, is_handed);
            }
            Some(Sent::NoRoom | Sent::Busy) => Refusal::with_header(
                at!(Notice),
                StatusCode::SERVICE_UNAVAILABLE,
                Some(("Retry-After", RETRY_AFTER_S.to_string())),
                "there is no room for it now",
            ),
            Some(Sent::Failed | Sent::Deferred) | None => Refusal::with_header(
                at!(Notice),
                StatusCode::SERVER_INTERNAL_ERROR,
                None,
                "the sender cannot be reached",
            ),
        };
        let line = format_args!(
            "a disposition notification could not be forwarded: {}, {}",
            refusal.cause(),
            receipt.correlation
        );
        host.log(at!(Notice), line);
        (refusal.reply(&self.product(), ""), false)
    }
}

/// The address without anything that a member can have added.
fn bare_address(uri: &Uri<'_>) -> Option<String> {
    let (scheme, user, host) = (uri.scheme(), uri.user()?, uri.host()?);
    let port = uri.port().map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{scheme}:{user}@{host}{port}"))
}

/// Whether it has only characters of a time (RFC 3339 §5.6).
fn is_date_time(text: &str) -> bool {
    let is_of_a_time = |byte: u8| byte.is_ascii_digit() || b"TtZz:.+-".contains(&byte);
    text.len() <= MAX_DATE_TIME_BYTES && text.bytes().all(is_of_a_time)
}

/// Whether an id has only characters of UUIDs: others may contain the name of the host that made
/// them.
fn is_plain_id(id: &[u8]) -> bool {
    let is_of_an_id = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
    id.len() <= MAX_ID_BYTES && id.iter().all(is_of_an_id)
}
