//! Setting up large message sessions: the time until all recipients have joined, and the memory of
//! an idle session and leg.
//!
//! Recipients answer at once, and the sender acknowledges at once; the time between is the proxy's.
//! A pager mode message to as many recipients through the same proxy is the reference: it has one
//! transaction for each, and nothing else.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{
    Agent, Bench, Call, Callees, MsrpPeer, Proxy, ProxyConfig, Request, cpm_message, large_message,
    to,
};

use crate::chart::{Chart, Panel};
use crate::report::{Report, Sample, Samples, Table};
use crate::statistics::Spread;

/// Recipients of one message.
const SIZES: [usize; 2] = [100, 500];
/// Sessions with one leg each, to measure a session's memory.
const SESSIONS: usize = 200;

const EXPLODER: &str = "sip:exploder@example.com";
const SENDER: &str = "sip:anne@example.com";
/// Announced in the offer; none of it is sent.
const MESSAGE_BYTES: usize = 1 << 20;

/// MiB; a transaction takes some ten KiB until it is forgotten.
const SHARED_MEMORY: &str = "256";
/// Milliseconds that a transaction is kept after its end, as in the pager mode benchmark.
const WAIT_TIMER: i64 = 100;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
const ASK_AGAIN: Duration = Duration::from_millis(5);

const LARGE: &str = "large message mode";
const PAGER: &str = "pager mode";

const ANSWERED: &str = "ms until the sender has its answer";
const ALL_IN: &str = "ms until all recipients are in";
const MEMORY: &str = "KiB held";

const SESSION: &str = "a session";
const LEG: &str = "a leg";

/// Sets sessions up `rounds` times. `cpm` is the module.
///
/// # Panics
/// When a recipient is not reached, or a session does not end.
pub fn run(cpm: &Path, rounds: usize, about: &str) -> Report {
    let mut samples = Samples::default();
    let stage = Stage::start("benches_set_up", cpm);
    for recipients in SIZES {
        // Not counted: it fills the free lists and maps the memory.
        stage.large(recipients);
        for round in 0..rounds {
            for (contestant, (answered, all_in)) in [
                (LARGE, stage.large(recipients)),
                (PAGER, stage.pager(recipients)),
            ] {
                for (quantity, time) in [(ANSWERED, answered), (ALL_IN, all_in)] {
                    samples.push(Sample {
                        size: recipients,
                        contestant,
                        round,
                        quantity,
                        value: time.as_secs_f64() * 1e3,
                    });
                }
            }
        }
    }
    stage.proxy.stop();
    let (session, leg) = memory(cpm);
    for (contestant, value) in [(SESSION, session), (LEG, leg)] {
        samples.push(Sample {
            size: 1,
            contestant,
            round: 0,
            quantity: MEMORY,
            value,
        });
    }
    Report {
        name: "set_up",
        text: write_text(rounds, &samples, about),
        picture: write_picture(rounds, &samples).write(),
        samples,
    }
}

/// KiB that a session without legs and a leg with its connection hold in the process of the
/// sessions.
fn memory(cpm: &Path) -> (f64, f64) {
    let most = *SIZES.last().expect("there are sizes");
    let held = |name: &str, sessions: usize, recipients: usize| {
        let stage = Stage::start(name, cpm);
        // Memory that the process keeps once it has worked.
        stage.large(1);
        let before = stage.private_memory();
        let calls: Vec<Call<'_>> = (0..sessions).map(|_| stage.call(recipients).0).collect();
        let held = stage.private_memory().saturating_sub(before);
        for mut call in calls {
            call.bye(480);
        }
        stage.wait_idle();
        stage.proxy.stop();
        held as f64 / 1024.0
    };
    let leg = held("benches_set_up_legs", 1, most) / most as f64;
    let session = held("benches_set_up_sessions", SESSIONS, 1) / SESSIONS as f64;
    (session - leg, leg)
}

/// A proxy with the module, a sender and all recipients.
struct Stage {
    proxy: Proxy,
    sender: Agent,
    peer: MsrpPeer,
    callees: Callees,
    // Last, so that it outlives its users.
    _bench: Bench,
}

impl Stage {
    fn start(name: &str, cpm: &Path) -> Self {
        let bench = Bench::new(name);
        let (sender, peer, callees) = (bench.agent(), bench.msrp_peer(), bench.callees());
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        let config =
            ProxyConfig::new("tcp_rd_buf_size=131072\nrequest_route {\n\tcpm_handle();\n}")
                .argument("-m")
                .argument(SHARED_MEMORY)
                .argument("-x")
                .argument("fm")
                .load("tm")
                .set_number("tm", "wt_timer", WAIT_TIMER)
                .load(&cpm.display().to_string())
                .set("cpm", "exploder_uri", EXPLODER)
                .set("cpm", "trusted_peer", "127.0.0.1")
                .set("cpm", "msrp_listen", &listen)
                .set_number("cpm", "max_recipients", 1000);
        let proxy = bench.proxy(&config);
        Stage {
            proxy,
            sender,
            peer,
            callees,
            _bench: bench,
        }
    }

