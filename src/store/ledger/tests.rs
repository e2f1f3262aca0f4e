use super::super::looking::{CopyState, Sought};
use super::*;

fn copy(number: u8) -> CopyId {
    CopyId([number; 16])
}

const NEVER: u64 = u64::MAX;

/// Which of the copies with these numbers are to be sent.
fn wanted<const N: usize>(ledger: &Ledger, id: u64, numbers: [u8; N], now_ms: u64) -> [bool; N] {
    let wanted = ledger.wanted(id, numbers.into_iter().map(copy), now_ms);
    let mut wanted = wanted.into_iter();
    numbers.map(|_| wanted.next().flatten().is_some())
}

#[test]
fn a_message_is_over_with_its_last_recipient() {
    let mut ledger = Ledger::default();
    ledger.begin(7, 3, NEVER, 0);
    for number in [1, 2] {
        ledger.sent(7, copy(number), 0);
    }
    assert!(ledger.end_recipient(7, copy(3), 503, 5), "never sent");
    assert!(ledger.ended(copy(1), 200, 6));
    assert!(!ledger.ended(copy(1), 200, 6), "once");
    assert_eq!((ledger.outstanding(), ledger.left(7, 0)), (1, 1));
    assert_eq!(ledger.write_ms(), Some(5 + GATHER_MS));
    let changes = ledger.take_changes();
    assert_eq!(changes.ended[0].0, 7);
    assert_eq!(changes.ended[0].1.len(), 2 * ENDED_BYTES);
    assert_eq!(ledger.codes(7), BTreeMap::from([(200, 1), (503, 1)]));
    assert!(ledger.ended(copy(2), 404, 9));
    let changes = ledger.take_changes();
    assert_eq!((changes.ended, changes.done), (vec![], vec![7]));
    assert_eq!((ledger.outstanding(), ledger.due_ms()), (0, None));
    assert_eq!(ledger.write_ms(), None);
}

#[test]
fn the_next_process_sends_what_has_not_ended_and_hears_the_ends_of_what_the_first_has_sent() {
    let mut first = Ledger::default();
    first.begin(7, 3, NEVER, 0);
    for number in [1, 2, 3] {
        first.sent(7, copy(number), 0);
    }
    first.ended(copy(2), 200, 1);
    let (_, ended) = first.take_changes().ended.remove(0);
    let mut next = Ledger::default();
    next.restore(7, [1, 2, 3].into_iter().map(copy), &ended, NEVER, 100);
    assert_eq!(next.outstanding(), 2);
    assert_eq!(next.late(copy(2), 101), None, "it has ended");
    let late = next.late(copy(3), 101).map(|(id, _)| id);
    assert_eq!(late, Some(7), "late, but not too late");
    assert_eq!(next.take_due(102), Some(7));
    let wanted = |ledger: &Ledger, now_ms| wanted(ledger, 7, [1, 2, 3], now_ms);
    assert_eq!(wanted(&next, 102), [true, false, false]);
    next.sent(7, copy(1), 102);
    assert_eq!(wanted(&next, 103), [false; 3], "it is on its way");
    assert_eq!(next.late(copy(1), 103), None, "its transaction will say");
    let lost = wanted(&next, 102 + LOST_MS);
    assert_eq!(lost, [true, false, false], "its end was lost");
    assert!(next.ended(copy(1), 482, 110));
    assert_eq!(next.take_changes().done, [7]);
}

#[test]
fn a_message_that_expires_while_it_is_sent_is_due_when_that_is_done() {
    let mut ledger = Ledger::default();
    ledger.begin(7, 2, 5, 0);
    ledger.sent(7, copy(1), 1);
    assert_eq!(ledger.take_due(6), None, "it is being sent");
    ledger.put_off(7, 6, 20);
    assert_eq!(ledger.take_due(30), None);
    ledger.rest(7);
    assert_eq!(ledger.take_due(6), Some(7));
    assert_eq!(ledger.take_due(u64::MAX), None, "one at a time");
    let wanted = ledger.wanted(7, [1, 2].into_iter().map(copy), 26);
    let second = Wanted {
        cseq: 1,
        is_again: false,
        give_up: Some(Unsent::Expired),
    };
    assert_eq!(wanted, [None, Some(second)], "the first is on its way");
    // What cannot be read now is not due again at once.
    ledger.put_off(7, 26, 20);
    ledger.rest(7);
    assert_eq!((ledger.take_due(45), ledger.take_due(46)), (None, Some(7)));
}

