//! The express lane: copies that are sent past tm, and everything that stays the same.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{
    Agent, Answer, Bench, DEAD, NameServer, PATIENCE, Product, Proxy, ProxyConfig, Way,
    cpm_message, to, unmarked, values,
};

use super::bad_network::BadNetwork;
use crate::common::{EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter};
use crate::storing::storing;

const ANNE: &str = "sip:anne@example.com";

/// In addition to the proxy's defaults: a request with a thousand recipients arrives over TCP.
const LARGE_REQUESTS: &str = "tcp_rd_buf_size=131072\n";

/// Uses the lane, whatever the tests are run with.
pub(crate) fn open(config: ProxyConfig) -> ProxyConfig {
    config.set("cpm", "express", "auto")
}

/// A message to these recipients, accepted.
#[track_caller]
pub(crate) fn send(anne: &Agent, way: Way, uris: impl IntoIterator<Item = String>) {
    let request = cpm_message(ANNE, EXPLODER)
        .recipients(uris.into_iter().map(|uri| unmarked(&uri)))
        .request();
    anne.send(&request, way);
    anne.expect_response(&request, 202);
}

/// How many copies were sent by the lane, once all have ended.
#[track_caller]
pub(crate) fn by_the_lane(proxy: &Proxy, delivered: u64) -> u64 {
    expect_counter(proxy, "delivered", delivered);
    expect_counter(proxy, "express_outstanding", 0);
    counter(proxy, "express")
}

/// A feature of the proxy that would miss copies sent past tm: it closes the lane.
pub(crate) struct Closing {
    pub(crate) name: &'static str,
    /// Words of the log line, the configuration and the refusal.
    pub(crate) why: &'static str,
    pub(crate) routes: &'static str,
    pub(crate) config: fn(ProxyConfig) -> ProxyConfig,
    /// Its mark on a copy, or its log line for one, in which `@BILL@` is the recipient's port;
    /// empty: it has neither.
    pub(crate) sees: &'static str,
}

impl Closing {
    /// The feature is named as the reason, and sees the copy, which tm sends.
    #[track_caller]
    pub(crate) fn expect(self) {
        let bench = Bench::new(&format!("closed_by_{}", self.name));
        let routes = format!("{}\n{HANDLE}", self.routes);
        let proxy = bench.proxy(&(self.config)(open(cpm_proxy(&routes))));
        if self.name != "express" {
            proxy.expect_log(&format!("the express lane is closed: {}", self.why));
        }
        let config = proxy.rpc("cpm.config");
        assert!(config.contains(self.why), "{config}");
        let refusal = proxy.try_rpc("cpm.express").expect_err("it is closed");
        assert!(refusal.contains(self.why), "{refusal}");
        let (anne, bill) = (bench.agent(), bench.agent());
        send(&anne, proxy.udp(), [bill.uri("bill")]);
        let copy = bill.expect_request("MESSAGE");
        assert_eq!(by_the_lane(&proxy, 1), 0, "{}", self.name);
        assert_eq!(counter(&proxy, "express_by_tm"), 1, "{}", self.name);
        let sees = self.sees.replace("@BILL@", &bill.port().to_string());
        if !String::from_utf8_lossy(copy.raw()).contains(&sees) {
            proxy.expect_log(&sees);
        }
        proxy.stop();
    }
}

/// How many transactions tm has created.
#[track_caller]
fn transactions_made(proxy: &Proxy) -> u64 {
    match Product::under_test() {
        Product::Kamailio => proxy.rpc_number("tm.stats", "created"),
        Product::OpenSips => {
            proxy.statistic("tm", "UAS_transactions") + proxy.statistic("tm", "UAC_transactions")
        }
    }
}

