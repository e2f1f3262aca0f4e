//! Large messages: on disk before the sender has its last 200, and invited to once more from there.

use std::fs;
use std::time::{Duration, Instant};

use cpm_testbed::{
    Agent, Bench, Callees, Conduct, LargeMessage, MsrpContent, MsrpPeer, MsrpRequest, MsrpSession,
    PATIENCE, Plan, Proxy, ProxyConfig, Request, large_message, sha256, to,
};

use super::{ANNE, expect_messages, expect_rows, keeping_with, messages};
use crate::common::{EXPLODER, HANDLE, counter, expect_counter};
use crate::large::{CHUNK, SIZE, expect_nothing_left};
use crate::storing::folder;

/// One sender, any number of recipients, and a proxy that comes and goes.
pub(super) struct Scene {
    pub(super) anne: Agent,
    pub(super) sender: MsrpPeer,
    pub(super) callees: Callees,
    pub(super) config: ProxyConfig,
    pub(super) bench: Bench,
}

/// A message on its way in.
pub(super) struct Upload<'a> {
    pub(super) session: MsrpSession,
    pub(super) content: Vec<u8>,
    pub(super) call: cpm_testbed::Call<'a>,
}

impl Scene {
    pub(super) fn new(name: &str) -> Self {
        Self::with(name, HANDLE)
    }

    /// With this script.
    pub(super) fn with(name: &str, script: &str) -> Self {
        let bench = Bench::new(name);
        let (anne, sender, callees) = (bench.agent(), bench.msrp_peer(), bench.callees());
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        let config = keeping_with(&bench, script).set("cpm", "msrp_listen", &listen);
        Scene {
            anne,
            sender,
            callees,
            config,
            bench,
        }
    }

    pub(super) fn set(mut self, name: &str, value: &str) -> Self {
        self.config = self.config.set("cpm", name, value);
        self
    }

    #[track_caller]
    pub(super) fn starts(&self) -> Proxy {
        self.bench.proxy(&self.config)
    }

    fn message(&self, users: &[&str]) -> LargeMessage {
        let uris = users.iter().map(|user| to(&self.callees.uri(user)));
        large_message(ANNE, EXPLODER).recipients(uris)
    }

    pub(super) fn request(&self, users: &[&str], size: usize) -> (Request, MsrpSession, Vec<u8>) {
        let (message, session) = (self.message(users), self.sender.session());
        let request = message.request(&self.anne, &session, size);
        (request, session, message.content(size))
    }

    /// INVITE, 200, ACK, a bound connection.
    #[track_caller]
    pub(super) fn begins(&self, proxy: &Proxy, users: &[&str], size: usize) -> Upload<'_> {
        let (request, session, content) = self.request(users, size);
        let call = self.anne.invites(&request, proxy.udp());
        session.sends_to(call.sdp().path());
        call.ack();
        session.connect_and_bind();
        Upload {
            session,
            content,
            call,
        }
    }

    /// This user has got all of it on this call, and nothing on any other.
    #[track_caller]
    pub(super) fn got(&self, user: &str, place: usize, content: &[u8]) {
        let call = self.callees.expect_nth_call(user, place);
        let message = call.session.expect_message();
        assert_eq!(message.sha256(), sha256(content), "{user}: {message:?}");
    }

    /// The names of the files with content.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(folder(&self.bench).join("content")).expect("it is there");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry.expect("a name");
            entry.file_name().to_string_lossy().into_owned()
        };
        entries.map(name).collect()
    }

    #[track_caller]
    pub(super) fn finish(self, proxy: Proxy) {
        expect_messages(&self.bench, 0);
        expect_counter(&proxy, "outstanding", 0);
        expect_nothing_left(&proxy, PATIENCE);
        let deadline = Instant::now() + PATIENCE;
        while !self.files().is_empty() {
            assert!(Instant::now() < deadline, "{:?}", self.files());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.callees.peer().assert_no_faults();
        proxy.stop();
    }
}

#[test]
fn the_last_200_comes_once_the_message_is_on_disk() {
    let scene = Scene::new("the_last_200_comes_once");
    scene.callees.plan("carol", Plan::no_answer().ringing());
    let proxy = scene.starts();
    let mut upload = scene.begins(&proxy, &["bill", "carol"], SIZE);
    assert_eq!((messages(&scene.bench), scene.files().len()), (0, 0));
    upload.session.deliver(&upload.content, CHUNK);
    assert_eq!((messages(&scene.bench), scene.files().len()), (1, 1));
    upload.call.bye(200);
    scene.got("bill", 0, &upload.content);
    let carol = scene.callees.expect_call("carol");
    scene
        .callees
        .agent()
        .reply(&carol.invite, &scene.callees.answer(&carol));
    scene.got("carol", 0, &upload.content);
    for (name, value) in [("stored", 1), ("delivered", 2), ("resent", 0)] {
        expect_counter(&proxy, name, value);
    }
    scene.finish(proxy);
}

