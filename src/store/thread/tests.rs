use std::fs;
use std::path::Path;

use bytes::Bytes;
use rustix::event::{EventfdFlags, eventfd};

use super::super::database::tests::{message, scratch};
use super::*;

const MIB: u64 = 1024 * 1024;

fn start(dir: &Path, max_bytes: u64) -> Store {
    let signal = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let words = (0..StoreSpace::WORDS).map(|_| AtomicU64::new(0));
    let space = StoreSpace::new(Box::leak(words.collect()), max_bytes);
    ContentFolder::of_store(dir)
        .prepare(&Default::default(), None)
        .unwrap();
    Store::start(
        Location::Folder(dir.to_owned()),
        space,
        100,
        Arc::new(signal),
    )
    .unwrap()
}

fn next(store: &Store) -> Report {
    store.reports.recv_timeout(Duration::from_secs(30)).unwrap()
}

/// All numbers that are reported as kept, up to this one.
fn expect_kept(store: &Store, up_to: u64) {
    let mut last = 0;
    while last < up_to {
        match next(store) {
            Report::Kept(ids) => last = ids[ids.len() - 1],
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_kept_outlives_the_thread_and_what_is_done_does_not() {
    let dir = scratch("store-thread");
    let mut store = start(&dir, 64 * MIB);
    for _ in 0..3 {
        let id = store.new_id();
        assert!(store.keep(message(id)));
    }
    expect_kept(&store, 3);
    store.ended(vec![(2, b"one".to_vec())]);
    store.done(vec![1]);
    drop(store);
    let mut store = start(&dir, 64 * MIB);
    // What is kept meanwhile is not left over, whatever is written first.
    let own = store.new_id();
    assert_eq!(own, 4);
    store.keep(message(own));
    expect_kept(&store, own);
    store.read_left_over();
    match next(&store) {
        Report::LeftOver(messages) => {
            let found: Vec<_> = messages.iter().map(|m| (m.id, &m.ended[..])).collect();
            assert_eq!(found, [(2, &b"one"[..]), (3, &b""[..])]);
        }
        other => panic!("{other:?}"),
    }
    store.read_left_over();
    assert!(matches!(next(&store), Report::LeftOver(none) if none.is_empty()));
    store.read(1);
    assert!(matches!(next(&store), Report::Gone(1)));
    drop(store);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_thread_that_hangs_does_not_hold_up_the_end_of_the_process() {
    let (commands, _taken) = mpsc::channel();
    let (from_thread, reports) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let thread = threads::spawn("hanging", move || {
        let _ = released.recv();
        drop(from_thread);
    });
    drop(Store {
        commands: Some(commands),
        reports,
        figures: Arc::default(),
        space: StoreSpace::new(&[], MIB),
        thread: Some(thread.unwrap()),
        next_id: 1,
    });
    release.send(()).unwrap();
}

#[test]
fn whoever_looks_sees_a_portion_at_a_time() {
    let dir = scratch("store-look");
    let mut store = start(&dir, 64 * MIB);
    let many = LOOKED_AT as u64 + 8;
    for _ in 0..many {
        let id = store.new_id();
        assert!(store.keep(message(id)));
    }
    expect_kept(&store, many);
    store.look(7, (0..=many).rev().collect());
    let newest: Vec<u64> = (1..=many).rev().collect();
    for (portion, left) in newest.chunks(LOOKED_AT).zip([9, 0]) {
        match next(&store) {
            Report::Seen(7, found, later) => {
                let found: Vec<u64> = found.iter().map(|message| message.id).collect();
                assert_eq!((&found[..], later.len()), (portion, left));
                if !later.is_empty() {
                    store.look(7, later);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    drop(store);
    fs::remove_dir_all(dir).unwrap();
}

fn large(id: u64) -> Kept {
    Kept {
        record: Bytes::from(vec![7; 1_000_000]),
        ..message(id)
    }
}

/// Fills the store with messages, and returns those that it has taken and one that it has not.
/// At no time the folder is larger than what messages may take.
fn fill(store: &mut Store, dir: &Path, max_bytes: u64) -> (Vec<u64>, u64) {
    let mut kept = Vec::new();
    loop {
        let id = store.new_id();
        store.keep(large(id));
        match next(store) {
            Report::Kept(ids) => kept.extend(ids),
            Report::Refused(ids, Refusal::Full) => return (kept, ids[0]),
            other => panic!("{other:?}"),
        }
        let files = fs::read_dir(dir).unwrap();
        let sizes = files.map(|file| file.unwrap().metadata().unwrap());
        let sum: u64 = sizes.filter(|data| data.is_file()).map(|d| d.len()).sum();
        assert!(sum <= max_bytes / 100 * 90, "{sum}");
        assert!(store.bytes() <= max_bytes / 100 * 90, "{}", store.bytes());
    }
}

/// Tries to keep a message until there is room for it.
fn keep_at_last(store: &mut Store) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let id = store.new_id();
        store.keep(large(id));
        match next(store) {
            Report::Kept(ids) => return assert_eq!(ids, [id]),
            Report::Refused(_, Refusal::Full) => assert!(Instant::now() < deadline),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_store_that_is_full_takes_no_message_but_what_becomes_of_those_it_has() {
    let dir = scratch("store-full");
    let mut store = start(&dir, 16 * MIB);
    let (kept, refused) = fill(&mut store, &dir, 16 * MIB);
    assert!((6..12).contains(&kept.len()), "{kept:?}");
    store.done(kept);
    store.read(refused);
    assert!(matches!(next(&store), Report::Gone(_)));
    keep_at_last(&mut store);
    drop(store);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn whoever_reads_the_database_makes_it_full_and_not_larger() {
    let dir = scratch("store-reader");
    let mut store = start(&dir, 16 * MIB);
    let reader = rusqlite::Connection::open(dir.join("messages.db")).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM message")
        .unwrap();
    // The log cannot be begun again meanwhile: each message is in it only.
    let (kept, _) = fill(&mut store, &dir, 16 * MIB);
    assert!((4..9).contains(&kept.len()), "{kept:?}");
    drop(reader);
    keep_at_last(&mut store);
    store.done(kept);
    // What was full gets empty on the disk too.
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.bytes() > 8 * MIB {
        assert!(Instant::now() < deadline, "{}", store.bytes());
        keep_nothing(&store);
    }
    drop(store);
    fs::remove_dir_all(dir).unwrap();
}

/// Waits until the thread has had a turn.
fn keep_nothing(store: &Store) {
    store.read(0);
    assert!(matches!(next(store), Report::Gone(0)));
}

#[test]
fn a_database_that_fails_refuses_and_is_opened_again() {
    let dir = scratch("store-failing");
    let mut store = start(&dir, 64 * MIB);
    let first = store.new_id();
    store.keep(message(first));
    expect_kept(&store, first);
    // A number twice is an error of the database like any other.
    store.keep(message(first));
    assert!(matches!(next(&store), Report::Refused(ids, Refusal::Down) if ids == [first]));
    assert!(matches!(next(&store), Report::Failing(why) if why.contains("UNIQUE")));
    let second = store.new_id();
    store.keep(message(second));
    assert!(matches!(next(&store), Report::Refused(ids, Refusal::Down) if ids == [second]));
    assert!(matches!(next(&store), Report::Works));
    let third = store.new_id();
    store.keep(message(third));
    expect_kept(&store, third);
    drop(store);
    // What was refused is not found again.
    let store = start(&dir, 64 * MIB);
    store.read_left_over();
    match next(&store) {
        Report::LeftOver(left) => {
            assert_eq!(left.iter().map(|m| m.id).collect::<Vec<_>>(), [third]);
        }
        other => panic!("{other:?}"),
    }
    drop(store);
    fs::remove_dir_all(dir).unwrap();
}
