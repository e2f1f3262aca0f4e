//! Races in the tables of shared memory, in every order that a few processes can meet in. A process
//! is a thread here: both see the same words, and nothing else of each other.

use cpm_loom::LaneMemory;
use cpm_loom::shared::{
    CONTENT, Cells, End, Ends, Known, Link, MessageNumber, MessageRecord, MessageTable,
    MessageText, RecipientState, RequestTable, SenderTable, Snapshot,
};
use cpm_loom::sync::atomic::AtomicU64;
use loom::thread;

/// Tries all orders in which a thread is interrupted up to this many times at any place.
/// `LOOM_MAX_PREEMPTIONS` in the environment sets another number.
const INTERRUPTIONS: usize = 2;

fn in_every_order(race: impl Fn() + Send + Sync + 'static) {
    let mut orders = loom::model::Builder::new();
    orders.preemption_bound.get_or_insert(INTERRUPTIONS);
    orders.max_branches = 100_000;
    orders.check(race);
}

fn words(count: usize) -> &'static [AtomicU64] {
    let words: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
    words.leak()
}

/// Two processes do something at the same time.
fn at_once<T: 'static>(
    first: impl FnOnce() -> T + 'static,
    second: impl FnOnce() -> T + 'static,
) -> [T; 2] {
    let first = thread::spawn(first);
    let second = second();
    [first.join().unwrap(), second]
}

fn no_random(bytes: &mut [u8]) {
    bytes.fill(7);
}

fn second_1000() -> u64 {
    1_000
}

#[test]
fn a_cell_has_one_owner() {
    in_every_order(|| {
        let cells = Cells::new(words(Cells::words(2)));
        let own = |own: u64| {
            let cells = cells.clone();
            move || {
                for _ in 0..2 {
                    let cell = cells.take().expect("there are as many as processes");
                    cells.set(cell, CONTENT, own);
                    assert_eq!(cells.get(cell, CONTENT), own);
                    cells.give_back(cell);
                }
            }
        };
        at_once(own(1), own(2));
        assert_eq!(cells.in_use(), 0);
        let both = [cells.take().unwrap(), cells.take().unwrap()];
        assert_ne!(both[0], both[1]);
        assert_eq!(cells.take(), None, "none has been made or lost");
    });
}

/// One takes the cell that another has just given back, while a third is about to.
#[test]
fn a_cell_that_comes_back_meanwhile_is_not_taken_twice() {
    in_every_order(|| {
        let cells = Cells::new(words(Cells::words(2)));
        let two = [cells.take().unwrap(), cells.take().unwrap()];
        two.iter().for_each(|cell| cells.give_back(*cell));
        let (slow, fast) = (cells.clone(), cells.clone());
        let [slow, fast] = at_once(
            move || slow.take(),
            move || {
                // The same top as before, above another stack.
                let (first, second) = (fast.take()?, fast.take());
                fast.give_back(first);
                second
            },
        );
        let mut all: Vec<_> = [slow, fast].into_iter().flatten().collect();
        while let Some(cell) = cells.take() {
            assert!(!all.contains(&cell), "{cell:?} has two owners");
            all.push(cell);
        }
        assert_eq!(all.len(), 2, "none is lost");
    });
}

#[test]
fn a_lock_lets_one_in_and_shows_what_the_other_did() {
    in_every_order(|| {
        let cells = Cells::new(words(Cells::words(1)));
        let cell = cells.take().unwrap();
        let add = || {
            let cells = cells.clone();
            move || {
                let locked = cells.lock(cell, 1).expect("nobody holds it for long");
                let before = cells.get(cell, CONTENT);
                cells.set(cell, CONTENT, before + 1);
                drop(locked);
            }
        };
        at_once(add(), add());
        assert_eq!(cells.get(cell, CONTENT), 2);
    });
}

/// An answer and the sweep both find that a copy has ended.
#[test]
fn a_block_of_the_express_lane_ends_once() {
    in_every_order(|| {
        let memory = LaneMemory::new(words(8 + 40 + Cells::words(2)));
        let block = memory.begin().expect("there is room");
        let ends = || {
            let memory = memory.clone();
            move || memory.end(block, 1)
        };
        let ended = at_once(ends(), ends());
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 1);
        assert_eq!(memory.cells_in_use(), 0);
    });
}

