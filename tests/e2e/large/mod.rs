//! Shared by the tests of large message mode: a proxy with an MSRP listener, a sender, recipients
//! that follow plans, and the checks at the end of every test.

use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{
    Agent, Bench, Call, Callees, Capture, InvitedCall, LargeMessage, MsrpContent, MsrpPeer,
    MsrpSession, PATIENCE, Process, Proxy, ProxyConfig, Recording, Request, SdpText, large_message,
    sha256, to, values,
};

use crate::common::{HANDLE, counter, cpm_proxy};

mod answers;
mod cancel;
pub(crate) mod checks;
mod content;
mod crowds;
mod endings;
mod group_checks;
pub(crate) mod groups;
mod headers;
mod held_back;
mod interworking;
mod invites;
mod no_dialog;
mod odd_peers;
mod refreshes;
mod sipp;
mod switches;
pub(crate) mod transport;
mod unfit_answers;

/// The sender's address in most tests.
pub(crate) const ANNE: &str = "sip:anne@example.com";

/// Size of most messages in bytes: several chunks.
pub(crate) const SIZE: usize = 20_000;

/// How much of it a chunk contains: a chunk fits into one segment of the loopback interface, so
/// that tshark sees each.
pub(crate) const CHUNK: usize = 8_000;

/// The default of `msrp_max_message`, which is announced in the answer to the sender.
pub(crate) const OUR_MAX_SIZE: &str = "104857600";

/// Time limit for legs that end by a timeout of 32 s (RFC 3261).
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// One sender and any number of recipients around one proxy.
pub(crate) struct Scene {
    pub(crate) proxy: Proxy,
    pub(crate) anne: Agent,
    pub(crate) sender: MsrpPeer,
    pub(crate) callees: Callees,
    capture: Option<Capture>,
    // Dropped last: keeps the logs of failed tests.
    pub(crate) bench: Bench,
}

impl Scene {
    /// The usual one.
    #[track_caller]
    pub(crate) fn new(test_name: &str) -> Self {
        Self::with(test_name, |_, config| config)
    }

    /// With further parameters.
    #[track_caller]
    pub(crate) fn with(
        test_name: &str,
        configure: impl FnOnce(&Bench, ProxyConfig) -> ProxyConfig,
    ) -> Self {
        let mut scene = Self::unseen(test_name, configure);
        scene.capture = Some(scene.bench.capture());
        scene
    }

    /// The same without a capture, for heavy traffic.
    #[track_caller]
    pub(crate) fn unseen(
        test_name: &str,
        configure: impl FnOnce(&Bench, ProxyConfig) -> ProxyConfig,
    ) -> Self {
        let bench = Bench::new(test_name);
        let (anne, sender, callees) = (bench.agent(), bench.msrp_peer(), bench.callees());
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        let config = cpm_proxy(HANDLE).set("cpm", "msrp_listen", &listen);
        let proxy = bench.proxy(&configure(&bench, config));
        Self {
            proxy,
            anne,
            sender,
            callees,
            capture: None,
            bench,
        }
    }

    /// Captures SIP over UDP from now on.
    #[track_caller]
    pub(crate) fn capture_udp(&mut self) {
        self.capture = Some(self.bench.capture_udp());
    }

    /// A message to these users.
    pub(crate) fn message(&self, service: &str, users: &[&str]) -> LargeMessage {
        let uris = users.iter().map(|user| to(&self.callees.uri(user)));
        large_message(ANNE, service).recipients(uris)
    }

    /// A message of [`SIZE`] bytes to these users, not yet sent.
    pub(crate) fn upload(&self, service: &str, users: &[&str]) -> Upload {
        self.upload_of(self.message(service, users), SIZE)
    }

    /// A message of this size, not yet sent.
    pub(crate) fn upload_of(&self, message: LargeMessage, size: usize) -> Upload {
        let session = self.sender.session();
        let request = message.request(&self.anne, &session, size);
        let content = message.content(size);
        Upload {
            session,
            request,
            content,
        }
    }