#[test]
fn a_recipient_ends_once() {
    let mut ledger = Ledger::default();
    ledger.restore(7, [1, 2].into_iter().map(copy), &[], NEVER, 0);
    assert_eq!(ledger.take_due(0), Some(7));
    ledger.expect(7, [1, 2].into_iter().map(copy));
    assert!(ledger.ended(copy(1), 200, 1), "late, to the process before");
    // The job that resumes the message does not know, and sends to both.
    ledger.sent(7, copy(1), 2);
    ledger.sent(7, copy(2), 2);
    assert!(!ledger.ended(copy(1), 482, 3));
    assert!(!ledger.end_recipient(7, copy(1), 408, 3));
    assert_eq!((ledger.left(7, 0), ledger.outstanding()), (1, 1));
    assert!(ledger.ended(copy(2), 200, 4));
    assert_eq!((ledger.left(7, 0), ledger.outstanding()), (0, 0));
}

#[test]
fn what_is_gone_from_the_store_is_not_waited_for() {
    let mut ledger = Ledger::default();
    ledger.restore(7, [1, 2].into_iter().map(copy), &[], NEVER, 0);
    assert_eq!(ledger.take_due(0), Some(7));
    assert!(ledger.forget(7, 1));
    assert!(!ledger.forget(7, 1));
    assert_eq!((ledger.outstanding(), ledger.due_ms()), (0, None));
    assert!(!ledger.ended(copy(1), 200, 2));
}

#[test]
fn all_but_the_last_line_may_have_been_written() {
    let mut ledger = Ledger::default();
    let ended = [&copy(1).short()[..], &200_u16.to_be_bytes()].concat();
    ledger.restore(7, [copy(1)].into_iter(), &ended, NEVER, 0);
    assert_eq!(ledger.take_changes().done, [7]);
    assert_eq!((ledger.outstanding(), ledger.due_ms()), (0, None));
}

#[test]
fn a_message_is_due_again_until_it_is_over() {
    let mut ledger = Ledger::default();
    ledger.begin(1, 2, NEVER, 0);
    ledger.begin(2, 1, 50, 0);
    assert_eq!(ledger.due_ms(), None, "both are being sent");
    ledger.rest(1);
    ledger.rest(2);
    assert_eq!(ledger.take_due(49), None);
    assert_eq!(ledger.take_due(50), Some(2));
    assert!(ledger.is_expired(2, 50) && !ledger.is_expired(1, 50));
    ledger.put_off(1, 0, 60);
    assert_eq!((ledger.take_due(59), ledger.take_due(60)), (None, Some(1)));
    assert_eq!(ledger.due_ms(), None, "both are at work again");
    ledger.rest(2);
    assert_eq!(ledger.due_ms(), Some(50 + LOST_MS));
    ledger.expect(1, [1, 2].into_iter().map(copy));
    ledger.rest(1);
    ledger.sent(1, copy(1), 61);
    ledger.unsent(copy(1), 61, 9);
    assert_eq!(wanted(&ledger, 1, [1], 62), [true]);
    assert_eq!(ledger.take_due(70), Some(1));
    ledger.sent(1, copy(1), 71);
    ledger.replaced(copy(1), copy(9), 72);
    assert!(!ledger.ended(copy(1), 415, 73));
    assert_eq!(ledger.left(1, 0), 2);
    assert!(ledger.ended(copy(9), 200, 74));
    assert_eq!(ledger.left(1, 0), 1);
    // The end of the second copy arrives before the copy is known.
    ledger.sent(1, copy(2), 75);
    assert!(!ledger.ended(copy(8), 200, 76));
    ledger.replaced(copy(2), copy(8), 77);
    assert_eq!(ledger.left(1, 0), 0);
}