/// A block ends while another begins, which may get its cell and its place.
#[test]
fn a_block_that_begins_is_not_ended_for_another() {
    in_every_order(|| {
        let memory = LaneMemory::new(words(8 + 40 + Cells::words(2)));
        let old = memory.begin().expect("there is room");
        let (ending, beginning) = (memory.clone(), memory.clone());
        let ended = thread::spawn(move || ending.end(old, 1));
        let new = beginning.begin().expect("there is room for two");
        assert!(ended.join().unwrap());
        assert_eq!(memory.cells_in_use(), 1);
        assert!(memory.end(new, 1), "it is still there");
        assert_eq!(memory.cells_in_use(), 0);
    });
}

#[test]
fn of_two_who_claim_a_request_one_gets_it() {
    in_every_order(|| {
        let requests = RequestTable::new(words(RequestTable::words(1)), no_random, second_1000);
        let claim = |branch: &'static [u8]| {
            let requests = requests.clone();
            move || {
                let name = requests.name(&[b"a request"], &[branch], false);
                requests.claim(&name)
            }
        };
        let claims = at_once(claim(b"one way"), claim(b"another way"));
        let taken: Vec<_> = claims.iter().filter_map(|claim| claim.ok()).collect();
        assert_eq!(taken.len(), 1, "{claims:?}");
        let name = requests.name(&[b"a request"], &[b"a third way"], false);
        assert_eq!(requests.find(&name), Some(Known::Merged));
    });
}

/// What is given back may be claimed again, by one.
#[test]
fn a_request_that_is_given_back_is_claimed_once_more() {
    in_every_order(|| {
        let requests = RequestTable::new(words(RequestTable::words(1)), no_random, second_1000);
        let name = requests.name(&[b"a request"], &[b"one way"], false);
        let claimed = requests.claim(&name).expect("it is new").claim;
        let (giving, claiming) = (requests.clone(), requests.clone());
        let given = thread::spawn(move || giving.give_back(claimed));
        let again = claiming.claim(&name).is_ok();
        given.join().unwrap();
        assert_eq!(requests.claim(&name).is_ok(), !again);
    });
}

/// A record is read while the ring comes round to it.
#[test]
fn a_sender_is_that_of_its_message_or_unknown() {
    in_every_order(|| {
        let senders = SenderTable::new(words(SenderTable::words(1)), no_random, second_1000);
        senders.note("first", "sip:anne@example.com", 60);
        let (noting, reading) = (senders.clone(), senders.clone());
        let noted = thread::spawn(move || noting.note("second", "sip:bill@example.com", 60));
        let first = reading.find("first");
        assert!(first.is_none_or(|sender| sender == "sip:anne@example.com"));
        noted.join().unwrap();
        let last = senders.find("second");
        assert_eq!(last.as_deref(), Some("sip:bill@example.com"));
    });
}

/// All recipients of a message have failed when the ring comes round to its sender.
#[test]
fn nobody_is_told_that_anothers_message_has_failed() {
    in_every_order(|| {
        let senders = SenderTable::new(words(SenderTable::words(1)), no_random, second_1000);
        let first = senders.note_counted("first", "sip:anne@example.com", 60, 1);
        let link = first.expect("there is room").link();
        let failing = senders.clone();
        let told = thread::spawn(move || failing.fail(link, 1));
        senders.note_counted("second", "sip:bill@example.com", 60, 1);
        let told = told.join().unwrap();
        assert!(told.is_none_or(|sender| sender == "sip:anne@example.com"));
    });
}

#[test]
fn a_message_has_one_sender_whoever_says_so_first() {
    in_every_order(|| {
        let senders = SenderTable::new(words(SenderTable::words(2)), no_random, second_1000);
        let note = |sender: &'static str| {
            let senders = senders.clone();
            move || senders.note("message", sender, 60).is_some()
        };
        at_once(
            note("sip:anne@example.com"),
            note("sip:mallory@example.com"),
        );
        let first = senders.find("message");
        assert!(first.is_some());
        senders.note("message", "sip:late@example.com", 60);
        assert_eq!(senders.find("message"), first);
    });
}

