//! The caller's end of a dialog.

use crate::agent::Agent;
use crate::inbox::Received;
use crate::outcome::or_fail;
use crate::request::Request;
use crate::sdp::SdpRead;
use crate::way::Way;

/// A dialog created by a 2xx, from the caller's side (RFC 3261 §12).
#[derive(Debug)]
pub struct Call<'a> {
    agent: &'a Agent,
    way: Way,
    invite: Request,
    answer: Received,
    cseq: u32,
}

impl Agent {
    /// Sends an INVITE and waits for its 200, without acknowledging it.
    #[track_caller]
    pub fn invites(&self, invite: &Request, way: Way) -> Call<'_> {
        self.send(invite, way);
        self.expect_answered(invite, way)
    }

    /// Waits for the 200 to an INVITE that has been sent.
    #[track_caller]
    pub fn expect_answered(&self, invite: &Request, way: Way) -> Call<'_> {
        let answer = self.expect_response(invite, 200);
        Call {
            agent: self,
            way,
            invite: invite.clone(),
            answer,
            cseq: 1,
        }
    }

    /// Sends an INVITE that is refused with this status, and acknowledges the refusal.
    #[track_caller]
    pub fn is_refused(&self, invite: &Request, way: Way, status: u16) -> Received {
        self.send(invite, way);
        self.expect_refused(invite, way, status)
    }

    /// Waits for the refusal of an INVITE that has been sent, and acknowledges it.
    #[track_caller]
    pub fn expect_refused(&self, invite: &Request, way: Way, status: u16) -> Received {
        let response = self.expect_response(invite, status);
        self.send(&invite.ack_to_refusal(&response), way);
        response
    }

    /// A request inside the dialog of an INVITE that came here and was answered with 2xx.
    pub fn in_dialog_of(&self, invite: &Received, method: &str, cseq: u32) -> Request {
        let request = Request::from_callee(invite, self.tag(), method, cseq);
        match method {
            "UPDATE" | "INVITE" => request.with("Contact", &format!("<{}>", self.uri("device"))),
            _ => request,
        }
    }
}

impl Call<'_> {
    /// The 2xx.
    pub fn answer(&self) -> &Received {
        &self.answer
    }

    /// The description in the 2xx.
    #[track_caller]
    pub fn sdp(&self) -> SdpRead {
        or_fail("the answer", SdpRead::of(self.answer.body()))
    }

    /// Acknowledges the 2xx, each time it is called.
    #[track_caller]
    pub fn ack(&self) {
        let ack = self.invite.in_dialog("ACK", 1, &self.answer);
        self.agent.send(&ack, self.way);
    }

    /// A request inside the dialog, with the next number.
    pub fn request(&mut self, method: &str) -> Request {
        self.cseq += 1;
        let request = self.invite.in_dialog(method, self.cseq, &self.answer);
        match (method, self.invite.header("Contact")) {
            ("UPDATE" | "INVITE", Some(contact)) => request.with("Contact", contact),
            _ => request,
        }
    }

    /// Sends a request inside the dialog, which must get this status.
    #[track_caller]
    pub fn exchange(&self, request: &Request, status: u16) -> Received {
        self.agent.send(request, self.way);
        self.agent.expect_response(request, status)
    }

    /// Hangs up, with this status as the reason, and waits for the 200.
    #[track_caller]
    pub fn bye(&mut self, cause: u16) {
        let bye = self
            .request("BYE")
            .with("Reason", &format!("SIP;cause={cause}"));
        self.exchange(&bye, 200);
    }
}
