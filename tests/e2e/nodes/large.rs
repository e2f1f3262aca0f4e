//! Large messages in a store that nodes share: their content is in a folder that both see, or each
//! node has one of its own.

use std::fs;
use std::path::{Path, PathBuf};

use cpm_testbed::{
    Agent, Bench, Callees, Conduct, MsrpPeer, Plan, Proxy, ProxyConfig, Redis, Request,
    large_message, sha256, to,
};

use super::{ANNE, expect, expect_messages, messages, node_of};
use crate::common::{EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter};
use crate::storing::{REGISTERS, deferring};

const SIZE: usize = 3 << 20;

/// Longer than a test.
const NEVER_S: &str = "86400";

/// One sender, any number of recipients, and nodes that come and go.
struct Scene {
    anne: Agent,
    sender: MsrpPeer,
    callees: Callees,
    redis: Redis,
    bench: Bench,
}

impl Scene {
    fn new(name: &str) -> Self {
        let bench = Bench::new(name);
        Scene {
            anne: bench.agent(),
            sender: bench.msrp_peer(),
            callees: bench.callees(),
            redis: bench.redis(),
            bench,
        }
    }

    /// A node with this name, and content in this folder.
    fn node(&self, name: &str, content: &str, script: &str) -> ProxyConfig {
        let listen = format!("tcp:127.0.0.1:{}", self.bench.msrp_port());
        let config = node_of(cpm_proxy(script), &self.bench, name, &self.redis.url());
        let content = self.folder(content);
        config.set("cpm", "msrp_listen", &listen).set(
            "cpm",
            "store_content",
            &content.display().to_string(),
        )
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.bench.folder().join(name)
    }

    /// Sends a message through this node, up to the sender's last 200, and returns its content.
    #[track_caller]
    fn sends(&self, node: &Proxy, users: &[&str]) -> Vec<u8> {
        let uris = users.iter().map(|user| to(&self.callees.uri(user)));
        let message = large_message(ANNE, EXPLODER).recipients(uris);
        let (session, content) = (self.sender.session(), message.content(SIZE));
        let request = message.request(&self.anne, &session, SIZE);
        let mut call = self.anne.invites(&request, node.udp());
        session.sends_to(call.sdp().path());
        call.ack();
        session.connect_and_bind();
        session.deliver(&content, 1 << 20);
        call.bye(200);
        content
    }

    /// This user has got all of it on this call.
    #[track_caller]
    fn got(&self, user: &str, place: usize, content: &[u8]) {
        let call = self.callees.expect_nth_call(user, place);
        let message = call.session.expect_message();
        assert_eq!(message.sha256(), sha256(content), "{user}: {message:?}");
    }

    /// Nothing is left, in the store or in this folder of content.
    #[track_caller]
    fn finish(self, content: &str, nodes: impl IntoIterator<Item = Proxy>) {
        expect_messages(&self.redis, 0);
        let content = self.folder(content);
        expect(|| files(&content) == 0, "no file is left");
        self.callees.peer().assert_no_faults();
        for node in nodes {
            expect_counter(&node, "outstanding", 0);
            node.stop();
        }
    }
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).expect("it can be read").count()
}

/// A recipient that has got the message, one that reads slowly, one that rings.
const USERS: [&str; 3] = ["bill", "slow", "ringing"];

/// A node dies when one of three has got the message.
fn dies(scene: &Scene, node: Proxy) -> Vec<u8> {
    let callees = &scene.callees;
    callees.plan("slow", Plan::accept().conduct(Conduct::StallAfter(1_000)));
    callees.plan("ringing", Plan::no_answer().ringing());
    let content = scene.sends(&node, &USERS);
    scene.got("bill", 0, &content);
    expect_counter(&node, "delivered", 1);
    let [message] = &messages(&scene.redis)[..] else {
        panic!("{:?}", messages(&scene.redis))
    };
    let written = || scene.redis.ask(&["HSTRLEN", message, "ended"]) != ["0"];
    expect(written, "the outcome is written");
    node.kill();
    for user in ["slow", "ringing"] {
        callees.plan(user, Plan::accept());
    }
    content
}

#[test]
fn where_both_see_the_content_another_node_goes_on_with_it() {
    let scene = Scene::new("where_both_see_the_content");
    let [first, second] =
        ["one", "two"].map(|name| scene.bench.proxy(&scene.node(name, "content", HANDLE)));
    let content = dies(&scene, first);
    for user in ["slow", "ringing"] {
        scene.got(user, 1, &content);
    }
    expect_counter(&second, "delivered", 2);
    assert_eq!(scene.callees.calls_of("bill"), 1, "it has the message");
    scene.finish("content", [second]);
}

#[test]
fn content_that_only_its_node_has_waits_for_it() {
    let scene = Scene::new("content_that_only_its_node_has");
    let config = scene.node("one", "content-one", HANDLE);
    let first = scene.bench.proxy(&config);
    let second = scene.bench.proxy(&scene.node("two", "content-two", HANDLE));
    let port = first.port();
    let content = dies(&scene, first);
    let waits = || scene.redis.ask(&["ZCARD", "{cpm}:back:one"]) == ["1"];
    expect(waits, "the other node has left it");
    assert_eq!(counter(&second, "delivered"), 0);
    let first = scene.bench.proxy_again(&config, port);
    for user in ["slow", "ringing"] {
        scene.got(user, 1, &content);
    }
    expect_counter(&first, "delivered", 2);
    assert_eq!(scene.callees.calls_of("bill"), 1, "it has the message");
    scene.finish("content-one", [first, second]);
}

/// The server goes down and comes back while the message waits.
#[test]
fn a_large_message_waits_for_whoever_registers_at_another_node() {
    let mut scene = Scene::new("a_large_message_waits_for_whoever");
    let [first, second] = ["one", "two"].map(|name| {
        let config = scene.node(name, "content", REGISTERS);
        scene.bench.proxy(&deferring(config, NEVER_S))
    });
    scene.callees.plan("bill", Plan::status(480));
    let content = scene.sends(&first, &["bill", "carol"]);
    scene.got("carol", 0, &content);
    expect_counter(&first, "waiting", 1);
    expect_counter(&first, "delivered", 1);
    scene.redis = scene.redis.kill_and_start(|| ());
    scene.callees.plan("bill", Plan::accept());
    let address = scene.callees.uri("bill");
    let register = || {
        let register = Request::new("REGISTER", "sip:scscf.example.com", &address);
        exchange(&scene.anne, &register, &second, 200);
        scene.callees.calls_of("bill") > 1
    };
    expect(register, "it is invited");
    scene.got("bill", 1, &content);
    expect_counter(&first, "delivered", 2);
    assert_eq!(scene.callees.calls_of("carol"), 1, "it has the message");
    scene.finish("content", [first, second]);
}
