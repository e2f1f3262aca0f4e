//! A message to send: a draft, and the CPIM message made from it (7.2.1.3).

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use cpm_wire::cpim::{CpimField, CpimMessage, LineBreakError};
use cpm_wire::imdn::{self, Notifications};
use cpm_wire::resource_lists::{
    ANONYMOUS_URI, CONTENT_TYPE as LIST_TYPE, RECIPIENT_LIST_DISPOSITION, write_recipient_list,
};
use cpm_wire::sip::Uri;

use super::date_time::rfc3339;
use super::destination::Destination;
use super::identifiers::{Random, token, uuid};
use super::payload::{Part, Payload};
use super::request::{OutRequest, SipNames};
use super::stored::StoredMessage;
use super::{CPIM_TYPE, CPM_NAMESPACE, PAYLOAD_TYPE};

/// Maximum length of a message in bytes for one MESSAGE (7.2.1.1, 7.2.1.3).
pub const PAGER_MAX_BYTES: usize = 1300;
/// The release of OMA CPM that User-Agent names, unless the user wants another.
pub const OMA_RELEASE: &str = "2.2";
/// Maximum number of content parts in one message.
pub const MAX_CONTENT_PARTS: usize = 32;

/// Length that an offer, Contact, Allow and Supported add to a request.
const OFFER_BYTES: usize = 700;
pub(super) const ICSI: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.";

/// What is measured to choose between the modes (readings N59).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SizeOf {
    /// The message/cpim content.
    #[default]
    Cpim,
    /// The whole MESSAGE request.
    Request,
}

/// The Session-Expires of the INVITE. A conforming client sends none (7.2.1.2-14, readings N1); the
/// others are for testing servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionExpires {
    /// None.
    #[default]
    Absent,
    /// Seconds, without refresher.
    Plain(u32),
    /// Seconds, `refresher=uas`.
    Uas(u32),
    /// Seconds, `refresher=uac`, in violation of 7.2.1.2-14.
    Uac(u32),
}

/// A message before it is sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The sending user's address.
    pub from: String,
    /// Name to display.
    pub display_name: Option<String>,
    /// The user's registered address to use as originator (P-Preferred-Identity).
    pub identity: Option<String>,
    /// The originator as asserted by a trusted element (P-Asserted-Identity). A user agent normally
    /// must not do this; it is for testing a server that trusts this machine.
    pub asserted: Option<String>,
    /// The recipients.
    pub destination: Destination,
    /// The content, at least one part.
    pub parts: Vec<Part>,
    /// Subject.
    pub subject: Option<String>,
    /// The address for answers, if not `from`.
    pub reply_to: Option<String>,
    /// Whether to hide the sender from the recipients.
    pub anonymous: bool,
    /// Lifetime in seconds.
    pub expires: Option<u32>,
    /// The requested notifications.
    pub notifications: Notifications,
    /// Its conversation; `None` opens a new one.
    pub conversation_id: Option<String>,
    /// Contribution-ID of the item it replies to.
    pub in_reply_to: Option<String>,
    /// Route header fields of the request, such as the Service-Route of the registration.
    pub routes: Vec<String>,
    /// Release in User-Agent.
    pub oma_release: String,
    /// Session-Expires of the INVITE.
    pub session_expires: SessionExpires,
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In one SIP MESSAGE.
    Pager,
    /// Over MSRP.
    Large,
}

/// A message that is ready to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    draft: Draft,
    /// How it is sent.
    pub mode: Mode,
    /// The message/cpim content.
    pub cpim: Bytes,
    /// The Message-ID for notifications (RFC 5438).
    pub message_id: String,
    /// Media types inside the CPIM wrapper.
    pub wrapped_types: Vec<String>,
    /// Conversation-ID.
    pub conversation_id: String,
    /// Contribution-ID.
    pub contribution_id: String,
    date: String,
    list_boundary: String,
}

