//! Dialogs (RFC 3261 §12): building requests inside them, and matching received ones.

use bytes::Bytes;

use super::session_timer::allows;
use super::text::cseq as cseq_of;
use crate::sip::{HeaderName, MAX_URI_BYTES, Message, NameAddr, StatusCode, Uri};

/// Maximum length of a peer's tag. Real ones have some dozens of bytes.
pub const MAX_TAG_BYTES: usize = 256;

/// A request inside a dialog. The host adds Via, Max-Forwards and Content-Length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDialogRequest {
    /// ACK, BYE, UPDATE or INVITE.
    pub method: &'static str,
    /// Request-URI: the remote target.
    pub target: String,
    /// URIs for the Route header fields, each in `<>`, first hop first.
    pub route_set: Vec<String>,
    /// Call-ID.
    pub call_id: String,
    /// From without its tag.
    pub from: String,
    /// Our tag.
    pub from_tag: String,
    /// To without its tag.
    pub to: String,
    /// The peer's tag; empty if it gave none.
    pub to_tag: String,
    /// CSeq number; that of the INVITE for an ACK.
    pub cseq: u32,
    /// Further header lines, each ended by CRLF.
    pub headers: Vec<u8>,
    /// The body; Content-Type is among the header lines. Empty except in an INVITE.
    pub body: Bytes,
}

/// Routing of a request inside a dialog (RFC 3261 §12.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// The Request-URI.
    pub request_uri: String,
    /// URI of the next hop.
    pub next_hop: String,
    /// Values for the Route header fields, first hop first.
    pub routes: Vec<String>,
}

impl InDialogRequest {
    /// Its routing. `None`: the route set cannot be parsed.
    pub fn routing(&self) -> Option<Routing> {
        let Some((first, rest)) = self.route_set.split_first() else {
            return Some(Routing {
                request_uri: self.target.clone(),
                next_hop: self.target.clone(),
                routes: Vec::new(),
            });
        };
        let next_hop = NameAddr::parse(first).ok()?.uri().to_owned();
        let is_loose = Uri::parse(&next_hop).ok()?.param("lr").is_some();
        let (request_uri, routes) = match is_loose {
            true => (self.target.clone(), self.route_set.clone()),
            // A strict router expects its own address as the Request-URI; the target comes last.
            false => {
                let target = format!("<{}>", self.target);
                let routes = rest.iter().cloned().chain([target]);
                (next_hop.clone(), routes.collect())
            }
        };
        Some(Routing {
            request_uri,
            next_hop,
            routes,
        })
    }

    /// Request-URI, URI of the next hop, and all further header lines including Route. `None`: the
    /// route set cannot be parsed.
    pub fn routed(&self) -> Option<(String, String, Vec<u8>)> {
        let routing = self.routing()?;
        let mut headers = Vec::new();
        if !routing.routes.is_empty() {
            headers = format!("Route: {}\r\n", routing.routes.join(", ")).into_bytes();
        }
        headers.extend_from_slice(&self.headers);
        Some((routing.request_uri, routing.next_hop, headers))
    }
}

/// A message that cannot create a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedDialog;

/// The author's end of the dialog, from a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Empty if there is none (RFC 2543).
    pub tag: String,
    /// URI of the Contact.
    pub target: Option<String>,
    /// Whether its Allow has UPDATE.
    allows_update: Option<bool>,
    /// URIs of Record-Route, each in `<>`, in the order of the message.
    record_route: Vec<String>,
    /// Whether all of this is valid for a dialog. If not, the rest still determines where an ACK
    /// and a BYE may be sent.
    pub makes_dialog: bool,
}

/// The INVITE with which we begin a dialog.
#[derive(Clone, Copy, Debug)]
pub struct OwnInvite<'a> {
    /// Call-ID.
    pub call_id: &'a str,
    /// From without its tag.
    pub from: &'a str,
    /// Our tag.
    pub from_tag: &'a str,
    /// To.
    pub to: &'a str,
    /// Request-URI.
    pub target: &'a str,
    /// CSeq number.
    pub cseq: u32,
}

