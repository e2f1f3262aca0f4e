//! The sender is killed during a large message: the module in a real proxy keeps nobody waiting,
//! and keeps nothing.

use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, Callees, Conduct, InvitedCall, PATIENCE, Plan, Proxy, Recording};

use crate::common::{ANNE, EXPLODER, cpm_proxy, file, pixels, send, text};

const HANDLE: &str = "request_route {
    if (cpm_handle()) exit;
    sl_send_reply(\"404\", \"Not Ours\");
}";

/// Far more than can be in flight to the slow recipient: the sender cannot have finished by then.
const SIZE: usize = 32 << 20;
/// How much the recipients have received when the sender dies.
const BEFORE: u64 = 500_000;
/// How long the slow recipient takes for each chunk.
const LAG: Duration = Duration::from_millis(30);
/// The BYE to a dead sender is retransmitted for 32 s (RFC 3261 §17.1.2.2).
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_sender_over_udp_is_killed() {
    let bench = Bench::new("client_killed_over_udp");
    let (recording, call_id) = killed(&bench, "udp", Conduct::Slow(LAG), 60);
    // Nobody receives it, but it is sent.
    let byes = format!("sip.Method == \"BYE\" && sip.Call-ID == \"{call_id}\"");
    let byes = recording.fields(&byes, &["sip.Reason"]);
    assert!(!byes.is_empty());
    for bye in byes {
        assert!(bye[0].starts_with("SIP;cause=480;"), "{bye:?}");
    }
}

#[test]
fn a_sender_over_tcp_is_killed() {
    let bench = Bench::new("client_killed_over_tcp");
    killed(&bench, "tcp", Conduct::Slow(LAG), 60);
}

#[test]
fn a_sender_who_is_held_back_is_killed() {
    let bench = Bench::new("client_killed_while_held_back");
    // Her death is noticed when reading from her resumes: once the stalled recipient has failed.
    killed(&bench, "tcp", Conduct::StallAfter(BEFORE), 5);
}

/// Kills a sender that uses this transport for SIP, while one recipient behaves like this and may
/// accept nothing for this many seconds. Returns the SIP traffic over UDP, and the sender's
/// Call-ID.
#[track_caller]
fn killed(bench: &Bench, transport: &str, lagging: Conduct, stall_s: i64) -> (Recording, String) {
    let callees = bench.callees();
    let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let config = cpm_proxy(HANDLE)
        .set("cpm", "msrp_listen", &listen)
        .set("cpm", "msrp_spool_dir", text(bench.folder()))
        .set_number("cpm", "msrp_chunk_size", 1 << 16)
        .set_number("cpm", "msrp_session_memory", 1 << 20)
        .set_number("cpm", "msrp_spool", 1 << 20)
        .set_number("cpm", "msrp_stall_timeout", stall_s);
    let proxy = bench.proxy(&config);
    callees.plan("lagging", Plan::accept().conduct(lagging));
    let capture = bench.capture_udp();
    let picture = file(bench.folder(), "picture.png", pixels(SIZE, 7));
    let uris = ["bill", "carol", "lagging"].map(|user| callees.uri(user));
    let mut arguments = vec!["--transport", transport, "--assert", ANNE];
    arguments.extend(["--via", "exploder", EXPLODER, "--file", text(&picture)]);
    arguments.extend(uris.iter().flat_map(|uri| ["--to", uri]));
    let mut sender = send(proxy.port(), &arguments);
    let accepted = sender.expect("accepted");
    let legs = ["bill", "carol", "lagging"].map(|user| callees.expect_call(user));
    for leg in &legs {
        leg.session.expect_content(BEFORE);
    }
    assert_eq!(gauge(&proxy, "sessions"), 1);
    sender.kill();
    let [bill, carol, lagging] = &legs;
    for leg in [bill, carol] {
        let message = leg.session.recv_message(PATIENCE).expect("an end of it");
        assert_eq!(message.flag, Some('#'), "{message:?}");
        hangs_up(&callees, leg, &["480"]);
    }
    // Either may come first: the sender's death is noticed, or the recipient has stalled.
    hangs_up(&callees, lagging, &["480", "408"]);
    lagging.session.conducts(Conduct::Accept);
    for leg in &legs {
        leg.session.expect_closed();
        assert!(leg.session.messages().iter().all(|one| !one.is_complete()));
    }
    expect_nothing_left(&proxy);
    for (counter, value) in [("delivered", 0), ("failed", 3)] {
        assert_eq!(gauge(&proxy, counter), value, "{counter}");
    }
    callees.peer().assert_no_faults();
    let recording = capture.stop();
    recording.assert_clean();
    proxy.stop();
    let call_id = accepted["call_id"].as_str().expect("a Call-ID");
    (recording, call_id.to_owned())
}

/// A BYE with one of these causes arrives.
#[track_caller]
fn hangs_up(callees: &Callees, leg: &InvitedCall, causes: &[&str]) {
    let bye = callees.expect_in(leg, "BYE");
    let reason = bye.header("Reason").unwrap_or_default();
    let cause = reason.strip_prefix("SIP;cause=").unwrap_or_default();
    let cause = cause.split(';').next().unwrap_or_default();
    assert!(causes.contains(&cause), "{reason}");
}

fn gauge(proxy: &Proxy, name: &str) -> u64 {
    let name = format!("cpm.{name}");
    proxy.rpc_number(&format!("stats.fetch {name}"), &name)
}

/// Waits until nothing of any session is left in the module.
#[track_caller]
fn expect_nothing_left(proxy: &Proxy) {
    let deadline = Instant::now() + LONG;
    let gauges = ["sessions", "msrp_connections", "msrp_memory", "msrp_spool"];
    loop {
        let left = gauges.map(|name| (name, gauge(proxy, name)));
        let sessions = proxy.rpc("cpm.sessions");
        if left.iter().all(|(_, value)| *value == 0) && !sessions.contains("id:") {
            return;
        }
        assert!(Instant::now() < deadline, "{left:?} are left\n{sessions}");
        thread::sleep(Duration::from_millis(20));
    }
}
