//! Dialogs (RFC 3261 §12): what requests inside of them are made of, and which received ones belong to them.

use bytes::Bytes;

use super::super::header_fields::put;
use super::DialogNames;
use crate::sip::{HeaderBlock, HeaderName, MAX_URI_BYTES, Message, NameAddr, StatusCode, Uri};
use crate::sip_ua::{allows, cseq as cseq_of};

/// Longest tag of a peer. Real ones have some dozens of bytes.
pub const MAX_TAG_BYTES: usize = 256;

/// A request inside a dialog. The host adds Via, Max-Forwards and Content-Length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDialogRequest {
    /// ACK, BYE, UPDATE or INVITE.
    pub method: &'static str,
    /// Request-URI: the remote target.
    pub target: String,
    /// URIs for the Route header fields, each in `<>`, first hop first. One without `lr` is the host's to treat (RFC 3261
    /// §12.2.1.1).
    pub route_set: Vec<String>,
    /// Call-ID.
    pub call_id: String,
    /// From without its tag.
    pub from: String,
    /// Our tag.
    pub from_tag: String,
    /// To without its tag.
    pub to: String,
    /// The peer's tag; empty where the peer gave none.
    pub to_tag: String,
    /// CSeq number; that of the INVITE for an ACK.
    pub cseq: u32,
    /// Further header lines, each ended by CRLF.
    pub headers: Vec<u8>,
    /// The body; Content-Type is among the header lines. Empty but in an INVITE.
    pub body: Bytes,
}

/// A message that a dialog cannot be made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MalformedDialog;

/// What a message says about its author's end of the dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Empty if there is none (RFC 2543).
    pub(super) tag: String,
    /// URI of the Contact.
    pub(super) target: Option<String>,
    /// What its Allow says of UPDATE.
    allows_update: Option<bool>,
    /// URIs of Record-Route, each in `<>`, in the order of the message.
    record_route: Vec<String>,
    /// Whether all of this is as a dialog needs it. If not, what is there still tells where an ACK and a BYE may go.
    pub(super) makes_dialog: bool,
}

/// One dialog, as seen from our end.
#[derive(Clone, Debug)]
pub(super) struct Dialog {
    call_id: String,
    local: String,
    local_tag: String,
    remote: String,
    remote_tag: String,
    target: String,
    route_set: Vec<String>,
    /// CSeq of the INVITE that made the dialog, which each of its ACKs repeats.
    invite_cseq: u32,
    /// CSeq of our last request.
    local_cseq: u32,
    /// CSeq of the peer's last request.
    remote_cseq: Option<u32>,
    /// What the peer's Allow says of UPDATE.
    allows_update: Option<bool>,
    /// CSeq of a re-INVITE of ours that has no final response yet.
    pending_invite: Option<u32>,
    has_hung_up: bool,
}

/// Why a request is not for this dialog now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAcceptable {
    /// It is for another dialog: 481.
    NoDialog,
    /// It comes after a later one: 500 (RFC 3261 §12.2.2).
    OutOfOrder,
}

impl NotAcceptable {
    pub(super) fn code(self) -> StatusCode {
        match self {
            NotAcceptable::NoDialog => StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST,
            NotAcceptable::OutOfOrder => StatusCode::SERVER_INTERNAL_ERROR,
        }
    }
}

impl Peer {
    /// The author of a response.
    pub(super) fn of_response(message: &Message) -> Self {
        Peer::of(message, HeaderName::To)
    }

    fn of(message: &Message, author: HeaderName) -> Self {
        let tag = tag(message, author);
        let (target, record_route) = (contact(message), record_route(message));
        Peer {
            makes_dialog: tag.as_ref().is_ok_and(|tag| tag.len() <= MAX_TAG_BYTES)
                && target.is_ok()
                && record_route.is_ok(),
            tag: tag.unwrap_or_default(),
            target: target.unwrap_or_default(),
            allows_update: allows(message, "UPDATE"),
            record_route: record_route.unwrap_or_default(),
        }
    }

    /// What this callee is remembered by. A tag that is longer than any real one is not kept whole.
    pub(super) fn key(&self) -> &str {
        let mut end = self.tag.len().min(MAX_TAG_BYTES);
        while !self.tag.is_char_boundary(end) {
            end -= 1;
        }
        &self.tag[..end]
    }
}

