//! Where content is kept for slow legs: memory, the spool, and what happens when both are full.

use super::*;

#[test]
fn late_legs_get_everything_from_the_spool() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(limits(1 << 30), None, &[1_000_000]);
    let late = pair.add(500_000, None);
    pair.send(&whole, READ_BLOCK_BYTES);
    for _ in 0..50 {
        pair.tick();
    }
    let later = pair.add(400_000, Some(100_000));
    pair.connect(late);
    pair.connect(later);
    pair.fan_out.no_more_legs();
    pair.finish();
    for peer in 0..3 {
        pair.assert_has_all(peer, &whole);
    }
    assert!(
        pair.spills > 10 && pair.fetches > 60,
        "{} {}",
        pair.spills,
        pair.fetches
    );
    assert_eq!(pair.fan_out.memory(), 0);
}

#[test]
fn without_a_spool_the_originator_is_held_back() {
    let whole = random_content(4_000_000);
    let mut pair = Pair::joined(limits(0), None, &[60_000, 1_000_000]);
    pair.fan_out.no_more_legs();
    pair.send(&whole, READ_BLOCK_BYTES);
    pair.finish();
    assert!(pair.spills == 0 && pair.most_memory >= MIN_MEMORY_BYTES);
    pair.assert_has_all(0, &whole);
    pair.assert_has_all(1, &whole);
}

fn patient(spool_bytes: u64) -> Limits {
    Limits {
        stall: 10 * STALL,
        ..limits(spool_bytes)
    }
}

/// A leg that accepts nothing, one that accepts too little, one without connection, and one that
/// has not been added yet.
#[test]
fn without_a_spool_legs_that_hold_the_originator_back_fail_in_time() {
    let whole = random_content(6_000_000);
    for behind in ["stuck", "trickling", "waiting", "ringing"] {
        let mut pair = Pair::joined(patient(0), None, &[1_000_000, 100_000]);
        let last = LegId(2);
        match behind {
            "ringing" => {}
            "waiting" => assert_eq!(pair.add(0, None), last),
            speed => {
                let leg = pair.add(if speed == "stuck" { 0 } else { 100 }, None);
                pair.connect(leg);
            }
        }
        if behind != "ringing" {
            pair.fan_out.no_more_legs();
        }
        let begun = pair.now;
        pair.send(&whole, READ_BLOCK_BYTES);
        assert!(
            pair.now - begun < MAX_HOLD + Duration::from_secs(2),
            "{behind}"
        );
        assert!(pair.longest_hold >= MAX_HOLD && pair.longest_hold <= MAX_HOLD + TICK);
        assert_eq!(pair.notices, 1, "{behind}");
        pair.finish();
        pair.assert_has_all(0, &whole);
        pair.assert_has_all(1, &whole);
        if behind != "ringing" {
            let state = pair.fan_out.leg(last).state;
            assert_eq!(
                state,
                DeliveryState::Failed(DeliveryFailure::Behind),
                "{behind}"
            );
        }
        // A leg added now is too late.
        assert!(!pair.fan_out.open);
        assert_eq!(pair.fan_out.memory(), 0);
    }
}

#[test]
fn of_legs_that_are_behind_only_as_many_fail_as_have_to() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(patient(0), None, &[1_000_000, 0, 1_000_000]);
    pair.fan_out.no_more_legs();
    pair.peers[2].speed = 40_000;
    let mut rest = whole.clone();
    while pair.reading {
        pair.fan_out
            .handle_content(pair.now, rest.split_to(READ_BLOCK_BYTES));
        pair.tick();
    }
    // It has half of the content, and continues slowly.
    pair.peers[2].speed = 100;
    assert!(pair.fan_out.leg(LegId(2)).written > MIN_MEMORY_BYTES as u64 / 3);
    while !pair.reading {
        pair.tick();
    }
    let state = |pair: &Pair, leg| pair.fan_out.leg(LegId(leg)).state;
    assert_eq!(
        state(&pair, 1),
        DeliveryState::Failed(DeliveryFailure::Behind)
    );
    assert_eq!(state(&pair, 2), DeliveryState::Sending);
}

