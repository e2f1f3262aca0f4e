//! Large messages wait in the store for recipients that cannot be reached.

use std::time::Instant;

use cpm_testbed::{
    Answer, MsrpRequest, PATIENCE, Plan, Proxy, Request, cpm_message, large_message, to,
};

use super::large::Scene;
use super::{ANNE, expect_failure_told, expect_messages, messages};
use crate::common::{EXPLODER, counter, exchange, expect_counter, expect_log_lines};
use crate::large::{CHUNK, SIZE};
use crate::storing::{REGISTERS, deferring};

/// Longer than a test.
const NEVER_S: &str = "86400";

const PICTURE: usize = 10 << 20;
const MIB: usize = 1 << 20;

impl Scene {
    fn defers(name: &str, script: &str) -> Self {
        let mut scene = Self::with(name, script);
        scene.config = deferring(scene.config, NEVER_S);
        scene
    }

    /// Sends a whole message whose sender wants to know if it fails, with this header field.
    #[track_caller]
    fn sends_and_asks(
        &self,
        proxy: &Proxy,
        users: &[&str],
        field: Option<(&str, &str)>,
    ) -> Request {
        let uris = users.iter().map(|user| to(&self.callees.uri(user)));
        let message = large_message(&self.anne.uri("anne"), EXPLODER).recipients(uris);
        let session = self.sender.session();
        let mut request = message.request(&self.anne, &session, SIZE);
        if let Some((name, value)) = field {
            request = request.with(name, value);
        }
        let content = String::from_utf8(message.content(SIZE)).expect("it is text");
        let content = content.replace("positive-delivery", "negative-delivery");
        let mut call = self.anne.invites(&request, proxy.udp());
        session.sends_to(call.sdp().path());
        call.ack();
        session.connect_and_bind();
        session.deliver(content.as_bytes(), CHUNK);
        call.bye(200);
        request
    }

    /// A server that a user has registered with says so.
    #[track_caller]
    fn registers(&self, user: &str, proxy: &Proxy) {
        let address = self.callees.uri(user);
        let register = Request::new("REGISTER", "sip:scscf.example.com", &address);
        exchange(&self.anne, &register, proxy, 200);
    }
}

#[test]
fn who_registers_later_gets_text_and_picture() {
    let scene = Scene::defers("who_registers_later_gets_text", REGISTERS);
    let (callees, phone) = (&scene.callees, scene.bench.agent());
    callees.plan("bill", Plan::status(480));
    let mut proxy = scene.starts();
    let text = cpm_message(ANNE, EXPLODER)
        .recipients([to(&phone.uri("bill"))])
        .request();
    phone.answers(Answer::code(480));
    exchange(&scene.anne, &text, &proxy, 202);
    phone.expect_request("MESSAGE");
    let mut upload = scene.begins(&proxy, &["bill", "carol"], PICTURE);
    upload.session.deliver(&upload.content, MIB);
    upload.call.bye(200);
    scene.got("carol", 0, &upload.content);
    expect_counter(&proxy, "waiting", 2);
    expect_counter(&proxy, "outstanding", 0);
    assert_eq!((messages(&scene.bench), counter(&proxy, "failed")), (2, 0));
    let told = proxy.rpc("cpm.messages state=waiting");
    assert_eq!(told.matches("waiting: 1").count(), 2, "{told}");
    // A registration is an attempt, and one that fails is none the less.
    scene.registers("bill", &proxy);
    callees.expect_nth_call("bill", 1);
    expect_counter(&proxy, "waiting", 2);
    // The next proxy waits too: its start is an attempt.
    proxy.kill();
    proxy = scene.starts();
    callees.expect_nth_call("bill", 2);
    expect_counter(&proxy, "waiting", 2);
    callees.plan("bill", Plan::accept());
    phone.answers(Answer::code(200));
    scene.registers("bill", &proxy);
    phone.expect_requests("MESSAGE", 3);
    scene.got("bill", 3, &upload.content);
    expect_counter(&proxy, "delivered", 2);
    assert_eq!(callees.calls_of("carol"), 1, "it has the picture");
    scene.finish(proxy);
}