/// Of the recipients with these numbers, each by a hash of its own.
fn key(number: u32) -> RecipientKey {
    RecipientKey {
        user: number << 12,
        address: number << 12 | 1 << 31,
    }
}

const RETRY: Retry<'_> = Retry {
    steps_s: &[60, 300],
    delay_s: 2,
    most: 3,
};

/// A message to recipients 1 and 2, which are on their way at 0.
fn two_on_their_way(expires_ms: u64) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.begin(7, 2, expires_ms, 0);
    for number in [1, 2] {
        ledger.sent(7, copy(number), 0);
    }
    ledger.rest(7);
    ledger
}

/// The message is due at this time and no earlier; the first copy is sent once more.
#[track_caller]
fn expect_attempt(ledger: &mut Ledger, at_ms: u64, cseq: u32) {
    assert_eq!(ledger.take_due(at_ms - 1), None);
    assert_eq!(ledger.take_due(at_ms), Some(7));
    let wanted = ledger.wanted(7, [copy(1)].into_iter(), at_ms);
    let first = Wanted {
        cseq,
        is_again: false,
        give_up: None,
    };
    assert_eq!(wanted, [Some(first)]);
    ledger.expect(7, [copy(1)].into_iter());
    ledger.sent(7, copy(1), at_ms);
    ledger.rest(7);
}

#[test]
fn attempts_follow_the_schedule_and_its_last_step_repeats() {
    let mut ledger = two_on_their_way(NEVER);
    let mut at_ms = 1_000;
    for (cseq, step_s) in [(2, 60), (3, 300), (4, 300)] {
        let deferred = ledger.defer(copy(1), 480, key(1), RETRY, at_ms);
        assert_eq!(deferred, Deferred::Waiting);
        assert_eq!((ledger.waiting(), ledger.outstanding()), (1, 1));
        at_ms += 1_000 * step_s;
        expect_attempt(&mut ledger, at_ms, cseq);
        assert_eq!((ledger.waiting(), ledger.outstanding()), (0, 2));
        at_ms += 5;
    }
    assert!(ledger.ended(copy(1), 200, at_ms));
    assert_eq!(ledger.codes(7), BTreeMap::from([(200, 1)]));
    let deferred = ledger.defer(copy(1), 480, key(1), RETRY, at_ms);
    assert_eq!(deferred, Deferred::Unknown, "it has ended");
    assert!(ledger.ended(copy(2), 200, at_ms));
    assert_eq!((ledger.due_ms(), ledger.awaited.len()), (None, 0));
}

#[test]
fn who_arrives_is_tried_a_moment_later_and_nobody_else() {
    let mut ledger = two_on_their_way(NEVER);
    for number in [1, 2] {
        ledger.defer(copy(number), 480, key(number.into()), RETRY, 1_000);
    }
    ledger.arrived(3 << 12..=(4 << 12) - 1, 2_000, 500);
    assert_eq!(ledger.due_ms(), Some(61_000));
    ledger.arrived(1 << 12..=(2 << 12) - 1, 3_000, 500);
    expect_attempt(&mut ledger, 3_500, 2);
    assert_eq!(ledger.due_ms(), Some(61_000), "the other one");
    // It arrives while its copy is on its way to where it was before.
    ledger.arrived(key(1).address..=key(1).address, 4_000, 500);
    ledger.defer(copy(1), 408, key(1), RETRY, 36_000);
    expect_attempt(&mut ledger, 38_000, 3);
    // Once: that arrival was before this attempt.
    ledger.defer(copy(1), 480, key(1), RETRY, 39_000);
    assert_eq!(ledger.take_due(60_999), None);
}

