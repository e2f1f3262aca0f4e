//! An INVITE passed from the process that has checked it to the sessions process.

use bytes::{Buf, BufMut, Bytes};

use crate::controlling::about::{put_about, put_number, take_about, take_number};
use crate::controlling::handed_over::{put, put_claim, take, take_claim, take_text};
use crate::controlling::host::AboutRequest;
use crate::controlling::received::Kind;
use crate::controlling::request::Request;
use crate::msrp_control::{SESSION_ID_BYTES, SessionId};
use crate::resource_lists;
use crate::shared::{Claim, MessageNumber};
use crate::sip::{Message, requests_anonymity};

/// An INVITE that has passed its checks, with their results. Plain data, so that the checking
/// process can pass it to the sessions process.
#[derive(Clone, Debug)]
pub struct AcceptedInvite {
    /// The name that its session will have.
    pub session: SessionId,
    /// The claim that prevents a second acceptance, if requests are remembered.
    pub claim: Option<Claim>,
    /// The kind of destination.
    pub kind: Kind,
    /// The request as received.
    pub message: Message,
    /// The address of the service it is for, as written in the group's document or the
    /// configuration.
    pub own_address: String,
    /// The authenticated originator's CPM Address.
    pub originator: String,
    /// P-Asserted-Identity value that names the originator.
    pub asserted: String,
    /// The address for disposition notifications about the message.
    pub notifications_to: Option<String>,
    /// The distinct recipients' URIs, each followed by a line feed, which no URI contains.
    pub recipients: String,
    /// The history document, for an ad-hoc group with entries to show
    /// ([`write_history`](resource_lists::write_history)).
    pub history: Option<Bytes>,
    /// What scripts are told about it.
    pub about: AboutRequest,
    /// Its record.
    pub record: MessageNumber,
}

impl AcceptedInvite {
    /// From a request whose checks have passed. `None`: it is not one of large message mode.
    pub(in crate::controlling) fn of(request: &Request, claim: Option<Claim>) -> Option<Self> {
        let originator = request.originator.as_ref()?;
        let history = (request.kind() == Kind::AdHoc).then(|| {
            let unqualified = request.service.settings().history_unqualified;
            resource_lists::write_history(request.recipients().history(), unqualified)
        });
        Some(AcceptedInvite {
            session: request.session()?,
            claim,
            kind: request.kind(),
            message: request.message.clone(),
            own_address: request.own_address().to_owned(),
            originator: originator.uri().to_owned(),
            asserted: originator.asserted().to_owned(),
            notifications_to: request.notifications_to().map(str::to_owned),
            recipients: request.recipients().lines().to_owned(),
            history: history.flatten(),
            about: request.about(),
            record: MessageNumber::default(),
        })
    }

    /// As bytes for another process of the same build.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(self.message.buffer().len() + self.recipients.len() + 1024);
        bytes.put_slice(self.session.as_bytes());
        put_claim(&mut bytes, self.claim);
        bytes.put_u8(match self.kind {
            Kind::Exploder => 0,
            Kind::AdHoc => 1,
            Kind::Group => 2,
        });
        bytes.put_u8(u8::from(self.history.is_some()));
        for field in [
            &self.message.buffer()[..],
            self.own_address.as_bytes(),
            self.originator.as_bytes(),
            self.asserted.as_bytes(),
            self.notifications_to
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
            self.recipients.as_bytes(),
            self.history.as_deref().unwrap_or_default(),
        ] {
            put(&mut bytes, field);
        }
        put_about(&mut bytes, &self.about);
        put_number(&mut bytes, self.record);
        bytes
    }

    /// The inverse of [`AcceptedInvite::write`]; `None` for anything else.
    pub fn read(mut bytes: Bytes) -> Option<Self> {
        let mut session = [0; SESSION_ID_BYTES];
        bytes.try_copy_to_slice(&mut session).ok()?;
        let claim = take_claim(&mut bytes)?;
        let kind = match bytes.try_get_u8().ok()? {
            0 => Kind::Exploder,
            1 => Kind::AdHoc,
            2 => Kind::Group,
            _ => return None,
        };
        let has_history = bytes.try_get_u8().ok()? == 1;
        let invite = AcceptedInvite {
            session: SessionId::from_bytes(session),
            claim,
            kind,
            message: Message::parse(take(&mut bytes)?).ok()?,
            own_address: take_text(&mut bytes)?,
            originator: take_text(&mut bytes)?,
            asserted: take_text(&mut bytes)?,
            notifications_to: Some(take_text(&mut bytes)?).filter(|uri| !uri.is_empty()),
            recipients: take_text(&mut bytes)?,
            history: Some(take(&mut bytes)?).filter(|_| has_history),
            about: take_about(&mut bytes)?,
            record: take_number(&mut bytes)?,
        };
        bytes.is_empty().then_some(invite)
    }

    /// Whether the sender asks for anonymity (readings N17).
    pub(super) fn is_anonymous(&self) -> bool {
        requests_anonymity(&self.message)
    }
}