/// One dialog, as seen from our end.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: String,
    local: String,
    local_tag: String,
    remote: String,
    remote_tag: String,
    target: String,
    route_set: Vec<String>,
    /// CSeq of the INVITE that created the dialog, which each of its ACKs repeats.
    invite_cseq: u32,
    /// CSeq of our last request.
    local_cseq: u32,
    /// CSeq of the peer's last request.
    remote_cseq: Option<u32>,
    /// CSeq of the peer's last INVITE, which its ACK repeats.
    remote_invite: Option<u32>,
    /// Whether the peer's Allow has UPDATE.
    allows_update: Option<bool>,
    /// CSeq of a re-INVITE of ours that has no final response yet.
    pending_invite: Option<u32>,
    has_hung_up: bool,
}

/// Why a request is not acceptable in this dialog now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAcceptable {
    /// It is for another dialog: 481.
    NoDialog,
    /// It is older than a previous one: 500 (RFC 3261 §12.2.2).
    OutOfOrder,
}

impl NotAcceptable {
    /// The status for the answer.
    pub fn code(self) -> StatusCode {
        match self {
            NotAcceptable::NoDialog => StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST,
            NotAcceptable::OutOfOrder => StatusCode::SERVER_INTERNAL_ERROR,
        }
    }
}

impl Peer {
    /// The author of a response.
    pub fn of_response(message: &Message) -> Self {
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

    /// The key by which this callee is remembered. An unrealistically long tag is truncated.
    pub fn key(&self) -> &str {
        let mut end = self.tag.len().min(MAX_TAG_BYTES);
        while !self.tag.is_char_boundary(end) {
            end -= 1;
        }
        &self.tag[..end]
    }
}

impl Dialog {
    /// The dialog that an INVITE of ours will create.
    pub fn of_caller(invite: &OwnInvite<'_>) -> Self {
        Dialog {
            call_id: invite.call_id.to_owned(),
            local: invite.from.to_owned(),
            local_tag: invite.from_tag.to_owned(),
            remote: invite.to.to_owned(),
            remote_tag: String::new(),
            target: invite.target.to_owned(),
            route_set: Vec::new(),
            invite_cseq: invite.cseq,
            local_cseq: invite.cseq,
            remote_cseq: None,
            remote_invite: None,
            allows_update: None,
            pending_invite: None,
            has_hung_up: false,
        }
    }

