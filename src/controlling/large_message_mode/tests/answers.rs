//! ACKs, retransmitted and forked answers.

use super::*;
use crate::policy::LegAck;

#[test]
fn repeated_answers_before_and_after_the_ack() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.take();
    scene.answer(0);
    scene.did(&[]);
    scene.ack();
    scene.take();
    scene.ack();
    scene.did(&[]);
    for _ in 0..3 {
        scene.answer(0);
        scene.did(&["ack 0"]);
    }
    scene.ring(0);
    scene.refuse(0, 500);
    scene.did(&[]);
    scene.bye(leg(0));
    scene.take();
    scene.silence();
}

#[test]
fn an_answer_repeated_after_the_bye_is_acknowledged_again() {
    let mut scene = Scene::confirmed(1);
    scene.complete();
    scene.relay(0, DeliveryState::Delivered);
    scene.bye(Side::Originator);
    scene.take();
    scene.answer(0);
    scene.did(&["ack 0"]);
    scene.later(31);
    scene.answer(0);
    scene.did(&["ack 0"]);
    scene.later(2);
    scene.did(&["ended"]);
}

#[test]
fn other_callees_of_a_fork_get_ack_and_bye() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.take();
    scene.answer_as(0, "fork", ANSWER, "");
    scene.did(&["ack 0", "bye 0"]);
    scene.answer_as(0, "fork", ANSWER, "");
    scene.did(&["ack 0"]);
    for number in 0..2 * MAX_FORKS {
        scene.answer_as(0, &format!("f{number}"), ANSWER, "");
        scene.did(&["ack 0", "bye 0"]);
    }
    assert_eq!(scene.state(0), LegState::Answered);
    scene.ack();
    scene.did(&["ack 0", "open 0", "no more legs"]);
    scene.silence();
}

#[test]
fn without_the_originators_ack_all_ends() {
    let mut scene = Scene::to(2);
    scene.ring(1);
    scene.answer(0);
    scene.take();
    scene.later(10);
    assert_eq!(scene.session.stage(), Stage::Abandoned);
    scene.did(&[
        "abort",
        "failed 480",
        "ack 0",
        "bye 0",
        "failed 480",
        "cancel 1",
    ]);
    scene.later(21);
    scene.refuse(1, 487);
    // RFC 3261 §15: no BYE before ACK or timeout.
    scene.did(&[]);
    scene.later(1);
    scene.did(&["bye originator", "close originator"]);
    scene.later(32);
    scene.assert_over();
}

#[test]
fn an_ack_that_comes_too_late_gets_bye() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.later(15);
    scene.take();
    scene.ack();
    scene.did(&["bye originator", "close originator"]);
    scene.silence();
}

#[test]
fn a_bye_that_overtakes_the_ack_counts_as_one() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.complete();
    scene.take();
    scene.bye(Side::Originator);
    scene.did(&[
        "reply 200",
        "ack 0",
        "open 0",
        "close originator",
        "no more legs",
    ]);
    scene.relay(0, DeliveryState::Delivered);
    scene.did(&["delivered 200", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn a_message_before_the_ack_does_not_lengthen_the_wait() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.complete();
    scene.later(10);
    assert_eq!(scene.session.stage(), Stage::Abandoned);
    scene.silence();
}

#[test]
fn nobody_is_left_before_the_originators_ack() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.take();
    scene.bye(leg(0));
    scene.did(&["reply 200", "failed 480", "abort"]);
    assert_eq!(scene.session.stage(), Stage::Abandoned);
    scene.ack();
    scene.did(&["bye originator", "close originator", "ended"]);
    scene.assert_over();
}

/// Two recipients, whose 2xx gets its ACK at once.
fn immediate() -> Scene {
    Scene::set(2, &[], |settings| {
        settings.policy.leg_ack = LegAck::Immediate
    })
}

#[test]
fn recipients_may_be_acknowledged_at_once() {
    let mut scene = immediate();
    scene.answer(0);
    scene.did(&["open originator", "reply 200", "ack 0", "open 0"]);
    scene.session.handle_leg_connected(scene.now, LegNumber(0));
    scene.answer(0);
    scene.did(&["ack 0"]);
    scene.later(5);
    scene.answer(1);
    scene.did(&["ack 1", "open 1"]);
    scene.ack();
    // Nobody gets it twice.
    scene.did(&["no more legs"]);
    scene.session.handle_leg_connected(scene.now, LegNumber(1));
    scene.complete();
    scene.relay(0, DeliveryState::Delivered);
    scene.relay(1, DeliveryState::Delivered);
    scene.bye(Side::Originator);
    scene.did(&[
        "delivered 200",
        "delivered 200",
        "reply 200",
        "close originator",
        "close 0",
        "bye 0",
        "close 1",
        "bye 1",
    ]);
    scene.silence();
}

#[test]
fn recipients_who_were_acknowledged_at_once_are_told_when_the_originator_is_gone() {
    let mut scene = immediate();
    scene.ring(1);
    scene.answer(0);
    scene.session.handle_leg_connected(scene.now, LegNumber(0));
    scene.take();
    scene.later(10);
    scene.did(&["abort", "failed 480", "failed 480", "cancel 1"]);
    assert_eq!(scene.state(0), LegState::Aborting);
    scene.relay(0, DeliveryState::Aborted);
    scene.did(&["close 0", "bye 0"]);
    scene.silence();
    // A recipient that leaves before the originator's ACK, or does not connect, fails as it would
    // after it.
    let mut scene = immediate();
    scene.answer(0);
    scene.answer(1);
    scene.session.handle_leg_connected(scene.now, LegNumber(1));
    scene.take();
    scene.bye(leg(0));
    scene.relay(0, DeliveryState::Failed(DeliveryFailure::Dropped));
    scene.did(&["reply 200", "close 0", "failed 480"]);
    scene.relay(1, DeliveryState::Failed(DeliveryFailure::Disconnected));
    scene.did(&["failed 480", "close 1", "bye 1", "abort"]);
    scene.ack();
    scene.did(&["bye originator", "close originator"]);
    scene.silence();
}

/// Header lines of a 2xx that creates no dialog.
const NO_DIALOG: [&str; 4] = [
    "Contact: <tel:+15550100>\r\n",
    "Contact: <sip:r0@phone\r\n",
    "Record-Route: <sip:p;lr\r\n",
    "Record-Route: <mailto:a@b>\r\n",
];

#[test]
fn a_2xx_that_makes_no_dialog_gets_ack_and_bye() {
    for line in NO_DIALOG {
        let mut scene = Scene::to(2);
        scene.answer_odd(0, "t", line);
        scene.did(&["ack 0", "bye 0", "failed 502"]);
        scene.answer_odd(0, "t", line);
        scene.did(&["ack 0"]);
        // Another callee of the same INVITE answers too late.
        scene.answer_as(0, "t2", ANSWER, "");
        scene.did(&["ack 0", "bye 0"]);
        scene.answer(1);
        scene.did(&["open originator", "reply 200"]);
        // A fork of a callee in the dialog.
        scene.answer_odd(1, "fork", line);
        scene.did(&["ack 1", "bye 1"]);
        assert_eq!(scene.state(1), LegState::Answered);
        // And its own, retransmitted.
        scene.ack();
        scene.take();
        scene.answer_odd(1, "t", line);
        scene.did(&["ack 1"]);
        scene.silence();
    }
    let mut scene = Scene::to(1);
    scene.ring(0);
    scene.cancel();
    scene.take();
    scene.answer_odd(0, "t", NO_DIALOG[0]);
    scene.did(&["ack 0", "bye 0", "ended"]);
}