#[test]
fn memory_of_others_holds_no_longer() {
    let mut pair = Pair::joined(patient(0), None, &[1_000_000, 0]);
    pair.fan_out.no_more_legs();
    for _ in 0..4 {
        pair.fan_out
            .handle_content(pair.now, random_content(READ_BLOCK_BYTES));
        pair.tick();
    }
    pair.fan_out.hold_back(pair.now, 2 * READ_BLOCK_BYTES);
    let begun = pair.now;
    while pair.fan_out.memory() > 2 * READ_BLOCK_BYTES {
        assert!(pair.fan_out.is_held_back() && pair.now < begun + 2 * MAX_HOLD);
        pair.tick();
    }
    assert!(pair.now >= begun + MAX_HOLD);
    let behind = DeliveryState::Failed(DeliveryFailure::Behind);
    assert_eq!(pair.ended, [(LegId(1), behind)]);
    pair.fan_out.let_go();
    assert!(!pair.fan_out.is_held_back());
}

#[test]
fn a_full_disk_keeps_what_it_has_and_holds_the_originator_back() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(patient(1 << 30), None, &[1_000_000, 5_000]);
    pair.fan_out.no_more_legs();
    pair.disk_bytes = 2_000_000;
    pair.send(&whole, READ_BLOCK_BYTES);
    pair.finish();
    // The slow one takes the content of the disk at its own pace, and the rest as it arrives;
    // nobody fails.
    pair.assert_has_all(0, &whole);
    pair.assert_has_all(1, &whole);
    assert!(pair.spool.len() > 1_000_000 && pair.spool.len() <= 2_000_000);
    assert!(pair.fetches > 10 && pair.longest_hold > Duration::from_secs(1));
    assert!(pair.longest_hold < MAX_HOLD, "{:?}", pair.longest_hold);
}

#[test]
fn a_full_disk_costs_in_the_end_who_is_behind() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(patient(1 << 30), None, &[1_000_000, 0]);
    pair.fan_out.no_more_legs();
    pair.disk_bytes = 2_000_000;
    pair.send(&whole, READ_BLOCK_BYTES);
    pair.finish();
    pair.assert_has_all(0, &whole);
    let behind = DeliveryState::Failed(DeliveryFailure::Behind);
    assert_eq!(pair.fan_out.leg(LegId(1)).state, behind);
    assert!(pair.longest_hold <= MAX_HOLD + TICK);
}

#[test]
fn a_disk_with_room_again_is_used_again() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(patient(1 << 30), None, &[1_000_000, 0]);
    pair.fan_out.no_more_legs();
    pair.disk_bytes = 0;
    let mut rest = whole.clone();
    while pair.reading {
        pair.fan_out
            .handle_content(pair.now, rest.split_to(READ_BLOCK_BYTES));
        pair.tick();
    }
    for _ in 0..300 {
        pair.tick();
    }
    assert!(pair.fan_out.is_spool_full() && !pair.reading);
    // It was retried once per second, not with each leg's step.
    assert!((2..8).contains(&pair.spills), "{}", pair.spills);
    pair.disk_bytes = usize::MAX;
    pair.send(&rest, READ_BLOCK_BYTES);
    pair.peers[1].speed = 1_000_000;
    pair.finish();
    for peer in 0..2 {
        pair.assert_has_all(peer, &whole);
    }
}

#[test]
fn a_spool_that_cannot_be_read_costs_only_legs_that_need_it() {
    let whole = random_content(6_000_000);
    let mut pair = Pair::joined(limits(1 << 30), None, &[2_000_000, 10_000]);
    pair.fan_out.no_more_legs();
    pair.send(&whole, READ_BLOCK_BYTES);
    pair.readable = false;
    pair.finish();
    pair.assert_has_all(0, &whole);
    let slow = pair.fan_out.leg(pair.peers[1].leg).state;
    assert_eq!(slow, DeliveryState::Failed(DeliveryFailure::SpoolLost));
    assert_eq!(pair.fan_out.memory(), 0);
}

#[test]
fn less_memory_moves_content_to_the_spool() {
    let mut pair = Pair::new(
        Limits {
            memory_bytes: 8 << 20,
            ..limits(1 << 30)
        },
        None,
    );
    for _ in 0..64 {
        pair.fan_out
            .handle_content(pair.now, random_content(READ_BLOCK_BYTES));
        pair.tick();
    }
    assert_eq!((pair.fan_out.memory(), pair.spills), (4 << 20, 0));
    pair.bound = usize::MAX;
    let now = pair.now;
    pair.fan_out.set_limits(now, limits(1 << 30));
    for _ in 0..64 {
        pair.tick();
    }
    assert!(pair.fan_out.memory() <= MIN_MEMORY_BYTES && pair.reading);
}
