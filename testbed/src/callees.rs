//! Recipients of large messages: a user agent and an MSRP peer that work together.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::agent::{Agent, Answer};
use crate::inbox::Received;
use crate::message::find;
use crate::msrp_peer::MsrpPeer;
use crate::msrp_session::MsrpSession;
use crate::msrp_state::Conduct;
use crate::outcome::or_fail;
use crate::request::Reply;
use crate::sdp::{SdpRead, SdpText};
use crate::sys::lock;
use crate::way::PATIENCE;

/// What one recipient does with an INVITE and in its session.
#[derive(Debug, Clone)]
pub struct Plan {
    rings: bool,
    delay: Duration,
    status: Option<u16>,
    setup: &'static str,
    conduct: Conduct,
    relays: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    attributes: Vec<(String, Option<String>)>,
    refreshes: VecDeque<Reply>,
}

impl Plan {
    /// 200 at once, as the passive end; everything is accepted.
    pub fn accept() -> Self {
        Self {
            rings: false,
            delay: Duration::ZERO,
            status: Some(200),
            setup: "passive",
            conduct: Conduct::Accept,
            relays: String::new(),
            host: None,
            headers: Vec::new(),
            attributes: Vec::new(),
            refreshes: VecDeque::new(),
        }
    }

    /// This final response, with a description if it is 200.
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::accept()
        }
    }

    /// No final response; the test may still give one.
    pub fn no_answer() -> Self {
        Self {
            status: None,
            ..Self::accept()
        }
    }

    /// 180 at once.
    pub fn ringing(mut self) -> Self {
        self.rings = true;
        self
    }

    /// Delays the final response.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// As the active end: it connects once it has the ACK, and binds the connection by an empty
    /// SEND.
    pub fn active(mut self) -> Self {
        self.setup = "active";
        self
    }

    /// How SENDs are treated.
    pub fn conduct(mut self, conduct: Conduct) -> Self {
        self.conduct = conduct;
        self
    }

    /// `a=path` names these URIs before its own: MSRP relays on the way (RFC 4976).
    pub fn behind(mut self, relays: &str) -> Self {
        self.relays = format!("{relays} ");
        self
    }

    /// `a=path` names this host and port, where nobody listens: c= and m= lead to a middlebox, at
    /// the peer's address (RFC 6714).
    pub fn at_path_host(mut self, authority: &str) -> Self {
        self.host = Some(authority.to_owned());
        self
    }

    /// The final response has this header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The answer has this attribute, with an empty value as one without any; without a value it is
    /// left out.
    pub fn attribute(mut self, name: &str, value: Option<&str>) -> Self {
        self.attributes
            .push((name.to_owned(), value.map(str::to_owned)));
        self
    }

    /// The first UPDATEs and re-INVITEs in its dialog get these answers; those that follow are
    /// accepted.
    pub fn answers_refreshes(mut self, replies: impl IntoIterator<Item = Reply>) -> Self {
        self.refreshes.extend(replies);
        self
    }

    fn sdp(&self, session: &MsrpSession) -> SdpText {
        let own = session.path();
        let own = match (
            &self.host,
            own.splitn(4, '/').collect::<Vec<_>>().as_slice(),
        ) {
            (Some(host), [scheme, _, _, rest]) => format!("{scheme}//{host}/{rest}"),
            _ => own.to_owned(),
        };
        let path = format!("{}{own}", self.relays);
        let mut sdp = SdpText::answer(session)
            .with("path", &path)
            .with("setup", self.setup);
        for (name, value) in &self.attributes {
            sdp = match value.as_deref() {
                Some("") => sdp.flag(name),
                Some(value) => sdp.with(name, value),
                None => sdp.without(name),
            };
        }
        sdp
    }
}

/// All recipients of a test, identified by their user parts. They follow [`Plan::accept`] by
/// default. Each INVITE gets its own MSRP session.
#[derive(Debug)]
pub struct Callees {
    // The agent is dropped first, so that nobody asks for a session of a dropped peer.
    agent: Agent,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    peer: MsrpPeer,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    plans: HashMap<String, Plan>,
    /// By Call-ID.
    calls: HashMap<String, InvitedCall>,
    /// Call-IDs by user, the oldest first.
    by_user: HashMap<String, Vec<String>>,
}

