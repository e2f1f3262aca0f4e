//! How sessions of large messages end (9.1.2-bye; readings N43 to N46): whoever ends them, nothing
//! is left.

use std::time::Duration;

use cpm_testbed::{Conduct, MsrpRequest, PATIENCE, Plan, sha256};

use crate::common::{CONTROLLING, EXPLODER, expect_counter, proves};
use crate::large::{CHUNK, LONG, SIZE, Scene, expect_legs};

/// A chunk, without the few bytes that a reader holds back while they may begin an end-line.
const NEARLY_A_CHUNK: u64 = CHUNK as u64 - 64;

/// Longer than a sender may be silent within a message.
const SILENCE: Duration = Duration::from_secs(75);

#[test]
fn a_bye_ends_the_legs_that_have_all_and_waits_for_the_others() {
    let scene = Scene::with("a_bye_ends_the_legs", |_, config| {
        config.set("cpm", "msrp_chunk_size", "4000")
    });
    // It accepts everything, but acknowledges nothing until it is told to.
    scene.callees.plan(
        "slow",
        Plan::accept().conduct(Conduct::Slow(Duration::from_millis(150))),
    );
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &["bill", "carol", "slow"]);
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, CHUNK);
        let legs = ["bill", "carol"].map(|user| scene.callees.expect_nth_call(user, round));
        for leg in &legs {
            assert_eq!(leg.session.expect_message().bytes, upload.content);
        }
        let slow = scene.callees.expect_nth_call("slow", round);
        let bye = call.request("BYE").with("Reason", "SIP;cause=200");
        let answer = proves!(["9.1.2-bye-1"], call.exchange(&bye, 200));
        assert_eq!(answer.cseq(), bye.header("CSeq").map(|_| (2, "BYE")));
        // Her side is gone: connection and dialog.
        proves!(["9.1.2-bye-2"], upload.session.expect_closed());
        let again = call.request("UPDATE");
        call.exchange(&again, 481);
        for leg in &legs {
            proves!(["9.1.2-bye-3"], scene.hangs_up(leg, 200));
        }
        proves!(
            ["9.1.2-bye-3"],
            assert_eq!(scene.callees.requests_in(&slow, "BYE").len(), 0)
        );
        assert_eq!(
            slow.session.expect_message().sha256(),
            sha256(&upload.content)
        );
        proves!(["9.1.2-bye-5"], scene.hangs_up(&slow, 200));
        for leg in [&legs[0], &legs[1], &slow] {
            leg.session.expect_closed();
        }
        // Nothing of it is left while the proxy lives.
        proves!(
            ["9.1.2-bye-4", "9.1.2-bye-5-release"],
            crate::large::expect_nothing_left(&scene.proxy, PATIENCE)
        );
    }
    expect_counter(&scene.proxy, "delivered", 6);
    scene.finish();
}

#[test]
fn a_bye_in_the_midst_of_it_ends_all() {
    let scene = Scene::new("a_bye_in_the_midst_of_it");
    scene.callees.plan("ringing", Plan::no_answer().ringing());
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &["bill", "ringing"]);
        let mut call = scene.begins(&upload);
        upload
            .session
            .send(&MsrpRequest::chunk("m", 0, &upload.content[..CHUNK], SIZE));
        let bill = scene.callees.expect_nth_call("bill", round);
        bill.session.expect_content(NEARLY_A_CHUNK);
        proves!(["9.1.2-bye-1"], call.bye(480));
        let message = bill.session.recv_message(PATIENCE).expect("an end of it");
        assert_eq!(message.flag, Some('#'));
        scene.hangs_up(&bill, 480);
        let ringing = scene.callees.expect_nth_call("ringing", round);
        scene.callees.expect_in(&ringing, "CANCEL");
        scene.callees.terminate(&ringing);
    }
    expect_counter(&scene.proxy, "failed", 4);
    proves!(["9.1.2-bye-2"], scene.finish());
}

