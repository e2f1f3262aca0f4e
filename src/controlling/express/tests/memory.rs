//! The memory that all processes share: cells, slots, and processes that get in each other's way.

use super::*;

#[test]
fn cells_of_those_who_have_answered_are_free_before_the_last_has() {
    let mut network = Network::new(|uri, _| match uri.contains("user7@") {
        true => vec![],
        false => vec![200],
    });
    network.send_all(1_000, Transport::Udp);
    let before = network.sweeper.memory().bytes();
    let until_ms = network.now_ms + 1_000;
    while network.now_ms < until_ms {
        network.now_ms += 2;
        while let Some(Reverse((arrives_ms, number))) = network.flying.peek().copied()
            && arrives_ms <= network.now_ms
        {
            network.flying.pop();
            network.arrive(number);
        }
        network.sweep();
    }
    assert_eq!(network.sweeper.memory().outstanding(), 1);
    let after = network.sweeper.memory().bytes();
    assert!(after <= 4 * 1_024, "{after} of {before}");
    network.run();
    network.assert_empty();
}

/// The first response finds the block locked by a process that was killed in the middle of a
/// change.
#[test]
fn a_slot_whose_holder_is_dead_is_taken_over() {
    let mut network = Network::new(at_once);
    network.send_all(100, Transport::Udp);
    let (_, packet) = network.packets.values().next().unwrap().clone();
    let request = String::from_utf8(packet).unwrap();
    let memory = network.sweeper.memory().clone();
    let (block, place) = block_of(&network.workers[0], &request, &memory);
    let locked = memory.cells.lock(block.head, network.now_ms).unwrap();
    // Half done: the leg has ended, but the numbers do not show it.
    let fresh = block.fresh();
    let completed = block.progress(place).now_in(State::Completed);
    block.set_progress(place, completed);
    block.set_fresh(fresh);
    block.set_unsettled(100);
    locked.die();
    let begun_ms = network.now_ms;
    network.run();
    // The responses that arrived meanwhile were lost, and came again after retransmission.
    assert!(network.now_ms - begun_ms >= HELD_MS, "{}", network.now_ms);
    assert!(network.now_ms - begun_ms < 5_000, "{}", network.now_ms);
    assert_eq!(network.ended.len(), 99, "the one that it had ended itself");
    assert!(network.ended.values().all(|codes| codes == &[200]));
    assert_eq!(network.sweeper.memory().bytes(), 0);
}

#[test]
fn nobody_answers_for_another_one() {
    let mut network = Network::new(at_once);
    network.send_all(100, Transport::Udp);
    let (_, packet) = network.packets.values().next().unwrap().clone();
    let request = String::from_utf8(packet).unwrap();
    let at = request.find("z9hG4bKcpm").unwrap() + COOKIE.len();
    let mut outbox = Outbox::default();
    // The right branch with one digit changed, at each position.
    for digit in at..at + 24 {
        let mut forged = request.clone().into_bytes();
        forged[digit] = if forged[digit] == b'0' { b'1' } else { b'0' };
        let forged = answer(&String::from_utf8(forged).unwrap(), 200);
        assert!(network.workers[1].hear(&forged, network.now_ms, &mut outbox));
    }
    assert!(outbox.ended.is_empty());
    assert_eq!(outbox.strays, 24);
}