#[test]
fn only_so_many_wait_for_one_recipient() {
    let mut ledger = Ledger::default();
    for id in 1..=5 {
        ledger.begin(id, 1, NEVER, 0);
        ledger.sent(id, copy(id as u8), 0);
        ledger.rest(id);
        let recipient = if id == 5 { key(2) } else { key(1) };
        let deferred = ledger.defer(copy(id as u8), 480, recipient, RETRY, 1_000);
        let is_over = deferred == Deferred::GivenUp;
        assert_eq!(is_over, id == 4, "{id}");
    }
    assert_eq!(ledger.take_due(1_000), Some(4));
    let wanted = ledger.wanted(4, [copy(4)].into_iter(), 1_000);
    assert_eq!(wanted[0].unwrap().give_up, Some(Unsent::TooMany(480)));
    assert!(ledger.end_recipient(4, copy(4), 480, 1_000));
    assert_eq!(ledger.waiting(), 4);
}

#[test]
fn who_waits_when_the_message_expires_is_given_up() {
    let mut ledger = two_on_their_way(40_000);
    ledger.defer(copy(1), 480, key(1), RETRY, 1_000);
    assert_eq!(ledger.take_due(39_999), None);
    assert_eq!(ledger.take_due(40_000), Some(7));
    let wanted = ledger.wanted(7, [1, 2].into_iter().map(copy), 40_000);
    assert_eq!(wanted[0].unwrap().give_up, Some(Unsent::Expired));
    assert_eq!(wanted[1], None, "it is on its way");
    assert!(ledger.end_recipient(7, copy(1), EXPIRED, 40_000));
    ledger.rest(7);
    // The other one fails only now.
    let deferred = ledger.defer(copy(2), 408, key(2), RETRY, 41_000);
    assert_eq!(deferred, Deferred::GivenUp);
    assert_eq!(ledger.take_due(41_000), Some(7));
    // An operator's word is an expiry like any other.
    let mut ledger = two_on_their_way(NEVER);
    ledger.defer(copy(1), 480, key(1), RETRY, 1_000);
    ledger.retry(7, 2_000);
    assert_eq!(ledger.due_ms(), Some(2_000));
    ledger.expire(7, 2_000);
    assert_eq!(ledger.take_due(2_000), Some(7));
    let wanted = ledger.wanted(7, [copy(1)].into_iter(), 2_000);
    assert_eq!(wanted[0].unwrap().give_up, Some(Unsent::Expired));
}

#[test]
fn the_next_process_tries_at_once_who_waited_under_the_number_of_the_attempt() {
    let mut first = two_on_their_way(NEVER);
    first.defer(copy(1), 480, key(1), RETRY, 1_000);
    let written = first.take_changes().ended.remove(0).1;
    let mut next = Ledger::default();
    next.restore(7, [1, 2].into_iter().map(copy), &written, NEVER, 100);
    assert_eq!((next.outstanding(), next.waiting()), (2, 0));
    assert_eq!(next.take_due(100), Some(7));
    let wanted = next.wanted(7, [1, 2].into_iter().map(copy), 100);
    let again = |cseq| {
        Some(Wanted {
            cseq,
            is_again: true,
            give_up: None,
        })
    };
    assert_eq!(wanted, [again(2), again(1)]);
    next.sent(7, copy(1), 100);
    next.defer(copy(1), 480, key(1), RETRY, 200);
    let written = next.take_changes().ended.remove(0).1;
    assert_eq!(
        written.len(),
        ENDED_BYTES,
        "one entry, with the last number"
    );
    assert!(next.forget(7, 300));
    assert_eq!(
        (next.waiting(), next.awaited.len(), next.due_ms()),
        (0, 0, None)
    );
}

#[test]
fn a_burst_of_arrivals_costs_what_waits_for_them() {
    const MANY: u64 = 100_000;
    let mut ledger = Ledger::default();
    for id in 0..MANY {
        let own = CopyId((id as u128).to_be_bytes().map(|byte| byte.reverse_bits()));
        let recipient = key(id as u32);
        ledger.begin(id, 1, NEVER, 0);
        ledger.sent(id, own, 0);
        ledger.rest(id);
        ledger.defer(own, 480, recipient, RETRY, 1);
    }
    assert_eq!(ledger.waiting(), MANY as usize);
    for id in 0..MANY as u32 {
        let hash = key(id).address;
        ledger.arrived(hash..=hash + 4095, 1_000, 2_000);
        ledger.arrived(hash..=hash + 4095, 1_500, 2_000);
    }
    assert_eq!(ledger.due_ms(), Some(3_000));
    let due = std::iter::from_fn(|| ledger.take_due(3_000));
    assert_eq!(due.count(), MANY as usize);
}

