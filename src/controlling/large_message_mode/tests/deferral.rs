//! Messages that wait in the store for recipients that are away.

use super::*;

const DEFERS: &[(&str, &str)] = &[("store", "file:/nowhere"), ("deferred_codes", "408 480")];

/// With `deferred_large`.
fn takes(recipients: u32) -> Scene {
    let parameters = [DEFERS, &[("deferred_large", "yes")]].concat();
    Scene::with(recipients, &parameters)
}

#[test]
fn where_all_are_away_the_message_is_refused_or_taken() {
    let mut scene = Scene::with(2, DEFERS);
    scene.refuse(0, 480);
    scene.did(&[]);
    scene.refuse(1, 486);
    scene.did(&["failed 486", "reply 480", "failed 480", "ended"]);
    let mut scene = takes(2);
    scene.refuse(0, 480);
    scene.refuse(1, 486);
    scene.did(&[
        "failed 486",
        "store",
        "open originator",
        "reply 200",
        "deferred 480",
    ]);
    scene.ack();
    scene.did(&["no more legs"]);
    scene.complete();
    scene.bye(Side::Originator);
    assert!(scene.ended);
    assert_eq!(scene.fates["sip:r0@home"], Fate::Deferred);
    // Nobody to wait for.
    let mut scene = takes(1);
    scene.refuse(0, 603);
    scene.did(&["failed 603", "reply 480", "ended"]);
}

/// The ACK is still on its way when the only one who had answered leaves again: the content is for
/// the store.
#[test]
fn the_message_is_still_wanted_for_who_is_away() {
    let mut scene = takes(2);
    scene.refuse(0, 480);
    scene.answer(1);
    scene.did(&["store", "open originator", "reply 200", "deferred 480"]);
    scene.bye(leg(1));
    scene.did(&["reply 200", "deferred 480"]);
    assert_eq!(scene.session.stage(), Stage::Answered);
    scene.ack();
    assert_eq!(scene.session.stage(), Stage::Confirmed);
    scene.complete();
    scene.bye(Side::Originator);
    scene.silence();
    assert!(scene.fates.values().all(|fate| *fate == Fate::Deferred));
}

#[test]
fn who_is_away_gets_what_others_have_got_or_nothing() {
    for is_complete in [true, false] {
        let mut scene = Scene::with(2, DEFERS);
        scene.answer(0);
        scene.did(&["store", "open originator", "reply 200"]);
        scene.refuse(1, 480);
        scene.did(&["deferred 480"]);
        scene.ack();
        scene.take();
        // The other breaks off: content is still wanted.
        scene.relay(0, DeliveryState::Failed(DeliveryFailure::Stalled));
        scene.did(&["deferred 408", "close 0", "bye 0"]);
        if is_complete {
            scene.complete();
        } else {
            scene.session.handle_message_failed(scene.now);
            scene.drain();
        }
        scene.bye(Side::Originator);
        let fate = match is_complete {
            true => Fate::Deferred,
            false => Fate::Failed,
        };
        assert_eq!(scene.fates["sip:r0@home"], fate);
        assert_eq!(scene.fates["sip:r1@home"], fate);
        scene.silence();
    }
}
