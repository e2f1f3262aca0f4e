//! The normal course.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::controlling::SenderTable;

#[test]
fn one_message_to_two_recipients() {
    let mut scene = Scene::to(2);
    assert_eq!(scene.invites.len(), 2);
    scene.ring(0);
    scene.ring(1);
    scene.did(&[]);
    scene.answer(0);
    scene.did(&["open originator", "reply 200"]);
    scene.answer(1);
    scene.did(&[]);
    scene.ack();
    scene.did(&["ack 0", "open 0", "ack 1", "open 1", "no more legs"]);
    assert_eq!(scene.session.stage(), Stage::Confirmed);
    scene.complete();
    scene.relay(0, DeliveryState::Delivered);
    scene.did(&["delivered 200"]);
    // 9.1.2-bye-3: a recipient that has everything gets its BYE at once, the other when it does.
    scene.bye(Side::Originator);
    scene.did(&["reply 200", "close originator", "close 0", "bye 0"]);
    scene.outcome(leg(0), "BYE", StatusCode::OK);
    scene.relay(1, DeliveryState::Delivered);
    scene.did(&["delivered 200", "close 1", "bye 1"]);
    scene.outcome(leg(1), "BYE", StatusCode::OK);
    scene.did(&["ended"]);
    scene.assert_over();
}

#[test]
fn the_relay_knows_whom_to_note_before_the_message_can_come() {
    let words = (0..SenderTable::words(1)).map(|_| AtomicU64::new(0));
    let words: Vec<AtomicU64> = words.collect();
    let senders = SenderTable::new(words.leak(), numbered, || 0);
    let service = Rc::into_inner(service(&[])).unwrap().with_senders(senders);
    let invite = accepted(Kind::Exploder, &["sip:r0@home"], TIMER);
    let mut scene = Scene::of(&invite, &Rc::new(service), settings());
    scene.take();
    scene.answer(0);
    scene.did(&["note sip:alice@home", "open originator", "reply 200"]);
}

#[test]
fn the_200_says_what_9_1_2_200_asks_for() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    let reply = scene.replies.pop().unwrap();
    let text = String::from_utf8(reply.headers).unwrap();
    for line in [
        "Conversation-ID: conv",
        "Contribution-ID: cont",
        "Session-Expires: 1800;refresher=uac",
        "Require: timer",
        "Supported: timer",
        "Contact: <sip:cpm@203.0.113.1:5060>",
        "Server: CPM-serv/OMA2.2",
        "Content-Type: application/sdp",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    assert_eq!(names().read(&reply.to_tag).unwrap().side, Side::Originator);
    let answer = SessionDescription::parse(&reply.body).unwrap();
    let media = MsrpMedia::of(&answer, &[Transport::Tcp]).unwrap();
    assert_eq!((media.setup, media.msrp_cema), (Some(Setup::Passive), true));
    assert_eq!(media.path.first().authority().host, "203.0.113.5");
    assert_eq!(media.path.first().session_id().len(), 32);
}

#[test]
fn no_timer_for_who_knows_none() {
    let mut settings = settings();
    settings.policy.spool_ttl = None;
    let invite = accepted(Kind::Exploder, &["sip:r0@home"], "");
    let mut scene = Scene::of(&invite, &service(&[]), settings);
    scene.answer(0);
    let text = String::from_utf8(scene.replies.pop().unwrap().headers).unwrap();
    assert!(
        !text.contains("Session-Expires")
            && !text.contains("Require")
            && text.contains("Supported: timer")
    );
    scene.ack();
    scene.session.handle_sender_connected();
    scene.session.handle_leg_connected(scene.now, LegNumber(0));
    scene.later(11 * 3600);
    assert_eq!(scene.session.stage(), Stage::Confirmed);
    scene.later(2 * 3600);
    scene.assert_over();
}

#[test]
fn late_legs_are_acknowledged_at_once_and_get_all() {
    let mut scene = Scene::to(3);
    scene.ring(1);
    scene.ring(2);
    scene.answer(0);
    scene.ack();
    scene.take();
    scene.answer(1);
    scene.did(&["ack 1", "open 1"]);
    scene.complete();
    scene.relay(0, DeliveryState::Delivered);
    scene.relay(1, DeliveryState::Delivered);
    scene.bye(Side::Originator);
    scene.take();
    assert!(!scene.no_more_legs);
    scene.later(20);
    // After the originator's BYE, with stored content.
    scene.answer(2);
    scene.did(&["ack 2", "open 2", "no more legs"]);
    scene.relay(2, DeliveryState::Delivered);
    scene.did(&["delivered 200", "close 2", "bye 2"]);
    scene.silence();
}

