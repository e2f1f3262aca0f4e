//! Content that cannot be delivered yet: memory, spool, back-pressure.

use cpm::msrp_control::MsrpEvent;
use cpm::msrp_control::{LegNumber, RelayCommand, SessionId};
use cpm::msrp_session::DeliveryState;
use cpm::relay::{RelayLimits, RelayTotals};
use cpm::sdp::{Role, Transport};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::bench::{Bench, expect_ok, send};
use crate::peer::{Peer, Received, content};

const MIB: usize = 1024 * 1024;
/// With 2 MiB for a session, the sender waits above this level: reading resumes at three quarters.
const FULL: usize = 3 * MIB / 2;

/// A folder for one test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("cpm-relay-test-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A recipient that reads nothing until it is told to.
fn hesitant() -> (Sender<()>, impl FnOnce(Peer) -> Received + Send + 'static) {
    let (go, wait): (Sender<()>, Receiver<()>) = channel();
    (go, move |mut peer| {
        let _ = wait.recv();
        peer.receive()
    })
}

/// A session whose sender writes all it has, in a thread of its own.
struct Running {
    session: SessionId,
    /// Tells the first recipient to read.
    go: Sender<()>,
    /// The recipients: one that reads nothing yet, then those that read at once.
    legs: Vec<JoinHandle<Received>>,
    writer: JoinHandle<()>,
}

/// Begins one with this many recipients.
fn begin(bench: &mut Bench, name: &str, recipients: u32, content: &[u8]) -> Running {
    let running = begin_open(bench, name, recipients, content);
    bench.command(running.session, RelayCommand::NoMoreLegs);
    running
}

/// Begins one to which more recipients may come.
fn begin_open(bench: &mut Bench, name: &str, recipients: u32, content: &[u8]) -> Running {
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, name);
    let (go, life) = hesitant();
    let mut legs = vec![bench.leg(session, 0, life)];
    for number in 1..recipients {
        legs.push(bench.leg(session, number, |mut peer| peer.receive()));
    }
    let content = content.to_vec();
    let writer = std::thread::spawn(move || {
        send(&mut sender, &end, &content, usize::MAX);
        expect_ok(&mut sender, 1);
    });
    Running {
        session,
        go,
        legs,
        writer,
    }
}

impl Running {
    /// Lets the first recipient read, and waits until all have all of the content.
    fn finish(self, bench: &mut Bench, content: &[u8]) {
        self.go.send(()).unwrap();
        let count = self.legs.len();
        assert_eq!(
            bench.wait_for_legs(self.session, count),
            vec![DeliveryState::Delivered; count]
        );
        for leg in self.legs {
            assert!(leg.join().unwrap().content == content);
        }
        self.writer.join().unwrap();
        bench.end_session(self.session, count as u32);
    }
}

