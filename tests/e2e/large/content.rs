//! The content of a large message: upload, fan-out, late recipients (9.1.2-send, -ack-2, -more200;
//! readings N46, N48 to N51, N53, N57).

use std::thread;
use std::time::Duration;

use cpm_testbed::{Conduct, InvitedCall, MsrpReceived, MsrpRequest, PATIENCE, Plan, noise, sha256};

use crate::common::{CONTROLLING, EXPLODER, expect_counter, proves};
use crate::groups::{GroupFolder, address, open_group};
use crate::large::{ANNE, CHUNK, SIZE, Scene, Upload, expect_legs};

/// Half a message, without the few bytes that a reader holds back while they may begin an end-line.
const NEARLY_HALF: u64 = SIZE as u64 / 2 - 64;

/// The paths of all requests with content, which must all be the same.
#[track_caller]
fn paths(call: &InvitedCall) -> (Vec<String>, Vec<String>) {
    let chunks = call.session.chunks();
    let of = |one: &MsrpReceived| {
        let text = |uris: Vec<&str>| uris.into_iter().map(str::to_owned).collect::<Vec<_>>();
        (text(one.head.to_path()), text(one.head.from_path()))
    };
    let first = of(&chunks[0]);
    assert!(chunks.iter().all(|chunk| of(chunk) == first), "{chunks:#?}");
    first
}

#[test]
fn each_send_is_answered_and_goes_to_everybody() {
    let mut folder = None;
    let scene = Scene::with("each_send_is_answered", |bench, config| {
        let groups = GroupFolder::new(bench, "groups");
        let config = config.set("cpm", "group_source", &groups.source());
        folder = Some(groups);
        config.set("cpm", "group_uri", "sip:*@groups.example.com")
    });
    let users = ["bill", "carol", "+12015550123"];
    let members = users.map(|user| scene.callees.uri(user));
    if let Some(folder) = &folder {
        folder.put("lunch", &open_group("lunch").members(members));
    }
    for (round, service) in [EXPLODER, CONTROLLING, &address("lunch")]
        .into_iter()
        .enumerate()
    {
        let upload = match service {
            EXPLODER | CONTROLLING => scene.upload(service, &users),
            group => scene.upload_of(cpm_testbed::large_message(ANNE, group), SIZE),
        };
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, CHUNK);
        // The 200 is the Controlling Function's own: its path is in the response.
        for response in upload.session.received() {
            proves!(
                ["9.1.2-send-1"],
                assert_eq!(response.head.status(), Some(200))
            );
            assert_eq!(response.head.from_path(), [call.sdp().path()]);
            assert_eq!(response.head.to_path(), [upload.session.path()]);
        }
        for user in users {
            let leg = scene.callees.expect_nth_call(user, round);
            let message = leg.session.expect_message();
            proves!(
                [
                    "9.1.2-ack-2",
                    "9.1.2-ack-2a",
                    "9.1.2-send-2",
                    "9.1.2-send-3"
                ],
                assert_eq!(message.sha256(), sha256(&upload.content), "{user}")
            );
            assert_eq!(
                (message.repeated, message.content_type.as_str()),
                (0, "message/cpim")
            );
            let (to, from) = paths(&leg);
            proves!(["9.1.2-send-2a"], assert_eq!(to, [leg.session.path()]));
            proves!(["9.1.2-send-2b"], assert_eq!(from, [leg.sdp().path()]));
            // One message, each byte once.
            assert_eq!(leg.session.messages().len(), 1);
            assert_eq!(leg.session.content_bytes(), SIZE as u64);
            assert_eq!(leg.session.connections(), 1);
        }
        call.bye(200);
    }
    expect_counter(&scene.proxy, "delivered", 9);
    scene.finish_with(PATIENCE, |recording| {
        // 3 chunks and an empty SEND from her, in each round.
        let port = scene_port(recording, "msrp.method == \"SEND\"");
        assert!(port >= 3 * (3 + 1) + 3 * 3, "{port} SENDs were seen");
    });
}

fn scene_port(recording: &cpm_testbed::Recording, filter: &str) -> usize {
    recording.fields(filter, &["msrp.messageid"]).len()
}