impl Dialog {
    /// The dialog that an INVITE of ours will make.
    pub(super) fn of_caller(name: &str, from: &str, recipient: &str) -> Self {
        Dialog {
            call_id: name.to_owned(),
            local: from.to_owned(),
            local_tag: name.to_owned(),
            remote: format!("<{recipient}>"),
            remote_tag: String::new(),
            target: recipient.to_owned(),
            route_set: Vec::new(),
            invite_cseq: 1,
            local_cseq: 1,
            remote_cseq: None,
            allows_update: None,
            pending_invite: None,
            has_hung_up: false,
        }
    }

    /// The dialog that our 2xx to this INVITE makes.
    pub(super) fn of_callee(invite: &Message, local_tag: &str) -> Result<Self, MalformedDialog> {
        let peer = Peer::of(invite, HeaderName::From);
        if !peer.makes_dialog {
            return Err(MalformedDialog);
        }
        let name = |header| invite.address_without_tag(header).ok_or(MalformedDialog);
        let cseq = cseq(invite).ok_or(MalformedDialog)?;
        Ok(Dialog {
            call_id: call_id(invite)?.to_owned(),
            local: name(HeaderName::To)?,
            local_tag: local_tag.to_owned(),
            remote: name(HeaderName::From)?,
            remote_tag: peer.tag,
            target: peer.target.ok_or(MalformedDialog)?,
            // In the order of the request for the callee (RFC 3261 §12.1.1).
            route_set: peer.record_route,
            invite_cseq: cseq,
            local_cseq: 0,
            remote_cseq: Some(cseq),
            allows_update: peer.allows_update,
            pending_invite: None,
            has_hung_up: false,
        })
    }

    /// Takes up the peer that answered our INVITE (RFC 3261 §12.1.2).
    pub(super) fn establish(&mut self, peer: &Peer) {
        self.remote_tag.clone_from(&peer.tag);
        self.allows_update = peer.allows_update;
        if let Some(target) = &peer.target {
            self.target.clone_from(target);
        }
        self.route_set = peer.record_route.iter().rev().cloned().collect();
    }

    /// The dialog with another peer that the same INVITE reached.
    pub(super) fn forked(&self, peer: &Peer) -> Self {
        let mut dialog = self.clone();
        dialog.establish(peer);
        dialog.local_cseq = self.invite_cseq;
        dialog
    }

    /// The CSeq of the INVITE sent again after a 422.
    pub(super) fn next_invite(&mut self) -> u32 {
        self.local_cseq += 1;
        self.invite_cseq = self.local_cseq;
        self.invite_cseq
    }

    pub(super) fn call_id(&self) -> &str {
        &self.call_id
    }

    pub(super) fn local_tag(&self) -> &str {
        &self.local_tag
    }

    pub(super) fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// Whether we have sent BYE.
    pub(super) fn has_hung_up(&self) -> bool {
        self.has_hung_up
    }

    pub(super) fn invite_cseq(&self) -> u32 {
        self.invite_cseq
    }

    pub(super) fn allows_update(&self) -> Option<bool> {
        self.allows_update
    }

    /// The ACK to a 2xx, as often as that is repeated.
    pub(super) fn ack(&self) -> InDialogRequest {
        self.request("ACK", self.invite_cseq, Vec::new())
    }

    /// The BYE. `code` says why, as a SIP response would.
    pub(super) fn bye(&mut self, code: StatusCode) -> InDialogRequest {
        let mut headers = HeaderBlock::new();
        let (number, phrase) = (code.as_u16(), code.reason_phrase());
        let reason = format!("SIP;cause={number};text=\"{phrase}\"");
        put(&mut headers, "Reason", reason);
        self.local_cseq += 1;
        self.has_hung_up = true;
        self.request("BYE", self.local_cseq, headers.into_bytes())
    }

    /// An UPDATE without body (RFC 4028 §7.4).
    pub(super) fn update(&mut self, headers: Vec<u8>) -> InDialogRequest {
        self.local_cseq += 1;
        self.request("UPDATE", self.local_cseq, headers)
    }

    /// A re-INVITE with this session description.
    pub(super) fn re_invite(&mut self, headers: Vec<u8>, description: Bytes) -> InDialogRequest {
        self.local_cseq += 1;
        self.pending_invite = Some(self.local_cseq);
        let mut invite = self.request("INVITE", self.local_cseq, headers);
        invite.body = description;
        invite
    }