#[test]
fn who_has_not_got_it_is_invited_again_after_a_kill() {
    let scene = Scene::new("who_has_not_got_it_is_invited_again");
    let callees = &scene.callees;
    callees.plan("slow", Plan::accept().conduct(Conduct::StallAfter(1_000)));
    callees.plan("ringing", Plan::no_answer().ringing());
    let users = ["bill", "slow", "ringing"];
    let proxy = scene.starts();
    let upload = scene.begins(&proxy, &users, 3 << 20);
    upload.session.deliver(&upload.content, 1 << 20);
    assert_eq!(messages(&scene.bench), 1);
    scene.got("bill", 0, &upload.content);
    expect_counter(&proxy, "delivered", 1);
    expect_counter(&proxy, "outstanding", 2);
    let first = callees.expect_call("slow");
    expect_rows(&scene.bench, "outcome", 1);
    proxy.kill();
    callees.plan("slow", Plan::accept());
    callees.plan("ringing", Plan::accept());
    let proxy = scene.starts();
    for user in ["slow", "ringing"] {
        scene.got(user, 1, &upload.content);
    }
    let again = callees.expect_nth_call("slow", 1);
    for name in ["Contribution-ID", "Conversation-ID"] {
        assert_eq!(
            first.invite.header(name),
            again.invite.header(name),
            "{name}"
        );
    }
    assert_ne!(first.invite.call_id(), again.invite.call_id());
    expect_counter(&proxy, "resent", 2);
    expect_counter(&proxy, "delivered", 2);
    assert_eq!(callees.calls_of("bill"), 1, "it has the message");
    scene.finish(proxy);
}

#[test]
fn what_is_not_whole_leaves_nothing() {
    let scene = Scene::new("what_is_not_whole_leaves_nothing");
    let proxy = scene.starts();
    let upload = scene.begins(&proxy, &["bill"], 300_000);
    let part = &upload.content[..200_000];
    let chunk = MsrpRequest::chunk("m", 0, part, upload.content.len());
    upload.session.send(&chunk);
    scene
        .callees
        .expect_call("bill")
        .session
        .expect_content(190_000);
    proxy.kill();
    assert_eq!((messages(&scene.bench), scene.files().len()), (0, 0));
    let orphan = folder(&scene.bench).join("content").join("orphan");
    fs::write(orphan, "x").expect("the folder is there");
    let proxy = scene.starts();
    assert_eq!(scene.files(), [""; 0]);
    assert_eq!(counter(&proxy, "resent"), 0);
    scene.finish(proxy);
}

#[test]
fn a_store_that_gets_full_ends_the_message_and_a_full_one_begins_none() {
    const MIB: usize = 1 << 20;
    let scene = Scene::new("a_store_that_gets_full_ends").set("store_max_size", "16777216");
    scene.callees.plan("carol", Plan::no_answer().ringing());
    let proxy = scene.starts();
    // Each has room, but not both together.
    let mut kept = scene.begins(&proxy, &["carol", "bill"], 9 * MIB);
    let full = scene.begins(&proxy, &["dave"], 9 * MIB);
    kept.session.deliver(&kept.content, MIB);
    let chunks = full.session.send_message(&full.content, MIB);
    let mut codes = chunks.iter().map(|chunk| {
        let response = full.session.recv_response(chunk, PATIENCE);
        response.and_then(|one| one.head.status())
    });
    assert_eq!(codes.find(|code| *code != Some(200)), Some(Some(413)));
    let dave = scene.callees.expect_call("dave");
    scene.callees.expect_in(&dave, "BYE");
    scene.anne.expect_request("BYE");
    let complete = |message: &MsrpContent| message.is_complete();
    assert!(!dave.session.messages().iter().any(complete));
    let (request, ..) = scene.request(&["dave"], 9 * MIB);
    let refused = scene.anne.is_refused(&request, proxy.udp(), 503);
    assert!(refused.header("Retry-After").is_some());
    assert_eq!(scene.callees.calls_of("dave"), 1);
    expect_counter(&proxy, "store_refused", 1);
    assert_eq!(messages(&scene.bench), 1);
    // What is in the store goes its way.
    kept.call.bye(200);
    let carol = scene.callees.expect_call("carol");
    let answer = scene.callees.answer(&carol);
    scene.callees.agent().reply(&carol.invite, &answer);
    scene.got("carol", 0, &kept.content);
    scene.finish(proxy);
}