#[test]
fn a_bye_without_any_content() {
    let scene = Scene::new("a_bye_without_any_content");
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.is_answered(&upload);
    call.ack();
    proves!(["9.1.2-bye-1"], call.bye(480));
    let bill = scene.callees.expect_call("bill");
    scene.hangs_up(&bill, 480);
    // Over TCP as well, before the ACK has arrived.
    let upload = scene.upload(EXPLODER, &["carol"]);
    let way = scene.proxy.tcp();
    let mut call = scene.anne.invites(&upload.request, way);
    proves!(["9.1.2-bye-1"], call.bye(480));
    let carol = scene.callees.expect_call("carol");
    scene.callees.expect_in(&carol, "ACK");
    scene.hangs_up(&carol, 480);
    scene.finish();
}

#[test]
fn a_sender_who_is_killed_in_the_midst_of_it_leaves_nothing() {
    let scene = Scene::new("a_sender_who_is_killed");
    scene.callees.plan("ringing", Plan::no_answer().ringing());
    let upload = scene.upload(EXPLODER, &["bill", "carol", "ringing"]);
    let call = scene.begins(&upload);
    let chunk = MsrpRequest::chunk("m", 0, &upload.content, SIZE);
    let bytes = chunk.write(call.sdp().path(), upload.session.path());
    upload.session.send_bytes(&bytes[..12_000]);
    let legs = ["bill", "carol"].map(|user| scene.callees.expect_call(user));
    for leg in &legs {
        leg.session.expect_content(5_000);
    }
    // The kernel closes a killed process's connections; its SIP side is silent.
    scene.anne.answers(cpm_testbed::Answer::Silent);
    upload.session.close();
    let bye = scene.anne.expect_request("BYE");
    assert_eq!(bye.call_id(), call.answer().call_id());
    for leg in &legs {
        let message = leg.session.recv_message(PATIENCE).expect("an end of it");
        assert_eq!(message.flag, Some('#'));
        scene.hangs_up(leg, 480);
    }
    let ringing = scene.callees.expect_call("ringing");
    scene.callees.expect_in(&ringing, "CANCEL");
    scene.callees.terminate(&ringing);
    scene.finish_within(LONG);
}

#[test]
fn a_sender_who_falls_silent_in_the_midst_of_it_is_given_up() {
    let scene = Scene::new("a_sender_who_falls_silent");
    let upload = scene.upload(EXPLODER, &["bill"]);
    let call = scene.begins(&upload);
    let first = &upload.content[..CHUNK];
    upload
        .session
        .send(&MsrpRequest::chunk("m", 0, first, SIZE));
    let bill = scene.callees.expect_call("bill");
    bill.session.expect_content(NEARLY_A_CHUNK);
    let bye = scene
        .anne
        .recv_where(SILENCE, |message| message.method() == Some("BYE"));
    assert_eq!(bye.expect("a BYE").call_id(), call.answer().call_id());
    scene.hangs_up(&bill, 480);
    scene.finish();
}

#[test]
fn peers_who_do_not_answer_a_bye_are_not_waited_for_for_ever() {
    let scene = Scene::new("peers_who_do_not_answer_a_bye");
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.begins(&upload);
    upload.session.deliver(&upload.content, CHUNK);
    let (bill, _) = scene.gets("bill", &upload);
    scene.callees.agent().answers(cpm_testbed::Answer::Silent);
    call.bye(200);
    let bye = scene.callees.expect_in(&bill, "BYE");
    scene.finish_within_and(LONG, |_| assert!(bye.retransmissions() > 3));
}