    /// Whether a re-INVITE of ours is on its way: no other may be sent or accepted meanwhile (RFC 3261 §14).
    pub(super) fn is_inviting(&self) -> bool {
        self.pending_invite.is_some()
    }

    /// The final response to a re-INVITE of ours. False: it is to another one, or has been here before.
    pub(super) fn end_invite(&mut self, cseq: u32) -> bool {
        let is_pending = self.pending_invite == Some(cseq);
        if is_pending {
            self.pending_invite = None;
        }
        is_pending
    }

    /// The ACK to a 2xx to the re-INVITE with this CSeq. `None`: there is no such dialog, or never was such a re-INVITE.
    pub(super) fn ack_again(&self, response: &Message) -> Option<InDialogRequest> {
        let cseq = cseq(response).filter(|&cseq| cseq <= self.local_cseq)?;
        let is_peer = tag(response, HeaderName::To).ok()? == self.remote_tag;
        is_peer.then(|| self.request("ACK", cseq, Vec::new()))
    }

    fn request(&self, method: &'static str, cseq: u32, headers: Vec<u8>) -> InDialogRequest {
        InDialogRequest {
            method,
            target: self.target.clone(),
            route_set: self.route_set.clone(),
            call_id: self.call_id.clone(),
            from: self.local.clone(),
            from_tag: self.local_tag.clone(),
            to: self.remote.clone(),
            to_tag: self.remote_tag.clone(),
            cseq,
            headers,
            body: Bytes::new(),
        }
    }

    /// Whether this request is for the dialog, and not older than one before it. An ACK or CANCEL repeats a CSeq.
    pub(super) fn accept(&mut self, request: &Message) -> Result<(), NotAcceptable> {
        let is_ours = || -> Result<bool, MalformedDialog> {
            Ok(call_id(request)? == self.call_id
                && tag(request, HeaderName::From)? == self.remote_tag
                && tag(request, HeaderName::To)? == self.local_tag)
        };
        if is_ours() != Ok(true) {
            return Err(NotAcceptable::NoDialog);
        }
        let cseq = cseq(request).ok_or(NotAcceptable::NoDialog)?;
        if request.method() == Some("ACK") {
            return match cseq == self.invite_cseq {
                true => Ok(()),
                false => Err(NotAcceptable::OutOfOrder),
            };
        }
        if self.remote_cseq.is_some_and(|last| cseq <= last) {
            return Err(NotAcceptable::OutOfOrder);
        }
        self.remote_cseq = Some(cseq);
        Ok(())
    }

    /// Takes up the new Contact of a re-INVITE or UPDATE, or of the 2xx to one of ours (RFC 3261 §12.2).
    pub(super) fn refresh_target(&mut self, message: &Message) {
        if let Ok(Some(target)) = contact(message) {
            self.target = target;
        }
    }
}

/// ACK and BYE for a 2xx to an INVITE of ours whose session is gone, as after a restart or an answer that came later than
/// any timer: without them the callee would keep a session that nobody feeds. `None`: not such a response.
pub fn requests_for_stray_answer(
    names: &DialogNames,
    message: &Message,
) -> Option<[InDialogRequest; 2]> {
    if !message.status().is_some_and(StatusCode::is_success) {
        return None;
    }
    let call_id = call_id(message).ok()?;
    names.read(call_id)?;
    if !cseq_of(message)?.1.eq_ignore_ascii_case("INVITE") {
        return None;
    }
    let peer = Peer::of_response(message);
    let mut dialog = Dialog {
        call_id: call_id.to_owned(),
        local: message.address_without_tag(HeaderName::From)?,
        local_tag: tag(message, HeaderName::From).ok()?,
        remote: message.address_without_tag(HeaderName::To)?,
        remote_tag: String::new(),
        // Without Contact, where the INVITE went.
        target: message.uri_in(HeaderName::To)?,
        route_set: Vec::new(),
        invite_cseq: cseq(message)?,
        // Beyond whatever was sent while the session was there.
        local_cseq: cseq(message)?.checked_add(STRAY_CSEQ_DISTANCE)?,
        remote_cseq: None,
        allows_update: None,
        pending_invite: None,
        has_hung_up: false,
    };
    dialog.establish(&peer);
    let ack = dialog.ack();
    Some([ack, dialog.bye(StatusCode::TEMPORARILY_UNAVAILABLE)])
}

/// More requests than a session sends in one dialog.
const STRAY_CSEQ_DISTANCE: u32 = 1 << 16;

