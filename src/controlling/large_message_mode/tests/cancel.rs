//! CANCEL, by either side.

use super::*;

#[test]
fn cancel_before_any_answer() {
    let mut scene = Scene::to(3);
    scene.ring(1);
    scene.refuse(2, 486);
    scene.take();
    scene.cancel();
    scene.did(&["reply 487", "failed 487", "failed 487", "cancel 1"]);
    scene.ring(0);
    scene.did(&["cancel 0"]);
    scene.refuse(0, 487);
    scene.refuse(1, 487);
    scene.did(&["ended"]);
    scene.assert_over();
}

#[test]
fn cancel_that_crosses_a_200() {
    // The originator's crosses ours: no effect.
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.take();
    scene.cancel();
    scene.did(&[]);
    assert_eq!(scene.session.stage(), Stage::Answered);
    // Ours crosses the recipient's.
    let mut scene = Scene::to(2);
    scene.ring(0);
    scene.cancel();
    scene.take();
    scene.answer(0);
    scene.did(&["ack 0", "bye 0"]);
    scene.answer(1);
    scene.did(&["ack 1", "bye 1"]);
    scene.answer(0);
    scene.did(&["ack 0"]);
    scene.silence();
}

#[test]
fn cancelled_legs_that_say_nothing_are_given_up() {
    let mut scene = Scene::to(2);
    scene.ring(0);
    scene.cancel();
    scene.take();
    scene.later(32);
    scene.did(&["ended"]);
}

#[test]
fn an_answer_after_our_timeout_gets_ack_and_bye() {
    let mut scene = Scene::to(2);
    scene.ring(1);
    scene.later(10);
    scene.refuse(0, 408);
    assert_eq!(scene.state(0), LegState::Over);
    scene.take();
    scene.answer(0);
    scene.did(&["ack 0", "bye 0"]);
    scene.answer(1);
    scene.did(&["open originator", "reply 200"]);
    scene.silence();
}

#[test]
fn the_transaction_layer_answered_by_itself() {
    let mut scene = Scene::to(2);
    scene.ring(0);
    scene.ring(1);
    scene.answer(0);
    scene.take();
    scene.session.handle_reply_failed(scene.now);
    scene.drain();
    scene.did(&[
        "close originator",
        "abort",
        "failed 487",
        "ack 0",
        "bye 0",
        "failed 487",
        "cancel 1",
    ]);
    scene.outcome(leg(0), "BYE", StatusCode::OK);
    scene.refuse(1, 487);
    scene.did(&["ended"]);
}