    /// The dialog that our 2xx to this INVITE creates. `local_cseq`: one less than that of our
    /// first request.
    ///
    /// # Errors
    ///
    /// [`MalformedDialog`].
    pub fn of_callee(
        invite: &Message,
        local_tag: &str,
        local_cseq: u32,
    ) -> Result<Self, MalformedDialog> {
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
            local_cseq,
            remote_cseq: Some(cseq),
            remote_invite: Some(cseq),
            allows_update: peer.allows_update,
            pending_invite: None,
            has_hung_up: false,
        })
    }

    /// Adopts the peer that answered our INVITE (RFC 3261 §12.1.2).
    pub fn establish(&mut self, peer: &Peer) {
        self.remote_tag.clone_from(&peer.tag);
        self.allows_update = peer.allows_update;
        if let Some(target) = &peer.target {
            self.target.clone_from(target);
        }
        self.route_set = peer.record_route.iter().rev().cloned().collect();
    }

    /// The dialog with another peer that the same INVITE reached.
    pub fn forked(&self, peer: &Peer) -> Self {
        let mut dialog = self.clone();
        dialog.establish(peer);
        dialog.local_cseq = self.invite_cseq;
        dialog
    }

    /// The CSeq of the INVITE sent again after a 422.
    pub fn next_invite(&mut self) -> u32 {
        self.local_cseq += 1;
        self.invite_cseq = self.local_cseq;
        self.invite_cseq
    }

    /// Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our tag.
    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// The peer's tag; empty while there is none.
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// Whether we have sent BYE.
    pub fn has_hung_up(&self) -> bool {
        self.has_hung_up
    }

    /// CSeq of the INVITE that created the dialog.
    pub fn invite_cseq(&self) -> u32 {
        self.invite_cseq
    }

    /// Whether the peer's Allow has UPDATE; `None`: there was no Allow.
    pub fn allows_update(&self) -> Option<bool> {
        self.allows_update
    }

    /// The ACK for the 2xx to our first INVITE, for each retransmission of it.
    pub fn ack(&self) -> InDialogRequest {
        self.ack_to(self.invite_cseq)
    }

    /// The ACK for a 2xx to our INVITE or re-INVITE with this CSeq.
    pub fn ack_to(&self, invite_cseq: u32) -> InDialogRequest {
        self.with_cseq("ACK", invite_cseq)
    }

    /// The next request of ours, without further header fields.
    pub fn request(&mut self, method: &'static str) -> InDialogRequest {
        self.local_cseq += 1;
        self.with_cseq(method, self.local_cseq)
    }

    /// A request of ours was sent again with this CSeq, for instance with an answer to a challenge.
    pub fn sent(&mut self, cseq: u32) {
        self.local_cseq = self.local_cseq.max(cseq);
    }

    /// The BYE. `code` gives the reason, as a SIP response code.
    pub fn bye(&mut self, code: StatusCode) -> InDialogRequest {
        let (number, phrase) = (code.as_u16(), code.reason_phrase());
        let reason = format!("Reason: SIP;cause={number};text=\"{phrase}\"\r\n");
        self.has_hung_up = true;
        let mut bye = self.request("BYE");
        bye.headers = reason.into_bytes();
        bye
    }

    /// An UPDATE without body (RFC 4028 §7.4).
    pub fn update(&mut self, headers: Vec<u8>) -> InDialogRequest {
        let mut update = self.request("UPDATE");
        update.headers = headers;
        update
    }

    /// A re-INVITE with this session description.
    pub fn re_invite(&mut self, headers: Vec<u8>, description: Bytes) -> InDialogRequest {
        let mut invite = self.request("INVITE");
        self.pending_invite = Some(self.local_cseq);
        invite.headers = headers;
        invite.body = description;
        invite
    }

    /// Whether a re-INVITE of ours is pending: no other may be sent or accepted meanwhile (RFC 3261
    /// §14).
    pub fn is_inviting(&self) -> bool {
        self.pending_invite.is_some()
    }

    /// The final response to a re-INVITE of ours. False: it is for another one, or a
    /// retransmission.
    pub fn end_invite(&mut self, cseq: u32) -> bool {
        let is_pending = self.pending_invite == Some(cseq);
        if is_pending {
            self.pending_invite = None;
        }
        is_pending
    }

    /// The ACK for a 2xx to the re-INVITE with this CSeq. `None`: there is no such dialog, or there
    /// never was such a re-INVITE.
    pub fn ack_again(&self, response: &Message) -> Option<InDialogRequest> {
        let cseq = cseq(response).filter(|&cseq| cseq <= self.local_cseq)?;
        let is_peer = tag(response, HeaderName::To).ok()? == self.remote_tag;
        is_peer.then(|| self.ack_to(cseq))
    }

    fn with_cseq(&self, method: &'static str, cseq: u32) -> InDialogRequest {
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
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Whether this request is for the dialog, and not older than a previous one. An ACK or CANCEL
    /// repeats a CSeq.
    pub fn accept(&mut self, request: &Message) -> Result<(), NotAcceptable> {
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
            return match self.remote_invite == Some(cseq) {
                true => Ok(()),
                false => Err(NotAcceptable::OutOfOrder),
            };
        }
        if self.remote_cseq.is_some_and(|last| cseq <= last) {
            return Err(NotAcceptable::OutOfOrder);
        }
        self.remote_cseq = Some(cseq);
        if request.method() == Some("INVITE") {
            self.remote_invite = Some(cseq);
        }
        Ok(())
    }

    /// Adopts the new Contact of a re-INVITE or UPDATE, or of the 2xx to one of ours (RFC 3261
    /// §12.2).
    pub fn refresh_target(&mut self, message: &Message) {
        if let Ok(Some(target)) = contact(message) {
            self.target = target;
        }
    }
}

