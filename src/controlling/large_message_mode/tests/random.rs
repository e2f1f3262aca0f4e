//! Any events, in any order.

use super::*;
use crate::policy::{AllFailedResponse, LegAck};
use fastrand::Rng;

#[test]
fn random_events_in_random_order() {
    let mut stages = BTreeSet::new();
    for seed in 1..=3_000 {
        let mut random = Rng::with_seed(seed);
        let recipients = 1 + random.usize(..4) as u32;
        let parameters = if random.usize(..2) == 0 { ISF } else { &[] };
        let mut scene = Scene::set(recipients, parameters, |settings| {
            settings.policy.max_parallel_legs = [None, Some(1), Some(2)][random.usize(..3)];
            settings.policy.legs_per_second = [None, Some(1), Some(100)][random.usize(..3)];
            settings.policy.spool_ttl = [None, Some(Duration::from_secs(20))][random.usize(..2)];
            settings.policy.leg_ack = [LegAck::OnSenderAck, LegAck::Immediate][random.usize(..2)];
            settings.policy.all_failed_response = [
                AllFailedResponse::TemporarilyUnavailable,
                AllFailedResponse::Best,
            ][random.usize(..2)];
        });
        for _ in 0..random.usize(..60) {
            if scene.ended {
                break;
            }
            let number = random.usize(..scene.invites.len()) as u32;
            match random.usize(..24) {
                0..=2 => scene.ring(number),
                3..=5 => scene.answer(number),
                6 => scene.answer_as(
                    number,
                    "other",
                    ANSWER,
                    "Session-Expires: 100;refresher=uac\r\n",
                ),
                7 => scene.answer_as(number, "t", "", ""),
                8 => scene.refuse(
                    number,
                    [302, 404, 408, 422, 486, 487, 488, 503, 606][random.usize(..9)],
                ),
                9 | 10 => scene.ack(),
                11 => scene.bye(leg(number)),
                12 if random.usize(..3) == 0 => scene.bye(Side::Originator),
                13 if random.usize(..4) == 0 => scene.cancel(),
                14 => scene.complete(),
                15 if random.usize(..3) == 0 => scene.lose(),
                16 => scene
                    .session
                    .handle_leg_connected(scene.now, LegNumber(number)),
                17 => scene.relay(number, DeliveryState::Delivered),
                18 => scene.relay(
                    number,
                    [
                        DeliveryState::Aborted,
                        DeliveryState::Failed(DeliveryFailure::Stalled),
                    ][random.usize(..2)],
                ),
                19 => {
                    let side = if random.usize(..2) == 0 {
                        Side::Originator
                    } else {
                        leg(number)
                    };
                    let code = [StatusCode::OK, StatusCode::REQUEST_TIMEOUT][random.usize(..2)];
                    if let Some(last) = scene.last.get(&side).map(|last| last.method) {
                        scene.outcome(side, last, code);
                    }
                }
                20 => {
                    let side = if random.usize(..2) == 0 {
                        Side::Originator
                    } else {
                        leg(number)
                    };
                    scene.request(
                        side,
                        ["UPDATE", "INVITE", "INFO"][random.usize(..3)],
                        TIMER,
                        "",
                    );
                }
                21 => scene.session.handle_sender_connected(),
                22 if random.usize(..40) == 0 => scene.shut_down(),
                23 if random.usize(..20) == 0 => {
                    scene.session.handle_end(scene.now);
                    scene.drain();
                }
                _ => {
                    let seconds = [0, 1, 5, 11, 33, 61, 1_000][random.usize(..7)];
                    scene.later(seconds);
                }
            }
            stages.insert(format!("{:?}", scene.session.stage()));
        }
        // The relay must report its final events. Everything else may stay silent, and timers end
        // it.
        scene.lose();
        for number in 0..scene.invites.len() as u32 {
            scene.relay(number, DeliveryState::Failed(DeliveryFailure::Stalled));
        }
        scene.later(1_800 + 300);
        scene.assert_over();
    }
    assert_eq!(stages.len(), 8, "{stages:?}");
}