    fn users(&self, recipients: usize) -> impl Iterator<Item = String> {
        (0..recipients).map(|place| format!("u{place:04}"))
    }

    fn uris(&self, recipients: usize) -> Vec<String> {
        let users = self.users(recipients);
        users.map(|user| self.callees.uri(&user)).collect()
    }

    /// Sets up one session; returns the times until its answer and until the last recipient has
    /// joined.
    fn call(&self, recipients: usize) -> (Call<'_>, Duration, Duration) {
        let session = self.peer.session();
        let invite: Request = large_message(SENDER, EXPLODER)
            .recipients(self.uris(recipients).iter().map(|uri| to(uri)))
            .request(&self.sender, &session, MESSAGE_BYTES);
        let before = self.connections();
        let start = Instant::now();
        let call = self.sender.invites(&invite, self.proxy.tcp());
        let answered = start.elapsed();
        call.ack();
        // Asking the relay costs less than searching received data.
        while self.connections() < before + recipients as u64 {
            assert!(start.elapsed() < PATIENCE, "recipients who are not reached");
        }
        (call, answered, start.elapsed())
    }

    fn connections(&self) -> u64 {
        self.proxy.rpc_number("cpm.relay", "connections")
    }

    fn large(&self, recipients: usize) -> (Duration, Duration) {
        let (mut call, answered, all_in) = self.call(recipients);
        call.bye(480);
        self.wait_idle();
        (answered, all_in)
    }

    fn pager(&self, recipients: usize) -> (Duration, Duration) {
        let message = cpm_message(SENDER, EXPLODER)
            .text("Shall we meet?")
            .recipients(self.uris(recipients).iter().map(|uri| to(uri)))
            .request();
        let delivered = self.delivered();
        let start = Instant::now();
        self.sender.send(&message, self.proxy.tcp());
        self.sender.expect_response(&message, 202);
        let answered = start.elapsed();
        while self.delivered() < delivered + recipients as u64 {
            assert!(start.elapsed() < PATIENCE, "recipients who never answer");
        }
        let all_in = start.elapsed();
        self.wait_idle();
        (answered, all_in)
    }

    fn delivered(&self) -> u64 {
        self.proxy.statistic("cpm", "delivered")
    }

    /// Waits until neither sessions nor transactions are left.
    fn wait_idle(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.proxy.statistic("cpm", "sessions") + self.proxy.transactions() > 0 {
            assert!(Instant::now() < deadline, "something does not end");
            thread::sleep(ASK_AGAIN);
        }
    }

    /// Memory of the sessions process that is not shared, in bytes.
    fn private_memory(&self) -> u64 {
        let table = self.proxy.process_table();
        let sessions = table.iter().find(|(_, name)| name == "CPM sessions");
        let (pid, _) = sessions.expect("the proxy has such a process");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.expect("the kernel tells") * 1024
    }
}

fn write_text(rounds: usize, samples: &Samples, about: &str) -> String {
    let mut table = Table::new(&["contestant", "recipients", ANSWERED, ALL_IN]);
    for (place, &size) in SIZES.iter().enumerate() {
        if place > 0 {
            table.gap();
        }
        for contestant in [LARGE, PAGER] {
            let of = |quantity| Spread::of(&samples.of(size, contestant, quantity)).to_string();
            table.row([
                contestant.to_owned(),
                size.to_string(),
                of(ANSWERED),
                of(ALL_IN),
            ]);
        }
    }
    let mut held = Table::new(&["what", MEMORY]);
    for contestant in [SESSION, LEG] {
        let kib = samples.of(1, contestant, MEMORY);
        held.row([contestant.to_owned(), format!("{:.1}", kib[0])]);
    }
    format!(
        "Setting up a message to many: median (quartiles) of {rounds} rounds. In large message mode a recipient is in once it \
         has its MSRP connection, which follows its ACK, in pager mode once it has answered the MESSAGE\n{about}\n{}\n\
         While nothing moves (in the process of the sessions; shared memory is given back):\n\n{}",
        table.write(),
        held.write()
    )
}

fn write_picture(rounds: usize, samples: &Samples) -> Chart {
    let panel = |quantity: &'static str| Panel {
        quantity: quantity.to_owned(),
        better: "less",
        group_axis: "recipients of one message".into(),
        groups: SIZES
            .iter()
            .map(|&size| {
                let of = |name| Spread::of(&samples.of(size, name, quantity));
                (size.to_string(), vec![of(LARGE), of(PAGER)])
            })
            .collect(),
    };
    Chart {
        title: "Setting up a message to many recipients".into(),
        subtitle: format!(
            "One Kamailio, one message at a time; medians of {rounds} rounds, whiskers are quartiles"
        ),
        series: vec![LARGE.to_owned(), PAGER.to_owned()],
        panels: vec![panel(ANSWERED), panel(ALL_IN)],
    }
}
