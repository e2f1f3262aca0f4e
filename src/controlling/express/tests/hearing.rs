//! Responses that are read together.

use super::super::copies::WINDOW;
use super::*;

#[test]
fn responses_that_are_read_together_make_room_for_as_many_copies_at_once() {
    let mut network = Network::new(at_once);
    network.send_all(100, Transport::Udp);
    let sent = network.packets.values();
    let answers: Vec<Vec<u8>> = sent
        .map(|(_, request)| answer(std::str::from_utf8(request).unwrap(), 200))
        .collect();
    assert_eq!(answers.len() as u64, WINDOW);
    let worker = &mut network.workers[1];
    let mut outbox = Outbox::default();
    for answer in &answers {
        assert!(worker.hear(answer, network.now_ms, &mut outbox));
    }
    assert_eq!(outbox.ended.len(), answers.len());
    assert!(outbox.batches.is_empty(), "not before all have been heard");
    assert!(worker.go_on(network.now_ms, &mut outbox), "more will come");
    let sizes: Vec<usize> = outbox.batches.iter().map(Batch::len).collect();
    assert_eq!(sizes, [100 - answers.len()]);
    // What has been heard is followed once.
    let mut again = Outbox::default();
    assert!(!worker.go_on(network.now_ms, &mut again));
    assert!(again.batches.is_empty());
}
