//! How long a message is kept: `spool_ttl` (readings N49).

use super::*;

const TTL: u64 = 1_000;

fn confirmed(recipients: u32, parameters: &[(&str, &str)]) -> Scene {
    let ttl = |settings: &mut LargeModeSettings| {
        settings.policy.spool_ttl = Some(Duration::from_secs(TTL));
    };
    let mut scene = Scene::set(recipients, parameters, ttl).confirm(recipients);
    scene.session.handle_message_started(Some(1_000));
    scene
}

#[test]
fn who_has_not_taken_it_all_in_time_has_failed() {
    let mut scene = confirmed(3, &[]);
    scene.later(TTL - 1);
    scene.complete();
    scene.relay(0, DeliveryState::Delivered);
    scene.bye(Side::Originator);
    scene.take();
    // The time counts from the last byte.
    scene.later(TTL - 1);
    scene.did(&[]);
    scene.relay(1, DeliveryState::Delivered);
    scene.did(&["delivered 200", "close 1", "bye 1"]);
    scene.later(1);
    scene.did(&["failed 408", "close 2", "bye 2"]);
    scene.outcome(leg(2), "BYE", StatusCode::OK);
    scene.later(32);
    scene.assert_over();
}

#[test]
fn while_the_originator_is_there_too() {
    let mut scene = confirmed(1, &[]);
    scene.complete();
    // Its BYE is late, so it gets one; the recipient has time left.
    scene.later(TTL - 1);
    scene.did(&["bye originator", "close originator"]);
    scene.later(1);
    scene.did(&["failed 408", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn the_isf_gets_it_then_and_has_as_long() {
    let mut scene = confirmed(1, ISF);
    scene.complete();
    scene.bye(Side::Originator);
    scene.take();
    scene.later(TTL);
    scene.did(&["interworked 408", "invite 1 isf", "close 0", "bye 0"]);
    scene.ring(1);
    scene.later(59);
    scene.answer(1);
    scene.session.handle_leg_connected(scene.now, LegNumber(1));
    scene.did(&["ack 1", "open 1", "no more legs"]);
    scene.later(TTL - 1);
    scene.did(&[]);
    scene.later(1);
    scene.did(&["failed 408", "close 1", "bye 1"]);
    scene.later(32);
    scene.assert_over();
}

#[test]
fn a_late_leg_has_as_long_from_its_connection_on() {
    let mut scene = Scene::set(2, &[], |settings| {
        settings.policy.spool_ttl = Some(Duration::from_secs(30));
    });
    scene.ring(1);
    scene.answer(0);
    scene.ack();
    scene.session.handle_sender_connected();
    scene.session.handle_leg_connected(scene.now, LegNumber(0));
    scene.complete();
    scene.bye(Side::Originator);
    scene.later(29);
    scene.answer(1);
    scene.take();
    scene.later(10);
    scene.did(&["failed 408", "close 0", "bye 0"]);
    scene.session.handle_leg_connected(scene.now, LegNumber(1));
    scene.later(29);
    scene.did(&[]);
    scene.later(1);
    scene.did(&["failed 408", "close 1", "bye 1"]);
    scene.silence();
}

#[test]
fn an_originator_has_as_long_for_his_message() {
    let mut scene = confirmed(1, ISF);
    scene.later(TTL - 1);
    scene.did(&[]);
    scene.later(1);
    // Like an originator that falls silent (readings N46).
    scene.did(&["bye originator", "close originator", "abort", "failed 480"]);
    assert_eq!(scene.state(0), LegState::Aborting);
    scene.silence();
}

#[test]
fn without_limit_that_of_the_session_holds() {
    let mut scene = Scene::set(1, &[], |settings| settings.policy.spool_ttl = None).confirm(1);
    scene.complete();
    scene.bye(Side::Originator);
    scene.until(scene.born + MAX_SESSION_AGE - Duration::from_secs(1));
    assert_eq!(scene.state(0), LegState::Confirmed);
    scene.silence();
}
