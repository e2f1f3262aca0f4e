//! Parameters of large message mode: how long a message is kept, who is invited when, what the
//! sender gets if all fail, when recipients get their ACK (readings N20, N36, N43, N49).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Conduct, MsrpRequest, PATIENCE, Plan, Reply, sha256};

use crate::common::{CONTROLLING, EXPLODER, expect_counter};
use crate::large::{CHUNK, LONG, SIZE, Scene, expect_legs, expect_nothing_left};

/// A proxy with these parameters.
fn with(test_name: &str, parameters: &[(&str, &str)]) -> Scene {
    Scene::with(test_name, |_, config| {
        parameters.iter().fold(config, |config, (name, value)| {
            config.set("cpm", name, value)
        })
    })
}

#[test]
fn who_takes_a_few_bytes_now_and_then_fails_when_his_time_is_over() {
    let mut isf = None;
    // None of this is captured: the message is larger than what the kernel buffers for a recipient
    // that does not read.
    let scene = Scene::unseen("who_takes_a_few_bytes", |bench, config| {
        let callees = bench.callees();
        let config = config
            .set("cpm", "spool_ttl", "6")
            .set("cpm", "msrp_stall_timeout", "600")
            .set("cpm", "msrp_session_memory", "33554432")
            .set("cpm", "isf_uri", &callees.uri("isf"));
        isf = Some(callees);
        config
    });
    let isf = isf.expect("it was made");
    let slow = Plan::accept().conduct(Conduct::StallAfter(1000));
    scene.callees.plan("slow", slow.clone());
    // A slow recipient behind the ISF has failed for good.
    isf.plan("slower", slow.clone());
    scene.callees.plan("slower", slow);
    let upload = scene.upload_of(
        scene.message(EXPLODER, &["bill", "slow", "slower"]),
        8 << 20,
    );
    let mut call = scene.begins(&upload);
    let legs = ["slow", "slower"].map(|user| scene.callees.expect_call(user));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // They are not stalled: they read all the time.
        for leg in &legs {
            scope.spawn(|| {
                for kilobytes in 1..2_000 {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    leg.session.conducts(Conduct::StallAfter(kilobytes << 10));
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        upload.session.deliver(&upload.content, 1 << 20);
        scene.gets("bill", &upload);
        call.bye(200);
        let byes = legs
            .each_ref()
            .map(|leg| scene.callees.expect_in_within(leg, "BYE", LONG));
        done.store(true, Ordering::Relaxed);
        for bye in byes {
            let reason = bye.header("Reason").unwrap_or_default();
            assert!(reason.starts_with("SIP;cause=408"), "{reason}");
        }
    });
    for leg in &legs {
        leg.session.close();
    }
    let leg = isf.expect_call("slow");
    assert_eq!(
        leg.session.expect_message().sha256(),
        sha256(&upload.content)
    );
    isf.expect_in(&leg, "BYE");
    let leg = isf.expect_call("slower");
    let bye = isf.expect_in_within(&leg, "BYE", LONG);
    let reason = bye.header("Reason").unwrap_or_default();
    assert!(reason.starts_with("SIP;cause=408"), "{reason}");
    leg.session.close();
    expect_counter(&scene.proxy, "interworked", 2);
    expect_counter(&scene.proxy, "delivered", 2);
    expect_counter(&scene.proxy, "failed", 1);
    scene.finish();
}

#[test]
fn a_sender_who_sends_a_few_bytes_now_and_then_is_given_up() {
    let scene = Scene::unseen("a_sender_who_sends_a_few_bytes", |_, config| {
        config.set("cpm", "spool_ttl", "2")
    });
    let upload = scene.upload(EXPLODER, &["bill"]);
    let call = scene.begins(&upload);
    let begin = Instant::now();
    let mut sent = 0;
    let bye = loop {
        let chunk = MsrpRequest::chunk("m", sent, &upload.content[sent..sent + 10], SIZE);
        // The recipient may have got a BYE.
        if upload.session.try_send(&chunk).is_ok() {
            sent += 10;
        }
        let is_bye = |message: &cpm_testbed::Message| message.method() == Some("BYE");
        if let Some(bye) = scene.anne.recv_where(Duration::from_millis(50), is_bye) {
            break bye;
        }
        assert!(begin.elapsed() < PATIENCE && sent < SIZE, "{sent} bytes");
    };
    assert_eq!(bye.call_id(), call.answer().call_id());
    let bill = scene.callees.expect_call("bill");
    let message = bill.session.recv_message(PATIENCE).expect("an end of it");
    assert_eq!(message.flag, Some('#'));
    scene.hangs_up(&bill, 480);
    expect_counter(&scene.proxy, "failed", 1);
    scene.finish();
}

#[test]
fn one_after_another_is_invited() {
    let scene = with("one_after_another", &[("max_parallel_legs", "1")]);
    let users = ["rings", "bill", "also_rings", "carol"];
    for user in ["rings", "also_rings"] {
        scene.callees.plan(user, Plan::no_answer().ringing());
    }
    let called = |users: &[&str]| -> usize {
        let calls = users.iter().map(|user| scene.callees.calls_of(user));
        calls.sum()
    };
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &users);
        scene.anne.send(&upload.request, scene.proxy.udp());
        let rings = scene.callees.expect_nth_call("rings", round);
        expect_legs(&scene.proxy, "proceeding", 1);
        expect_legs(&scene.proxy, "waiting", 3);
        assert_eq!(called(&users[1..]), 3 * round);
        scene.callees.agent().reply(&rings.invite, &Reply::new(486));
        // Bill answers, and the next one rings.
        let mut call = scene
            .anne
            .expect_answered(&upload.request, scene.proxy.udp());
        upload.session.sends_to(call.sdp().path());
        call.ack();
        upload.session.connect_and_bind();
        upload.session.deliver(&upload.content, CHUNK);
        let bill = scene.callees.expect_nth_call("bill", round);
        assert_eq!(
            bill.session.expect_message().sha256(),
            sha256(&upload.content)
        );
        let also_rings = scene.callees.expect_nth_call("also_rings", round);
        // The sender has left when the last one is invited, which gets everything nevertheless.
        call.bye(200);
        scene.hangs_up(&bill, 200);
        expect_legs(&scene.proxy, "waiting", 1);
        assert_eq!(called(&["carol"]), round);
        scene
            .callees
            .agent()
            .reply(&also_rings.invite, &Reply::new(480));
        let carol = scene.callees.expect_nth_call("carol", round);
        assert_eq!(
            carol.session.expect_message().sha256(),
            sha256(&upload.content)
        );
        scene.hangs_up(&carol, 200);
        expect_nothing_left(&scene.proxy, PATIENCE);
    }
    expect_counter(&scene.proxy, "recipients", 8);
    expect_counter(&scene.proxy, "delivered", 4);
    expect_counter(&scene.proxy, "failed", 4);
    scene.finish();
}

