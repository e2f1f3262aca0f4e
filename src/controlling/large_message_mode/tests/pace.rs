//! When recipients are invited: `max_parallel_legs`, `legs_per_second` (readings N36).

use super::*;

fn parallel(recipients: u32, most: usize) -> Scene {
    Scene::set(recipients, &[], |settings| {
        settings.policy.max_parallel_legs = Some(most);
    })
}

fn per_second(recipients: u32, legs: u32) -> Scene {
    Scene::set(recipients, &[], |settings| {
        settings.policy.legs_per_second = Some(legs);
    })
}

impl Scene {
    fn waiting(&self) -> usize {
        let legs = self.session.legs();
        legs.filter(|leg| leg.state == LegState::Waiting).count()
    }

    /// One leg has answered, the originator has acknowledged.
    fn one_is_up(mut self) -> Self {
        self.answer(0);
        self.ack();
        self.session.handle_sender_connected();
        self.session.handle_leg_connected(self.now, LegNumber(0));
        self.take();
        self
    }
}

#[test]
fn others_follow_as_answers_come() {
    let mut scene = parallel(5, 2);
    assert_eq!((scene.invites.len(), scene.waiting()), (2, 3));
    scene.ring(0);
    scene.later(5);
    scene.did(&[]);
    scene.refuse(1, 486);
    scene.did(&["failed 486", "invite 2"]);
    scene.answer(0);
    scene.did(&["open originator", "reply 200", "invite 3"]);
    // Retransmitted answers do not advance the queue.
    scene.answer(0);
    scene.refuse(1, 486);
    scene.did(&[]);
    // A silent recipient is given up, and does not stop the others until then.
    scene.ack();
    scene.session.handle_sender_connected();
    scene.session.handle_leg_connected(scene.now, LegNumber(0));
    scene.take();
    scene.ring(3);
    scene.later(10);
    scene.did(&["failed 408", "invite 4"]);
    assert_eq!(scene.state(2), LegState::CancelDue);
    scene.refuse(2, 408);
    scene.did(&[]);
    scene.answer(4);
    scene.answer(3);
    scene.did(&["ack 4", "open 4", "ack 3", "open 3", "no more legs"]);
    scene.silence();
}

#[test]
fn the_480_waits_for_those_not_yet_invited() {
    let mut scene = parallel(3, 1);
    scene.refuse(0, 486);
    scene.refuse(1, 404);
    scene.did(&["failed 486", "invite 1", "failed 404", "invite 2"]);
    scene.refuse(2, 480);
    scene.did(&["failed 480", "reply 480", "ended"]);
    scene.assert_over();
}

#[test]
fn who_could_not_be_sent_to_lets_the_next_one_in() {
    let mut scene = parallel(2, 1);
    scene.session.handle_leg_unsent(scene.now, LegNumber(0));
    scene.drain();
    scene.did(&["failed 503", "invite 1"]);
    scene.answer_as(1, "t", "", "");
    scene.did(&["ack 1", "failed 488", "bye 1", "reply 480"]);
    scene.silence();
}

#[test]
fn a_422_is_obeyed_at_once() {
    let mut scene = parallel(2, 1);
    let too_small = message("SIP/2.0 422 x\r\nMin-SE: 3600\r\n\r\n".into());
    let code = StatusCode::SESSION_INTERVAL_TOO_SMALL;
    scene
        .session
        .handle_leg_failure(scene.now, LegNumber(0), code, Some(&too_small));
    scene.drain();
    scene.did(&["invite 0"]);
    scene.answer(0);
    scene.did(&["open originator", "reply 200", "invite 1"]);
    // It does not lengthen the ringing.
    scene = scene.one_is_up();
    scene.ring(1);
    scene.later(50);
    scene
        .session
        .handle_leg_failure(scene.now, LegNumber(1), code, Some(&too_small));
    scene.drain();
    scene.ring(1);
    scene.take();
    scene.later(9);
    assert_eq!(scene.state(1), LegState::Proceeding);
    scene.later(1);
    assert_eq!(scene.state(1), LegState::Cancelling);
    scene.silence();
}

#[test]
fn the_isf_waits_for_its_turn() {
    let mut scene = Scene::set(3, ISF, |settings| {
        settings.policy.max_parallel_legs = Some(2)
    });
    scene.refuse(0, 404);
    scene.did(&["interworked 404", "invite 2"]);
    assert_eq!(scene.state(3), LegState::Waiting);
    scene.refuse(1, 486);
    scene.did(&["failed 486", "invite 3 isf"]);
    scene.silence();
}

#[test]
fn ringing_counts_from_the_invite() {
    let mut scene = parallel(2, 1);
    scene.ring(0);
    scene.later(60);
    scene.did(&["failed 408", "cancel 0", "invite 1"]);
    scene.ring(1);
    scene.later(59);
    scene.did(&[]);
    scene.later(1);
    scene.did(&["failed 408", "cancel 1", "reply 480"]);
    scene.silence();
}

#[test]
fn so_many_in_a_second() {
    let mut scene = per_second(5, 2);
    assert_eq!(scene.invites.len(), 1);
    for (milliseconds, invited) in [(499, 1), (500, 2), (999, 2), (1_000, 3), (1_500, 4)] {
        scene.until(scene.born + Duration::from_millis(milliseconds));
        assert_eq!(scene.invites.len(), invited, "{milliseconds}");
    }
    // Answers do not speed it up.
    scene.answer(0);
    scene.refuse(1, 486);
    assert_eq!(scene.invites.len(), 4);
    scene.until(scene.born + Duration::from_millis(2_000));
    assert_eq!(scene.invites.len(), 5);
    scene.silence();
}