#[test]
fn what_else_stands_in_a_send_goes_on() {
    let scene = Scene::new("what_else_stands_in_a_send");
    let upload = scene.upload(EXPLODER, &["bill", "carol"]);
    let mut call = scene.begins(&upload);
    let id = "message-id.of-anne+1";
    let tricky = b"--\r\n-------\r\n-------id$\r\nMSRP id SEND\r\n\r\n\0\xff-------";
    let mut content = upload.content.clone();
    content[500..500 + tricky.len()].copy_from_slice(tricky);
    let half = content.len() / 2;
    for (range, piece, flag) in [
        // The end of an interruptible chunk, and the total, may be unknown (RFC 4975 §7.1.1).
        (format!("1-*/{}", content.len()), &content[..half], '+'),
        (
            format!("{}-{}/{1}", half + 1, content.len()),
            &content[half..],
            '$',
        ),
    ] {
        let chunk = MsrpRequest::new("SEND")
            .named(&format!("tid{half}{}", piece.len() % 7))
            .with("Message-ID", id)
            .with("Success-Report", "no")
            .with("Byte-Range", &range)
            .with_body("message/cpim", piece)
            .flagged(flag);
        upload.session.send(&chunk);
        upload.session.expect_response(&chunk, 200);
    }
    for user in ["bill", "carol"] {
        let leg = scene.callees.expect_call(user);
        let message = leg.session.expect_message();
        proves!(["9.1.2-send-2"], assert_eq!(message.bytes, content));
        assert_eq!(message.message_id, id);
        let ids: Vec<_> = leg.session.chunks();
        for chunk in &ids {
            // Transaction ids are per hop; a failure must be reported (readings N51).
            assert!(!chunk.head.transaction_id().starts_with("tid"));
            assert_ne!(chunk.head.header("Failure-Report"), Some("no"));
            assert_ne!(chunk.head.header("Success-Report"), Some("yes"));
        }
    }
    call.bye(200);
    scene.finish();
}

#[test]
fn the_active_end_is_who_the_answer_says() {
    let scene = Scene::new("the_active_end");
    scene.callees.plan("active", Plan::accept().active());
    // Without a=setup the offerer connects (RFC 4145 §4).
    scene
        .callees
        .plan("plain", Plan::accept().attribute("setup", None));
    // A middlebox: c= and m= say where to connect, the path is unchanged (RFC 6714).
    let far = "192.0.2.7:7654";
    scene.callees.plan("cema", Plan::accept().at_path_host(far));
    // An MSRP relay before the recipient (RFC 4976).
    let here = scene.callees.peer().address();
    let relay = format!("msrp://{here}/relay4711;tcp");
    scene.callees.plan("relayed", Plan::accept().behind(&relay));
    let users = ["passive", "active", "plain", "cema", "relayed"];
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &users);
        let mut call = scene.is_answered(&upload);
        expect_legs(&scene.proxy, "answered", 5);
        let legs = users.map(|user| scene.callees.expect_nth_call(user, round));
        // Nobody connects before the ACK.
        for leg in &legs {
            assert_eq!(leg.session.connections(), 0);
        }
        call.ack();
        upload.session.connect_and_bind();
        upload.session.deliver(&upload.content, CHUNK);
        for (user, leg) in users.iter().zip(&legs) {
            let message = leg.session.expect_message();
            proves!(
                ["9.1.2-ack-2"],
                assert_eq!(message.sha256(), sha256(&upload.content), "{user}")
            );
            let own = leg.session.path();
            let (to, from) = paths(leg);
            let wanted = match *user {
                "cema" => vec![own.replace(&here.to_string(), far)],
                "relayed" => vec![relay.clone(), own.to_owned()],
                _ => vec![own.to_owned()],
            };
            proves!(
                ["9.1.2-ack-2c", "9.1.2-send-2a"],
                assert_eq!(to, wanted, "{user}")
            );
            assert_eq!(from, [leg.sdp().path()]);
            let listener = leg.sdp().target();
            let peer = leg.session.peer_address();
            let role = if *user == "active" {
                "9.1.2-ack-2b-ii"
            } else {
                "9.1.2-ack-2b-i"
            };
            proves!(
                ["9.1.2-ack-2b", role],
                assert_eq!(
                    peer == Some(listener),
                    *user == "active",
                    "{user}: {peer:?}"
                )
            );
        }
        call.bye(200);
    }
    scene.finish();
}