#[test]
fn who_was_not_invited_yet_never_is_when_there_is_nothing_to_get() {
    let scene = with("who_was_not_invited_yet", &[("max_parallel_legs", "1")]);
    let ringing = Plan::no_answer().ringing();
    scene.callees.plan("rings", ringing.clone());
    let way = scene.proxy.udp();
    // CANCEL.
    let upload = scene.upload(EXPLODER, &["rings", "bill", "carol"]);
    scene.anne.send(&upload.request, way);
    let rings = scene.callees.expect_call("rings");
    expect_legs(&scene.proxy, "proceeding", 1);
    let cancel = upload.request.cancel();
    scene.anne.send(&cancel, way);
    scene.anne.expect_response(&cancel, 200);
    scene.anne.expect_refused(&upload.request, way, 487);
    scene.callees.expect_in(&rings, "CANCEL");
    scene.callees.terminate(&rings);
    expect_nothing_left(&scene.proxy, PATIENCE);
    // BYE within the message.
    let upload = scene.upload(CONTROLLING, &["dan", "rings", "bill", "carol"]);
    let mut call = scene.begins(&upload);
    let first = &upload.content[..CHUNK];
    upload
        .session
        .send(&MsrpRequest::chunk("m", 0, first, SIZE));
    let dan = scene.callees.expect_call("dan");
    let rings = scene.callees.expect_nth_call("rings", 1);
    expect_legs(&scene.proxy, "proceeding", 1);
    call.bye(480);
    scene.hangs_up(&dan, 480);
    scene.callees.expect_in(&rings, "CANCEL");
    scene.callees.terminate(&rings);
    expect_nothing_left(&scene.proxy, PATIENCE);
    for user in ["bill", "carol"] {
        assert_eq!(scene.callees.calls_of(user), 0, "{user}");
    }
    expect_counter(&scene.proxy, "recipients", 3);
    expect_counter(&scene.proxy, "failed", 7);
    scene.finish();
}

