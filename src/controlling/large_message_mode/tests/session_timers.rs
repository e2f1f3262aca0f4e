//! Session timers, and other requests inside dialogs.

use super::*;

const TYPE: &str = "Content-Type: application/sdp\r\n";

#[test]
fn the_originator_refreshes_or_is_gone() {
    let mut scene = Scene::confirmed(1);
    scene.later(1_700);
    scene.request(Side::Originator, "UPDATE", TIMER, "");
    let reply = scene.replies.pop().unwrap();
    let text = String::from_utf8(reply.headers).unwrap();
    assert!(
        text.contains("Session-Expires: 1800;refresher=uac\r\nRequire: timer\r\n")
            && reply.body.is_empty()
    );
    scene.later(1_700);
    assert_eq!(scene.session.stage(), Stage::Confirmed);
    scene.take();
    scene.later(68);
    assert_eq!(scene.take()[..2], ["bye originator", "close originator"]);
    scene.silence();
}

#[test]
fn a_re_invite_gets_the_same_description() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    let first = scene.replies.pop().unwrap();
    scene.ack();
    scene.request(Side::Originator, "INVITE", &format!("{TYPE}{TIMER}"), SDP);
    let again = scene.replies.pop().unwrap();
    assert_eq!((again.code, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(again.to_tag, first.to_tag);
    let offer = String::from_utf8(scene.invites[&0].body.to_vec()).unwrap();
    scene.request(leg(0), "INVITE", TYPE, ANSWER);
    assert_eq!(
        scene.replies.pop().unwrap().body,
        offer.replace("actpass", "active")
    );
    scene.request(leg(0), "INVITE", "", "");
    assert_eq!(scene.replies.pop().unwrap().body, offer);
    scene.silence();
}

#[test]
fn a_further_offer_gets_a_line_for_each_of_its_own() {
    let mut scene = Scene::confirmed(1);
    let first = String::from_utf8(scene.replies.pop().unwrap().body.to_vec()).unwrap();
    let more = "m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";
    scene.request(
        Side::Originator,
        "INVITE",
        TYPE,
        &SDP.replace("m=message", &format!("{more}m=message")),
    );
    let again = String::from_utf8(scene.replies.pop().unwrap().body.to_vec()).unwrap();
    assert_eq!(
        again,
        first.replace("m=message", "m=audio 0 RTP/AVP 0\r\nm=message")
    );
    scene.request(leg(0), "UPDATE", TYPE, &format!("{ANSWER}{more}"));
    let again = String::from_utf8(scene.replies.pop().unwrap().body.to_vec()).unwrap();
    assert!(again.contains("a=sendonly\r\n") && again.ends_with("m=audio 0 RTP/AVP 0\r\n"));
    // An offer with which the message could not continue is refused, and nothing changes (RFC 3261
    // §14.2).
    scene.take();
    for (side, offer) in [
        (Side::Originator, SDP.replace("sendonly", "inactive")),
        (Side::Originator, SDP.replace("sendonly", "recvonly")),
        (Side::Originator, SDP.replace("message 7654", "message 0")),
        (leg(0), ANSWER.replace("recvonly", "inactive")),
        (leg(0), ANSWER.replace("recvonly", "sendonly")),
        (leg(0), "v=1\r\n".to_owned()),
    ] {
        scene.request(side, "INVITE", TYPE, &offer);
        scene.did(&["reply 488"]);
    }
    scene.silence();
}

#[test]
fn other_requests_in_dialogs() {
    let mut scene = Scene::confirmed(1);
    scene.request(Side::Originator, "UPDATE", "Session-Expires: 30\r\n", "");
    assert!(
        scene
            .replies
            .pop()
            .unwrap()
            .headers
            .starts_with(b"Min-SE: 90\r\n")
    );
    scene.request(Side::Originator, "INFO", "", "");
    scene.cseq = 0;
    scene.request(leg(0), "UPDATE", "", "");
    scene.request(Side::Originator, "UPDATE", "", "");
    scene.did(&["reply 422", "reply 405", "reply 200", "reply 500"]);
    scene.silence();
}

#[test]
fn what_a_request_in_a_dialog_is_refused_for() {
    for side in [Side::Originator, leg(0)] {
        let mut scene = Scene::confirmed(1);
        let mut answered = |method: &str, more: &str| {
            scene.request(side, method, more, "");
            let reply = scene.replies.pop().unwrap();
            (
                reply.code.as_u16(),
                String::from_utf8(reply.headers).unwrap(),
            )
        };
        let allow = "Allow: INVITE, ACK, CANCEL, BYE, UPDATE, OPTIONS\r\n";
        for method in ["INFO", "MESSAGE", "NOTIFY", "PRACK", "REFER", "SUBSCRIBE"] {
            assert_eq!(answered(method, ""), (405, allow.to_owned()), "{method}");
        }
        assert_eq!(answered("PING", ""), (501, allow.to_owned()));
        // RFC 3261 §8.2.2.3.
        let unsupported = "Unsupported: foo, 100rel\r\n".to_owned();
        for method in ["INVITE", "UPDATE", "OPTIONS"] {
            let require = "Require: timer, foo\r\nRequire: 100rel\r\n";
            assert_eq!(answered(method, require), (420, unsupported.clone()));
            assert_eq!(answered(method, "Require: Timer\r\n").0, 200);
            // The method comes first (§8.2.1).
            assert_eq!(answered("INFO", require).0, 405);
        }
        assert_eq!(answered("UPDATE", "Contact: <sip:x@y>\r\n").0, 200);
        assert_eq!(
            answered("UPDATE", "Max-Forwards: 1\r\nMax-Forwards: 2\r\n").0,
            400
        );
        // A peer that sends BYE has left, whatever the answer is (§15.1.1).
        scene.take();
        scene.request(side, "BYE", "Require: foo\r\n", "");
        assert_eq!(scene.replies.pop().unwrap().code, StatusCode::BAD_EXTENSION);
        let gone = match side {
            Side::Originator => "close originator",
            Side::Leg(_) => "close 0",
        };
        assert!(scene.take().contains(&gone.to_owned()));
    }
}

#[test]
fn options_in_a_dialog_say_what_a_re_invite_would_get() {
    for side in [Side::Originator, leg(0)] {
        let mut scene = Scene::confirmed(1);
        scene.request(side, "OPTIONS", "", "");
        let reply = scene.replies.pop().unwrap();
        assert_eq!((reply.code, reply.body.len()), (StatusCode::OK, 0));
        let text = String::from_utf8(reply.headers).unwrap();
        for line in [
            "Allow: INVITE, ACK, CANCEL, BYE, UPDATE, OPTIONS",
            "Accept: application/sdp",
            "Accept-Encoding: identity",
            "Accept-Language: en",
            "Supported: timer",
            "Contact: <sip:cpm@203.0.113.1:5060>",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} in {text}");
        }
        // Nothing has changed, and nothing is refreshed.
        scene.did(&["reply 200"]);
        scene.silence();
    }
}