fn call_id(message: &Message) -> Result<&str, MalformedDialog> {
    let field = message.first(HeaderName::CallId).ok_or(MalformedDialog)?;
    field.text().map_err(|_| MalformedDialog)
}

/// Empty if the field has none (RFC 2543).
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

/// A route set consists of URIs, with their parameters but not those of the header field (RFC 3261
/// §12.1).
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
    use super::*;
    use crate::sip::MAX_ROUTES;

    /// The name of some leg.
    const NAME: &str = "cpms-NAME";

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
    }

    fn answer(tag: &str) -> Message {
        message(&format!(
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP h\nCall-ID: {NAME}\nCSeq: 1 INVITE\nFrom: <sip:cf@h>;tag={NAME}\n\
             To: <sip:bob@h>;tag={tag}\nContact: \"B\" <sip:bob@phone>;+x=\"1\"\n\
             Record-Route: <sip:p2;lr>, <sip:p1;lr>\nRecord-Route: <sip:p0;lr>\n\n"
        ))
    }

    #[test]
    fn caller_side_of_rfc_3261_12_1_2() {
        let mut dialog = Dialog::of_caller(&OwnInvite {
            call_id: NAME,
            from: "<sip:cf@h>",
            from_tag: NAME,
            to: "<sip:bob@h>",
            target: "sip:bob@h",
            cseq: 1,
        });
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
        // The ACK keeps the INVITE's CSeq.
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
        let mut dialog = Dialog::of_callee(&invite, NAME, 0).unwrap();
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
        // The ACK for a re-INVITE has its number, and no longer that of the first.
        assert_eq!(dialog.accept(&request("INVITE", 10, "a1")), Ok(()));
        assert_eq!(dialog.accept(&request("ACK", 10, "a1")), Ok(()));
        dialog.refresh_target(&request("UPDATE", 9, "a1"));
        assert_eq!(dialog.bye(StatusCode::OK).target, "sip:a@new");
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
        // The data for an ACK is kept nevertheless, and its size is limited.
        assert_eq!(long(MAX_TAG_BYTES + 1, 0).tag.len(), MAX_TAG_BYTES + 1);
        assert_eq!(long(MAX_TAG_BYTES + 1, 0).key().len(), MAX_TAG_BYTES);
    }

    #[test]
    fn the_route_set_says_where_a_request_goes() {
        let request = |routes: &[&str]| {
            let request = InDialogRequest {
                method: "BYE",
                target: "sip:bob@192.0.2.1".to_owned(),
                route_set: routes.iter().map(|route| (*route).to_owned()).collect(),
                call_id: "1".to_owned(),
                from: "<sip:a@example.com>".to_owned(),
                from_tag: "a".to_owned(),
                to: "<sip:b@example.com>".to_owned(),
                to_tag: "b".to_owned(),
                cseq: 2,
                headers: b"X: 1\r\n".to_vec(),
                body: Bytes::new(),
            };
            let (uri, hop, headers) = request.routed()?;
            Some((uri, hop, String::from_utf8(headers).unwrap()))
        };
        let expect = |routes: &[&str], uri: &str, hop: &str, headers: &str| {
            let wanted = (uri.to_owned(), hop.to_owned(), headers.to_owned());
            assert_eq!(request(routes), Some(wanted));
        };
        let bob = "sip:bob@192.0.2.1";
        expect(&[], bob, bob, "X: 1\r\n");
        let loose = ["<sip:p1;lr>", "\"P, 2\" <sip:p2;lr>;x=1"];
        let lines = "Route: <sip:p1;lr>, \"P, 2\" <sip:p2;lr>;x=1\r\nX: 1\r\n";
        expect(&loose, bob, "sip:p1;lr", lines);
        let lines = "Route: <sip:p2;lr>, <sip:bob@192.0.2.1>\r\nX: 1\r\n";
        expect(&["<sip:p1>", "<sip:p2;lr>"], "sip:p1", "sip:p1", lines);
        assert_eq!(request(&["<nothing"]), None);
    }
}