#[test]
fn invites_are_spread_over_time() {
    let scene = with("invites_are_spread", &[("legs_per_second", "2")]);
    let users = ["a", "b", "c", "d", "e"];
    let upload = scene.upload(EXPLODER, &users);
    let begin = Instant::now();
    let mut call = scene.begins(&upload);
    upload.session.deliver(&upload.content, CHUNK);
    scene.gets("a", &upload);
    call.bye(200);
    for user in users {
        let leg = scene.callees.expect_call(user);
        scene.hangs_up(&leg, 200);
    }
    // It cannot have been faster.
    assert!(begin.elapsed() >= Duration::from_secs(2));
    expect_counter(&scene.proxy, "delivered", 5);
    scene.finish();
}

#[test]
fn the_best_of_all_refusals_answers_the_sender() {
    let scene = with(
        "the_best_of_all_refusals",
        &[("all_failed_response", "best"), ("leg_timeout", "2")],
    );
    let plan = |user: &str, plan| scene.callees.plan(user, plan);
    plan("overloaded", Plan::status(503));
    plan("busy", Plan::status(486));
    plan("moved", Plan::status(302));
    plan("declines", Plan::status(603));
    plan("rings", Plan::no_answer().ringing());
    let choosy = Plan::status(415).header("Accept", "text/plain");
    plan("choosy", choosy.header("Contact", "<sip:secret@192.0.2.7>"));
    let refused = |users: &[&str], code| {
        let upload = scene.upload(EXPLODER, users);
        scene
            .anne
            .is_refused(&upload.request, scene.proxy.udp(), code)
    };
    refused(&["overloaded"], 500);
    refused(&["overloaded", "busy"], 486);
    refused(&["moved"], 480);
    refused(&["busy", "declines", "overloaded"], 603);
    refused(&["overloaded", "rings"], 408);
    let rings = scene.callees.expect_call("rings");
    scene.callees.expect_in(&rings, "CANCEL");
    scene.callees.terminate(&rings);
    let answer = refused(&["busy", "choosy"], 415);
    assert_eq!(answer.header("Accept"), Some("text/plain"));
    assert_eq!(answer.header("Contact"), None);
    assert!(answer.header("Conversation-ID").is_some());
    scene.finish();
}

#[test]
fn recipients_may_get_their_ack_at_once() {
    let parameters = [("leg_ack", "immediate"), ("ack_wait", "32")];
    let scene = with("recipients_may_get_their_ack", &parameters);
    scene.callees.plan("active", Plan::accept().active());
    scene.callees.plan("rings", Plan::no_answer().ringing());
    let upload = scene.upload(EXPLODER, &["bill", "active", "rings"]);
    let mut call = scene.is_answered(&upload);
    // The sender has not acknowledged anything yet.
    let legs = ["bill", "active"].map(|user| scene.callees.expect_call(user));
    for leg in &legs {
        scene.callees.expect_in(leg, "ACK");
        leg.session.expect_connected();
    }
    expect_legs(&scene.proxy, "confirmed", 2);
    call.ack();
    upload.session.connect_and_bind();
    upload.session.deliver(&upload.content, CHUNK);
    for user in ["bill", "active"] {
        scene.gets(user, &upload);
    }
    call.bye(200);
    for leg in &legs {
        scene.hangs_up(leg, 200);
        assert_eq!(scene.callees.requests_in(leg, "ACK").len(), 1);
    }
    let rings = scene.callees.expect_call("rings");
    scene.callees.agent().reply(&rings.invite, &Reply::new(486));
    scene.finish();
}

#[test]
fn recipients_with_an_ack_are_hung_up_on_when_the_sender_sends_none() {
    let parameters = [("leg_ack", "immediate"), ("ack_wait", "1")];
    let scene = with("recipients_with_an_ack", &parameters);
    let upload = scene.upload(EXPLODER, &["bill"]);
    let call = scene.is_answered(&upload);
    let bill = scene.callees.expect_call("bill");
    scene.callees.expect_in(&bill, "ACK");
    scene.hangs_up(&bill, 480);
    call.ack();
    scene.anne.expect_request("BYE");
    scene.finish();
}