/// The settings are changed twice while a process reads them.
#[test]
fn a_text_is_read_whole_and_never_goes_back() {
    in_every_order(|| {
        let snapshot = Snapshot::new(words(Snapshot::words(16))).expect("enough words");
        let writer = thread::spawn(move || {
            for text in [[1; 16], [2; 16]] {
                let writing = snapshot.claim().expect("nobody else writes");
                writing.publish(&text).expect("it fits");
            }
        });
        let mut last = 0;
        for _ in 0..2 {
            let (version, text) = snapshot.read();
            assert!(version >= last);
            let wanted = if version == 0 { 0 } else { 16 };
            assert_eq!(text, vec![version as u8; wanted]);
            last = version;
        }
        writer.join().unwrap();
        assert_eq!(snapshot.read(), (2, vec![2; 16]));
    });
}

/// A message to one recipient, whose request is about to be sent.
fn recorded(table: &MessageTable) -> MessageNumber {
    let record = MessageRecord {
        recipients: 1,
        ..MessageRecord::default()
    };
    let message = table.note(&record);
    table.set_recipient(message, 0, "sip:bill@example.com");
    message
}

/// The answer of its recipient, in another process.
fn delivered(table: &MessageTable, message: MessageNumber) -> impl FnOnce() + Send + 'static {
    let table = table.clone();
    move || table.set(message.recipient(0), RecipientState::Delivered, 200)
}

/// An answer, and the end of the time for it.
#[test]
fn a_recipient_ends_once() {
    in_every_order(|| {
        let table = MessageTable::smallest(words);
        let message = recorded(&table);
        let ends = |state, code| {
            let table = table.clone();
            move || table.set(message.recipient(0), state, code)
        };
        at_once(
            ends(RecipientState::Delivered, 200),
            ends(RecipientState::Failed, 408),
        );
        let (_, counts) = table.message(1).expect("it is recorded");
        assert_eq!(counts.delivered + counts.failed, 1);
        let recipient = &table.recipients(1)[0];
        let is_delivered = recipient.state == RecipientState::Delivered;
        assert_eq!(counts.delivered == 1, is_delivered);
        assert_eq!(recipient.code == 200, is_delivered);
    });
}

/// The answer for a recipient comes when the ring gives its place to another.
#[test]
fn a_recipient_does_not_end_for_another() {
    in_every_order(|| {
        let table = MessageTable::smallest(words);
        let old = recorded(&table);
        let ended = thread::spawn(delivered(&table, old));
        let new = recorded(&table);
        ended.join().unwrap();
        let (_, counts) = table.message(2).expect("it is recorded");
        assert_eq!(counts.delivered, 0, "counted for another message");
        let recipients = table.recipients(2);
        assert_eq!(recipients.len(), 1);
        assert_eq!(recipients[0].state, RecipientState::Outstanding);
        assert_eq!(recipients[0].end_ms, 0, "the end of another");
        table.set(new.recipient(0), RecipientState::Delivered, 200);
        let (_, counts) = table.message(2).expect("it is recorded");
        assert_eq!(counts.delivered, 1, "it is still to come");
        assert_eq!(table.recipients(2)[0].end_ms, 1_000);
    });
}

/// The last recipient of a message ends when the ring gives the message's place to another.
#[test]
fn a_message_does_not_end_for_another() {
    in_every_order(|| {
        let table = MessageTable::smallest(words);
        let old = recorded(&table);
        let ended = thread::spawn(delivered(&table, old));
        table.note(&MessageRecord::default());
        let record = MessageRecord {
            recipients: 1,
            bytes: 5,
            ..MessageRecord::default()
        };
        let new = table.note(&record);
        table.set_recipient(new, 0, "sip:bill@example.com");
        ended.join().unwrap();
        let number = new.to_words()[0];
        let (_, counts) = table.message(number).expect("it has a place");
        assert_eq!(counts.last_end_ms, 0, "the end of another");
        table.set(new.recipient(0), RecipientState::Delivered, 200);
        let counted = table.figures().content_bytes(false);
        assert_eq!(counted, 5, "its end is counted, once");
        let (_, counts) = table.message(number).expect("it is recorded");
        assert_eq!(counts.last_end_ms, 1_000);
    });
}