fn call_id(message: &Message) -> Result<&str, MalformedDialog> {
    let field = message.first(HeaderName::CallId).ok_or(MalformedDialog)?;
    field.text().map_err(|_| MalformedDialog)
}

/// Empty where the field has none (RFC 2543).
fn tag(message: &Message, name: HeaderName) -> Result<String, MalformedDialog> {
    let tag = message.address(name, |address| {
        let tag = address.parameter("tag").and_then(|tag| tag.raw_value);
        tag.unwrap_or_default().to_owned()
    });
    tag.ok_or(MalformedDialog)?.map_err(|_| MalformedDialog)
}

fn contact(message: &Message) -> Result<Option<String>, MalformedDialog> {
    match message.address(HeaderName::Contact, |address| address.uri().to_owned()) {
        None => Ok(None),
        Some(Ok(uri)) if uri.len() <= MAX_URI_BYTES && is_sip(&uri) => Ok(Some(uri)),
        Some(_) => Err(MalformedDialog),
    }
}

/// A route set is of URIs, with their parameters and none of the header field's (RFC 3261 §12.1).
fn record_route(message: &Message) -> Result<Vec<String>, MalformedDialog> {
    let routes = message.routes(HeaderName::RecordRoute);
    let routes = routes.map_err(|_| MalformedDialog)?.into_iter();
    let uri_of = |route: String| {
        let uri = NameAddr::parse(&route).ok()?.uri();
        is_sip(uri).then(|| format!("<{uri}>"))
    };
    let uris: Option<Vec<String>> = routes.map(uri_of).collect();
    uris.ok_or(MalformedDialog)
}

fn is_sip(uri: &str) -> bool {
    matches!(Uri::parse(uri), Ok(Uri::Sip(_)))
}