/// One INVITE received by a recipient.
#[derive(Debug, Clone)]
pub struct InvitedCall {
    /// The request.
    pub invite: Received,
    /// The session that its answer names.
    pub session: MsrpSession,
    plan: Plan,
}

impl InvitedCall {
    /// The description in the INVITE, alone or as a part of the body.
    #[track_caller]
    pub fn sdp(&self) -> SdpRead {
        or_fail("the offer", self.try_sdp())
    }

    /// `a=path` of the answer, all its URIs.
    #[track_caller]
    pub fn answer_path(&self) -> String {
        let sdp = self.plan.sdp(&self.session).write();
        let sdp = or_fail("the answer", SdpRead::of(sdp.as_bytes()));
        sdp.path().to_owned()
    }

    fn try_sdp(&self) -> Result<SdpRead, String> {
        let body = self.invite.body();
        let content_type = self.invite.header("Content-Type").unwrap_or_default();
        if content_type.eq_ignore_ascii_case("application/sdp") {
            return SdpRead::of(body);
        }
        let start = find(body, b"v=0\r\n").ok_or("no description")?;
        let length = find(&body[start..], b"\r\n--").map_or(body.len() - start, |end| end + 2);
        // The line end before a boundary is the boundary's; a description that ends in one has
        // another.
        let text = &body[start..start + length];
        SdpRead::of(
            text.strip_suffix(b"\r\n\r\n")
                .map_or(text, |_| &text[..length - 2]),
        )
    }

    fn answer(&self, contact: &str) -> Reply {
        let mut reply = Reply::new(200)
            .with("Contact", &format!("<{contact}>"))
            .with("Supported", "timer")
            .with("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE");
        if let Some(value) = self.invite.header("Session-Expires") {
            reply = reply.with("Session-Expires", value);
        }
        for (name, value) in &self.plan.headers {
            reply = reply.with(name, value);
        }
        reply.with_body("application/sdp", self.plan.sdp(&self.session).write())
    }
}

