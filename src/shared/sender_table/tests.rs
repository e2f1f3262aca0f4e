use std::cell::Cell;

use super::*;
use crate::random::fill_random;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1_000) };
}

fn table(records: usize) -> SenderTable {
    let words = (0..SenderTable::words(records)).map(|_| AtomicU64::new(0));
    let words: Vec<AtomicU64> = words.collect();
    SenderTable::new(words.leak(), fill_random, || NOW.get())
}

fn sender(number: usize) -> String {
    format!("sip:user{number}@example.com")
}

#[test]
fn a_sender_is_known_for_his_time() {
    let table = table(4);
    assert_eq!(table.find("1"), None);
    assert!(table.note("1", "sip:anne@example.com", 60).is_some());
    assert!(table.note("2", "sip:bill@example.com", 61).is_some());
    assert_eq!(table.find("1").as_deref(), Some("sip:anne@example.com"));
    assert_eq!(
        table.clone().find("2").as_deref(),
        Some("sip:bill@example.com")
    );
    NOW.set(1_059);
    assert!(table.find("1").is_some());
    NOW.set(1_060);
    assert_eq!(table.find("1"), None);
    assert!(table.find("2").is_some());
    // An expired one may be recorded again.
    assert!(table.note("1", "sip:carol@example.com", 60).is_some());
    assert_eq!(table.find("1").as_deref(), Some("sip:carol@example.com"));
    assert!(table.note("3", "sip:dave@example.com", u64::MAX).is_some());
    assert!(table.find("3").is_some());
}

#[test]
fn the_first_sender_of_a_message_stays_its_sender() {
    let table = table(4);
    assert!(table.note("1", "sip:anne@example.com", 60).is_some());
    assert!(table.note("1", "sip:mallory@example.com", 60).is_none());
    assert_eq!(table.find("1").as_deref(), Some("sip:anne@example.com"));
}

#[test]
fn who_sends_a_message_again_is_known_for_longer() {
    let table = table(4);
    assert!(table.note("1", "sip:anne@example.com", 60).is_some());
    NOW.set(1_050);
    let again = table.note("1", "sip:anne@example.com", 60).unwrap();
    NOW.set(1_109);
    assert_eq!(table.find("1").as_deref(), Some("sip:anne@example.com"));
    NOW.set(1_055);
    table.forget(&again);
    assert!(
        table.find("1").is_some(),
        "the first time it was not refused"
    );
    NOW.set(1_109);
    assert_eq!(table.find("1"), None);
}

#[test]
fn what_is_forgotten_is_as_if_it_had_never_been() {
    let table = table(4);
    let noted = table.note("1", "sip:anne@example.com", 60).unwrap();
    table.forget(&noted);
    assert_eq!(table.find("1"), None);
    assert!(table.note("1", "sip:bill@example.com", 60).is_some());
    // That was another one.
    table.forget(&noted);
    assert_eq!(table.find("1").as_deref(), Some("sip:bill@example.com"));
}

#[test]
fn the_oldest_go_when_it_is_full() {
    for records in [1, 2, 3, 100, 1_000] {
        let table = table(records);
        for number in 0..3 * records {
            assert!(
                table
                    .note(&number.to_string(), &sender(number), 60)
                    .is_some()
            );
            // The newest is never the one removed.
            assert_eq!(table.find(&number.to_string()), Some(sender(number)));
        }
        for number in 0..2 * records {
            assert_eq!(
                table.find(&number.to_string()),
                None,
                "{number} of {records}"
            );
        }
        let known = (2 * records..3 * records)
            .filter(|number| table.find(&number.to_string()) == Some(sender(*number)));
        // A bucket holds 8 where 1 is usual: one in a million is too small.
        assert!(known.count() + 1 >= records, "{records}");
    }
}

#[test]
fn the_last_recipient_that_fails_is_told_of_once() {
    let table = table(4);
    let anne = "sip:anne@example.com";
    let noted = table.note_counted("1", anne, 60, 3).unwrap();
    let other = table
        .note_counted("2", "sip:bill@example.com", 60, 2)
        .unwrap();
    let link = Link::from_bits(noted.link().bits());
    assert_eq!(table.fail(link, 0), None);
    assert_eq!(table.fail(link, 1), None);
    assert_eq!(table.fail(link, 2).as_deref(), Some(anne));
    assert_eq!(table.fail(link, 1), None, "once");
    // Other messages are not affected, and uncounted recipients never fail.
    assert_eq!(table.fail(other.link(), 1), None);
    let uncounted = table.note("3", anne, 60).unwrap();
    assert_eq!(table.fail(uncounted.link(), 1), None);
    assert_eq!(table.fail(Link::default(), 1), None);
    let many = table.note_counted("4", anne, 60, MAX_COUNTED + 1).unwrap();
    assert_eq!(table.fail(many.link(), MAX_COUNTED + 1), None);
    // Its record has been overwritten by now.
    assert!(table.note_counted("5", anne, 60, 1).is_some());
    assert!(table.note_counted("6", anne, 60, 1).is_some());
    assert_eq!(table.fail(other.link(), 1), None);
    assert_eq!(table.fail(Link::from_bits(u32::MAX), 1), None);
}

