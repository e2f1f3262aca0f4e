//! Dialogs (RFC 3261 §12).

use cpm_wire::sip::{HeaderName, Message};

use super::request::{OutRequest, cseq, text, texts};

/// One dialog, as seen from our end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialog {
    call_id: String,
    /// From of our requests, with our tag.
    local: String,
    /// To of our requests, with the peer's tag.
    remote: String,
    pub(super) remote_tag: String,
    target: String,
    routes: Vec<String>,
    pub(super) local_cseq: u32,
    remote_cseq: Option<u32>,
    /// Whether the peer's Allow names UPDATE.
    pub(super) allows_update: bool,
}

/// Whether a request of the peer may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    InOrder,
    /// Older than one that came before: 500.
    OutOfOrder,
}

impl Dialog {
    /// The dialog that a 2xx to our INVITE makes (§12.1.2). `None` without tag or Contact, or with routes that lead nowhere.
    pub(super) fn of_caller(request: &OutRequest, response: &Message) -> Option<Self> {
        let mut routes = response.routes(HeaderName::RecordRoute).ok()?;
        routes.reverse();
        Some(Self {
            call_id: request.call_id.clone(),
            local: request.from.clone(),
            remote: address(response, HeaderName::To)?,
            remote_tag: response.tag_in(HeaderName::To)?,
            target: response.uri_in(HeaderName::Contact)?,
            routes,
            local_cseq: request.cseq,
            remote_cseq: None,
            allows_update: allows_update(response),
        })
    }

    /// What is known of a callee whose 2xx makes no dialog, for an ACK and a BYE: where these cannot go to its Contact, they go
    /// where the INVITE went.
    pub(super) fn of_odd_callee(request: &OutRequest, response: &Message) -> Self {
        let mut routes = response.routes(HeaderName::RecordRoute).unwrap_or_default();
        routes.reverse();
        Self {
            call_id: request.call_id.clone(),
            local: request.from.clone(),
            remote: address(response, HeaderName::To).unwrap_or_else(|| request.to.clone()),
            remote_tag: response.tag_in(HeaderName::To).unwrap_or_default(),
            target: response
                .uri_in(HeaderName::Contact)
                .unwrap_or_else(|| request.uri.clone()),
            routes,
            local_cseq: request.cseq,
            remote_cseq: None,
            allows_update: false,
        }
    }

    /// The dialog that our 2xx with this tag makes (§12.1.1). `None` without Contact, or with routes that lead nowhere.
    pub(super) fn of_callee(request: &Message, own_tag: &str, first_cseq: u32) -> Option<Self> {
        Some(Self {
            call_id: text(request, HeaderName::CallId)?,
            local: format!("{};tag={own_tag}", address(request, HeaderName::To)?),
            remote: address(request, HeaderName::From)?,
            remote_tag: request.tag_in(HeaderName::From)?,
            target: request.uri_in(HeaderName::Contact)?,
            routes: request.routes(HeaderName::RecordRoute).ok()?,
            local_cseq: first_cseq,
            remote_cseq: Some(cseq(request)?.0),
            allows_update: allows_update(request),
        })
    }

    /// Whether a request of the peer belongs to it.
    pub(super) fn owns(&self, request: &Message) -> bool {
        text(request, HeaderName::CallId).as_deref() == Some(&self.call_id)
            && request.tag_in(HeaderName::From).as_deref() == Some(&self.remote_tag)
    }

    /// Takes note of a request of the peer; also of its new Contact (§12.2.2).
    pub(super) fn take(&mut self, request: &Message) -> Order {
        let Some((number, method)) = cseq(request) else {
            return Order::OutOfOrder;
        };
        if method != "ACK" {
            if self.remote_cseq.is_some_and(|last| number <= last) {
                return Order::OutOfOrder;
            }
            self.remote_cseq = Some(number);
        }
        if matches!(method.as_str(), "INVITE" | "UPDATE")
            && let Some(target) = request.uri_in(HeaderName::Contact)
        {
            self.target = target;
        }
        Order::InOrder
    }

    /// The next request of ours.
    pub(super) fn request(&mut self, method: &'static str) -> OutRequest {
        self.local_cseq += 1;
        self.with_cseq(method, self.local_cseq)
    }

