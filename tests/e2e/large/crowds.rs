//! Many recipients, many sessions, all limits: and nothing is left (readings N36, N49).

use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{
    Answer, Conduct, InvitedCall, MsrpRequest, PATIENCE, Plan, Process, Product, Proxy,
    large_message, sha256, to,
};

use crate::common::{CONTROLLING, EXPLODER, counter, expect_counter, proves};
use crate::large::{ANNE, CHUNK, LONG, SIZE, Scene, Upload, expect_nothing_left, sessions_process};

/// Memory that the process may keep: its allocator's reserve.
const KEPT_BYTES: u64 = 2 << 20;
/// The same after a crowd: how much exists at once depends on the machine's load. The sessions
/// themselves would take more than twice as much.
const KEPT_BYTES_OF_CROWD: u64 = 4 << 20;

/// The process is back in its initial state.
#[track_caller]
fn expect_back(proxy: &Proxy, before: &Process) {
    expect_back_but(proxy, before, KEPT_BYTES);
}

/// The process is back in its initial state, except for this much memory.
#[track_caller]
fn expect_back_but(proxy: &Proxy, before: &Process, kept: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let after = sessions_process(proxy);
        let memory = after.private_bytes.saturating_sub(before.private_bytes);
        if after.open_descriptors <= before.open_descriptors && memory <= kept {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "before: {before:?}, after: {after:?}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// Shared memory that may stay: what its allocator makes of pieces of other sizes.
const KEPT_SHARED_BYTES: u64 = 64 << 10;

/// Shared memory of the proxy once tm has no transaction left.
#[track_caller]
fn shared_at_rest(proxy: &Proxy) -> u64 {
    let deadline = Instant::now() + LONG;
    while proxy.transactions() > 0 {
        assert!(Instant::now() < deadline, "{}", proxy.transactions());
        thread::sleep(Duration::from_millis(50));
    }
    proxy.shared_memory_used()
}

/// The shared memory is back to where it was.
#[track_caller]
fn expect_shared_back(proxy: &Proxy, before: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let after = shared_at_rest(proxy);
        if after <= before + KEPT_SHARED_BYTES {
            return;
        }
        // What a process frees a moment after its transaction has ended.
        assert!(
            Instant::now() < deadline,
            "{before} bytes before, {after} after"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// A first message has passed: code, buffers and threads are loaded.
#[track_caller]
fn warm_up(scene: &Scene) -> Process {
    scene.sends(&scene.upload(EXPLODER, &["warm"]));
    expect_nothing_left(&scene.proxy, PATIENCE);
    sessions_process(&scene.proxy)
}

/// 3 refuse, 2 answer late, 1 stalls, 1 dies halfway; the other 13 and the late ones get the
/// message bit for bit.
#[track_caller]
fn to_twenty(scene: &Scene, size: usize, chunk: usize, lateness: Duration, round: usize) {
    let users: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
    let (refusing, late, stalls, dies) = (0..3, 3..5, 5, 6);
    for number in refusing.clone() {
        scene
            .callees
            .plan(&users[number], Plan::status(486).ringing());
    }
    for number in late.clone() {
        scene
            .callees
            .plan(&users[number], Plan::accept().ringing().after(lateness));
    }
    let conduct = |number: usize, conduct| {
        scene
            .callees
            .plan(&users[number], Plan::accept().conduct(conduct));
    };
    conduct(stalls, Conduct::StallAfter(size as u64 / 10));
    conduct(dies, Conduct::DieAfter(size as u64 / 2));

    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let upload = scene.upload_of(scene.message(EXPLODER, &names), size);
    let begin = Instant::now();
    let mut call = scene.begins(&upload);
    upload.session.deliver(&upload.content, chunk);
    let wanted = sha256(&upload.content);
    let calls: Vec<InvitedCall> = users
        .iter()
        .map(|user| scene.callees.expect_nth_call(user, round))
        .collect();
    for call in &calls[7..] {
        proves!(
            ["9.1.2-send-3"],
            assert_eq!(call.session.expect_message_within(LONG).sha256(), wanted)
        );
    }
    call.bye(200);
    for call in &calls[7..] {
        proves!(["9.1.2-bye-3"], scene.hangs_up(call, 200));
    }
    assert!(begin.elapsed() < lateness, "they were to be late");
    for number in late {
        let message = calls[number].session.expect_message_within(LONG);
        assert!(begin.elapsed() >= lateness, "they were to be late");
        proves!(
            ["9.1.2-more200-3", "9.1.2-send-4"],
            assert_eq!(message.sha256(), wanted)
        );
        proves!(["9.1.2-bye-5"], scene.hangs_up(&calls[number], 200));
    }
    for number in [stalls, dies] {
        let bye = scene.callees.expect_in_within(&calls[number], "BYE", LONG);
        assert!(
            !bye.header("Reason")
                .unwrap_or_default()
                .contains("cause=200")
        );
        calls[number].session.close();
    }
    for number in refusing {
        assert_eq!(scene.callees.requests_in(&calls[number], "BYE").len(), 0);
    }
}

#[test]
fn ten_mebibytes_to_twenty_who_all_behave_differently() {
    let mut scene = Scene::unseen("ten_mebibytes_to_twenty", |bench, config| {
        config.set("cpm", "msrp_stall_timeout", "5").set(
            "cpm",
            "msrp_spool_dir",
            &bench.folder().display().to_string(),
        )
    });
    scene.capture_udp();
    let chunk = 1 << 16;
    let size = 10 << 20;
    let before = warm_up(&scene);
    to_twenty(&scene, size, chunk, Duration::from_secs(20), 0);
    // One more than the fifteen: the warm-up.
    expect_counter(&scene.proxy, "delivered", 16);
    expect_counter(&scene.proxy, "failed", 5);
    expect_nothing_left(&scene.proxy, PATIENCE);
    expect_back(&scene.proxy, &before);
    scene.finish();
}

/// The same with fewer, so that tshark can check all MSRP.
#[test]
fn a_message_to_twenty_who_all_behave_differently() {
    let scene = Scene::with("a_message_to_twenty", |_, config| {
        config
            .set("cpm", "msrp_stall_timeout", "1")
            .set("cpm", "msrp_chunk_size", "8000")
    });
    to_twenty(&scene, 200_000, 8_000, Duration::from_secs(3), 0);
    expect_counter(&scene.proxy, "delivered", 15);
    // The stalled one is only sent what its kernel accepts.
    expect_counter(&scene.proxy, "failed", 5);
    scene.finish_within(LONG);
}

/// This many sessions exist at one moment.
const AT_ONCE: usize = 200;

#[track_caller]
fn many_at_once(scene: &Scene, round: usize) {
    let uploads: Vec<Upload> = (0..AT_ONCE)
        .map(|number| scene.upload(EXPLODER, &[&format!("a{number}"), &format!("b{number}")]))
        .collect();
    // All at once is more than an unreliable socket can buffer.
    let (way, read_at_once) = match Product::under_test() {
        Product::Kamailio => (scene.proxy.tcp(), AT_ONCE),
        // Even without our module, 4.0.1 loses requests that follow closely on a connection
        // (doc/opensips.md).
        Product::OpenSips => (scene.proxy.udp(), 1),
    };
    for some in uploads.chunks(read_at_once) {
        for upload in some {
            scene.anne.send(&upload.request, way);
        }
        for upload in some {
            scene.anne.expect_response(&upload.request, 100);
        }
    }
    let mut calls = Vec::with_capacity(AT_ONCE);
    for upload in &uploads {
        let call = scene.anne.expect_answered(&upload.request, way);
        call.ack();
        upload.session.sends_to(call.sdp().path());
        upload.session.connect_and_bind();
        calls.push(call);
    }
    assert_eq!(counter(&scene.proxy, "sessions"), AT_ONCE as u64);
    for upload in &uploads {
        upload.session.deliver(&upload.content, CHUNK);
    }
    for (number, upload) in uploads.iter().enumerate() {
        for side in ["a", "b"] {
            let user = format!("{side}{number}");
            let leg = scene.callees.expect_nth_call(&user, round);
            assert_eq!(leg.session.expect_message().bytes, upload.content);
        }
    }
    for call in &mut calls {
        call.bye(200);
    }
    expect_nothing_left(&scene.proxy, LONG);
}

#[test]
fn two_hundred_sessions_at_once() {
    let mut scene = Scene::unseen("two_hundred_sessions_at_once", |_, config| {
        config.set_number("tm", "wt_timer", 500)
    });
    scene.capture_udp();
    // What an allocator keeps after the first crowd is enough for the next.
    for round in 0..2 {
        many_at_once(&scene, round);
    }
    let before = sessions_process(&scene.proxy);
    let shared = shared_at_rest(&scene.proxy);
    for round in 2..4 {
        many_at_once(&scene, round);
    }
    expect_counter(&scene.proxy, "delivered", 4 * 2 * AT_ONCE as u64);
    expect_back_but(&scene.proxy, &before, KEPT_BYTES_OF_CROWD);
    expect_shared_back(&scene.proxy, shared);
    scene.finish();
}

#[test]
fn a_thousand_sessions_one_after_another() {
    let mut scene = Scene::unseen("a_thousand_sessions", |_, config| {
        // Transactions remain for a while after their end; those of a thousand sessions are not
        // what this test is about.
        config.set_number("tm", "wt_timer", 500)
    });
    scene.capture_udp();
    scene.callees.plan("refusing", Plan::status(486));
    let before = warm_up(&scene);
    let shared = shared_at_rest(&scene.proxy);
    for number in 0..1000 {
        let user = format!("u{}", number % 10);
        let upload = scene.upload_of(scene.message(EXPLODER, &[&user, "refusing"]), 600);
        scene.sends(&upload);
    }
    expect_nothing_left(&scene.proxy, LONG);
    expect_counter(&scene.proxy, "delivered", 1001);
    expect_back(&scene.proxy, &before);
    expect_shared_back(&scene.proxy, shared);
    scene.finish();
}

#[test]
fn nothing_is_left_of_sessions_that_are_cancelled_at_every_state() {
    let mut scene = Scene::unseen("cancelled_at_every_state", |_, config| {
        config.set("cpm", "ack_wait", "1")
    });
    scene.capture_udp();
    let before = warm_up(&scene);
    let shared = shared_at_rest(&scene.proxy);
    let way = scene.proxy.udp();
    scene.callees.plan("rings", Plan::no_answer().ringing());
    scene.callees.plan("mute", Plan::no_answer());
    scene.callees.plan(
        "soon",
        Plan::accept().ringing().after(Duration::from_millis(3)),
    );
    for round in 0..30 {
        for users in [
            &["rings"][..],
            &["soon"],
            &["soon", "rings"],
            &["soon", "rings", "mute"],
        ] {
            let upload = scene.upload(EXPLODER, users);
            scene.anne.send(&upload.request, way);
            scene.anne.expect_response(&upload.request, 100);
            // At any moment: before the legs are called, while they ring, after they have answered.
            thread::sleep(Duration::from_micros(400 * round));
            let cancel = upload.request.cancel();
            scene.anne.send(&cancel, way);
            let response = loop {
                let response = scene.anne.recv_response(&upload.request, PATIENCE);
                let response = response.expect("an INVITE gets an answer");
                if response.status().is_some_and(|status| status >= 200) {
                    break response;
                }
            };
            match response.status() {
                Some(487) => scene
                    .anne
                    .send(&upload.request.ack_to_refusal(&response), way),
                // It came too late: the session is established.
                Some(200) => {
                    scene
                        .anne
                        .send(&upload.request.in_dialog("ACK", 1, &response), way);
                    let bye = upload.request.in_dialog("BYE", 2, &response);
                    scene.anne.send(&bye, way);
                    scene.anne.expect_response(&bye, 200);
                }
                status => panic!("{status:?} to a cancelled INVITE"),
            }
        }
    }
    // Ringing recipients have got their CANCEL by now, or will.
    let deadline = Instant::now() + LONG;
    while counter(&scene.proxy, "sessions") > 0 {
        while let Some(cancel) = scene
            .callees
            .agent()
            .recv_where(Duration::ZERO, |message| message.method() == Some("CANCEL"))
        {
            let invite =
                scene.callees.agent().received().into_iter().find(|one| {
                    one.method() == Some("INVITE") && one.call_id() == cancel.call_id()
                });
            let user = invite
                .as_ref()
                .and_then(|one| one.uri())
                .unwrap_or_default();
            // Those that answer quickly have answered.
            if user.starts_with("sip:rings@")
                && let Some(invite) = &invite
            {
                scene
                    .callees
                    .agent()
                    .reply(invite, &cpm_testbed::Reply::new(487));
            }
        }
        assert!(
            Instant::now() < deadline,
            "{}",
            scene.proxy.rpc("cpm.sessions")
        );
        thread::sleep(Duration::from_millis(50));
    }
    expect_back(&scene.proxy, &before);
    expect_shared_back(&scene.proxy, shared);
    scene.finish();
}

#[test]
fn there_are_no_more_sessions_than_may_be() {
    let scene = Scene::with("there_are_no_more_sessions", |_, config| {
        config.set("cpm", "max_sessions", "2")
    });
    let uploads = ["bill", "carol"].map(|user| scene.upload(EXPLODER, &[user]));
    let mut calls = uploads
        .iter()
        .map(|upload| scene.begins(upload))
        .collect::<Vec<_>>();
    let one_more = scene.upload(CONTROLLING, &["dan"]);
    let refused = scene
        .anne
        .is_refused(&one_more.request, scene.proxy.udp(), 503);
    assert_eq!(refused.header("Retry-After"), Some("5"));
    assert_eq!(scene.callees.calls_of("dan"), 0);
    for (call, upload) in calls.iter_mut().zip(&uploads) {
        upload.session.deliver(&upload.content, CHUNK);
        call.bye(200);
    }
    expect_nothing_left(&scene.proxy, PATIENCE);
    scene.sends(&scene.upload(CONTROLLING, &["dan"]));
    drop(calls);
    scene.finish();
}

#[test]
fn an_originator_has_no_more_sessions_than_its_share() {
    let scene = Scene::with("an_originator_has_its_share_of_sessions", |_, config| {
        config.set("cpm", "max_sessions_per_sender", "1")
    });
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.begins(&upload);
    // The same address in another spelling.
    let again = |sender: &str| {
        let message = large_message(sender, CONTROLLING);
        scene.upload_of(message.recipients([to(&scene.callees.uri("dan"))]), SIZE)
    };
    let way = scene.proxy.udp();
    let refused = scene
        .anne
        .is_refused(&again("sip:%61nne@EXAMPLE.com").request, way, 503);
    assert_eq!(refused.header("Retry-After"), Some("5"));
    expect_counter(&scene.proxy, "shares", 1);
    assert_eq!(scene.callees.calls_of("dan"), 0);
    scene.sends(&again("sip:mary@example.com"));
    upload.session.deliver(&upload.content, CHUNK);
    call.bye(200);
    expect_nothing_left(&scene.proxy, PATIENCE);
    scene.sends(&again(ANNE));
    drop(call);
    scene.finish();
}

#[test]
fn there_are_no_more_connections_than_may_be() {
    for (name, value, left) in [
        // In addition to the session's two: a new one is closed at once.
        ("msrp_max_connections", "4", 0..2),
        // Among connections without a session the oldest is closed.
        ("msrp_max_unbound", "2", 4..6),
    ] {
        let scene = Scene::unseen(&format!("no_more_connections_{name}"), |_, config| {
            config.set("cpm", name, value)
        });
        let upload = scene.upload(EXPLODER, &["bill"]);
        let mut call = scene.begins(&upload);
        let bill = scene.callees.expect_call("bill");
        let address = call.sdp().target();
        expect_counter(&scene.proxy, "msrp_connections", 2);
        let strangers: Vec<_> = (0..6)
            .map(|_| {
                let session = scene.sender.session();
                session.try_connect(address).expect("the listener accepts");
                session
            })
            .collect();
        for (place, stranger) in strangers.iter().enumerate() {
            if !left.contains(&place) {
                stranger.expect_closed();
            }
        }
        expect_counter(&scene.proxy, "msrp_connections", 4);
        upload.session.deliver(&upload.content, CHUNK);
        assert_eq!(bill.session.expect_message().bytes, upload.content);
        call.bye(200);
        for stranger in &strangers {
            stranger.close();
        }
        scene.finish();
    }
}

#[test]
fn a_hundred_recipients_ring_until_their_time_is_over() {
    let mut scene = Scene::unseen("a_hundred_recipients_ring", |_, config| {
        config.set("cpm", "leg_timeout", "2")
    });
    scene.capture_udp();
    let before = warm_up(&scene);
    let agent = scene.bench.agent();
    agent.answers(Answer::with(|request| match request.method() {
        Some("INVITE") => vec![cpm_testbed::Reply::new(180)],
        _ => vec![cpm_testbed::Reply::new(200)],
    }));
    let uris: Vec<String> = (0..99)
        .map(|number| agent.uri(&format!("u{number}")))
        .collect();
    let all = uris
        .iter()
        .map(|uri| to(uri))
        .chain([to(&scene.callees.uri("bill"))]);
    let upload = scene.upload_of(large_message(ANNE, EXPLODER).recipients(all), SIZE);
    let mut call = scene.anne.invites(&upload.request, scene.proxy.udp());
    upload.session.sends_to(call.sdp().path());
    call.ack();
    upload.session.connect_and_bind();
    upload.session.deliver(&upload.content, CHUNK);
    scene.gets("bill", &upload);
    call.bye(200);
    let invites = agent.expect_requests("INVITE", 99);
    for cancel in agent.expect_requests("CANCEL", 99) {
        let invite = invites
            .iter()
            .find(|invite| invite.call_id() == cancel.call_id());
        agent.reply(
            invite.expect("its INVITE came"),
            &cpm_testbed::Reply::new(487),
        );
    }
    expect_counter(&scene.proxy, "failed", 99);
    expect_nothing_left(&scene.proxy, PATIENCE);
    expect_back(&scene.proxy, &before);
    scene.finish();
}

#[test]
fn the_sender_is_held_back_when_there_is_no_room() {
    let scene = Scene::unseen("the_sender_is_held_back", |_, config| {
        let config = config.set("cpm", "msrp_session_memory", "1048576");
        config.set("cpm", "msrp_spool_dir", "none")
    });
    scene
        .callees
        .plan("slow", Plan::accept().conduct(Conduct::StallAfter(1000)));
    let size = 32 << 20;
    let upload = scene.upload_of(scene.message(EXPLODER, &["bill", "slow"]), size);
    let mut call = scene.begins(&upload);
    let sending = thread::spawn({
        let (session, content) = (upload.session.clone(), upload.content.clone());
        move || {
            for (place, piece) in content.chunks(1 << 20).enumerate() {
                session.send(&MsrpRequest::chunk("m", place << 20, piece, size));
            }
        }
    });
    let slow = scene.callees.expect_call("slow");
    slow.session.expect_content(1000);
    // As much as the kernel's buffers and its own memory take, and no more.
    thread::sleep(Duration::from_secs(1));
    assert!(!sending.is_finished());
    assert!(counter(&scene.proxy, "msrp_memory") <= 3 << 20);
    slow.session.conducts(Conduct::Accept);
    let wanted = sha256(&upload.content);
    for user in ["bill", "slow"] {
        let leg = scene.callees.expect_call(user);
        assert_eq!(
            leg.session.expect_message_within(LONG).sha256(),
            wanted,
            "{user}"
        );
    }
    sending.join().expect("it sends to the end");
    call.bye(200);
    scene.finish();
}

#[test]
fn a_spool_takes_what_memory_does_not() {
    let scene = Scene::unseen("a_spool_takes_what_memory_does_not", |bench, config| {
        config.set("cpm", "msrp_session_memory", "1048576").set(
            "cpm",
            "msrp_spool_dir",
            &bench.folder().display().to_string(),
        )
    });
    let before = warm_up(&scene);
    scene
        .callees
        .plan("slow", Plan::accept().conduct(Conduct::StallAfter(1000)));
    scene.callees.plan("late", Plan::no_answer().ringing());
    let size = 32 << 20;
    let upload = scene.upload_of(scene.message(EXPLODER, &["bill", "slow", "late"]), size);
    let mut call = scene.begins(&upload);
    // Nobody is waited for.
    upload.session.deliver(&upload.content, 1 << 20);
    let wanted = sha256(&upload.content);
    let bill = scene.callees.expect_call("bill");
    assert_eq!(bill.session.expect_message_within(LONG).sha256(), wanted);
    assert!(counter(&scene.proxy, "msrp_memory") <= 3 << 20);
    assert!(counter(&scene.proxy, "msrp_spool") >= 24 << 20);
    call.bye(200);
    let slow = scene.callees.expect_call("slow");
    slow.session.conducts(Conduct::Accept);
    let late = scene.callees.expect_call("late");
    scene
        .callees
        .agent()
        .reply(&late.invite, &scene.callees.answer(&late));
    for leg in [slow, late] {
        assert_eq!(leg.session.expect_message_within(LONG).sha256(), wanted);
        scene.hangs_up(&leg, 200);
    }
    expect_nothing_left(&scene.proxy, PATIENCE);
    expect_back(&scene.proxy, &before);
    scene.finish();
}