/// Why a draft cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftError {
    /// A text has a line break or NUL: which one.
    LineBreak(&'static str),
    /// An address is not a URI: which one, and the address.
    Address(&'static str, String),
    /// A Content-Type is invalid.
    ContentType(String),
    /// No content.
    NoContent,
    /// More than [`MAX_CONTENT_PARTS`].
    TooManyParts,
    /// A list without recipients.
    NoRecipients,
}

impl Draft {
    /// A message to `destination`, with everything else as a client has it that was told nothing:
    /// absent, off, or usual.
    pub fn new(from: &str, destination: Destination, parts: Vec<Part>) -> Self {
        Draft {
            from: from.to_owned(),
            display_name: None,
            identity: None,
            asserted: None,
            destination,
            parts,
            subject: None,
            reply_to: None,
            anonymous: false,
            expires: None,
            notifications: Notifications::default(),
            conversation_id: None,
            in_reply_to: None,
            routes: Vec::new(),
            oma_release: OMA_RELEASE.to_owned(),
            session_expires: SessionExpires::Absent,
        }
    }

    /// Makes the CPIM message and all identifiers, and chooses the mode: pager up to `pager_max`
    /// bytes, large above (7.2.1.3, readings N60).
    ///
    /// # Errors
    ///
    /// [`DraftError`].
    pub fn prepare(
        self,
        pager_max: usize,
        size_of: SizeOf,
        now: SystemTime,
        random: Random,
    ) -> Result<Outgoing, DraftError> {
        self.check()?;
        let conversation_id = self.conversation_id.clone().unwrap_or_else(|| uuid(random));
        let date = rfc3339(now);
        let payload = Payload::of(&self.parts, random);
        let message_id = token(random);
        let cpim = self
            .cpim(&payload, &date, &message_id)
            .map_err(|LineBreakError| DraftError::LineBreak("content type or file name"))?;
        let mut outgoing = Outgoing {
            mode: Mode::Pager,
            message_id,
            wrapped_types: payload.types,
            conversation_id,
            contribution_id: uuid(random),
            date,
            // 96 random bits: no content can contain it, since its sender cannot know it.
            list_boundary: token(random),
            cpim,
            draft: self,
        };
        let size = match size_of {
            SizeOf::Cpim => outgoing.cpim.len(),
            SizeOf::Request => outgoing.sample_request_bytes(),
        };
        if size > pager_max {
            outgoing.mode = Mode::Large;
        }
        Ok(outgoing)
    }

    fn check(&self) -> Result<(), DraftError> {
        let texts = [
            ("display name", &self.display_name),
            ("subject", &self.subject),
            ("conversation id", &self.conversation_id),
            ("contribution id replied to", &self.in_reply_to),
        ];
        for (what, text) in texts {
            if text
                .as_ref()
                .is_some_and(|text| text.contains(['\r', '\n', '\0']))
            {
                return Err(DraftError::LineBreak(what));
            }
        }
        let uri = |what, text: &str| match Uri::parse(text) {
            Ok(_) => Ok(()),
            Err(_) => Err(DraftError::Address(what, text.to_owned())),
        };
        uri("sender", &self.from)?;
        uri("destination", self.destination.address())?;
        if let Some(identity) = &self.identity {
            uri("identity", identity)?;
        }
        if let Some(asserted) = &self.asserted {
            uri("asserted identity", asserted)?;
        }
        if let Some(reply_to) = &self.reply_to {
            uri("Reply-To", reply_to)?;
        }
        for route in &self.routes {
            uri("route", route)?;
        }
        if let Some(recipients) = self.destination.list() {
            for recipient in recipients {
                uri("recipient", &recipient.uri)?;
            }
            if recipients.is_empty() {
                return Err(DraftError::NoRecipients);
            }
        }
        for part in &self.parts {
            let parsed = cpm_wire::mime::ContentType::parse(Bytes::from(part.content_type.clone()));
            if parsed.is_err() || part.content_type.contains(['\r', '\n', '\0']) {
                return Err(DraftError::ContentType(part.content_type.clone()));
            }
        }
        match self.parts.len() {
            0 => Err(DraftError::NoContent),
            1..=MAX_CONTENT_PARTS => Ok(()),
            _ => Err(DraftError::TooManyParts),
        }
    }

    fn cpim(
        &self,
        payload: &Payload,
        date: &str,
        message_id: &str,
    ) -> Result<Bytes, LineBreakError> {
        // An anonymous sender must not be named in the wrapper, which no server changes (readings
        // N32).
        let from = match self.anonymous {
            true => format!("<{ANONYMOUS_URI}>"),
            // RFC 3862 §2.2 has its own escape for quotes, which not every reader supports: none
            // are written.
            false => match &self.display_name {
                Some(name) => format!("\"{}\" <{}>", name.replace(['"', '\\'], "'"), self.from),
                None => format!("<{}>", self.from),
            },
        };
        let mut fields = vec![
            CpimField::new("From", from),
            CpimField::new("To", format!("<{}>", self.destination.address())),
            CpimField::new("DateTime", date),
        ];
        if let Some(subject) = &self.subject {
            fields.push(CpimField::new("Subject", subject));
        }
        fields.push(CpimField::new("NS", format!("imdn <{}>", imdn::NAMESPACE)));
        let field = |name| format!("imdn.{name}");
        fields.push(CpimField::new(field(imdn::MESSAGE_ID), message_id));
        if !self.notifications.is_empty() {
            let wanted = self.notifications.to_string();
            fields.push(CpimField::new(
                field(imdn::DISPOSITION_NOTIFICATION),
                wanted,
            ));
        }
        if payload.is_multipart {
            fields.push(CpimField::new("NS", format!("cpm <{CPM_NAMESPACE}>")));
            let types = payload.types.join(",");
            fields.push(CpimField::new(format!("cpm.{PAYLOAD_TYPE}"), types));
        }
        let message = CpimMessage {
            fields,
            content_fields: payload.fields.clone(),
            content: payload.content.clone(),
        };
        message.write()
    }
}

impl Outgoing {
    /// Its destination.
    pub fn destination(&self) -> &Destination {
        &self.draft.destination
    }

    /// The user part of this client's URI: that of the sending user, or one that does not identify
    /// it.
    pub(super) fn contact_user(&self) -> &str {
        let user = Uri::parse(&self.draft.from).ok().and_then(|uri| uri.user());
        match user {
            Some(user) if !self.draft.anonymous => user,
            _ => "anonymous",
        }
    }

    /// The MESSAGE of 7.2.1.1.
    pub fn message(&self, names: &SipNames) -> OutRequest {
        let mut request = self.request("MESSAGE", names, "msg");
        if let Some(seconds) = self.draft.expires {
            request.push("Expires", seconds.to_string());
        }
        match self.draft.destination.list() {
            None => request.body = Some((CPIM_TYPE.to_owned(), self.cpim.clone())),
            Some(_) => {
                request.push("Require", "recipient-list-message");
                self.push_multipart(&mut request, CPIM_TYPE, &self.cpim);
            }
        }
        request
    }

    /// The INVITE of 7.2.1.2, with this Contact and offer.
    pub fn invite(&self, names: &SipNames, contact: &str, offer: &str) -> OutRequest {
        let mut request = self.request("INVITE", names, "largemsg");
        let icsi = percent_encoded(&format!("{ICSI}largemsg"));
        request.push(
            "Contact",
            format!("<{contact}>;+g.3gpp.icsi-ref=\"{icsi}\""),
        );
        request.push("Supported", "timer");
        match self.draft.session_expires {
            SessionExpires::Absent => {}
            SessionExpires::Plain(s) => request.push("Session-Expires", s.to_string()),
            SessionExpires::Uas(s) => request.push("Session-Expires", format!("{s};refresher=uas")),
            SessionExpires::Uac(s) => request.push("Session-Expires", format!("{s};refresher=uac")),
        }
        request.push("Allow", super::ALLOW);
        if let Some(seconds) = self.draft.expires {
            request.push("Message-Expires", seconds.to_string());
        }
        let offer = Bytes::from(offer.to_owned());
        match self.draft.destination.list() {
            None => request.body = Some(("application/sdp".to_owned(), offer)),
            Some(_) => {
                request.push("Require", "recipient-list-invite");
                self.push_multipart(&mut request, "application/sdp", &offer);
            }
        }
        request
    }

    /// The common parts.
    fn request(&self, method: &'static str, names: &SipNames, service: &str) -> OutRequest {
        let draft = &self.draft;
        let from = match draft.anonymous {
            true => name_addr(Some("Anonymous"), ANONYMOUS_URI),
            false => name_addr(draft.display_name.as_deref(), &draft.from),
        };
        let mut request = OutRequest {
            method,
            uri: draft.destination.address().to_owned(),
            call_id: names.call_id.clone(),
            from: format!("{from};tag={}", names.tag),
            to: format!("<{}>", draft.destination.address()),
            cseq: names.cseq,
            routes: draft
                .routes
                .iter()
                .map(|route| format!("<{route}>"))
                .collect(),
            headers: Vec::new(),
            body: None,
        };
        let icsi = percent_encoded(&format!("{ICSI}{service}"));
        request.push("Accept-Contact", format!("*;+g.3gpp.icsi-ref=\"{icsi}\""));
        let group = if draft.destination.is_one() {
            ""
        } else {
            ".group"
        };
        request.push("P-Preferred-Service", format!("{ICSI}{service}{group}"));
        if let Some(identity) = &draft.identity {
            request.push("P-Preferred-Identity", format!("<{identity}>"));
        }
        if let Some(asserted) = &draft.asserted {
            request.push("P-Asserted-Identity", format!("<{asserted}>"));
        }
        if let Some(reply_to) = &draft.reply_to {
            request.push("Reply-To", format!("<{reply_to}>"));
        }
        if draft.anonymous {
            request.push("Privacy", "id");
        }
        if let Some(subject) = &draft.subject {
            request.push("Subject", subject.clone());
        }
        request.push("User-Agent", super::user_agent(&draft.oma_release));
        request.push("Conversation-ID", self.conversation_id.clone());
        request.push("Contribution-ID", self.contribution_id.clone());
        if let Some(id) = &draft.in_reply_to {
            request.push("InReplyTo-Contribution-ID", id.clone());
        }
        request
    }

    fn push_multipart(&self, request: &mut OutRequest, first_type: &str, first: &Bytes) {
        let recipients = self.draft.destination.list().unwrap_or_default();
        let list = write_recipient_list(recipients.iter().map(super::Recipient::entry));
        let mut body = Vec::with_capacity(512 + first.len() + list.len());
        let boundary = &self.list_boundary;
        body.extend(format!("--{boundary}\r\nContent-Type: {first_type}\r\n\r\n").bytes());
        body.extend_from_slice(first);
        body.extend(
            format!(
                "\r\n--{boundary}\r\nContent-Type: {LIST_TYPE}\r\n\
                 Content-Disposition: {RECIPIENT_LIST_DISPOSITION}\r\n\r\n"
            )
            .bytes(),
        );
        body.extend_from_slice(&list);
        body.extend(format!("\r\n--{boundary}--\r\n").bytes());
        let content_type = format!("multipart/mixed;boundary=\"{boundary}\"");
        request.body = Some((content_type, body.into()));
    }

    /// The sender's own copy, as an object of the message store. `message_uid`: the server's UID
    /// for it.
    pub fn stored(&self, message_uid: Option<&str>) -> StoredMessage {
        let mut fields = vec![
            ("Date".to_owned(), self.date.clone()),
            ("From".to_owned(), format!("<{}>", self.draft.from)),
            (
                "To".to_owned(),
                format!("<{}>", self.draft.destination.address()),
            ),
            ("Conversation-ID".to_owned(), self.conversation_id.clone()),
            ("Contribution-ID".to_owned(), self.contribution_id.clone()),
        ];
        let optional = [
            (
                "InReplyTo-Contribution-ID",
                self.draft.in_reply_to.as_deref(),
            ),
            ("Subject", self.draft.subject.as_deref()),
            ("Message-UID", message_uid),
        ];
        for (name, value) in optional {
            fields.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        }
        StoredMessage::with_cpim(fields, &self.cpim)
    }

    /// Approximate length of its first request in bytes; an INVITE is somewhat longer than a
    /// MESSAGE without content.
    pub fn request_bytes(&self) -> usize {
        match self.mode {
            Mode::Pager => self.sample_request_bytes(),
            Mode::Large => {
                self.sample_request_bytes().saturating_sub(self.cpim.len()) + OFFER_BYTES
            }
        }
    }

    /// The size of the MESSAGE with identifiers of the usual length.
    fn sample_request_bytes(&self) -> usize {
        let names = SipNames {
            call_id: "0".repeat(24),
            tag: "0".repeat(24),
            cseq: 1,
        };
        self.message(&names)
            .write("UDP", "192.0.2.255:65535", &"0".repeat(31))
            .len()
    }
}

/// `<uri>` or `"name" <uri>`.
pub(super) fn name_addr(display_name: Option<&str>, uri: &str) -> String {
    match display_name {
        None => format!("<{uri}>"),
        Some(name) => {
            let name = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{name}\" <{uri}>")
        }
    }
}

/// The form of a URN in a feature tag (3GPP TS 24.229 §7.2A.8.2).
pub(super) fn percent_encoded(urn: &str) -> String {
    urn.replace(':', "%3A")
}

impl fmt::Display for DraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineBreak(what) => write!(f, "the {what} has a line break in it"),
            Self::Address(what, text) => write!(f, "the {what} is no address: {text}"),
            Self::ContentType(text) => write!(f, "no content type: {text}"),
            Self::NoContent => f.write_str("there is nothing to send"),
            Self::TooManyParts => write!(f, "more than {MAX_CONTENT_PARTS} parts"),
            Self::NoRecipients => f.write_str("the list has no recipients"),
        }
    }
}

impl std::error::Error for DraftError {}
