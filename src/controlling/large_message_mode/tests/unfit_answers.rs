//! Answers that do not suit the message (readings N56), or only after a new offer (N53).

use super::*;

/// The fault of an answer, and the code that its recipient fails with.
const UNFIT: [(&str, &str, u16); 9] = [
    ("a=max-size:5000", "a=max-size:0", 413),
    ("a=max-size:5000", "a=max-size:999", 413),
    ("message/cpim", "text/plain", 415),
    ("a=max-size:5000", "a=accept-wrapped-types:image/png", 415),
    ("recvonly", "inactive", 488),
    ("recvonly", "sendonly", 488),
    ("message 9000", "message 0", 488),
    ("a=path:", "a=x:", 488),
    ("v=0", "v=1", 488),
];

fn unfit(from: &str, to: &str) -> String {
    assert!(ANSWER.contains(from), "{from}");
    ANSWER.replace(from, to)
}

fn scene(kind: Kind, recipients: &[&str], parameters: &[(&str, &str)]) -> Scene {
    let mut invite = accepted(kind, recipients, TIMER);
    let typed = SDP.replace("wrapped-types:*", "wrapped-types:text/plain");
    let text = String::from_utf8(invite.message.buffer().to_vec()).unwrap();
    let length = |sdp: &str| format!("Content-Length: {}\r\n", sdp.len());
    invite.message = message(
        text.replace(SDP, &typed)
            .replace(&length(SDP), &length(&typed)),
    );
    let mut scene = Scene::of(&invite, &service(parameters), settings());
    scene.take();
    scene
}

fn sdp_of(reply: &SessionReply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

#[test]
fn the_session_waits_for_one_that_will_do() {
    for kind in [Kind::Exploder, Kind::AdHoc, Kind::Group] {
        for (from, to, code) in UNFIT {
            let mut scene = scene(kind, &["sip:r0@home", "sip:r1@home", "sip:r2@home"], &[]);
            scene.answer_as(0, "t", &unfit(from, to), "");
            scene.did(&["ack 0", &format!("failed {code}"), "bye 0"]);
            assert_eq!(scene.session.stage(), Stage::Inviting);
            scene.answer(1);
            scene.did(&["open originator", "reply 200"]);
            // A limit of one recipient does not restrict the others.
            let answer = sdp_of(&scene.replies[0]);
            let ours = "a=accept-types:message/cpim\r\na=accept-wrapped-types:text/plain\r\n\
                a=max-size:104857600\r\n";
            assert!(answer.contains(ours), "{answer}");
            scene.ack();
            scene.did(&["ack 1", "open 1"]);
            // A later one.
            scene.answer_as(2, "t", &unfit(from, to), "");
            scene.did(&["ack 2", &format!("failed {code}"), "bye 2", "no more legs"]);
            scene.silence();
        }
    }
}

#[test]
fn the_sender_is_told_what_we_take_ourselves() {
    let mut scene = Scene::set(1, &[], |settings| settings.policy.max_message_bytes = 7000);
    scene.answer(0);
    assert!(sdp_of(&scene.replies[0]).contains("a=max-size:7000\r\n"));
    scene.silence();
}

#[test]
fn the_isf_may_take_what_the_recipient_does_not_and_may_not() {
    for (from, to, code) in UNFIT {
        let mut scene = scene(Kind::Exploder, &["sip:r0@home", "sip:r1@home"], ISF);
        scene.answer_as(0, "t", &unfit(from, to), "");
        scene.did(&[
            "ack 0",
            &format!("interworked {code}"),
            "invite 2 isf",
            "bye 0",
        ]);
        scene.answer_as(2, "t", &unfit(from, to), "");
        scene.did(&["ack 2", &format!("failed {code}"), "bye 2"]);
        scene.answer(1);
        scene.did(&["open originator", "reply 200"]);
        scene.silence();
    }
}

#[test]
fn when_nobody_takes_it_the_sender_gets_480() {
    let mut scene = Scene::to(2);
    for number in 0..2 {
        scene.answer_as(number, "t", &unfit("a=max-size:5000", "a=max-size:0"), "");
    }
    scene.did(&[
        "ack 0",
        "failed 413",
        "bye 0",
        "ack 1",
        "failed 413",
        "bye 1",
        "reply 480",
    ]);
    scene.silence();
}

#[test]
fn the_size_of_the_first_chunk_counts_more_than_the_announced_one() {
    let mut scene = Scene::to(3);
    scene.answer(0);
    scene.ack();
    scene.session.handle_message_started(Some(5001));
    scene.take();
    // The relay refuses present legs; this one is late.
    scene.answer(1);
    scene.did(&["ack 1", "failed 413", "bye 1"]);
    scene.answer_as(2, "t", &unfit("a=max-size:5000", "a=max-size:5001"), "");
    scene.did(&["ack 2", "open 2", "no more legs"]);
    scene.silence();
}

#[test]
fn a_new_offer_follows_where_a_middlebox_would_be_passed_by() {
    let anchored = unfit("c=IN IP4 192.0.2.7", "c=IN IP4 192.0.2.99");
    let active = anchored.replace("setup:passive", "setup:active");
    let mut scene = Scene::with(2, ISF);
    assert!(String::from_utf8_lossy(&scene.invites[&0].body).contains("a=msrp-cema\r\n"));
    scene.answer_as(0, "t", &active, "");
    scene.did(&["ack 0", "invite 2", "bye 0"]);
    let (first, second) = (&scene.invites[&0], &scene.invites[&2]);
    assert!(!String::from_utf8_lossy(&second.body).contains("msrp-cema"));
    assert_eq!(
        (&first.request_uri, false),
        (&second.request_uri, second.to_isf)
    );
    assert_ne!(first.call_id, second.call_id);
    // Now as in RFC 4975, so the very same answer is suitable.
    scene.answer_as(2, "t", &active, "");
    scene.did(&["open originator", "reply 200"]);
    scene.ack();
    scene.did(&["open 2", "ack 2"]);
    assert_eq!(scene.ends[&2].role, Role::Passive);
    // We connect: to c= and m=, although there is no msrp-cema.
    scene.answer_as(1, "t", &anchored, "");
    scene.did(&["ack 1", "open 1"]);
    assert_eq!(
        (scene.ends[&1].host.as_str(), scene.ends[&1].port),
        ("192.0.2.99", 9000)
    );
    scene.complete();
    scene.relay(1, DeliveryState::Delivered);
    scene.relay(2, DeliveryState::Delivered);
    scene.bye(Side::Originator);
    scene.silence();
    assert_eq!(scene.fates.len(), 2);
}

#[test]
fn one_who_is_offered_it_again_may_still_go_to_the_isf() {
    let active = unfit("c=IN IP4 192.0.2.7", "c=IN IP4 192.0.2.99").replace("passive", "active");
    let mut scene = Scene::with(1, ISF);
    scene.answer_as(0, "t", &active, "");
    scene.refuse(1, 488);
    scene.take();
    assert!(scene.invites[&2].to_isf);
    assert!(String::from_utf8_lossy(&scene.invites[&2].body).contains("a=msrp-cema\r\n"));
    scene.answer_as(2, "t", &active, "");
    assert!(scene.invites[&3].to_isf);
    scene.refuse(3, 488);
    scene.did(&["ack 2", "invite 3 isf", "bye 2", "failed 488", "reply 480"]);
    scene.silence();
}