    /// INVITE, 200, ACK, a bound connection.
    #[track_caller]
    pub(crate) fn begins(&self, upload: &Upload) -> Call<'_> {
        let call = self.is_answered(upload);
        call.ack();
        upload.session.connect_and_bind();
        call
    }

    /// INVITE and 200.
    #[track_caller]
    pub(crate) fn is_answered(&self, upload: &Upload) -> Call<'_> {
        let call = self.anne.invites(&upload.request, self.proxy.udp());
        upload.session.sends_to(call.sdp().path());
        call
    }

    /// A complete message: set-up, content, BYE.
    #[track_caller]
    pub(crate) fn sends(&self, upload: &Upload) {
        let mut call = self.begins(upload);
        upload.session.deliver(&upload.content, CHUNK);
        call.bye(200);
    }

    /// This user gets all of it.
    #[track_caller]
    pub(crate) fn gets(&self, user: &str, upload: &Upload) -> (InvitedCall, MsrpContent) {
        let call = self.callees.expect_call(user);
        let content = call.session.expect_message();
        let (got, sent) = (content.sha256(), sha256(&upload.content));
        assert_eq!(got, sent, "{user}: {content:?}");
        (call, content)
    }

    /// A recipient gets a BYE with this cause.
    #[track_caller]
    pub(crate) fn hangs_up(&self, call: &InvitedCall, cause: u16) {
        let bye = self.callees.expect_in(call, "BYE");
        let reason = bye.header("Reason").unwrap_or_default();
        let wanted = format!("SIP;cause={cause}");
        let found = reason
            .split(";text")
            .next()
            .unwrap_or_default()
            .replace(' ', "");
        assert_eq!(found, wanted, "{reason}");
    }

    /// Waits until nothing is left of any session, then stops everything; all traffic must have
    /// been well-formed.
    #[track_caller]
    pub(crate) fn finish(self) {
        self.finish_within(PATIENCE);
    }

    /// The same with another time limit.
    #[track_caller]
    pub(crate) fn finish_within(self, patience: Duration) {
        self.finish_with(patience, |_| {});
    }

    /// The same, with a check of the recipients' data after the end.
    #[track_caller]
    pub(crate) fn finish_within_and(self, patience: Duration, look: impl FnOnce(&Self)) {
        expect_nothing_left(&self.proxy, patience);
        look(&self);
        self.finish();
    }

    /// The same, with a check of the capture.
    #[track_caller]
    pub(crate) fn finish_with(self, patience: Duration, look: impl FnOnce(&Recording)) {
        expect_nothing_left(&self.proxy, patience);
        self.callees.peer().assert_no_faults();
        self.sender.assert_no_faults();
        let recording = self.capture.map(Capture::stop);
        self.proxy.stop();
        if let Some(recording) = recording {
            recording.assert_clean();
            look(&recording);
        }
    }
}

/// A message with everything needed to send it.
pub(crate) struct Upload {
    pub(crate) session: MsrpSession,
    pub(crate) request: Request,
    pub(crate) content: Vec<u8>,
}

impl Upload {
    /// The request with a header replaced.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.with(name, value);
        self
    }

    /// Replaces the offer, in a request without a list.
    pub(crate) fn with_offer(mut self, offer: &SdpText) -> Self {
        self.request = self.request.with_body("application/sdp", offer.write());
        self
    }
}

/// Waits until all sessions together have this many legs in this state.
#[track_caller]
pub(crate) fn expect_legs(proxy: &Proxy, state: &str, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let sessions = proxy.rpc("cpm.sessions");
        let ids: Vec<&str> = values(&sessions, "id").collect();
        let details: Vec<String> = ids
            .iter()
            .filter_map(|id| proxy.try_rpc(&format!("cpm.session {id}")).ok())
            .collect();
        // Fields before the legs are the session's.
        let legs = details.iter().filter_map(|text| text.split_once("legs"));
        let states = legs.flat_map(|(_, legs)| values(legs, "state"));
        if states.filter(|own| *own == state).count() == count {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{count} legs were to be {state}, but:\n{details:#?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the proxy has no session, MSRP connection or content any more.
#[track_caller]
pub(crate) fn expect_nothing_left(proxy: &Proxy, patience: Duration) {
    let deadline = Instant::now() + patience;
    let gauges = [
        "sessions",
        "msrp_connections",
        "msrp_memory",
        "msrp_spool",
        "msrp_held_back",
    ];
    loop {
        let left = gauges.map(|name| (name, counter(proxy, name)));
        let sessions = proxy.rpc("cpm.sessions");
        if left.iter().all(|(_, value)| *value == 0) && !sessions.contains("id:") {
            return;
        }
        assert!(Instant::now() < deadline, "{left:?} are left\n{sessions}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The sessions process, as reported by the kernel.
#[track_caller]
pub(crate) fn sessions_process(proxy: &Proxy) -> Process {
    let table = proxy.process_table();
    let found = table.iter().find(|(_, name)| name.contains("CPM sessions"));
    let pid = found.map_or(0, |(pid, _)| *pid);
    let process = proxy
        .processes()
        .into_iter()
        .find(|process| process.pid == pid);
    process.unwrap_or_else(|| panic!("no process has the sessions: {table:?}"))
}