#[test]
fn a_recipient_who_hangs_up_early_fails_alone() {
    let scene = Scene::new("a_recipient_who_hangs_up_early");
    let upload = scene.upload(EXPLODER, &["bill", "carol"]);
    let mut call = scene.begins(&upload);
    let half = SIZE / 2;
    upload
        .session
        .send(&MsrpRequest::chunk("m", 0, &upload.content[..half], SIZE));
    let bill = scene.callees.expect_call("bill");
    bill.session.expect_content(NEARLY_A_CHUNK);
    let bye = scene.callees.agent().in_dialog_of(&bill.invite, "BYE", 1);
    scene.callees.agent().send(&bye, scene.proxy.udp());
    scene.callees.agent().expect_response(&bye, 200);
    expect_counter(&scene.proxy, "failed", 1);
    let last = MsrpRequest::chunk("m", half, &upload.content[half..], SIZE);
    upload.session.send(&last);
    upload.session.expect_response(&last, 200);
    let (carol, _) = scene.gets("carol", &upload);
    // Carol hangs up too, once she has everything: that is not a failure.
    expect_counter(&scene.proxy, "delivered", 1);
    let bye = scene.callees.agent().in_dialog_of(&carol.invite, "BYE", 1);
    scene.callees.agent().send(&bye, scene.proxy.udp());
    scene.callees.agent().expect_response(&bye, 200);
    call.bye(200);
    expect_counter(&scene.proxy, "failed", 1);
    assert_eq!(scene.callees.requests_in(&bill, "BYE").len(), 0);
    scene.finish();
}

#[test]
fn recipients_who_stall_die_or_refuse_fail_alone() {
    let scene = Scene::unseen("recipients_who_stall", |_, config| {
        config
            .set("cpm", "msrp_stall_timeout", "2")
            .set("cpm", "msrp_session_memory", "1048576")
    });
    let conduct = |user: &str, conduct| scene.callees.plan(user, Plan::accept().conduct(conduct));
    conduct("stalls", Conduct::StallAfter(100_000));
    conduct("dies", Conduct::DieAfter(100_000));
    conduct("refuses", Conduct::RefuseAfter(100_000, 413));
    let users = ["bill", "stalls", "dies", "refuses"];
    let size = 8 << 20;
    let upload = scene.upload_of(scene.message(EXPLODER, &users), size);
    let mut call = scene.begins(&upload);
    // More than its memory holds: the sender is held back until the stalled recipient has failed.
    upload.session.deliver(&upload.content, 1 << 18);
    let bill = scene.callees.expect_call("bill");
    assert_eq!(
        bill.session.expect_message().sha256(),
        sha256(&upload.content)
    );
    call.bye(200);
    scene.hangs_up(&bill, 200);
    for (user, code) in [("stalls", 408), ("dies", 480), ("refuses", 413)] {
        let leg = scene.callees.expect_call(user);
        let bye = scene.callees.expect_in(&leg, "BYE");
        let reason = bye.header("Reason").unwrap_or_default().to_owned();
        assert!(
            reason.starts_with("SIP;cause="),
            "{user}: {reason} ({code})"
        );
        assert!(!reason.contains("cause=200"), "{user}: {reason}");
    }
    expect_counter(&scene.proxy, "delivered", 1);
    expect_counter(&scene.proxy, "failed", 3);
    scene.finish();
}

#[test]
fn recipients_who_are_killed_in_the_midst_of_it_leave_nothing() {
    let scene = Scene::new("recipients_who_are_killed");
    for user in ["killed", "too"] {
        let dies = Conduct::DieAfter(SIZE as u64 * 3 / 4);
        scene.callees.plan(user, Plan::accept().conduct(dies));
    }
    let upload = scene.upload(EXPLODER, &["bill", "killed", "too"]);
    let mut call = scene.begins(&upload);
    let half = SIZE / 2;
    upload
        .session
        .send(&MsrpRequest::chunk("m", 0, &upload.content[..half], SIZE));
    let legs = ["bill", "killed", "too"].map(|user| scene.callees.expect_call(user));
    for leg in &legs {
        leg.session.expect_content(NEARLY_A_CHUNK);
    }
    // The kernel closes a killed process's connections; its SIP side is silent.
    scene.callees.agent().answers(cpm_testbed::Answer::Silent);
    let last = MsrpRequest::chunk("m", half, &upload.content[half..], SIZE);
    upload.session.send(&last);
    upload.session.expect_response(&last, 200);
    assert_eq!(legs[0].session.expect_message().bytes, upload.content);
    expect_counter(&scene.proxy, "delivered", 1);
    expect_counter(&scene.proxy, "failed", 2);
    call.bye(200);
    scene.finish_within(LONG);
}