#[test]
fn a_high_pace_is_kept_in_portions() {
    let mut scene = per_second(1_000, 500);
    let portion = Duration::from_millis(20);
    assert_eq!(scene.session.poll_timeout(), Some(scene.born + portion));
    for tenths in 1..=19 {
        scene.until(scene.born + Duration::from_millis(tenths * 100));
        let due = tenths as usize * 50;
        // A portion is everything due within 20 ms.
        assert!((due - 10..=due + 10).contains(&scene.invites.len()));
    }
    // A proxy that was busy elsewhere makes up for one portion, no more.
    let before = scene.invites.len();
    scene.now += Duration::from_secs(10);
    scene.session.handle_timeout(scene.now);
    scene.drain();
    let at_once = scene.invites.len() - before;
    assert!((10..=11).contains(&at_once), "{at_once}");
    scene.silence();
}

#[test]
fn both_limits_hold() {
    let mut scene = Scene::set(4, &[], |settings| {
        settings.policy.max_parallel_legs = Some(2);
        settings.policy.legs_per_second = Some(1);
    });
    scene.later(5);
    scene.did(&["invite 1"]);
    scene.refuse(0, 486);
    scene.refuse(1, 486);
    scene.did(&["failed 486", "invite 2", "failed 486"]);
    scene.later(1);
    scene.did(&["invite 3"]);
    scene.silence();
}

#[test]
fn after_cancel_nobody_is_invited() {
    for mut scene in [parallel(3, 1), per_second(3, 1)] {
        scene.ring(0);
        scene.cancel();
        scene.did(&[
            "reply 487",
            "failed 487",
            "cancel 0",
            "failed 487",
            "failed 487",
        ]);
        scene.refuse(0, 487);
        scene.did(&["ended"]);
        scene.assert_over();
        assert_eq!(scene.invites.len(), 1);
    }
}

#[test]
fn after_an_incomplete_message_nobody_is_invited() {
    // By BYE, by a lost connection, by a missing ACK, by the operator.
    for how in 0..4 {
        let mut scene = parallel(3, 1);
        if how == 2 {
            scene.answer(0);
        } else {
            scene = scene.one_is_up();
            scene.session.handle_message_started(None);
        }
        assert_eq!(scene.invites.len(), 2);
        scene.ring(1);
        match how {
            0 => {
                scene.bye(Side::Originator);
                // It is not known yet, so the next one waits.
                scene.refuse(1, 486);
                assert_eq!(scene.waiting(), 1);
                scene.lose();
            }
            1 => scene.lose(),
            2 => scene.later(10),
            _ => {
                scene.session.handle_end(scene.now);
                scene.drain();
            }
        }
        assert_eq!((scene.state(2), scene.waiting()), (LegState::Over, 0));
        scene.silence();
        assert_eq!((scene.invites.len(), scene.fates.len()), (2, 3), "{how}");
    }
}

#[test]
fn after_a_complete_message_all_are_invited() {
    // Like those that are still ringing (9.1.2-bye-3, readings N46), whether the relay reports
    // before the BYE or after it.
    for bye_first in [false, true] {
        let mut scene = parallel(3, 1).one_is_up();
        if !bye_first {
            scene.complete();
        }
        scene.relay(0, DeliveryState::Delivered);
        scene.bye(Side::Originator);
        if bye_first {
            scene.refuse(1, 486);
            assert_eq!(scene.invites.len(), 2);
            scene.complete();
        } else {
            scene.refuse(1, 486);
        }
        assert!(scene.take().contains(&"invite 2".to_owned()));
        assert!(!scene.no_more_legs);
        scene.answer(2);
        scene.did(&["ack 2", "open 2", "no more legs"]);
        scene.relay(2, DeliveryState::Delivered);
        scene.did(&["delivered 200", "close 2", "bye 2"]);
        scene.silence();
    }
}

#[test]
fn nobody_is_left_only_when_all_were_invited() {
    let mut scene = parallel(2, 1).one_is_up();
    scene.relay(0, DeliveryState::Failed(DeliveryFailure::Disconnected));
    scene.did(&["failed 480", "close 0", "bye 0"]);
    assert_eq!(scene.session.stage(), Stage::Confirmed);
    scene.refuse(1, 486);
    scene.did(&["failed 486", "bye originator", "close originator", "abort"]);
    scene.silence();
}

#[test]
fn a_proxy_that_stops_invites_nobody() {
    let mut scene = parallel(3, 1);
    scene.shut_down();
    scene.did(&[
        "reply 503",
        "failed 503",
        "failed 503",
        "failed 503",
        "ended",
    ]);
    scene.assert_over();
}

#[test]
fn the_originator_is_answered_though_not_all_were_invited() {
    let mut scene = parallel(5, 1);
    for number in 0..3 {
        scene.ring(number);
        scene.later(60);
    }
    assert!(scene.take().contains(&"reply 480".to_owned()));
    assert_eq!(scene.invites.len(), 3);
    scene.silence();
}
