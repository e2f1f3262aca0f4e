//! Everything at once, in an order determined by a seed.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{PATIENCE, Proxy, Request, cpm_message, sha256, unmarked, values};
use fastrand::Rng;
use rustix::process::{Pid, Signal};

use crate::common::{EXPLODER, counter, counters, well_again};
use crate::kamailio::chaos::network::BadNetwork;
use crate::kamailio::chaos::{signal, victims};
use crate::large::{Scene, expect_nothing_left};

/// How long it lasts by default (`CPM_SOAK_MINUTES`).
const SHORT: Duration = Duration::from_secs(8);
/// An unanswered request is repeated after this time.
const T1: Duration = Duration::from_millis(500);
/// Maximum number of requests that await a response.
const MAX_WAITING: usize = 40;
/// Maximum number of accepted recipients that have not got their copy. It is no test of overload:
/// without limits of the operator, what the network cannot carry for 32 s fails.
const MAX_UNREACHED: usize = 500;
/// The network is connected for so long at least, or a recipient may never be reached within timer
/// F.
const CONNECTED: Duration = Duration::from_secs(2);
/// Timer F, the wait of an ended transaction, and more for large numbers.
const OVER: Duration = Duration::from_secs(90);
/// How much more a process may have than at the start: pools and caches that have grown with use.
const MAX_GROWTH_BYTES: u64 = 64 << 20;
const MAX_MORE_DESCRIPTORS: usize = 16;
/// The same for shared memory.
const MAX_SHARED_GROWTH_BYTES: u64 = 4 << 20;

/// A request in progress, and its recipients.
struct Sent {
    request: Request,
    uris: Vec<String>,
    last: Instant,
}

struct Chaos {
    scene: Scene,
    network: BadNetwork,
    random: Rng,
    victims: Vec<(Pid, String)>,
    stopped: Option<(Pid, Instant)>,
    parted: Option<Instant>,
    connected: Instant,
    waiting: Vec<Sent>,
    accepted: Vec<String>,
    refused: BTreeMap<u16, usize>,
    messages: usize,
    large: usize,
    stops: usize,
}

/// Memory and descriptors of each process.
fn measured(proxy: &Proxy) -> BTreeMap<u32, (u64, usize)> {
    let processes = proxy.processes().into_iter();
    let numbers = |one: cpm_testbed::Process| (one.pid, (one.private_bytes, one.open_descriptors));
    processes.map(numbers).collect()
}

impl Chaos {
    fn start(seed: u64) -> Self {
        let limits =
            ["sender", "source", "destination"].map(|of| format!("max_outstanding_per_{of}"));
        let scene = Scene::unseen("all_at_once", |_, config| {
            // Without the lane tm holds 10 kB for each copy that does not arrive.
            let config = config.children(2).argument("-m").argument("256");
            limits
                .iter()
                .fold(config, |config, name| config.set_number("cpm", name, 0))
        });
        let victims = victims(&scene.proxy);
        Chaos {
            network: BadNetwork::start(seed),
            random: Rng::with_seed(seed),
            victims,
            scene,
            stopped: None,
            parted: None,
            connected: Instant::now(),
            waiting: Vec::new(),
            accepted: Vec::new(),
            refused: BTreeMap::new(),
            messages: 0,
            large: 0,
            stops: 0,
        }
    }

    fn send(&mut self) {
        let (number, address) = (self.messages, self.network.address);
        self.messages += 1;
        let recipients = 1 + self.random.usize(..20);
        let uris = (0..recipients).map(|of| format!("sip:u{number}x{of}@{address}"));
        let uris: Vec<String> = uris.collect();
        let request = cpm_message("sip:anne@example.com", EXPLODER)
            .recipients(uris.iter().map(|uri| unmarked(uri)))
            .request();
        self.scene.anne.send(&request, self.scene.proxy.udp());
        let last = Instant::now();
        self.waiting.push(Sent {
            request,
            uris,
            last,
        });
    }

    /// Handles responses, and repeats unanswered requests.
    fn hear(&mut self) {
        let (scene, accepted, refused) = (&self.scene, &mut self.accepted, &mut self.refused);
        self.waiting.retain_mut(|sent| {
            let answer = scene.anne.recv_response(&sent.request, Duration::ZERO);
            match answer.and_then(|answer| answer.status()) {
                Some(202) => {
                    accepted.append(&mut sent.uris);
                    return false;
                }
                Some(code) if code >= 300 => {
                    *refused.entry(code).or_default() += 1;
                    return false;
                }
                _ => {}
            }
            if sent.last.elapsed() >= T1 {
                sent.last = Instant::now();
                scene.anne.send(&sent.request, scene.proxy.udp());
            }
            true
        });
    }

    /// A large message to two recipients, which get it byte for byte.
    fn send_large(&mut self) {
        let users = [0, 1].map(|of| format!("large{}x{of}", self.large));
        self.large += 1;
        let size = 1 + self.random.usize(..300_000);
        let message = self.scene.message(EXPLODER, &[&users[0], &users[1]]);
        let upload = self.scene.upload_of(message, size);
        self.scene.sends(&upload);
        for user in &users {
            let call = self.scene.callees.expect_call(user);
            let content = call.session.expect_message();
            assert_eq!(content.sha256(), sha256(&upload.content), "{user}");
        }
    }