#[test]
fn a_binding_send_goes_to_nobody() {
    let scene = Scene::new("a_binding_send_goes_to_nobody");
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.begins(&upload);
    for _ in 0..3 {
        let empty = MsrpRequest::empty_send();
        upload.session.send(&empty);
        proves!(
            ["9.1.2-send-1"],
            upload.session.expect_response(&empty, 200)
        );
    }
    upload.session.deliver(&upload.content, CHUNK);
    let (bill, message) = scene.gets("bill", &upload);
    assert_eq!(message.chunks, bill.session.chunks().len());
    let empty = bill.session.received().len() - bill.session.chunks().len();
    assert!(empty <= 1, "{empty} empty SENDs came");
    call.bye(200);
    scene.finish();
}

#[test]
fn content_goes_on_before_its_chunk_is_complete() {
    let scene = Scene::new("content_goes_on_before_its_chunk");
    let upload = scene.upload(CONTROLLING, &["bill", "carol"]);
    let mut call = scene.begins(&upload);
    let chunk = MsrpRequest::chunk("m1", 0, &upload.content, upload.content.len());
    let bytes = chunk.write(call.sdp().path(), upload.session.path());
    let (first, rest) = bytes.split_at(bytes.len() - 3000);
    upload.session.send_bytes(first);
    let legs = ["bill", "carol"].map(|user| scene.callees.expect_call(user));
    for leg in &legs {
        proves!(["9.1.2-send-note"], leg.session.expect_content(10_000));
    }
    upload.session.send_bytes(rest);
    upload.session.expect_response(&chunk, 200);
    for leg in &legs {
        assert_eq!(leg.session.expect_message().bytes, upload.content);
    }
    call.bye(200);
    scene.finish();
}

#[test]
fn chunks_are_no_larger_than_they_may_be() {
    let scene = Scene::with("chunks_are_no_larger", |_, config| {
        config.set("cpm", "msrp_chunk_size", "3000")
    });
    scene.callees.plan("late", Plan::no_answer().ringing());
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &["bill", "late"]);
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, SIZE);
        let late = scene.callees.expect_nth_call("late", round);
        let answer = scene.callees.answer(&late);
        scene.callees.agent().reply(&late.invite, &answer);
        let bill = scene.callees.expect_nth_call("bill", round);
        for (leg, duty) in [(bill, "9.1.2-send-3"), (late, "9.1.2-more200-4")] {
            let message = leg.session.expect_message();
            assert_eq!(message.bytes, upload.content);
            proves!(
                [duty],
                assert!(message.largest_chunk <= 3000, "{message:?}")
            );
            assert!(message.chunks >= SIZE.div_ceil(3000), "{message:?}");
        }
        call.bye(200);
    }
    scene.finish();
}

#[test]
fn late_recipients_get_all_from_the_first_byte() {
    let scene = Scene::new("late_recipients_get_all");
    let ringing = Plan::no_answer().ringing();
    let here = scene.callees.peer().address();
    let relay = format!("msrp://{here}/relay4711;tcp");
    let users = ["passive", "active", "plain", "relayed"];
    scene.callees.plan("passive", ringing.clone());
    scene.callees.plan("active", ringing.clone().active());
    scene
        .callees
        .plan("plain", ringing.clone().attribute("setup", None));
    scene.callees.plan("relayed", ringing.behind(&relay));
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let mut upload = scene.upload(service, &["bill", "passive", "active", "plain", "relayed"]);
        upload.content.rotate_left(round + 1);
        let mut call = scene.begins(&upload);
        let late = users.map(|user| scene.callees.expect_nth_call(user, round));
        let answer = |leg: &InvitedCall| {
            scene
                .callees
                .agent()
                .reply(&leg.invite, &scene.callees.answer(leg));
        };
        // One joins halfway, the others after she has left.
        let (first, second) = upload.content.split_at(SIZE / 2);
        upload
            .session
            .send(&MsrpRequest::chunk("m", 0, first, SIZE));
        let bill = scene.callees.expect_nth_call("bill", round);
        bill.session.expect_content(NEARLY_HALF);
        answer(&late[0]);
        proves!(
            ["9.1.2-more200-1"],
            scene.callees.expect_in(&late[0], "ACK")
        );
        proves!(
            ["9.1.2-more200-3"],
            late[0].session.expect_content(NEARLY_HALF)
        );
        let last = MsrpRequest::chunk("m", first.len(), second, SIZE);
        upload.session.send(&last);
        upload.session.expect_response(&last, 200);
        for leg in [&bill, &late[0]] {
            assert_eq!(leg.session.expect_message().bytes, upload.content);
        }
        call.bye(200);
        proves!(["9.1.2-bye-3"], scene.hangs_up(&bill, 200));
        scene.hangs_up(&late[0], 200);
        for leg in &late[1..] {
            proves!(
                ["9.1.2-bye-3"],
                assert_eq!(scene.callees.requests_in(leg, "BYE").len(), 0)
            );
            answer(leg);
        }
        for (user, leg) in users.iter().zip(&late).skip(1) {
            proves!(["9.1.2-more200-1"], scene.callees.expect_in(leg, "ACK"));
            let message = leg.session.expect_message();
            proves!(
                [
                    "9.1.2-more200-2",
                    "9.1.2-more200-2a",
                    "9.1.2-more200-3",
                    "9.1.2-send-4"
                ],
                assert_eq!(message.sha256(), sha256(&upload.content), "{user}")
            );
            assert_eq!(message.message_id, "m");
            proves!(["9.1.2-bye-5"], scene.hangs_up(leg, 200));
        }
        for (user, leg) in users.iter().zip(&late) {
            let (to, from) = paths(leg);
            let own = leg.session.path().to_owned();
            let wanted = match *user {
                "relayed" => vec![relay.clone(), own],
                _ => vec![own],
            };
            proves!(["9.1.2-more200-3a"], assert_eq!(to, wanted, "{user}"));
            proves!(["9.1.2-more200-3b"], assert_eq!(from, [leg.sdp().path()]));
            let peer = leg.session.peer_address();
            let role = if *user == "active" {
                "9.1.2-more200-2b-ii"
            } else {
                "9.1.2-more200-2b-i"
            };
            proves!(
                ["9.1.2-more200-2b", role],
                assert_eq!(
                    peer == Some(leg.sdp().target()),
                    *user == "active",
                    "{user}"
                )
            );
        }
    }
    proves!(["9.1.2-bye-5-release"], scene.finish());
}