/// A recipient fails when the ring gives its place, and that of its message, to another.
#[test]
fn a_failure_is_for_the_sender_of_its_message() {
    in_every_order(|| {
        let table = MessageTable::smallest(words);
        let noted = |sender: u32| {
            let record = MessageRecord {
                recipients: 1,
                link: Link::from_bits(sender),
                ..MessageRecord::default()
            };
            let message = table.note(&record);
            table.set_recipient(message, 0, "sip:bill@example.com");
            message
        };
        let old = noted(1);
        let failing = table.clone();
        let sender = thread::spawn(move || failing.sender_of(old.recipient(0)));
        noted(2);
        noted(3);
        let sender = sender.join().unwrap().bits();
        assert!(sender <= 1, "that of message {sender}");
    });
}

/// The ring comes round to the place of a message that another process is still writing.
#[test]
fn two_messages_do_not_mix_in_one_place() {
    in_every_order(|| {
        let table = MessageTable::smallest(words);
        let note = |name: &'static str| {
            let record = MessageRecord::default().with(MessageText::CallId, Some(name));
            let record = record.with(MessageText::Icid, Some(name));
            let table = table.clone();
            move || table.note(&record)
        };
        let slow = thread::spawn(note("slow"));
        note("b")();
        let last = note("c")();
        slow.join().unwrap();
        for number in table.newest_first() {
            if let Some((found, _)) = table.message(number) {
                assert_eq!(
                    found.text(MessageText::CallId),
                    found.text(MessageText::Icid)
                );
            }
        }
        assert!(
            table.message(last.to_words()[0]).is_some(),
            "it has a place"
        );
    });
}

/// The ring gives the place of a message to another when something is added to it.
#[test]
fn nothing_is_added_to_another_message() {
    in_every_order(|| {
        let table = MessageTable::smallest(words);
        let old = table.note(&MessageRecord::default());
        let adding = table.clone();
        let added = thread::spawn(move || {
            adding.set_bytes(old, 5);
        });
        table.note(&MessageRecord::default());
        let new = table.note(&MessageRecord::default());
        added.join().unwrap();
        let (found, _) = table.message(new.to_words()[0]).expect("it has a place");
        assert_eq!(found.bytes, 0);
    });
}

/// The ring comes round to the place of a recipient that another process is still writing.
#[test]
fn two_recipients_do_not_mix_in_one_place() {
    in_every_order(|| {
        let table = MessageTable::smallest(words);
        let recipient = |uri: &'static str| {
            let record = MessageRecord {
                recipients: 1,
                ..MessageRecord::default()
            };
            let message = table.note(&record);
            let table = table.clone();
            (message, move || table.set_recipient(message, 0, uri))
        };
        let (first, set_first) = recipient("sip:anne@example.com");
        let (second, set_second) = recipient("sip:bill@example.com");
        at_once(set_first, set_second);
        for (message, uri) in [
            (first, "sip:anne@example.com"),
            (second, "sip:bill@example.com"),
        ] {
            for recipient in table.recipients(message.to_words()[0]) {
                assert_eq!(recipient.uri, uri);
            }
        }
    });
}

/// A process is stopped while it writes how a copy has ended; the reader waits no longer, and the
/// ring comes round to the place.
#[test]
fn an_end_is_read_whole_or_its_writer_knows_that_it_is_not() {
    in_every_order(|| {
        let ring = Ends::smallest(words);
        let end = |number: u8| End {
            copy: [number; 16],
            how: number.into(),
            recipient: number.into(),
        };
        let writer = thread::spawn(move || ring.push(end(1)));
        let (mut seen, mut stuck) = (Vec::new(), None);
        seen.extend(ring.pop(0, &mut stuck));
        seen.extend(ring.pop(5_000, &mut stuck));
        let second = ring.push(end(2));
        seen.extend(ring.pop(10_000, &mut stuck));
        let first = writer.join().unwrap();
        for later in 3..6 {
            seen.extend(ring.pop(later * 5_000, &mut stuck));
        }
        for (number, is_taken) in [(1, first), (2, second)] {
            let found = seen.iter().filter(|found| **found == end(number));
            assert_eq!(found.count(), usize::from(is_taken), "{number}");
        }
        assert_eq!(seen.len(), usize::from(first) + usize::from(second));
    });
}