fn cseq(message: &Message) -> Option<u32> {
    cseq_of(message).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{DialogName, LegNumber, SessionId, Side};
    use super::*;

    use crate::sip::MAX_ROUTES;

    fn names() -> DialogNames {
        DialogNames::new(&[1; 32], &[2; 32])
    }

    /// What they call some leg.
    const NAME: &str = "cpms-NAME";

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
    }

    fn answer(tag: &str) -> Message {
        answer_to(NAME, tag)
    }

    fn answer_to(name: &str, tag: &str) -> Message {
        message(&format!(
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP h\nCall-ID: {name}\nCSeq: 1 INVITE\nFrom: <sip:cf@h>;tag={name}\n\
             To: <sip:bob@h>;tag={tag}\nContact: \"B\" <sip:bob@phone>;+x=\"1\"\n\
             Record-Route: <sip:p2;lr>, <sip:p1;lr>\nRecord-Route: <sip:p0;lr>\n\n"
        ))
    }

    #[test]
    fn caller_side_of_rfc_3261_12_1_2() {
        let mut dialog = Dialog::of_caller(NAME, "<sip:cf@h>", "sip:bob@h");
        dialog.establish(&Peer::of_response(&answer("b1")));
        let ack = dialog.ack();
        assert_eq!(
            (ack.method, ack.cseq, ack.to_tag.as_str()),
            ("ACK", 1, "b1")
        );
        assert_eq!(ack.target, "sip:bob@phone");
        assert_eq!(ack.route_set, ["<sip:p0;lr>", "<sip:p1;lr>", "<sip:p2;lr>"]);
        let bye = dialog.bye(StatusCode::OK);
        assert_eq!(
            (bye.cseq, bye.headers.as_slice()),
            (2, &b"Reason: SIP;cause=200;text=\"OK\"\r\n"[..])
        );
        // The INVITE's CSeq stays the ACK's.
        assert_eq!((dialog.update(Vec::new()).cseq, dialog.ack().cseq), (3, 1));
        let fork = Peer::of_response(&answer("b2"));
        let mut fork = dialog.forked(&fork);
        assert_eq!(
            (fork.ack().to_tag.as_str(), fork.bye(StatusCode::OK).cseq),
            ("b2", 2)
        );
        assert_eq!(dialog.remote_tag(), "b1");
    }

    #[test]
    fn callee_side_of_rfc_3261_12_1_1() {
        let invite = message(
            "INVITE sip:cf@h SIP/2.0\nCall-ID: c\nCSeq: 7 INVITE\nFrom: \"A\" <sip:a@h>;tag=a1\nTo: <sip:cf@h>\n\
             Contact: <sip:a@phone>\nRecord-Route: <sip:p1;lr>\nRecord-Route: <sip:p2;lr>\n\n",
        );
        let mut dialog = Dialog::of_callee(&invite, NAME).unwrap();
        let bye = dialog.bye(StatusCode::OK);
        assert_eq!(bye.route_set, ["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert_eq!(
            (bye.from.as_str(), bye.from_tag.as_str()),
            ("<sip:cf@h>", NAME)
        );
        assert_eq!(
            (bye.to.as_str(), bye.to_tag.as_str(), bye.cseq),
            ("\"A\" <sip:a@h>", "a1", 1)
        );
        let request = |method: &str, cseq: u32, tag: &str| {
            message(&format!(
                "{method} sip:cf@h SIP/2.0\nCall-ID: c\nCSeq: {cseq} {method}\nFrom: <sip:a@h>;tag={tag}\n\
                 To: <sip:cf@h>;tag={NAME}\nContact: <sip:a@new>\n\n"
            ))
        };
        assert_eq!(dialog.accept(&request("ACK", 7, "a1")), Ok(()));
        assert_eq!(
            dialog.accept(&request("ACK", 8, "a1")),
            Err(NotAcceptable::OutOfOrder)
        );
        assert_eq!(dialog.accept(&request("UPDATE", 8, "a1")), Ok(()));
        assert_eq!(
            dialog.accept(&request("BYE", 8, "a1")),
            Err(NotAcceptable::OutOfOrder)
        );
        assert_eq!(
            dialog.accept(&request("BYE", 9, "x")),
            Err(NotAcceptable::NoDialog)
        );
        assert_eq!(dialog.accept(&request("BYE", 9, "a1")), Ok(()));
        dialog.refresh_target(&request("UPDATE", 9, "a1"));
        assert_eq!(dialog.bye(StatusCode::OK).target, "sip:a@new");
    }

    #[test]
    fn stray_answers_get_ack_and_bye() {
        let name = names().write(DialogName {
            session: SessionId::from_bytes([1; 16]),
            side: Side::Leg(LegNumber(0)),
        });
        let stray = answer_to(&name, "b9");
        let [ack, bye] = requests_for_stray_answer(&names(), &stray).unwrap();
        assert_eq!(
            (ack.cseq, ack.to_tag.as_str(), ack.from_tag.as_str()),
            (1, "b9", &*name)
        );
        let other = DialogNames::new(&[3; 32], &[4; 32]);
        assert!(requests_for_stray_answer(&other, &stray).is_none());
        assert!(bye.cseq > 2 && bye.method == "BYE");
        // Where its Contact cannot be used, they go where the INVITE went.
        let text = String::from_utf8(stray.buffer().to_vec()).unwrap();
        let odd = message(
            &text
                .replace("\r\n", "\n")
                .replace("<sip:bob@phone>", "<tel:+1>"),
        );
        assert_eq!(
            requests_for_stray_answer(&names(), &odd).unwrap()[0].target,
            "sip:bob@h"
        );
        let foreign = message(
            "SIP/2.0 200 OK\nCall-ID: x\nCSeq: 1 INVITE\nFrom: <sip:a@h>;tag=1\nTo: <sip:b@h>;tag=2\n\
             Contact: <sip:b@p>\n\n",
        );
        assert!(requests_for_stray_answer(&names(), &foreign).is_none());
    }

    #[test]
    fn limits() {
        let long = |tag: usize, routes: usize| {
            let (tag, routes) = ("t".repeat(tag), "Record-Route: <sip:p;lr>\n".repeat(routes));
            Peer::of_response(&message(&format!(
                "SIP/2.0 200 OK\nTo: <sip:b@h>;tag={tag}\n{routes}\n"
            )))
        };
        assert!(long(MAX_TAG_BYTES, MAX_ROUTES).makes_dialog);
        assert!(!long(MAX_TAG_BYTES + 1, 0).makes_dialog);
        assert!(!long(1, MAX_ROUTES + 1).makes_dialog);
        // What an ACK needs is there all the same, and what is kept of it has a bound.
        assert_eq!(long(MAX_TAG_BYTES + 1, 0).tag.len(), MAX_TAG_BYTES + 1);
        assert_eq!(long(MAX_TAG_BYTES + 1, 0).key().len(), MAX_TAG_BYTES);
    }
}