#[test]
fn reports_are_sent_as_asked() {
    let scene = Scene::new("reports_are_sent_as_asked");
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.begins(&upload);
    let half = SIZE / 2;
    for (offset, piece) in [
        (0, &upload.content[..half]),
        (half, &upload.content[half..]),
    ] {
        let chunk = MsrpRequest::chunk("m7", offset, piece, SIZE).with("Success-Report", "yes");
        upload.session.send(&chunk);
        proves!(
            ["9.1.2-send-1"],
            upload.session.expect_response(&chunk, 200)
        );
    }
    let report = upload.session.expect_request("REPORT");
    assert_eq!(report.head.header("Message-ID"), Some("m7"));
    let status = report.head.header("Status").unwrap_or_default();
    assert!(status.starts_with("000 200"), "{status}");
    let (first, last, total) = report.head.byte_range().expect("a REPORT has a Byte-Range");
    assert_eq!(
        (first, last, total),
        (1, Some(SIZE as u64), Some(SIZE as u64))
    );
    assert_eq!(report.head.to_path(), [upload.session.path()]);
    assert_eq!(report.head.from_path(), [call.sdp().path()]);
    scene.gets("bill", &upload);
    call.bye(200);
    // Failure-Report: no wants no response (RFC 4975 §7.1.2).
    let quiet = scene.upload(EXPLODER, &["carol"]);
    let mut call = scene.begins(&quiet);
    let chunk = MsrpRequest::chunk("m8", 0, &quiet.content, SIZE).with("Failure-Report", "no");
    quiet.session.send(&chunk);
    scene.gets("carol", &quiet);
    call.bye(200);
    assert!(
        quiet
            .session
            .recv_response(&chunk, Duration::ZERO)
            .is_none()
    );
    scene.finish();
}

/// Sends something invalid over an established session; it must get this response.
#[track_caller]
fn is_answered(upload: &Upload, request: &MsrpRequest, status: u16) {
    upload.session.send(request);
    upload.session.expect_response(request, status);
}