    fn step(&mut self) {
        let now = Instant::now();
        if let Some((process, until)) = self.stopped
            && until <= now
        {
            signal(process, Signal::CONT);
            self.stopped = None;
        }
        if self.parted.is_some_and(|until| until <= now) {
            self.network.part(false);
            self.parted = None;
            self.connected = now;
        }
        let unreached = self.accepted.len().saturating_sub(self.network.reached());
        let may_send = self.waiting.len() < MAX_WAITING && unreached < MAX_UNREACHED;
        match self.random.u32(..100) {
            0..50 if may_send => self.send(),
            50..55 if self.stopped.is_none() => {
                let (process, _) = self.victims[self.random.usize(..self.victims.len())];
                let milliseconds = self.random.u64(10..2_000);
                signal(process, Signal::STOP);
                self.stops += 1;
                self.stopped = Some((process, now + Duration::from_millis(milliseconds)));
            }
            55..57 if self.parted.is_none() && self.connected.elapsed() >= CONNECTED => {
                self.network.part(true);
                let milliseconds = self.random.u64(..1_500);
                self.parted = Some(now + Duration::from_millis(milliseconds));
            }
            57..59 if self.stopped.is_none() => self.send_large(),
            _ => thread::sleep(Duration::from_millis(10)),
        }
        self.hear();
    }

    /// From here on nothing fails: everything accepted comes to its end.
    fn settle(&mut self) {
        if let Some((process, _)) = self.stopped.take() {
            signal(process, Signal::CONT);
        }
        self.network.part(false);
        let deadline = Instant::now() + PATIENCE + OVER;
        while !self.waiting.is_empty() {
            assert!(
                Instant::now() < deadline,
                "{} requests without answer",
                self.waiting.len()
            );
            self.hear();
            thread::sleep(Duration::from_millis(10));
        }
        let proxy = &self.scene.proxy;
        while counter(proxy, "express_outstanding") > 0 || proxy.transactions() > 0 {
            assert!(Instant::now() < deadline, "{:?}", counters(proxy));
            thread::sleep(Duration::from_millis(50));
        }
        expect_nothing_left(proxy, PATIENCE);
    }
}

/// `CPM_SOAK_SEED` selects another order.
#[test]
fn whatever_happens_an_accepted_recipient_gets_it_once_or_fails_and_nothing_is_left() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let minutes = number("CPM_SOAK_MINUTES");
    let lasts = minutes.map_or(SHORT, |minutes| Duration::from_secs(60 * minutes));
    let seed = number("CPM_SOAK_SEED").unwrap_or(1);
    let mut chaos = Chaos::start(seed);
    // Once, for everything that is created at first use.
    chaos.send_large();
    chaos.send();
    chaos.settle();
    let (before, shared) = (
        measured(&chaos.scene.proxy),
        chaos.scene.proxy.shared_memory_used(),
    );
    let begun = Instant::now();
    while begun.elapsed() < lasts || chaos.stops == 0 || chaos.messages < 20 {
        chaos.step();
    }
    let ended = Instant::now();
    chaos.settle();
    well_again("all of them at once", ended);
    let settled = ended.elapsed();
    let proxy = &chaos.scene.proxy;
    let (after, shared_after) = (measured(proxy), proxy.shared_memory_used());
    println!(
        "seed {seed}: {} messages to {} recipients, {} large ones, {} stops, refused {:?}",
        chaos.messages,
        chaos.accepted.len(),
        chaos.large,
        chaos.stops,
        chaos.refused
    );
    println!("all was well after {settled:?}; shared memory {shared} -> {shared_after} bytes");
    for (pid, name) in proxy.process_table() {
        if let (Some(before), Some(after)) = (before.get(&pid), after.get(&pid)) {
            println!(
                "{name}: memory {} -> {} bytes, descriptors {} -> {}",
                before.0, after.0, before.1, after.1
            );
        }
    }
    let mut unreached = 0;
    for uri in &chaos.accepted {
        match chaos.network.copies_for(uri) {
            0 => unreached += 1,
            copies => assert_eq!(copies, 1, "{uri}"),
        }
    }
    // The network may withhold every datagram of a recipient for as long as timer F runs. Then the
    // recipient has failed, and is counted.
    println!("{unreached} recipients were not reached");
    let failed = usize::try_from(counter(proxy, "failed")).expect("it is small");
    assert!(
        unreached <= failed,
        "{unreached} unreached, {failed} failed"
    );
    // tm has no window, and ten kilobytes for each copy: with the lane closed thousands of copies
    // are sent again at a time, more than the network carries, and memory may end amid a message.
    let is_open = values(&proxy.rpc("cpm.config"), "express_lane").any(|lane| lane == "open");
    assert!(
        !is_open || unreached <= chaos.accepted.len() / 500,
        "{unreached} unreached"
    );
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    for (pid, (bytes, descriptors)) in &after {
        let (bytes_before, descriptors_before) = before[pid];
        assert!(
            *bytes <= bytes_before + MAX_GROWTH_BYTES,
            "{pid}: {bytes_before} -> {bytes}"
        );
        let most = descriptors_before + MAX_MORE_DESCRIPTORS;
        assert!(
            *descriptors <= most,
            "{pid}: {descriptors_before} -> {descriptors}"
        );
    }
    assert!(
        shared_after <= shared + MAX_SHARED_GROWTH_BYTES,
        "{shared} -> {shared_after}"
    );
    chaos.scene.proxy.stop();
}