#[test]
fn what_finds_no_room_is_not_taken_and_leaves_nothing_behind() {
    let words = (0..40_000).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let mut lane = Lane::new(LaneMemory::new(words.leak()), fill);
    let mut outbox = Outbox::default();
    let copy = copy("sip:a@b", "<sip:a@b>", "1", 1);
    let udp = way(Transport::Udp, 0);
    let long = "x".repeat(2_000);
    let others = [
        OutgoingRequest {
            method: "INVITE",
            ..copy
        },
        OutgoingRequest {
            body: &[b'x'; 100_000],
            ..copy
        },
        // Longer than a cell.
        OutgoingRequest {
            request_uri: &long,
            ..copy
        },
    ];
    for other in &others {
        assert!(!lane.take(other, &udp, 5, &mut outbox), "there is room");
    }
    let mut taken = 0;
    while lane.take(&copy, &udp, 5, &mut outbox) {
        taken += 1;
    }
    assert!(taken > 1_000, "{taken}");
    assert_eq!(lane.memory().outstanding(), taken);
    assert!(!outbox.batches.is_empty(), "what was taken is sent");
    for other in &others {
        assert!(!lane.take(other, &udp, 5, &mut outbox));
        lane.flush(5, &mut outbox);
    }
    // No recipient answers.
    let mut now_ms = 5;
    loop {
        let mut outbox = Outbox::default();
        match lane.sweep(now_ms, &mut outbox) {
            Swept::More => {}
            Swept::Until(Some(until_ms)) => now_ms = until_ms,
            Swept::Until(None) => break,
        }
    }
    assert_eq!(lane.memory().bytes(), 0);
    assert_eq!(lane.memory().outstanding(), 0);
}

/// Workers that take, hear and sweep at the same time, in threads: no copy is lost, none ends
/// twice.
#[test]
fn processes_do_not_get_into_each_others_way() {
    use std::sync::Mutex;
    use std::sync::atomic::Ordering::Relaxed;

    const SENDERS: u64 = 2;
    const MESSAGES: u64 = 40;
    const RECIPIENTS: u64 = 50;
    let first = Lane::new(memory(), fill);
    let answers: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    let ended = AtomicU64::new(0);
    let lane = |seed: u64| {
        SEED.set(seed);
        let mut lane = Lane::new(first.memory().clone(), fill);
        lane.share_secret(&first);
        lane
    };
    let carry_out = |outbox: Outbox| {
        ended.fetch_add(outbox.ended.len() as u64, Relaxed);
        let mut answers = answers.lock().unwrap();
        for batch in &outbox.batches {
            for (head, _) in batch.copies() {
                answers.push(answer(std::str::from_utf8(head).unwrap(), 200));
            }
        }
    };
    let all = SENDERS * MESSAGES * RECIPIENTS;
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (lane, carry_out) = (&lane, &carry_out);
            scope.spawn(move || {
                let mut lane = lane(sender + 1);
                for _ in 0..MESSAGES {
                    let mut outbox = Outbox::default();
                    for number in 0..RECIPIENTS {
                        let uri = format!("sip:user{number}@example.com");
                        let to = format!("<{uri}>");
                        let copy = copy(&uri, &to, "1", number);
                        while !lane.take(&copy, &way(Transport::Udp, 0), 1, &mut outbox) {}
                    }
                    lane.flush(1, &mut outbox);
                    carry_out(outbox);
                }
            });
        }
        for hearer in 0..2 {
            let (lane, carry_out, answers, ended) = (&lane, &carry_out, &answers, &ended);
            scope.spawn(move || {
                let mut lane = lane(hearer + 10);
                while ended.load(Relaxed) < all {
                    let Some(packet) = answers.lock().unwrap().pop() else {
                        std::thread::yield_now();
                        continue;
                    };
                    let mut outbox = Outbox::default();
                    lane.hear(&packet, 1, &mut outbox);
                    lane.go_on(1, &mut outbox);
                    if outbox.strays > 0 {
                        // Locked for too long: the response comes again.
                        answers.lock().unwrap().insert(0, packet);
                    }
                    carry_out(outbox);
                }
            });
        }
        let (lane, carry_out, ended) = (&lane, &carry_out, &ended);
        scope.spawn(move || {
            let mut lane = lane(20);
            while ended.load(Relaxed) < all {
                let mut outbox = Outbox::default();
                lane.sweep(1, &mut outbox);
                carry_out(outbox);
            }
        });
    });
    assert_eq!(ended.load(Relaxed), all);
    assert_eq!(first.memory().bytes(), 0);
    assert_eq!(first.memory().outstanding(), 0);
}