#[test]
fn bad_requests_get_their_answers() {
    let scene = Scene::unseen("bad_requests_get_their_answers", |_, config| {
        config.set("cpm", "msrp_max_message", "30000")
    });
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.begins(&upload);
    let chunk = || MsrpRequest::chunk("m", 0, b"some text", 9);
    is_answered(&upload, &chunk().with_body("text/plain", "some text"), 415);
    let path = call.sdp().path().to_owned();
    let other = path.replace(";tcp", "x;tcp");
    is_answered(&upload, &chunk().with("To-Path", &other), 481);
    is_answered(&upload, &MsrpRequest::new("AUTH"), 501);
    is_answered(&upload, &MsrpRequest::new("NICKNAME"), 501);
    is_answered(&upload, &chunk().without("Message-ID"), 400);
    is_answered(&upload, &chunk().with("Byte-Range", "x"), 400);
    // None of it has been passed on.
    upload.session.deliver(&upload.content, CHUNK);
    let (bill, _) = scene.gets("bill", &upload);
    assert_eq!(bill.session.messages().len(), 1);
    call.bye(200);
    // More than permitted: 413, and the message is lost.
    let large = scene.upload(EXPLODER, &["carol"]);
    let mut large_call = scene.begins(&large);
    let chunk = MsrpRequest::chunk("m", 0, &[b'x'; 30_001], 30_001);
    large.session.send(&chunk);
    large.session.expect_response(&chunk, 413);
    large_call.bye(480);
    let carol = scene.callees.expect_call("carol");
    scene.hangs_up(&carol, 480);
    assert_eq!(carol.session.content_bytes(), 0);
    // Another peer's connection cannot take over the session.
    let stolen = scene.upload(EXPLODER, &["dan"]);
    let mut call = scene.begins(&stolen);
    let thief = scene.sender.session();
    thief.sends_to(call.sdp().path());
    thief.connect();
    let attempt = MsrpRequest::empty_send();
    thief.send(&attempt);
    let answer = thief.recv_response(&attempt, PATIENCE);
    let status = answer.and_then(|answer| answer.head.status());
    assert!(matches!(status, Some(481 | 506)), "{status:?}");
    stolen.session.deliver(&stolen.content, CHUNK);
    scene.gets("dan", &stolen);
    call.bye(200);
    thief.close();
    scene.finish();
}

#[test]
fn a_message_that_the_sender_gives_up_is_given_up_to_all() {
    let scene = Scene::new("a_message_given_up");
    scene.callees.plan("ringing", Plan::no_answer().ringing());
    let upload = scene.upload(EXPLODER, &["bill", "carol", "ringing"]);
    let mut call = scene.begins(&upload);
    let (first, second) = upload.content[..CHUNK].split_at(CHUNK / 2);
    upload
        .session
        .send(&MsrpRequest::chunk("m", 0, first, SIZE));
    let legs = ["bill", "carol"].map(|user| scene.callees.expect_call(user));
    for leg in &legs {
        leg.session.expect_content(first.len() as u64 - 64);
    }
    let last = MsrpRequest::chunk("m", first.len(), second, SIZE).flagged('#');
    upload.session.send(&last);
    for leg in &legs {
        let message = leg.session.recv_message(PATIENCE).expect("an end");
        assert_eq!(message.flag, Some('#'));
        assert!(upload.content.starts_with(&message.bytes));
    }
    // Whichever side hangs up first, the session ends.
    let bye = call.request("BYE").with("Reason", "SIP;cause=480");
    scene.anne.send(&bye, scene.proxy.udp());
    for leg in &legs {
        scene.hangs_up(leg, 480);
    }
    let ringing = scene.callees.expect_call("ringing");
    scene.callees.expect_in(&ringing, "CANCEL");
    scene.callees.terminate(&ringing);
    scene.finish();
}

#[test]
fn a_slow_recipient_keeps_nobody_waiting() {
    let scene = Scene::unseen("a_slow_recipient_keeps_nobody_waiting", |_, config| config);
    scene
        .callees
        .plan("slow", Plan::accept().conduct(Conduct::StallAfter(1000)));
    let message = scene.message(EXPLODER, &["bill", "slow"]);
    let size = 4 << 20;
    let mut upload = scene.upload_of(message, size);
    // Arbitrary bytes.
    upload.content = noise(size, 5);
    let mut call = scene.begins(&upload);
    upload.session.deliver(&upload.content, 1 << 18);
    let bill = scene.callees.expect_call("bill");
    proves!(
        ["9.1.2-send-3"],
        assert_eq!(
            bill.session.expect_message().sha256(),
            sha256(&upload.content)
        )
    );
    let slow = scene.callees.expect_call("slow");
    assert!(slow.session.content_bytes() < size as u64);
    call.bye(200);
    scene.hangs_up(&bill, 200);
    assert_eq!(scene.callees.requests_in(&slow, "BYE").len(), 0);
    thread::sleep(Duration::from_millis(300));
    slow.session.conducts(Conduct::Accept);
    assert_eq!(
        slow.session.expect_message().sha256(),
        sha256(&upload.content)
    );
    scene.hangs_up(&slow, 200);
    scene.finish();
}