#[test]
fn who_never_comes_has_failed_and_the_sender_is_told() {
    let script = format!(
        "{REGISTERS}
        event_route[cpm:recipient-deferred] {{ xlog(\"L_NOTICE\", \"waits $cpm(recipient) $cpm(code) $rm\\n\"); }}
        event_route[cpm:recipient-failed] {{ xlog(\"L_NOTICE\", \"gone $cpm(recipient) $cpm(code) $rm\\n\"); }}"
    );
    let scene = Scene::defers("who_never_comes_has_failed", &script)
        .set("deferred_large", "yes")
        .set("failure_imdn", "yes");
    let callees = &scene.callees;
    for user in ["bill", "carol"] {
        callees.plan(user, Plan::status(480));
    }
    let proxy = scene.starts();
    let ends: [&dyn Fn(&str); 2] = [
        &|id| drop(proxy.rpc(&format!("cpm.expire {id}"))),
        // Both say no at last.
        &|id| {
            for user in ["bill", "carol"] {
                callees.plan(user, Plan::status(603));
            }
            proxy.rpc(&format!("cpm.retry {id}"));
        },
    ];
    for (round, end) in (0..).zip(ends) {
        // Nobody answers 200, and yet the message is taken.
        let request = scene.sends_and_asks(&proxy, &["bill", "carol"], None);
        expect_counter(&proxy, "waiting", 2);
        let bill = callees.uri("bill");
        expect_log_lines(&proxy, &format!("waits {bill} 480 INVITE"), round + 1);
        let id = request.header("Contribution-ID").unwrap_or_default();
        end(id);
        expect_failure_told(&scene.anne, &request);
        expect_messages(&scene.bench, 0);
        expect_counter(&proxy, "failed", 2 * (round as u64 + 1));
        let code = if round == 0 { 408 } else { 603 };
        expect_log_lines(&proxy, &format!("gone {bill} {code} INVITE"), 1);
    }
    assert_eq!(counter(&proxy, "expired"), 2);
    scene.finish(proxy);
}

/// A push that an event causes would wake up a phone for nothing.
#[test]
fn nobody_is_waited_for_until_the_message_is_kept() {
    let script = format!(
        "{REGISTERS}
        event_route[cpm:recipient-deferred] {{ xlog(\"L_NOTICE\", \"waits $cpm(recipient)\\n\"); }}
        event_route[cpm:recipient-failed] {{ xlog(\"L_NOTICE\", \"gone $cpm(recipient) $cpm(code)\\n\"); }}"
    );
    let scene = Scene::defers("nobody_is_waited_for_until", &script);
    let (proxy, bill) = (scene.starts(), scene.callees.uri("bill"));
    scene.callees.plan("bill", Plan::status(480));
    for is_completed in [false, true] {
        let mut upload = scene.begins(&proxy, &["bill", "carol"], SIZE);
        let begun = MsrpRequest::chunk("m", 0, &upload.content[..CHUNK], SIZE);
        upload.session.send(&begun);
        upload.session.expect_response(&begun, 200);
        let sessions = || proxy.rpc("cpm.sessions");
        let has_answered = || {
            let sessions = sessions();
            let id = sessions
                .lines()
                .find_map(|line| line.trim().strip_prefix("id: "));
            id.is_some_and(|id| {
                let legs = proxy.rpc(&format!("cpm.session {id}"));
                legs.contains("outcome: deferred")
            })
        };
        let deadline = Instant::now() + PATIENCE;
        while !has_answered() {
            assert!(Instant::now() < deadline, "{}", sessions());
        }
        let (waits, gone) = (format!("waits {bill}"), format!("gone {bill} 480"));
        expect_log_lines(&proxy, &waits, 0);
        if is_completed {
            let rest = &upload.content[CHUNK..];
            let rest = MsrpRequest::chunk("m", CHUNK, rest, SIZE);
            upload.session.send(&rest);
            upload.session.expect_response(&rest, 200);
            expect_log_lines(&proxy, &waits, 1);
            upload.call.bye(200);
            expect_counter(&proxy, "waiting", 1);
        } else {
            // The sender goes before its last byte.
            upload.call.bye(487);
            expect_log_lines(&proxy, &gone, 1);
            expect_counter(&proxy, "waiting", 0);
            expect_log_lines(&proxy, &waits, 0);
        }
    }
    scene.callees.plan("bill", Plan::accept());
    scene.registers("bill", &proxy);
    expect_counter(&proxy, "delivered", 2);
    scene.finish(proxy);
}

/// By its own time, and by the operator's where it has none or a later one.
#[test]
fn who_does_not_come_back_in_time_has_failed_and_the_sender_is_told() {
    const SHORT_S: &str = "2";
    for (lifetime, ttl_s) in [
        (Some(("Message-Expires", SHORT_S)), NEVER_S),
        (Some(("Expires", SHORT_S)), NEVER_S),
        (Some(("Message-Expires", NEVER_S)), SHORT_S),
        (None, SHORT_S),
    ] {
        let name = lifetime.map_or("none", |(name, _)| name);
        let scene = Scene::defers(&format!("not_back_in_time_{name}_{ttl_s}"), REGISTERS)
            .set("deferred_large", "yes")
            .set("deferred_ttl", ttl_s)
            .set("failure_imdn", "yes");
        scene.callees.plan("bill", Plan::status(480));
        let proxy = scene.starts();
        let request = scene.sends_and_asks(&proxy, &["bill"], lifetime);
        expect_counter(&proxy, "expired", 1);
        expect_counter(&proxy, "failed", 1);
        expect_counter(&proxy, "waiting", 0);
        expect_failure_told(&scene.anne, &request);
        assert_eq!(
            (counter(&proxy, "deferred"), counter(&proxy, "delivered")),
            (1, 0)
        );
        // Who comes too late gets nothing.
        scene.callees.plan("bill", Plan::accept());
        scene.registers("bill", &proxy);
        expect_messages(&scene.bench, 0);
        assert_eq!(scene.callees.calls_of("bill"), 1, "{name}");
        scene.finish(proxy);
    }
}

/// Without `deferred_large` the sender keeps a message for people who are all away.
#[test]
fn where_all_are_away_the_sender_is_told_at_once() {
    let scene = Scene::defers("where_all_are_away", REGISTERS);
    scene.callees.plan("bill", Plan::status(480));
    let proxy = scene.starts();
    let (request, ..) = scene.request(&["bill"], 20_000);
    scene.anne.is_refused(&request, proxy.udp(), 480);
    expect_counter(&proxy, "failed", 1);
    expect_counter(&proxy, "deferred", 0);
    assert_eq!(messages(&scene.bench), 0);
    scene.finish(proxy);
}