/// The relay takes no more than this, however long one waits.
fn expect_memory_below(bench: &mut Bench, bytes: usize) {
    let by = std::time::Instant::now() + Duration::from_millis(300);
    while std::time::Instant::now() < by {
        let totals = bench.relay().totals();
        assert!(totals.memory_bytes <= bytes, "{totals:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn without_spool_the_sender_is_held_back() {
    let mut bench = Bench::new(RelayLimits {
        memory_bytes: 4 * MIB,
        session_memory_bytes: 2 * MIB,
        ..RelayLimits::default()
    });
    let whole = content(40 * MIB, 1);
    let running = begin(&mut bench, "sender", 2, &whole);
    bench.until("memory is full", |totals| totals.memory_bytes > FULL);
    expect_memory_below(&mut bench, 3 * MIB);
    running.finish(&mut bench, &whole);
    bench.assert_empty();
}

#[test]
fn what_does_not_fit_into_memory_goes_to_the_spool() {
    let folder = Folder::new("spool");
    let mut bench = Bench::new(RelayLimits {
        memory_bytes: 4 * MIB,
        session_memory_bytes: 2 * MIB,
        spool_dir: Some(folder.0.clone()),
        ..RelayLimits::default()
    });
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let mut legs = Vec::new();
    let mut waiting = Vec::new();
    for number in 0..3 {
        let (go, life) = hesitant();
        legs.push(bench.leg(session, number, life));
        waiting.push(go);
    }
    legs.push(bench.leg(session, 3, |mut peer| peer.receive()));
    let whole = content(30 * MIB, 2);
    send(&mut sender, &end, &whole, 5 * MIB);
    expect_ok(&mut sender, 6);
    bench.wait_for(session, MsrpEvent::MessageComplete);
    // One of the legs has all of it already; the file has what the others need, and no name.
    bench.wait_for(
        session,
        MsrpEvent::LegEnded(LegNumber(3), DeliveryState::Delivered),
    );
    let totals = bench.relay().totals();
    assert!(totals.spool_bytes > 20 * MIB as u64, "{totals:?}");
    assert!(totals.memory_bytes < 4 * MIB, "{totals:?}");
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    legs.push(bench.leg(session, 4, |mut peer| peer.receive()));
    bench.command(session, RelayCommand::NoMoreLegs);
    for go in waiting {
        go.send(()).unwrap();
    }
    for _ in [0, 1, 2, 4] {
        bench.wait(session, "a slow leg", |event| {
            matches!(event, MsrpEvent::LegEnded(_, DeliveryState::Delivered))
        });
    }
    for leg in legs {
        assert!(leg.join().unwrap().content == whole);
    }
    bench.end_session(session, 5);
    drop(sender);
    bench.assert_empty();
}

#[test]
fn the_quota_of_the_spool_is_shared_and_comes_back() {
    let folder = Folder::new("quota");
    let mut bench = Bench::new(RelayLimits {
        memory_bytes: 8 * MIB,
        session_memory_bytes: 2 * MIB,
        spool_dir: Some(folder.0.clone()),
        spool_bytes: 24 * MIB as u64,
        ..RelayLimits::default()
    });
    let whole = content(40 * MIB, 3);
    let first = begin(&mut bench, "first", 1, &whole);
    let second = begin(&mut bench, "second", 1, &whole);
    let full = |totals: &RelayTotals| totals.spool_bytes > 20 * MIB as u64;
    bench.until("the spool is full", full);
    // Both senders wait. The end of one session frees room for the other.
    first.finish(&mut bench, &whole);
    assert!(bench.relay().totals().spool_bytes <= 24 * MIB as u64);
    bench.until("more of the spool", |totals| {
        totals.sessions == 1 && totals.spool_bytes > 17 * MIB as u64
    });
    second.finish(&mut bench, &whole);
    bench.assert_empty();
}

#[test]
fn a_spool_that_takes_nothing_costs_nobody_anything() {
    let folder = Folder::new("lost");
    let mut bench = Bench::new(RelayLimits {
        memory_bytes: 4 * MIB,
        session_memory_bytes: 2 * MIB,
        spool_dir: Some(folder.0.clone()),
        ..RelayLimits::default()
    });
    // The first write finds that the folder is gone.
    std::fs::remove_dir(&folder.0).unwrap();
    let mut running = Vec::new();
    let whole = content(20 * MIB, 4);
    for round in 0..2 {
        running.push(begin(&mut bench, &format!("sender{round}"), 2, &whole));
    }
    bench.until("both are held back", |totals| totals.held_back == 2);
    bench.wait_for_log("spool: cannot be written to: No such file or directory");
    // It is retried all the time, which is one log line for both sessions.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(bench.logged("MSRP spool"), 1);
    // And one for each session that has waited for a second; at least one of them names the spool's
    // fault, the other may have reached the limit of all sessions' memory first.
    bench.wait_for_logs("the sender is held back", 2);
    assert_eq!(bench.logged("the sender is held back"), 2);
    assert!(bench.logged("the spool cannot be written to") >= 1);
    // The file was empty, so nobody misses it: sessions continue as without a spool, or with a new
    // file once the folder is back.
    std::fs::create_dir(&folder.0).unwrap();
    bench.wait_for_log("spool: can be written to again");
    for running in running {
        bench.until("the spool is used", |totals| totals.spool_bytes > 0);
        running.finish(&mut bench, &whole);
    }
    assert_eq!(bench.relay().totals().held_back, 0);
    bench.assert_empty();
}

/// Without a spool: a leg that reads nothing, and one that has not connected yet.
#[test]
fn who_holds_the_sender_back_fails_in_time() {
    let hold = Duration::from_millis(1500);
    let mut bench = Bench::new(RelayLimits {
        memory_bytes: 4 * MIB,
        session_memory_bytes: 2 * MIB,
        hold,
        ..RelayLimits::default()
    });
    let whole = content(20 * MIB, 7);
    let begun = std::time::Instant::now();
    let Running {
        session,
        go,
        mut legs,
        writer,
    } = begin_open(&mut bench, "sender", 2, &whole);
    bench.until("the sender is held back", |totals| totals.held_back == 1);
    assert!(bench.relay().progress(session).unwrap().is_held_back);
    bench.wait_for(session, MsrpEvent::NoMoreLegs);
    let behind = DeliveryState::Failed(cpm::msrp_session::DeliveryFailure::Behind);
    bench.wait_for(session, MsrpEvent::LegEnded(LegNumber(0), behind));
    assert!(begun.elapsed() >= hold);
    bench.wait_for(session, MsrpEvent::MessageComplete);
    assert!(begun.elapsed() < 4 * hold, "{:?}", begun.elapsed());
    let delivered = MsrpEvent::LegEnded(LegNumber(1), DeliveryState::Delivered);
    bench.wait_for(session, delivered);
    let fast = legs.pop().unwrap();
    assert!(fast.join().unwrap().content == whole);
    assert_eq!(bench.logged("there is no spool"), 1);
    // A leg that joins now is told at once.
    let late = bench.end("late", Transport::Tcp, Role::Passive, 1);
    bench.open_leg(session, 2, &late);
    let dropped = DeliveryState::Failed(cpm::msrp_session::DeliveryFailure::Dropped);
    bench.wait_for(session, MsrpEvent::LegEnded(LegNumber(2), dropped));
    go.send(()).unwrap();
    bench.end_session(session, 3);
    writer.join().unwrap();
    let _ = legs.pop().unwrap().join();
    assert_eq!(bench.relay().totals().held_back, 0);
    bench.assert_empty();
}

/// A session that is held back because others use up the memory continues as well.
#[test]
fn memory_that_others_hold_is_waited_for_no_longer() {
    let mut bench = Bench::new(RelayLimits {
        memory_bytes: 2 * MIB,
        session_memory_bytes: 2 * MIB,
        hold: Duration::from_millis(1500),
        ..RelayLimits::default()
    });
    let whole = content(16 * MIB, 8);
    let mut running = Vec::new();
    for round in 0..3 {
        running.push(begin(&mut bench, &format!("sender{round}"), 2, &whole));
    }
    bench.until("they are held back", |totals| totals.held_back >= 2);
    for running in running {
        let session = running.session;
        let [stuck, fast] = running.legs.try_into().unwrap();
        let delivered = MsrpEvent::LegEnded(LegNumber(1), DeliveryState::Delivered);
        bench.wait_for(session, delivered);
        assert!(fast.join().unwrap().content == whole);
        running.writer.join().unwrap();
        running.go.send(()).unwrap();
        let _ = stuck.join();
        bench.end_session(session, 2);
    }
    assert_eq!(bench.relay().totals().held_back, 0);
    bench.assert_empty();
}

/// A sender that is killed while it is held back is noticed at once, not only when reading resumes.
#[test]
fn a_sender_who_dies_while_held_back_is_noticed() {
    let mut bench = Bench::new(RelayLimits {
        memory_bytes: 4 * MIB,
        session_memory_bytes: 2 * MIB,
        ..RelayLimits::default()
    });
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    // A recipient that has answered, but does not connect.
    let leg = bench.end("leg", Transport::Tcp, Role::Passive, 1);
    bench.open_leg(session, 0, &leg);
    bench.command(session, RelayCommand::NoMoreLegs);
    // A little more than fits, of a message ten times as long.
    let all = content(30 * MIB, 9);
    let head = crate::peer::chunk(&end.own, &end.peer, 0, Some(all.len()), &all, '$');
    sender.write(&head[..2 * MIB + 100 * 1024]);
    bench.until("the sender is held back", |totals| totals.held_back == 1);
    let begun = std::time::Instant::now();
    drop(sender);
    bench.wait_for(session, MsrpEvent::MessageFailed);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    bench.end_session(session, 1);
    bench.assert_empty();
}

#[test]
fn memory_of_all_sessions_together_is_bounded() {
    let mut bench = Bench::new(RelayLimits {
        memory_bytes: 3 * MIB,
        session_memory_bytes: 2 * MIB,
        ..RelayLimits::default()
    });
    let whole = content(6 * MIB, 5);
    let mut running = Vec::new();
    for round in 0..6 {
        running.push(begin(&mut bench, &format!("sender{round}"), 1, &whole));
    }
    bench.until("memory is full", |totals| totals.memory_bytes >= 3 * MIB);
    expect_memory_below(&mut bench, 4 * MIB);
    // One after another, while earlier ones have ended and later ones keep what they have.
    for running in running {
        running.finish(&mut bench, &whole);
    }
    bench.assert_empty();
}