    /// The ACK for the 2xx to our INVITE with that number (§13.2.2.4).
    pub(super) fn ack(&self, invite_cseq: u32) -> OutRequest {
        self.with_cseq("ACK", invite_cseq)
    }

    fn with_cseq(&self, method: &'static str, cseq: u32) -> OutRequest {
        OutRequest {
            method,
            uri: self.target.clone(),
            call_id: self.call_id.clone(),
            from: self.local.clone(),
            to: self.remote.clone(),
            cseq,
            routes: self.routes.clone(),
            headers: Vec::new(),
            body: None,
        }
    }
}

/// The address in From or To as requests of the dialog repeat it.
fn address(message: &Message, name: HeaderName) -> Option<String> {
    message.address(name, |address| address.to_string())?.ok()
}

fn allows_update(message: &Message) -> bool {
    let values = texts(message, HeaderName::Allow);
    let mut methods = values.iter().flat_map(|value| value.split(','));
    methods.any(|method| method.trim() == "UPDATE")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const INVITE: &str = "INVITE sip:b@example.com SIP/2.0\r\nFrom: \"A\" <sip:a@example.com>;tag=at\r\n\
        To: <sip:b@example.com>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\nContact: <sip:a@192.0.2.1>;x\r\n\
        Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\nAllow: INVITE, UPDATE\r\n\r\n";

    fn parse(text: &str) -> Message {
        Message::parse(Bytes::from(text.to_owned())).unwrap()
    }

    #[test]
    fn both_ends_make_the_same_dialog() {
        let invite = parse(INVITE);
        let mut callee = Dialog::of_callee(&invite, "bt", 100).unwrap();
        assert!(callee.owns(&invite) && callee.allows_update);
        let bye = callee.request("BYE");
        assert_eq!((bye.uri.as_str(), bye.cseq), ("sip:a@192.0.2.1", 101));
        assert_eq!(bye.from, "<sip:b@example.com>;tag=bt");
        assert_eq!(bye.to, "\"A\" <sip:a@example.com>;tag=at");
        assert_eq!(bye.routes, ["<sip:p2;lr>", "<sip:p1;lr>"]);

        let own = OutRequest {
            method: "INVITE",
            uri: "sip:b@example.com".into(),
            call_id: "c".into(),
            from: "\"A\" <sip:a@example.com>;tag=at".into(),
            to: "<sip:b@example.com>".into(),
            cseq: 7,
            routes: Vec::new(),
            headers: Vec::new(),
            body: None,
        };
        let answer = parse(
            "SIP/2.0 200 OK\r\nTo: <sip:b@example.com>;tag=bt\r\nContact: <sip:b@192.0.2.2>\r\n\
             Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\n\r\n",
        );
        let mut caller = Dialog::of_caller(&own, &answer).unwrap();
        assert_eq!(caller.ack(7).cseq, 7);
        let bye = caller.request("BYE");
        assert_eq!((bye.uri.as_str(), bye.cseq), ("sip:b@192.0.2.2", 8));
        assert_eq!(bye.routes, ["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert!(!caller.allows_update);
    }

    #[test]
    fn old_requests_are_out_of_order() {
        let mut callee = Dialog::of_callee(&parse(INVITE), "bt", 1).unwrap();
        let bye = |number: u32| parse(&INVITE.replace("7 INVITE", &format!("{number} BYE")));
        assert_eq!(callee.take(&bye(7)), Order::OutOfOrder);
        assert_eq!(callee.take(&bye(9)), Order::InOrder);
        assert_eq!(callee.take(&bye(8)), Order::OutOfOrder);
        let update = INVITE
            .replace("7 INVITE", "10 UPDATE")
            .replace("192.0.2.1", "192.0.2.9");
        assert_eq!(callee.take(&parse(&update)), Order::InOrder);
        assert_eq!(callee.request("BYE").uri, "sip:a@192.0.2.9");
    }

    #[test]
    fn without_contact_or_tag_there_is_none() {
        let without = INVITE.replace("Contact: <sip:a@192.0.2.1>;x\r\n", "");
        assert_eq!(Dialog::of_callee(&parse(&without), "t", 1), None);
        let without = INVITE.replace(";tag=at", "");
        assert_eq!(Dialog::of_callee(&parse(&without), "t", 1), None);
    }
}