#[test]
fn a_recipient_who_never_answers_a_send_has_failed() {
    let scene = Scene::new("a_recipient_who_never_answers_a_send");
    scene
        .callees
        .plan("mute", Plan::accept().conduct(Conduct::Silent));
    // This one never connects, although it announced that it would.
    scene
        .callees
        .plan("absent", Plan::accept().attribute("setup", Some("active")));
    let upload = scene.upload(EXPLODER, &["bill", "mute", "absent"]);
    let mut call = scene.begins(&upload);
    upload.session.deliver(&upload.content, CHUNK);
    scene.gets("bill", &upload);
    call.bye(200);
    for user in ["mute", "absent"] {
        let leg = scene.callees.expect_call(user);
        // RFC 4975 §7.1: 30 s.
        let bye = scene.callees.expect_in_within(&leg, "BYE", LONG);
        let reason = bye.header("Reason").unwrap_or_default();
        assert!(reason.starts_with("SIP;cause=408"), "{user}: {reason}");
    }
    expect_counter(&scene.proxy, "failed", 2);
    scene.finish_within(LONG);
}

#[test]
fn refreshes_are_answered_on_every_side() {
    let scene = Scene::new("refreshes_are_answered");
    let upload = scene.upload(CONTROLLING, &["bill"]);
    let mut call = scene.begins(&upload);
    let bill = scene.callees.expect_call("bill");
    let ours = (call.sdp(), bill.sdp());
    // The recipient refreshes, as it was asked to (9.1.2-8f).
    for (number, method) in [(1, "UPDATE"), (2, "INVITE")] {
        let mut refresh = scene
            .callees
            .agent()
            .in_dialog_of(&bill.invite, method, number);
        refresh = refresh
            .with("Supported", "timer")
            .with("Session-Expires", "1800;refresher=uac");
        scene.callees.agent().send(&refresh, scene.proxy.udp());
        let answer = scene.callees.agent().expect_response(&refresh, 200);
        proves!(
            ["9.1.2-7"],
            assert_eq!(answer.header("Session-Expires"), Some("1800;refresher=uac"))
        );
        if method == "INVITE" {
            let ack = refresh.in_dialog("ACK", number, &answer);
            scene.callees.agent().send(&ack, scene.proxy.udp());
            let sdp = cpm_testbed::SdpRead::of(answer.body()).expect("a description");
            assert_eq!(sdp.path(), ours.1.path());
        }
    }
    for method in ["UPDATE", "INVITE"] {
        let refresh = call
            .request(method)
            .with("Supported", "timer")
            .with("Session-Expires", "1800;refresher=uac");
        let answer = call.exchange(&refresh, 200);
        proves!(
            ["9.1.2-6"],
            assert_eq!(answer.header("Session-Expires"), Some("1800;refresher=uac"))
        );
        if method == "INVITE" {
            let number = answer.cseq().map_or(0, |(number, _)| number);
            let ack = refresh.in_dialog("ACK", number, &answer);
            scene.anne.send(&ack, scene.proxy.udp());
            let sdp = cpm_testbed::SdpRead::of(answer.body()).expect("a description");
            assert_eq!(sdp.path(), ours.0.path());
        }
    }
    // Requests outside the session are refused: another method, an old number, another dialog.
    let info = call.request("INFO");
    let refused = call.exchange(&info, 405);
    assert!(
        refused
            .header("Allow")
            .is_some_and(|value| value.contains("UPDATE"))
    );
    let old = call.request("UPDATE").with("CSeq", "1 UPDATE");
    call.exchange(&old, 500);
    let stranger = call.request("BYE");
    let from = stranger.header("From").unwrap_or_default().to_owned();
    let stranger = stranger.with("From", &format!("{from}x"));
    call.exchange(&stranger, 481);
    // Neither side sees the other's refreshes.
    proves!(
        ["9.1.2-7"],
        assert_eq!(scene.callees.requests_in(&bill, "UPDATE").len(), 0)
    );
    upload.session.deliver(&upload.content, CHUNK);
    scene.gets("bill", &upload);
    call.bye(200);
    scene.hangs_up(&bill, 200);
    scene.finish();
}

