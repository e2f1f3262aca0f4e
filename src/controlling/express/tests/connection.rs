//! Copies over TCP.

use super::*;

#[test]
fn over_a_connection_nothing_is_sent_twice() {
    let mut network = Network::new(|uri, _| match uri.contains("user1@") {
        true => vec![],
        false => vec![200],
    });
    network.send_all(600, Transport::Tcp);
    network.run();
    assert_eq!(network.repeated, 0);
    assert_eq!(network.ended["sip:user1@example.com"], [408]);
    assert_eq!(network.ended.len(), 600);
    network.assert_empty();
}

/// A lane with so many copies over a connection, which have just been sent, and what was sent.
fn sent_over_a_connection(count: usize) -> (Lane, Outbox) {
    let mut lane = Lane::new(memory(), fill);
    let mut outbox = Outbox::default();
    for number in 0..count {
        let uri = format!("sip:user{number}@example.com");
        let (to, call_id) = (format!("<{uri}>"), format!("cpm-{number:032x}"));
        let copy = copy(&uri, &to, &call_id, 1);
        assert!(lane.take(&copy, &way(Transport::Tcp, 0), 5, &mut outbox));
    }
    lane.flush(5, &mut outbox);
    (lane, outbox)
}

fn head_of(outbox: &Outbox, number: usize) -> String {
    let (head, _) = outbox.batches[0].copies().nth(number).unwrap();
    String::from_utf8_lossy(head).into_owned()
}

#[test]
fn what_a_connection_has_no_room_for_goes_later() {
    let (mut lane, outbox) = sent_over_a_connection(40);
    lane.unsent(&outbox.batches[0], 30, 5);
    assert!(
        lane.list(5, 1).contains("waiting=10	"),
        "{}",
        lane.list(5, 1)
    );
    let mut later = Outbox::default();
    while lane.sweep(105, &mut later) == Swept::More {}
    assert_eq!(later.batches[0].len(), 10);
    assert_eq!(head_of(&outbox, 30), head_of(&later, 0), "nobody is missed");
    assert_eq!(later.repeated, 0);
}

#[test]
fn copies_whose_connection_cannot_be_made_end_with_the_next_sweep() {
    let (mut lane, outbox) = sent_over_a_connection(40);
    lane.lose(&outbox.batches[0], &[0, 7, 7, 39, 40], 5);
    let mut swept = Outbox::default();
    while lane.sweep(6, &mut swept) == Swept::More {}
    let texts: Vec<String> = swept
        .ended
        .iter()
        .map(|ended| {
            assert_eq!((ended.code, ended.attempt), (503, 1));
            assert_eq!(&swept.texts[ended.reason.clone()], b"Not Sendable");
            String::from_utf8_lossy(&swept.texts[ended.request.clone()]).into_owned()
        })
        .collect();
    let lost = [0, 7, 39].map(|number| head_of(&outbox, number));
    assert_eq!(texts, lost, "each once");
    assert!(swept.batches.is_empty());
    assert_eq!(lane.memory().outstanding(), 37);
    let rest: Vec<usize> = (0..40).collect();
    lane.lose(&outbox.batches[0], &rest, 7);
    while lane.sweep(8, &mut swept) == Swept::More {}
    assert_eq!(swept.ended.len(), 40);
    assert_eq!(lane.memory().outstanding(), 0);
    assert_eq!(lane.memory().bytes(), 0);
}

/// Work is linear in what had no room: nobody is looked at for it who has been sent.
#[test]
fn a_full_connection_costs_only_those_who_wait_for_it() {
    let (mut lane, outbox) = sent_over_a_connection(60);
    let memory = lane.memory().clone();
    let (block, first) = block_of(&lane, &head_of(&outbox, 0), &memory);
    let (_, other) = block_of(&lane, &head_of(&outbox, 40), &memory);
    assert_ne!(first.cell, other.cell);
    lane.unsent(&outbox.batches[0], 40, 5);
    assert_eq!(block.cursor(), Some(other.cell));
    // All legs of the first cell end: who looked at it would give it back.
    for leg in block.legs_of(first.cell) {
        let progress = block.progress(leg);
        block.set_progress(leg, progress.now_in(State::Completed));
    }
    let before = memory.bytes();
    let mut later = Outbox::default();
    while lane.sweep(105, &mut later) == Swept::More {}
    assert_eq!(later.batches[0].len(), 20);
    assert_eq!(memory.bytes(), before, "no timer has fired");
    // Two processes have sent, and the one that was first says last that it had no room.
    lane.unsent(&later.batches[0], 5, 105);
    let (_, earlier) = block_of(&lane, &head_of(&outbox, 30), &memory);
    lane.unsent(&outbox.batches[0], 30, 105);
    assert_eq!(block.cursor(), Some(earlier.cell));
    block.turn_back_to(other.cell);
    assert_eq!(block.cursor(), Some(earlier.cell), "it does not go ahead");
    let mut last = Outbox::default();
    while lane.sweep(205, &mut last) == Swept::More {}
    assert_eq!(last.batches[0].len(), 30);
    // With the first timer of a leg the cell is found to be over.
    let mut timed = Outbox::default();
    while lane.sweep(600, &mut timed) == Swept::More {}
    assert!(memory.bytes() < before);
}