#[test]
fn roles_and_targets_come_from_each_answer() {
    let mut scene = Scene::to(2);
    scene.answer_as(0, "t", &ANSWER.replace("passive", "active"), "");
    scene.answer_as(1, "t", &format!("{ANSWER}a=msrp-cema\r\n"), "");
    scene.did(&["open originator", "reply 200"]);
    scene.ack();
    // A peer that connects itself must be known to the relay when it gets the ACK.
    scene.did(&["open 0", "ack 0", "ack 1", "open 1", "no more legs"]);
    assert_eq!(scene.ends[&0].role, Role::Passive);
    assert_eq!(
        (
            scene.ends[&1].role,
            scene.ends[&1].host.as_str(),
            scene.ends[&1].port
        ),
        (Role::Active, "192.0.2.7", 9000)
    );
    assert_eq!(scene.ends[&1].max_size, Some(5000));
    assert_ne!(scene.ends[&0].own, scene.ends[&1].own);
    scene.silence();
}

#[test]
fn twenty_recipients_each_in_his_own_way() {
    let mut scene = Scene::to(20);
    let (refusing, late, stalling, dying) = (0..3, 3..5, 5, 6);
    for number in 0..20 {
        scene.ring(number);
        if refusing.contains(&number) {
            scene.refuse(number, 486);
        } else if !late.contains(&number) {
            scene.answer(number);
        }
    }
    scene.ack();
    scene.session.handle_sender_connected();
    scene.session.handle_message_started(Some(5000));
    for number in 5..20 {
        scene
            .session
            .handle_leg_connected(scene.now, LegNumber(number));
    }
    scene.later(3);
    scene.relay(dying, DeliveryState::Failed(DeliveryFailure::Disconnected));
    scene.complete();
    for number in 7..20 {
        scene.relay(number, DeliveryState::Delivered);
    }
    scene.bye(Side::Originator);
    for number in 7..20 {
        assert_eq!(scene.state(number), LegState::Ending);
        scene.outcome(leg(number), "BYE", StatusCode::OK);
    }
    scene.later(17);
    for number in late.clone() {
        assert!(!scene.no_more_legs);
        scene.answer(number);
        scene
            .session
            .handle_leg_connected(scene.now, LegNumber(number));
    }
    assert!(scene.no_more_legs);
    for number in late {
        scene.relay(number, DeliveryState::Delivered);
        scene.outcome(leg(number), "BYE", StatusCode::OK);
    }
    scene.later(100);
    assert!(!scene.ended);
    scene.relay(stalling, DeliveryState::Failed(DeliveryFailure::Stalled));
    scene.outcome(leg(stalling), "BYE", StatusCode::OK);
    scene.later(32);
    scene.assert_over();
    let delivered = |fate: &&Fate| **fate == Fate::Delivered;
    assert_eq!(scene.fates.values().filter(delivered).count(), 15);
}

/// As announced in the offer, until the message itself says so.
#[test]
fn the_size_of_a_message_is_known_as_early_as_can_be() {
    let size = |sdp: &str| {
        let text = String::from_utf8(raw_invite("").to_vec()).unwrap();
        let (head, _) = text.split_once("Content-Length").unwrap();
        let length = sdp.len();
        let mut invite = accepted(Kind::Exploder, &["sip:r0@home"], "");
        invite.message = message(format!("{head}Content-Length: {length}\r\n\r\n{sdp}"));
        let mut scene = Scene::of(&invite, &service(&[]), settings());
        let announced = scene.session.size();
        scene.session.handle_message_started(Some(1_234));
        (announced, scene.session.size())
    };
    assert_eq!(size(SDP), (Some(1_000), Some(1_234)));
    let silent = SDP.replace("a=file-selector:size:1000\r\n", "");
    assert_eq!(size(&silent), (None, Some(1_234)));
}