impl Callees {
    pub(crate) fn start(agent: Agent, peer: MsrpPeer) -> Self {
        let shared = Arc::new(Shared {
            peer,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let contact = agent.uri("phone");
        agent.answers(Answer::with({
            let shared = shared.clone();
            move |request| match request.method() {
                Some("INVITE") if request.parameter("To", "tag").is_none() => {
                    shared.invited(request, &contact)
                }
                Some("INVITE" | "UPDATE") => vec![shared.refreshed(request, &contact)],
                _ => vec![Reply::new(200)],
            }
        }));
        agent.watches({
            let shared = shared.clone();
            move |request| {
                if request.method() == Some("ACK") {
                    shared.acknowledged(request);
                }
            }
        });
        Self { agent, shared }
    }

    /// The user agent, whose inbox has everything received.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The MSRP peer.
    pub fn peer(&self) -> &MsrpPeer {
        &self.shared.peer
    }

    /// The URI of one of them.
    pub fn uri(&self, user: &str) -> String {
        self.agent.uri(user)
    }

    /// The 200 that the plan of this call makes.
    pub fn answer(&self, call: &InvitedCall) -> Reply {
        call.answer(&self.agent.uri("phone"))
    }

    /// Ends an INVITE that has been cancelled, as its callee must (RFC 3261 §9.2).
    #[track_caller]
    pub fn terminate(&self, call: &InvitedCall) {
        self.agent.reply(&call.invite, &Reply::new(487));
    }

    /// Sets the plan of one recipient, from its next INVITE on.
    pub fn plan(&self, user: &str, plan: Plan) {
        lock(&self.shared.state).plans.insert(user.to_owned(), plan);
    }

    /// The first call of this user.
    #[track_caller]
    pub fn expect_call(&self, user: &str) -> InvitedCall {
        self.expect_nth_call(user, 0)
    }

    /// The call of this user with this many before it.
    #[track_caller]
    pub fn expect_nth_call(&self, user: &str, place: usize) -> InvitedCall {
        let mut found = None;
        let waiting = |state: &mut State| {
            let call_id = state.by_user.get(user).and_then(|calls| calls.get(place));
            found = call_id.and_then(|id| state.calls.get(id)).cloned();
            found.is_none()
        };
        let state = lock(&self.shared.state);
        drop(
            self.shared
                .changed
                .wait_timeout_while(state, PATIENCE, waiting),
        );
        match found {
            Some(call) => call,
            None => panic!("{user} was not called"),
        }
    }

    /// The number of INVITEs that this user has received.
    pub fn calls_of(&self, user: &str) -> usize {
        lock(&self.shared.state)
            .by_user
            .get(user)
            .map_or(0, Vec::len)
    }

    /// The requests with this method received in the dialog of this call, without retransmissions.
    pub fn requests_in(&self, call: &InvitedCall, method: &str) -> Vec<Received> {
        let mut all = self.agent.received();
        all.retain(|one| one.call_id() == call.invite.call_id() && one.method() == Some(method));
        all
    }

    /// Waits for a request with this method in the dialog of this call.
    #[track_caller]
    pub fn expect_in(&self, call: &InvitedCall, method: &str) -> Received {
        self.expect_in_within(call, method, PATIENCE)
    }

    /// The same with another patience.
    #[track_caller]
    pub fn expect_in_within(
        &self,
        call: &InvitedCall,
        method: &str,
        patience: Duration,
    ) -> Received {
        let (id, method_wanted) = (call.invite.call_id().to_owned(), method.to_owned());
        let found = self.agent.recv_where(patience, move |message| {
            message.call_id() == id && message.method() == Some(&method_wanted)
        });
        match found {
            Some(request) => request,
            None => panic!("no {method} came for {:?}", call.invite.uri()),
        }
    }
}

impl Shared {
    fn invited(&self, request: &Received, contact: &str) -> Vec<Reply> {
        let uri = request.uri().unwrap_or_default();
        let user = uri.split(['@', ';']).next().unwrap_or_default();
        let user = user
            .split_once(':')
            .map_or(user, |(_, user)| user)
            .to_owned();
        let session = self.peer.session();
        let mut state = lock(&self.state);
        let plan = state.plans.get(&user).cloned().unwrap_or_else(Plan::accept);
        session.conducts(plan.conduct);
        let call = InvitedCall {
            invite: request.clone(),
            session,
            plan: plan.clone(),
        };
        if let Ok(sdp) = call.try_sdp() {
            call.session
                .sends_to(sdp.attribute("path").unwrap_or_default());
        }
        let id = request.call_id().to_owned();
        state.by_user.entry(user).or_default().push(id.clone());
        let mut replies = Vec::new();
        if plan.rings {
            replies.push(Reply::new(180));
        }
        if let Some(status) = plan.status {
            let reply = match status {
                200 => call.answer(contact),
                _ => {
                    let mut reply = Reply::new(status);
                    for (name, value) in &plan.headers {
                        reply = reply.with(name, value);
                    }
                    reply
                }
            };
            replies.push(reply.after(plan.delay));
        }
        state.calls.insert(id, call);
        drop(state);
        self.changed.notify_all();
        replies
    }

    /// An UPDATE or a re-INVITE.
    fn refreshed(&self, request: &Received, contact: &str) -> Reply {
        let mut state = lock(&self.state);
        let Some(call) = state.calls.get_mut(request.call_id()) else {
            return Reply::new(481);
        };
        if let Some(reply) = call.plan.refreshes.pop_front() {
            return reply;
        }
        let mut reply = Reply::new(200).with("Contact", &format!("<{contact}>"));
        if let Some(value) = request.header("Session-Expires") {
            reply = reply.with("Session-Expires", value);
        }
        match request.method() {
            Some("INVITE") => {
                reply.with_body("application/sdp", call.plan.sdp(&call.session).write())
            }
            _ => reply,
        }
    }

    /// The active end connects now.
    fn acknowledged(&self, ack: &Received) {
        let call = lock(&self.state).calls.get(ack.call_id()).cloned();
        if let Some(call) = call.filter(|call| {
            // The ACK to a refusal belongs to the INVITE's transaction.
            let of_2xx = ack.branch() != call.invite.branch();
            of_2xx && call.plan.setup == "active" && call.session.connections() == 0
        }) {
            thread::spawn(move || call.session.connect_and_bind());
        }
    }
}