#[test]
fn copies_leave_past_tm_and_end_as_ever() {
    let bench = Bench::new("copies_leave_past_tm");
    let routes = format!(
        "{HANDLE}
        event_route[cpm:recipient-delivered] {{ xlog(\"L_NOTICE\", \"delivered $cpm(code) $cpm(recipient) $rb\\n\"); }}
        event_route[cpm:recipient-failed] {{ xlog(\"L_NOTICE\", \"lost $cpm(code) $cpm(reason) $hdr(Call-ID)\\n\"); }}"
    );
    let proxy = bench.proxy(&open(cpm_proxy(&routes)).set_number("tm", "fr_timer", 1500));
    assert_eq!(
        values(&proxy.rpc("cpm.config"), "express_lane").next(),
        Some("open")
    );
    let (anne, bill, busy, dead) = (bench.agent(), bench.agent(), bench.agent(), bench.agent());
    busy.answers(Answer::code(486));
    dead.answers(Answer::Silent);
    let uris = [
        bill.uri("bill"),
        bill.tcp_uri("ben"),
        busy.uri("busy"),
        dead.uri("dead"),
    ];
    send(&anne, proxy.udp(), uris);
    bill.expect_requests("MESSAGE", 2);
    let refused = busy.expect_request("MESSAGE");
    dead.expect_request("MESSAGE");
    // A copy is outstanding until nobody has answered for as long as tm would have waited.
    expect_counter(&proxy, "express_outstanding", 1);
    let listed = proxy.rpc("cpm.express");
    assert_eq!(
        values(&listed, "outstanding").collect::<Vec<_>>(),
        ["1"],
        "{listed}"
    );
    let next_hop = format!("127.0.0.1:{}", dead.port());
    assert!(listed.contains(&next_hop), "{listed}");
    proxy.expect_log(&format!("lost 486 Busy Here {}", refused.call_id()));
    proxy.expect_log("delivered 200 sip:bill@");
    proxy.expect_log("lost 408 Request Timeout");
    // Under OpenSIPS the lane is for UDP only.
    let by_lane = match Product::under_test() {
        Product::Kamailio => 4,
        Product::OpenSips => 3,
    };
    assert_eq!(by_the_lane(&proxy, 2), by_lane);
    assert_eq!(counter(&proxy, "express_by_tm"), 4 - by_lane);
    assert_eq!(counter(&proxy, "failed"), 2);
    assert!(counter(&proxy, "express_repeated") >= 1);
    assert_eq!(counter(&proxy, "express_memory"), 0);
    // The sender's own transaction, and those of the other copies.
    assert_eq!(transactions_made(&proxy), 1 + 4 - by_lane);
    proxy.stop();
}

#[test]
fn a_name_with_several_addresses_is_tried_at_each_of_them() {
    let bench = Bench::new("a_name_with_several_addresses");
    let server = NameServer::start(&[
        ("one.example.com", "A 127.0.0.1"),
        ("two.example.com", "A 127.0.0.1"),
        ("two.example.com", "A 127.0.0.2"),
    ]);
    let config = cpm_proxy(HANDLE).set("cpm", "dns_server", &server.address().to_string());
    let proxy = bench.proxy(&open(config));
    let (anne, bill) = (bench.agent(), bench.agent());
    let uri = |host: &str| format!("sip:bill@{host}:{}", bill.port());
    send(&anne, proxy.udp(), [uri("one.example.com")]);
    bill.expect_request("MESSAGE");
    assert_eq!(by_the_lane(&proxy, 1), 1);
    send(&anne, proxy.udp(), [uri("two.example.com")]);
    bill.expect_request("MESSAGE");
    assert_eq!(by_the_lane(&proxy, 2), 1, "that one went by tm");
    assert_eq!(counter(&proxy, "express_by_tm"), 1);
    // The second attempt, at the next address, is tm's too: a copy is in the lane only once.
    let busy = bench.agent();
    busy.answers(Answer::code(503));
    for (priority, agent) in [(1, &busy), (2, &bill)] {
        let record = format!("SRV {priority} 0 {} one.example.com", agent.port());
        server.learn("_sip._udp.three.example.com", &record);
    }
    send(
        &anne,
        proxy.udp(),
        ["sip:bill@three.example.com".to_owned()],
    );
    busy.expect_request("MESSAGE");
    bill.expect_request("MESSAGE");
    assert_eq!(by_the_lane(&proxy, 3), 1, "both went by tm");
    assert_eq!(counter(&proxy, "express_by_tm"), 3);
    assert_eq!(counter(&proxy, "failed"), 0);
    // A recipient that cannot be found costs the others nothing.
    send(
        &anne,
        proxy.udp(),
        [format!("sip:nobody@x{DEAD}"), bill.uri("bill")],
    );
    bill.expect_request("MESSAGE");
    assert_eq!(by_the_lane(&proxy, 4), 2);
    proxy.stop();
}

#[test]
fn the_script_may_change_each_copy() {
    let bench = Bench::new("the_script_may_change_each_copy");
    let (anne, bill) = (bench.agent(), bench.agent());
    let routes = format!(
        "{HANDLE}
        event_route[cpm:recipient-request] {{
            if ($rU == \"carol\") drop;
            append_hf(\"X-Copy: $rU\\r\\n\");
            $du = \"sip:127.0.0.1:{}\";
        }}",
        bill.port()
    );
    let proxy = bench.proxy(&open(cpm_proxy(&routes)));
    let uris = ["bill", "ben", "carol"].map(|user| format!("sip:{user}@192.0.2.1"));
    send(&anne, proxy.udp(), uris);
    let mut seen: Vec<String> = bill
        .expect_requests("MESSAGE", 2)
        .iter()
        .map(|copy| copy.header("X-Copy").unwrap_or_default().to_owned())
        .collect();
    seen.sort();
    assert_eq!(seen, ["ben", "bill"]);
    assert_eq!(by_the_lane(&proxy, 2), 2);
    proxy.stop();
}

/// `CPM_BAD_NETWORK=200` in the environment sets the number of messages: 200 mean 100 000 copies.
#[test]
fn a_bad_network_costs_repetitions_and_nobody() {
    const RECIPIENTS: usize = 500;
    let wanted = std::env::var("CPM_BAD_NETWORK").ok();
    let messages = wanted.map_or(10, |n| n.parse().expect("it is a number of messages"));
    let bench = Bench::new("a_bad_network_costs_repetitions");
    let routes = format!("{LARGE_REQUESTS}{HANDLE}");
    let config = open(cpm_proxy(&routes))
        .set_number("cpm", "max_recipients", 1000)
        .set_number("cpm", "max_outstanding_per_sender", 0)
        .set_number("cpm", "max_outstanding_per_source", 0)
        .set_number("cpm", "max_outstanding_per_destination", 0);
    let proxy = bench.proxy(&config);
    let network = BadNetwork::start(20, 10);
    let anne = bench.agent();
    let send_one = |message: usize| {
        let address = network.address();
        let uris = (0..RECIPIENTS).map(|n| format!("sip:u{message}x{n}@{address}"));
        send(&anne, proxy.tcp(), uris);
    };
    let wait_for = |messages: usize| {
        // Timer F, and more for large numbers.
        let patience = Duration::from_secs(60) + Duration::from_millis(messages as u64 * 250);
        let deadline = Instant::now() + patience;
        while counter(&proxy, "express_outstanding") > 0 || proxy.transactions() > 0 {
            assert!(Instant::now() < deadline, "{}", proxy.rpc("cpm.express"));
            thread::sleep(Duration::from_millis(100));
        }
    };
    // The first one makes the permanent allocations.
    send_one(0);
    wait_for(1);
    let before = proxy.shared_memory_used();
    (1..messages).for_each(send_one);
    wait_for(messages);
    let all = messages * RECIPIENTS;
    let copies = network.copies();
    let reached = copies.values().filter(|copy| copy.arrived > 0).count();
    assert_eq!(reached, all, "each recipient got it");
    // RFC 3261 17.1.2.2: at first, and after 0.5, 1.5, 3.5, 7.5, 11.5, .. 31.5 s.
    let most = copies.values().map(|copy| copy.sent).max();
    assert!(most <= Some(11), "{most:?} times");
    // A few of them got no answer within timer F.
    let (delivered, failed) = (counter(&proxy, "delivered"), counter(&proxy, "failed"));
    assert_eq!(delivered + failed, all as u64);
    assert!(failed < messages as u64, "{failed}");
    // Datagrams for which the kernel has no room are lost neither by the network nor by us.
    let repeated = counter(&proxy, "express_repeated");
    let sent: u64 = copies.values().map(|copy| u64::from(copy.sent)).sum();
    assert!(sent <= all as u64 + repeated, "only timers send again");
    assert!(counter(&proxy, "express_strays") > 0);
    assert_eq!(counter(&proxy, "express_memory"), 0);
    let after = proxy.shared_memory_used();
    assert!(after <= before + 64 * 1024, "{before} bytes, then {after}");
    println!(
        "{all} copies: sent {sent} times, at most {most:?} times each, repeated {repeated}, failed {failed}, \
         strays {}, shared memory {before} bytes, then {after}",
        counter(&proxy, "express_strays")
    );
    proxy.stop();
}

/// With the buffers that Kamailio has by default, at both ends.
#[test]
fn no_copy_is_repeated_for_want_of_buffer() {
    let bench = Bench::new("no_copy_is_repeated");
    let routes = format!("{LARGE_REQUESTS}{HANDLE}");
    let proxy = bench.proxy(&open(cpm_proxy(&routes)).set_number("cpm", "max_recipients", 1000));
    let network = BadNetwork::start(0, 0);
    let anne = bench.agent();
    for message in 1..=3 {
        let uris = (0..1000).map(|n| format!("sip:u{message}x{n}@{}", network.address()));
        send(&anne, proxy.tcp(), uris);
        assert_eq!(by_the_lane(&proxy, message * 1000), message * 1000);
    }
    assert_eq!(network.copies().len(), 3000);
    // On a busy machine the recipients may not run for longer than T1, and copies are repeated.
    // Only the kernel knows which datagrams had no room, on either side.
    for port in [proxy.port(), network.address().port()] {
        assert_eq!(dropped_datagrams(port), 0, "those to port {port}");
    }
    proxy.stop();
}

/// How many datagrams to the sockets at this port had no room in their buffers (proc(5)).
#[track_caller]
fn dropped_datagrams(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/udp").expect("the kernel has it");
    let place = format!(":{port:04X}");
    let sockets = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_there = fields.get(1).is_some_and(|local| local.ends_with(&place));
        is_there.then(|| fields.last().and_then(|drops| drops.parse::<u64>().ok()))
    });
    let drops: Vec<u64> = sockets.map(|drops| drops.expect("a number")).collect();
    assert!(!drops.is_empty(), "no socket at port {port}:\n{table}");
    drops.iter().sum()
}

/// The proxy ends with any of its processes; copies in the lane make no difference.
#[test]
fn a_worker_killed_in_mid_fan_out_ends_the_proxy_as_ever() {
    let bench = Bench::new("a_worker_killed_in_mid_fan_out");
    let routes = format!("{LARGE_REQUESTS}{HANDLE}");
    // With everything that runs in the module: its processes, the relay's threads, the store.
    let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let config = open(storing(cpm_proxy(&routes), &bench))
        .set("cpm", "msrp_listen", &listen)
        .set_number("cpm", "max_recipients", 1000);
    let proxy = bench.proxy(&config);
    let (anne, dead) = (bench.agent(), bench.agent());
    dead.answers(Answer::Silent);
    send(
        &anne,
        proxy.tcp(),
        (0..1000).map(|n| dead.uri(&format!("u{n}"))),
    );
    assert!(counter(&proxy, "express_outstanding") > 0);
    let worker = proxy
        .process_table()
        .into_iter()
        .find(|(_, title)| title.contains("udp receiver") || title.contains("SIP receiver udp"))
        .expect("it listens for UDP");
    let killed = Instant::now();
    let ended = Command::new("kill")
        .args(["-9", &worker.0.to_string()])
        .status();
    assert!(ended.is_ok_and(|status| status.success()));
    let mut left = proxy.processes();
    while !left.is_empty() {
        assert!(killed.elapsed() < PATIENCE, "it does not end: {left:?}");
        thread::sleep(Duration::from_millis(5));
        left = proxy.processes();
    }
    let took = killed.elapsed();
    println!("the proxy has ended after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    proxy.kill();
}

/// While a thousand copies are outstanding, others are served as usual.
#[test]
fn others_are_served_during_a_fan_out() {
    let bench = Bench::new("others_are_served_during_a_fan_out");
    let routes = format!("{LARGE_REQUESTS}{HANDLE}");
    let config = open(cpm_proxy(&routes)).set_number("cpm", "max_recipients", 1000);
    let proxy = bench.proxy(&config.children(1));
    let (anne, erik, crowd) = (bench.agent(), bench.agent(), bench.agent());
    let uris = (0..1000).map(|n| unmarked(&crowd.uri(&format!("u{n}"))));
    let request = cpm_message(ANNE, EXPLODER).recipients(uris).request();
    anne.send(&request, proxy.tcp());
    for number in 0..20 {
        let mine = cpm_message("sip:erik@example.com", EXPLODER)
            .recipients([to(&erik.uri(&format!("erik{number}")))])
            .request();
        exchange(&erik, &mine, &proxy, 202);
        erik.expect_request("MESSAGE");
    }
    anne.expect_response(&request, 202);
    assert_eq!(by_the_lane(&proxy, 1020), 1020);
    proxy.stop();
}