#[test]
fn a_leg_refreshes_or_is_lost() {
    let mut scene = Scene::to(1);
    scene.answer_as(0, "t", ANSWER, "Session-Expires: 300;refresher=uas\r\n");
    scene.ack();
    scene.session.handle_leg_connected(scene.now, LegNumber(0));
    scene.session.handle_sender_connected();
    scene.later(200);
    scene.request(
        leg(0),
        "UPDATE",
        "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n",
        "",
    );
    scene.take();
    scene.later(267);
    scene.did(&[]);
    scene.later(1);
    assert_eq!(scene.take()[..3], ["failed 408", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn we_refresh_a_leg_that_wants_it() {
    let mut scene = Scene::to(1);
    scene.answer_as(0, "t", ANSWER, "Session-Expires: 200;refresher=uac\r\n");
    scene.ack();
    scene.session.handle_leg_connected(scene.now, LegNumber(0));
    scene.session.handle_sender_connected();
    scene.take();
    for _ in 0..3 {
        scene.later(100);
        scene.did(&["update 0"]);
        scene.outcome(leg(0), "UPDATE", StatusCode::OK);
    }
    scene.later(100);
    scene.outcome(
        leg(0),
        "UPDATE",
        StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST,
    );
    assert_eq!(
        scene.take()[..4],
        ["update 0", "failed 408", "close 0", "bye 0"]
    );
    scene.silence();
}

/// A session whose originator, or whose recipient, has asked us to refresh; 1 800 s, half of which
/// have passed.
fn refreshing(side: Side, allow: &str) -> Scene {
    let timer = match side {
        Side::Originator => {
            format!("Supported: timer\r\nSession-Expires: 1800;refresher=uas\r\n{allow}")
        }
        Side::Leg(_) => String::new(),
    };
    let invite = accepted(Kind::Exploder, &["sip:r0@home"], &timer);
    let mut scene = Scene::of(&invite, &service(&[]), settings());
    let more = format!("Session-Expires: 1800;refresher=uac\r\n{allow}");
    let more = if side == Side::Originator { "" } else { &more };
    scene.answer_as(0, "t", ANSWER, more);
    scene.ack();
    scene.session.handle_leg_connected(scene.now, LegNumber(0));
    scene.session.handle_sender_connected();
    scene.take();
    scene.later(900);
    scene
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Originator => "originator",
        Side::Leg(_) => "0",
    }
}

const BOTH_SIDES: [Side; 2] = [Side::Originator, Side::Leg(LegNumber(0))];

#[test]
fn whoever_is_asked_to_refresh_does_so_on_both_sides() {
    for side in BOTH_SIDES {
        let mut scene = refreshing(side, "");
        for _ in 0..3 {
            scene.did(&[&format!("update {}", name(side))]);
            let headers = String::from_utf8(scene.last[&side].headers.clone()).unwrap();
            assert!(
                headers.contains("Session-Expires: 1800;refresher=uac\r\nSupported: timer\r\n")
            );
            scene.outcome(side, "UPDATE", StatusCode::OK);
            scene.later(900);
        }
        // A peer that takes over refreshes itself from then on.
        scene.outcome_with(
            side,
            "UPDATE",
            200,
            "Session-Expires: 3600;refresher=uas\r\n",
        );
        scene.take();
        scene.later(3_500);
        scene.did(&[]);
        scene.silence();
    }
}

#[test]
fn where_update_is_not_taken_a_re_invite_refreshes() {
    for side in BOTH_SIDES {
        for (allow, code) in [("", 405), ("", 501), ("Allow: INVITE, ACK, BYE\r\n", 0)] {
            let mut scene = refreshing(side, allow);
            if code > 0 {
                scene.did(&[&format!("update {}", name(side))]);
                scene.outcome_with(side, "UPDATE", code, "Allow: INVITE, ACK, BYE\r\n");
                scene.later(0);
            }
            scene.did(&[&format!("invite {}", name(side))]);
            let invite = scene.last[&side].clone();
            // The description is the one that the peer has, byte for byte (RFC 3264 §8).
            let description = match side {
                Side::Originator => scene.replies[0].body.clone(),
                Side::Leg(_) => scene.invites[&0].body.clone(),
            };
            assert_eq!(invite.body, description);
            let headers = String::from_utf8(invite.headers.clone()).unwrap();
            assert!(
                headers.contains("Content-Type: application/sdp\r\n"),
                "{headers}"
            );
            // While it is pending, no other offer is accepted; a refresh without one is.
            scene.request(side, "INVITE", "", SDP);
            scene.request(side, "UPDATE", "", "");
            scene.did(&["reply 491", "reply 200"]);
            // Each 2xx gets its ACK.
            scene.outcome(side, "INVITE", StatusCode::OK);
            scene.outcome(side, "INVITE", StatusCode::OK);
            let ack = format!("ack {}", name(side));
            scene.did(&[&ack, &ack]);
            assert_eq!(scene.session.stage(), Stage::Confirmed);
            scene.later(900);
            scene.did(&[&format!("invite {}", name(side))]);
            // Two that cross: the owner of the Call-ID waits longer.
            scene.outcome_with(side, "INVITE", 491, "");
            scene.later(5);
            scene.did(&[&format!("invite {}", name(side))]);
            scene.outcome(side, "INVITE", StatusCode::OK);
            scene.take();
            scene.request(side, "INVITE", "", "");
            scene.did(&["reply 200"]);
            scene.silence();
        }
    }
}

#[test]
fn a_refused_refresh_does_not_end_the_dialog_before_it_expires() {
    for side in BOTH_SIDES {
        for (code, lines) in [
            (422, "Min-SE: 2000\r\n"),
            (491, ""),
            (503, "Retry-After: 100\r\n"),
            (500, ""),
            (403, ""),
        ] {
            let mut scene = refreshing(side, "");
            scene.take();
            scene.outcome_with(side, "UPDATE", code, lines);
            scene.later(450);
            scene.did(&[&format!("update {}", name(side))]);
            if code == 422 {
                let headers = String::from_utf8(scene.last[&side].headers.clone()).unwrap();
                assert!(
                    headers.contains("Session-Expires: 2000;refresher=uac\r\nMin-SE: 2000\r\n")
                );
            }
            // The second attempt succeeds.
            scene.outcome(side, "UPDATE", StatusCode::OK);
            scene.later(440);
            assert_eq!(scene.session.stage(), Stage::Confirmed);

            // If that is refused, too, the dialog lives until it expires, and the others with it.
            let mut scene = refreshing(side, "");
            scene.take();
            scene.outcome_with(side, "UPDATE", 403, "");
            scene.later(434);
            scene.did(&[&format!("update {}", name(side))]);
            scene.outcome_with(side, "UPDATE", 403, "");
            scene.later(433);
            scene.did(&[]);
            scene.later(1);
            let done = scene.take();
            assert!(
                done.contains(&format!("bye {}", name(side))),
                "{code}: {done:?}"
            );
            scene.silence();
        }
    }
}

#[test]
fn a_peer_that_knows_the_dialog_no_more_gets_bye_at_once() {
    for side in BOTH_SIDES {
        for code in [
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST,
        ] {
            let mut scene = refreshing(side, "");
            scene.outcome(side, "UPDATE", code);
            let bye = format!("bye {}", name(side));
            assert!(scene.take().contains(&bye), "{code:?}");
            scene.silence();
        }
    }
}

#[test]
fn the_2xx_to_a_re_invite_is_acknowledged_after_the_end_too() {
    let mut scene = refreshing(leg(0), "Allow: INVITE, BYE\r\n");
    let re_invite = scene.last[&leg(0)].clone();
    scene.request(leg(0), "BYE", "", "");
    scene.take();
    scene.last.insert(leg(0), re_invite);
    scene.outcome(leg(0), "INVITE", StatusCode::OK);
    scene.did(&["ack 0"]);
    scene.silence();
}