#[test]
fn the_operator_can_end_a_session() {
    let scene = Scene::new("the_operator_can_end_a_session");
    scene.callees.plan("ringing", Plan::no_answer().ringing());
    let upload = scene.upload(EXPLODER, &["bill", "ringing"]);
    let _call = scene.begins(&upload);
    upload
        .session
        .send(&MsrpRequest::chunk("m", 0, &upload.content[..CHUNK], SIZE));
    let bill = scene.callees.expect_call("bill");
    bill.session.expect_content(NEARLY_A_CHUNK);
    let sessions = scene.proxy.rpc("cpm.sessions");
    let id = cpm_testbed::values(&sessions, "id")
        .next()
        .expect("a session")
        .to_owned();
    let details = scene.proxy.rpc(&format!("cpm.session {id}"));
    for line in [
        format!("uri: {}", scene.callees.uri("bill")),
        format!("uri: {}", scene.callees.uri("ringing")),
        "state: proceeding".to_owned(),
        "state: confirmed".to_owned(),
        format!("total: {SIZE}"),
    ] {
        assert!(details.contains(&line), "{line} in {details}");
    }
    scene.proxy.rpc(&format!("cpm.end {id}"));
    scene.anne.expect_request("BYE");
    scene.hangs_up(&bill, 480);
    let ringing = scene.callees.expect_call("ringing");
    scene.callees.expect_in(&ringing, "CANCEL");
    scene.callees.terminate(&ringing);
    assert!(
        scene
            .proxy
            .try_rpc("cpm.end 00000000000000000000000000000000")
            .is_err()
    );
    scene.finish();
}

#[test]
fn a_proxy_that_stops_hangs_up_on_everybody() {
    let scene = Scene::new("a_proxy_that_stops");
    scene.callees.plan("ringing", Plan::no_answer().ringing());
    let users = ["bill", "carol", "ringing"];
    // One is established, one is never acknowledged, one rings.
    let up = scene.upload(EXPLODER, &users);
    let _up = scene.begins(&up);
    up.session
        .send(&MsrpRequest::chunk("m", 0, &up.content[..CHUNK], SIZE));
    let bill = scene.callees.expect_call("bill");
    bill.session.expect_content(NEARLY_A_CHUNK);
    let waiting = scene.upload(EXPLODER, &["dan"]);
    let _waiting = scene.is_answered(&waiting);
    let ringing = scene.upload(CONTROLLING, &["ringing"]);
    scene.anne.send(&ringing.request, scene.proxy.udp());
    expect_legs(&scene.proxy, "proceeding", 2);
    let Scene {
        proxy,
        anne,
        callees,
        bench,
        sender,
        ..
    } = scene;
    proxy.stop();
    for user in ["bill", "carol", "dan"] {
        let leg = callees.expect_call(user);
        let bye = callees.expect_in(&leg, "BYE");
        let reason = bye.header("Reason").unwrap_or_default();
        assert!(!reason.contains("cause=200"), "{user}: {reason}");
    }
    anne.expect_request("BYE");
    let refused = anne.recv_response(&ringing.request, PATIENCE);
    let refused = std::iter::successors(refused, |_| {
        anne.recv_response(&ringing.request, Duration::ZERO)
    });
    assert!(refused.into_iter().any(|one| one.status() == Some(503)));
    drop((callees, sender, anne));
    drop(bench);
}
