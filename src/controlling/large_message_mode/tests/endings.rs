//! How sessions end: by the originator, a recipient, the relay, the operator.

use super::*;

#[test]
fn the_bye_may_overtake_the_relays_word() {
    let mut scene = Scene::confirmed(1);
    scene.bye(Side::Originator);
    scene.did(&["reply 200", "close originator"]);
    assert_eq!(scene.session.stage(), Stage::Closing);
    scene.complete();
    scene.did(&[]);
    scene.relay(0, DeliveryState::Delivered);
    scene.did(&["delivered 200", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn an_incomplete_message_is_aborted() {
    // Readings N46; no interworking.
    let mut scene = Scene::with(3, ISF);
    scene.answer(0);
    scene.ack();
    scene.ring(1);
    scene.session.handle_message_started(Some(1000));
    scene.take();
    scene.bye(Side::Originator);
    scene.did(&["reply 200", "close originator"]);
    scene.lose();
    scene.did(&[
        "abort",
        "failed 480",
        "failed 480",
        "cancel 1",
        "failed 480",
    ]);
    assert_eq!(scene.state(0), LegState::Aborting);
    scene.relay(0, DeliveryState::Aborted);
    scene.did(&["close 0", "bye 0"]);
    scene.silence();
    assert_eq!(scene.invites.len(), 3);
}

#[test]
fn a_relay_that_says_nothing_ends_too() {
    let mut scene = Scene::confirmed(1);
    scene.bye(Side::Originator);
    scene.take();
    scene.later(5);
    scene.did(&["abort", "failed 480"]);
    scene.later(5);
    scene.did(&["close 0", "bye 0"]);
    scene.later(32);
    scene.did(&["ended"]);
}

#[test]
fn a_sender_who_dies_midway() {
    let mut scene = Scene::confirmed(1);
    scene.session.handle_message_started(None);
    scene.lose();
    scene.did(&["bye originator", "close originator", "abort", "failed 480"]);
    scene.silence();
}

#[test]
fn a_sender_who_never_connects() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.ack();
    scene.session.handle_leg_connected(scene.now, LegNumber(0));
    scene.take();
    scene.later(32);
    scene.did(&["bye originator", "close originator", "abort", "failed 480"]);
    scene.silence();
}

#[test]
fn a_sender_who_never_says_bye() {
    let mut scene = Scene::confirmed(1);
    scene.complete();
    scene.relay(0, DeliveryState::Delivered);
    scene.take();
    scene.later(120);
    scene.did(&["bye originator", "close originator", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn nobody_left_to_deliver_to() {
    let mut scene = Scene::confirmed(1);
    scene.relay(0, DeliveryState::Failed(DeliveryFailure::Disconnected));
    scene.did(&[
        "failed 480",
        "close 0",
        "bye 0",
        "bye originator",
        "close originator",
        "abort",
    ]);
    scene.silence();
}

#[test]
fn a_recipient_leaves_when_he_has_it_or_before() {
    let mut scene = Scene::confirmed_with(3, ISF);
    scene.complete();
    // The relay's final event for it has not arrived yet.
    scene.bye(leg(0));
    scene.did(&["reply 200", "close 0"]);
    scene.relay(0, DeliveryState::Delivered);
    scene.did(&["delivered 200"]);
    assert_eq!(scene.state(0), LegState::Over);
    scene.bye(leg(1));
    scene.relay(1, DeliveryState::Failed(DeliveryFailure::Dropped));
    scene.did(&["reply 200", "close 1", "interworked 480", "invite 3 isf"]);
    scene.relay(2, DeliveryState::Delivered);
    scene.bye(leg(2));
    scene.did(&["delivered 200", "reply 200", "close 2"]);
    scene.bye(leg(2));
    scene.did(&["reply 481"]);
    scene.refuse(3, 480);
    scene.silence();
}

#[test]
fn byes_that_cross() {
    let mut scene = Scene::confirmed(1);
    scene.complete();
    scene.relay(0, DeliveryState::Delivered);
    scene.bye(Side::Originator);
    scene.take();
    scene.bye(leg(0));
    scene.did(&["reply 200", "ended"]);
}

#[test]
fn a_connection_that_does_not_come() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.ack();
    scene.session.handle_sender_connected();
    scene.complete();
    scene.take();
    scene.later(32);
    scene.did(&["failed 408", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn shutdown_in_each_stage() {
    let mut scene = Scene::to(2);
    scene.ring(0);
    scene.shut_down();
    scene.did(&["reply 503", "failed 503", "cancel 0", "failed 503", "ended"]);

    let mut scene = Scene::to(2);
    scene.answer(0);
    scene.take();
    scene.shut_down();
    let done = scene.take();
    for word in [
        "bye originator",
        "close originator",
        "ack 0",
        "bye 0",
        "ended",
    ] {
        assert!(done.iter().any(|did| did == word), "{word}: {done:?}");
    }
    let mut scene = Scene::confirmed(2);
    scene.complete();
    scene.relay(0, DeliveryState::Delivered);
    scene.shut_down();
    let done = scene.take();
    for word in ["bye originator", "bye 0", "bye 1", "close 1", "ended"] {
        assert!(done.iter().any(|did| did == word), "{word}: {done:?}");
    }
    for stage in [
        Stage::Abandoned,
        Stage::Closing,
        Stage::Delivering,
        Stage::Unwinding,
    ] {
        let mut scene = Scene::confirmed(2);
        match stage {
            Stage::Abandoned => {
                scene = Scene::to(2);
                scene.answer(0);
                scene.later(10);
            }
            Stage::Closing => scene.bye(Side::Originator),
            Stage::Delivering => {
                scene.complete();
                scene.bye(Side::Originator);
            }
            _ => scene.lose(),
        }
        assert_eq!(scene.session.stage(), stage);
        scene.shut_down();
        assert!(scene.ended, "{stage:?}");
        scene.assert_over();
        scene.shut_down();
    }
}

#[test]
fn the_operator_ends_a_session_in_each_stage() {
    for complete in [false, true] {
        let mut scene = Scene::confirmed(1);
        if complete {
            scene.complete();
        }
        scene.session.handle_end(scene.now);
        scene.drain();
        assert_eq!(scene.session.stage(), Stage::Unwinding);
        scene.later(40);
        scene.assert_over();
    }
    let mut scene = Scene::to(1);
    scene.session.handle_end(scene.now);
    scene.drain();
    scene.later(40);
    scene.assert_over();
}

#[test]
fn who_left_may_have_it_all_though_the_session_is_ended() {
    let mut scene = Scene::confirmed(2);
    scene.complete();
    scene.bye(leg(0));
    scene.session.handle_end(scene.now);
    scene.drain();
    scene.relay(0, DeliveryState::Delivered);
    assert_eq!(scene.fates["sip:r0@home"], Fate::Delivered);
    let mut scene = Scene::confirmed(2);
    scene.bye(leg(0));
    scene.shut_down();
    assert_eq!(scene.fates.len(), 2);
    scene.assert_over();
}

#[test]
fn a_bye_that_crosses_ours_is_answered() {
    let mut scene = Scene::confirmed(2);
    scene.relay(0, DeliveryState::Failed(DeliveryFailure::Stalled));
    scene.outcome(leg(0), "BYE", StatusCode::OK);
    scene.lose();
    scene.take();
    for side in [Side::Originator, leg(0), Side::Originator] {
        scene.bye(side);
        scene.did(&["reply 200"]);
    }
    scene.request(Side::Originator, "UPDATE", "", "");
    scene.did(&["reply 481"]);
    scene.silence();
    // There was no dialog.
    let mut scene = Scene::to(2);
    scene.ring(0);
    scene.cancel();
    scene.take();
    scene.bye(Side::Originator);
    scene.did(&["reply 481"]);
    scene.refuse(0, 487);
    scene.refuse(1, 487);
    scene.silence();
}

/// The only recipient leaves before the sender's ACK arrives: a message that is complete needs no
/// BYE to its sender.
#[test]
fn who_has_sent_everything_leaves_by_itself() {
    for is_complete in [true, false] {
        let mut scene = Scene::to(1);
        scene.answer(0);
        scene.session.handle_sender_connected();
        if is_complete {
            scene.complete();
        }
        scene.bye(leg(0));
        scene.ack();
        assert_eq!(scene.byes_to_originator, u32::from(!is_complete));
        scene.silence();
    }
}