#[test]
fn of_failures_at_once_one_is_the_last() {
    for recipients in [2, 3, 1_000] {
        let table = table(4);
        let anne = "sip:anne@example.com";
        let link = table
            .note_counted("1", anne, 60, recipients)
            .unwrap()
            .link();
        let told = std::thread::scope(|scope| {
            let fail = |share: usize| {
                let table = table.clone();
                move || (0..share).filter_map(|_| table.fail(link, 1)).count()
            };
            let first = scope.spawn(fail(recipients / 2));
            let second = scope.spawn(fail(recipients - recipients / 2));
            first.join().unwrap() + second.join().unwrap()
        });
        assert_eq!(told, 1);
    }
}

#[test]
fn uris_have_their_length() {
    let table = table(4);
    for length in [
        0,
        1,
        7,
        8,
        9,
        MAX_SENDER_URI_BYTES - 1,
        MAX_SENDER_URI_BYTES,
    ] {
        let uri = "u".repeat(length);
        assert!(table.note(&length.to_string(), &uri, 60).is_some());
        assert_eq!(table.find(&length.to_string()), Some(uri), "{length}");
    }
    let uri = "u".repeat(MAX_SENDER_URI_BYTES + 1);
    assert!(table.note("x", &uri, 60).is_none());
    assert_eq!(table.find("x"), None);
}

#[test]
fn no_room_is_no_table() {
    let table = SenderTable::new(&[], fill_random, || 0);
    assert!(table.note("1", "sip:anne@example.com", 60).is_none());
    assert_eq!(table.find("1"), None);
}

#[test]
fn a_record_that_was_not_written_to_its_end_is_none() {
    // Of whole words.
    let anne = "sip:anne.doe@example.com";
    let table = table(1);
    assert!(table.note("1", anne, 60).is_some());
    let record = table.record(1);
    for (place, word) in record.iter().enumerate() {
        if place == UNDELIVERED {
            continue;
        }
        let value = word.load(Relaxed);
        for bit in [0, 31, 63] {
            word.store(value ^ 1 << bit, Relaxed);
            // Bytes after the URI have no meaning.
            let is_found = table.find("1").is_some();
            assert_eq!(is_found, value == 0, "{value:x}");
        }
        word.store(value, Relaxed);
    }
    assert!(table.find("1").is_some());
}

#[test]
fn tables_with_other_keys_do_not_know_each_others_records() {
    let table = table(8);
    assert!(table.note("1", "sip:anne@example.com", 60).is_some());
    let other = SenderTable::new(table.words, fill_random, || NOW.get());
    assert_eq!(other.find("1"), None);
    assert!(other.note("1", "sip:bill@example.com", 60).is_some());
    assert_eq!(table.find("1").as_deref(), Some("sip:anne@example.com"));
}

#[test]
fn who_is_recorded_is_read_in_order_and_known_by_name_at_other_nodes() {
    let node = || {
        let words = (0..SenderTable::words(4)).map(|_| AtomicU64::new(0));
        let words: Vec<AtomicU64> = words.collect();
        SenderTable::with_key(words.leak(), &[7; 32], || NOW.get())
    };
    let (table, other) = (node(), node());
    let mut last = 0;
    assert_eq!(table.next_after(&mut last), None);
    for number in 1..=2 {
        table.note(&number.to_string(), &sender(number), 60);
    }
    for number in 1..=2 {
        let recorded = table.next_after(&mut last).unwrap();
        assert_eq!(recorded.sender, sender(number));
        assert_eq!(recorded.ttl_s, 60);
        assert_eq!(recorded.name, other.name_of(&number.to_string()));
    }
    assert_eq!(table.next_after(&mut last), None);
    // More than there is room for: the rest.
    for number in 3..=9 {
        table.note(&number.to_string(), &sender(number), 60);
    }
    let rest = std::iter::from_fn(|| table.next_after(&mut last));
    let rest: Vec<String> = rest.map(|recorded| recorded.sender).collect();
    assert_eq!(rest, [6, 7, 8, 9].map(sender));
    // One that its process has not completed.
    table.words[0].fetch_add(1, Relaxed);
    table.note("11", &sender(11), 60);
    assert_eq!(table.next_after(&mut last), None);
    assert!(table.has_after(last));
    table.skip(&mut last);
    assert_eq!(table.next_after(&mut last).unwrap().sender, sender(11));
    assert!(!table.has_after(last));
}

/// Many threads write and read in a table that is far too small: everything found is always
/// complete and correct.
#[test]
fn many_at_once_never_find_a_wrong_sender() {
    let table = table(16);
    let found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_usize)
            .map(|thread| {
                let table = table.clone();
                scope.spawn(move || {
                    let mut found = 0;
                    for round in 0..20_000 {
                        let number = (round * 7 + thread * 13) % 64;
                        // Of different lengths, so that a mixture of two would show.
                        let uri =
                            format!("sip:{}@example.com", number.to_string().repeat(1 + number));
                        table.note(&number.to_string(), &uri, 60);
                        let wanted = (number + round) % 64;
                        if let Some(got) = table.find(&wanted.to_string()) {
                            let user = wanted.to_string().repeat(1 + wanted);
                            assert_eq!(got, format!("sip:{user}@example.com"));
                            found += 1;
                        }
                    }
                    found
                })
            })
            .collect();
        let found = threads.into_iter().map(|thread| thread.join().unwrap());
        found.sum::<usize>()
    });
    assert!(found > 0);
}
