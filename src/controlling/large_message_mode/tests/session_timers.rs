//! Session timers, and other requests inside of dialogs.

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
    // One in which the message could not go on is refused, and nothing changes (RFC 3261 §14.2).
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