#[test]
fn a_late_2xx_ends_the_wait() {
    let mut ledger = two_on_their_way(NEVER);
    for number in [1, 2] {
        ledger.defer(copy(number), 408, key(number.into()), RETRY, 1_000);
    }
    assert_eq!(ledger.late(copy(1), 2_000), Some((7, key(1))));
    assert_eq!(ledger.late(copy(1), 2_000), None, "once");
    assert_eq!((ledger.waiting(), ledger.awaited.len()), (1, 2));
    assert_eq!(ledger.codes(7), BTreeMap::from([(200, 1)]));
    // The other one's comes while its next attempt is on its way, which fails too.
    assert_eq!(ledger.take_due(61_000), Some(7));
    let attempt = |number| ledger.wanted(7, [copy(number)].into_iter(), 61_000)[0];
    assert_eq!((attempt(1), attempt(2).unwrap().cseq), (None, 2));
    ledger.expect(7, [copy(2)].into_iter());
    ledger.sent(7, copy(2), 61_000);
    assert_eq!(ledger.late(copy(2), 62_000), None);
    let deferred = ledger.defer(copy(2), 408, key(2), RETRY, 93_000);
    assert_eq!(deferred, Deferred::HasIt);
    assert_eq!(ledger.take_changes().done, [7]);
    assert_eq!((ledger.waiting(), ledger.outstanding()), (0, 0));
}

/// The other copy goes to the ISF.
#[test]
fn who_is_reached_by_another_copy_is_not_sent_to_again() {
    let mut ledger = two_on_their_way(NEVER);
    ledger.replaced(copy(1), copy(9), 500);
    ledger.defer(copy(2), 480, key(2), RETRY, 1_000);
    let expect_only_the_other = |ledger: &mut Ledger, now_ms| {
        assert_eq!(ledger.take_due(now_ms), Some(7));
        assert_eq!(wanted(ledger, 7, [1, 2], now_ms), [false, true]);
        ledger.expect(7, [copy(2)].into_iter());
        ledger.sent(7, copy(2), now_ms);
        ledger.rest(7);
    };
    expect_only_the_other(&mut ledger, 61_000);
    assert!(ledger.ended(copy(9), 202, 62_000));
    assert!(!ledger.ended(copy(9), 202, 62_000), "once");
    ledger.defer(copy(2), 480, key(2), RETRY, 63_000);
    expect_only_the_other(&mut ledger, 363_000);
    // Nor by the next process.
    let (_, written) = ledger.take_changes().ended.remove(0);
    let mut next = Ledger::default();
    next.restore(7, [1, 2].into_iter().map(copy), &written, NEVER, 100);
    assert_eq!(next.outstanding(), 1);
    assert_eq!(next.take_due(100), Some(7));
    assert_eq!(wanted(&next, 7, [1, 2], 100), [false, true]);
}

#[test]
fn an_operator_finds_messages_by_their_names_and_by_who_waits() {
    let mut ledger = Ledger::default();
    for id in 1..=3 {
        ledger.begin(id, 2, NEVER, 0);
        ledger.set_names(id, [id, 100, 0, 200]);
        ledger.set_mark(id, [id, 0]);
        for number in [1, 2] {
            ledger.sent(id, copy(10 * id as u8 + number), 0);
        }
        ledger.rest(id);
    }
    for (number, recipient) in [(11, 1), (12, 2), (21, 1)] {
        ledger.defer(copy(number), 480, key(recipient), RETRY, 1_000);
    }
    assert_eq!(
        [2, 100, 7].map(|name| ledger.named(name)),
        [Some(2), Some(3), None]
    );
    let seek = |ledger: &Ledger, sought| ledger.seek(sought, |[number, _]| number == 2);
    let all = Sought::default();
    assert_eq!(ledger.seek(all, |_| false), [3, 2, 1], "newest first");
    assert_eq!(seek(&ledger, all), [3, 1], "the other is listed already");
    let waits = |waits| Sought {
        waits: Some(waits),
        ..all
    };
    assert_eq!(seek(&ledger, waits(true)), [1]);
    assert_eq!(seek(&ledger, waits(false)), [3]);
    let sought = |recipient| Sought {
        recipient: Some(key(recipient)),
        ..all
    };
    assert_eq!(ledger.seek(sought(1), |_| false), [2, 1]);
    assert_eq!(ledger.seek(sought(3), |_| false), [0; 0]);
    let name = Sought {
        name: Some(200),
        ..all
    };
    assert_eq!(ledger.seek(name, |_| false), [3, 2, 1]);
    let states = ledger.states(1, [copy(11), copy(12)].into_iter());
    assert_eq!(states, [CopyState::Waiting; 2]);
    // All that waits for one recipient is tried, or given up, and nothing else.
    assert_eq!(ledger.retry_recipient(key(1), 2_000), 2);
    assert_eq!(ledger.due_ms(), Some(2_000));
    assert_eq!(ledger.expire_recipient(key(1), 3_000), 2);
    assert_eq!(ledger.expire_recipient(key(1), 3_000), 0);
    let due: Vec<_> = std::iter::from_fn(|| ledger.take_due(3_000)).collect();
    assert_eq!(due, [1, 2]);
    let wanted = ledger.wanted(1, [copy(11), copy(12)].into_iter(), 3_000);
    assert_eq!(wanted[0].unwrap().give_up, Some(Unsent::Expired));
    assert_eq!(wanted[1], None, "it waits for another recipient");
    assert!(ledger.end_recipient(1, copy(11), 408, 3_000));
    assert_eq!(
        ledger.states(1, [copy(11)].into_iter()),
        [CopyState::Ended(408)]
    );
    // What is over is known no more.
    assert!(ledger.forget(2, 4_000));
    assert_eq!((ledger.named(2), ledger.named(100)), (None, Some(3)));
}

#[test]
fn what_a_session_has_is_neither_due_nor_lost_while_others_wait() {
    let mut ledger = Ledger::default();
    ledger.begin(7, 2, NEVER, 0);
    for number in [1, 2] {
        ledger.in_session(7, copy(number), 0);
    }
    ledger.rest(7);
    let recipient = RecipientKey {
        user: 1,
        address: 2,
    };
    let retry = Retry {
        steps_s: &[60],
        delay_s: 2,
        most: 9,
    };
    let deferred = ledger.defer(copy(1), 480, recipient, retry, 1_000);
    assert_eq!(deferred, Deferred::Waiting);
    assert_eq!(ledger.take_due(60_999), None);
    assert_eq!(ledger.take_due(61_000), Some(7));
    assert_eq!(wanted(&ledger, 7, [1, 2], 61_000), [true, false]);
    ledger.in_session(7, copy(1), 61_000);
    ledger.rest(7);
    // However long the sessions take, also beyond the message's time.
    assert_eq!(wanted(&ledger, 7, [1, 2], 10 * LOST_MS), [false; 2]);
    ledger.expire(7, 10 * LOST_MS);
    assert_eq!(ledger.take_due(10 * LOST_MS), Some(7));
    assert_eq!(wanted(&ledger, 7, [1, 2], 10 * LOST_MS), [false; 2]);
    ledger.rest(7);
    // Unless they are lost.
    ledger.unsent(copy(2), 11 * LOST_MS, 5);
    assert_eq!(ledger.take_due(11 * LOST_MS + 5), Some(7));
    assert_eq!(wanted(&ledger, 7, [1, 2], 11 * LOST_MS + 5), [false, true]);
    assert!(ledger.ended(copy(1), 200, 12 * LOST_MS));
}
