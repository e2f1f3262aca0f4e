//! Long lists: over TCP, with recipients that do not answer, with copies that fill the memory.

use std::collections::HashSet;
use std::net::TcpListener;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Agent, Answer, Bench, PATIENCE, Proxy, Recipient, cpm_message, to, unmarked};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, proves, scheduling_policy, well_again,
};

/// In addition to the proxy's defaults: requests of that size arrive over TCP. Kamailio 6.1.5
/// accepts none of 64 KiB or more.
const LARGE_REQUESTS: &str = "tcp_rd_buf_size=131072\n";

fn many(agent: &Agent, range: Range<usize>) -> impl Iterator<Item = Recipient> {
    range.map(|n| to(&agent.uri(&format!("u-{n:07}"))))
}

#[test]
fn a_thousand_recipients_of_whom_one_lives() {
    let bench = Bench::new("a_thousand_recipients_of_whom_one_lives");
    let proxy = bench.proxy(
        &cpm_proxy(&format!("{LARGE_REQUESTS}{HANDLE}"))
            // Each copy is to have a transaction of tm.
            .set("cpm", "express", "no")
            .set_number("cpm", "max_recipients", 1000)
            // Shortens the timeouts of RFC 3261, for which the test waits.
            .set_number("tm", "fr_timer", 1500)
            .set_number("tm", "wt_timer", 500),
    );
    let (anne, bill, dead) = (bench.agent(), bench.agent(), bench.agent());
    dead.answers(Answer::Silent);
    let message = cpm_message("sip:anne@example.com", EXPLODER);
    // Some before, for the permanent allocations.
    for _ in 0..4 {
        let first = message
            .clone()
            .recipients([to(&bill.uri("bill"))])
            .request();
        anne.send(&first, proxy.tcp());
        anne.expect_response(&first, 202);
        bill.expect_request("MESSAGE");
    }
    wait_for_transactions(&proxy);
    let before = proxy.shared_memory_used();

    let dead = (0..999).map(|n| unmarked(&dead.uri(&format!("u-{n:07}"))));
    let recipients = dead.chain([to(&bill.uri("bill"))]);
    let request = message.recipients(recipients).request();
    let begin = Instant::now();
    anne.send(&request, proxy.tcp());
    anne.expect_response(&request, 202);
    proves!(
        ["9.1.1-7"],
        assert!(
            begin.elapsed() < Duration::from_millis(1500),
            "the 202 waited for a timeout"
        )
    );
    proves!(["9.1.1-6"], bill.expect_request("MESSAGE"));
    assert!(
        proxy.shared_memory_used() > before + 1_000_000,
        "transactions take memory"
    );
    wait_for_transactions(&proxy);
    let after = proxy.shared_memory_used();
    assert!(
        after <= before + 64 * 1024,
        "shared memory: {before} before, {after} after"
    );
    proves!(
        ["9.1.1-6"],
        assert_eq!(proxy.statistic("cpm", "failed"), 999)
    );
    proxy.stop();
}

/// All copies over one connection, which accepts them more slowly than a worker can write.
#[test]
fn a_thousand_copies_over_one_connection() {
    let bench = Bench::new("a_thousand_copies_over_one_connection");
    let (anne, core) = (bench.agent(), bench.agent());
    let proxy = bench.proxy(
        &cpm_proxy(&format!("{LARGE_REQUESTS}{HANDLE}"))
            .set_number("cpm", "max_recipients", 1000)
            .set("cpm", "outbound_proxy", &core.tcp_uri("core")),
    );
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients((0..1000).map(|n| to(&format!("sip:u{n}@example.com"))))
        .request();
    anne.send(&request, proxy.tcp());
    anne.expect_response(&request, 202);
    let copies = core.expect_requests("MESSAGE", 1000);
    let reached: HashSet<_> = copies.iter().map(|copy| copy.uri()).collect();
    assert_eq!(reached.len(), 1000);
    proxy.stop();
}

/// A history list of nine hundred entries in each of nine hundred copies: more than the default
/// memory holds at once, and longer than the operator permits in a datagram.
#[test]
fn copies_that_do_not_fit_into_memory_all_arrive() {
    let bench = Bench::new("copies_that_do_not_fit_into_memory");
    let settings = "tcp_conn_wq_max=524288\nudp_mtu=50000\n";
    let proxy = bench.proxy(
        // One copy is more than Kamailio queues for a connection by default.
        &cpm_proxy(&format!("{LARGE_REQUESTS}{settings}{HANDLE}"))
            .argument("-m")
            .argument("64")
            .set_number("cpm", "max_recipients", 1000)
            .set_number("tm", "wt_timer", 500),
    );
    let (anne, everybody) = (bench.agent(), bench.agent());
    let request = cpm_message("sip:anne@example.com", CONTROLLING)
        .recipients(many(&everybody, 0..900))
        .request();
    anne.send(&request, proxy.tcp());
    anne.expect_response(&request, 202);
    let accepted = Instant::now();
    let mut reached = HashSet::new();
    // Some at a time: a busy machine takes longer than one wait for all of them.
    let parts = (0..9).flat_map(|_| everybody.expect_requests("MESSAGE", 100));
    for received in parts {
        assert_eq!(received.way().transport(), "TCP");
        proves!(
            ["9.1.1-6g-ex2-new"],
            assert!(received.body().len() > 50_000)
        );
        reached.insert(received.uri().expect("a request").to_owned());
    }
    proves!(["9.1.1-6"], assert_eq!(reached.len(), 900));
    well_again("copies that do not fit into shared memory", accepted);
    proxy.stop();
}

#[test]
fn what_no_datagram_holds_goes_over_tcp() {
    let bench = Bench::new("what_no_datagram_holds");
    // Kamailio 6.1.5 accepts no request of that size: the script makes it that large.
    let filling = "x".repeat(8_000);
    let routes = format!(
        "{LARGE_REQUESTS}tcp_conn_wq_max=524288
        {HANDLE}
        event_route[cpm:recipient-request] {{
            append_hf(\"X-Filling: {filling}\\r\\n\");
        }}"
    );
    let proxy = bench.proxy(&cpm_proxy(&routes));
    let (anne, bill) = (bench.agent(), bench.agent());
    for (text, transport) in [(10_000, "UDP"), (60_000, "TCP")] {
        let request = cpm_message("sip:anne@example.com", EXPLODER)
            .recipients([to(&bill.uri("bill"))])
            .text(&"y".repeat(text))
            .request();
        anne.send(&request, proxy.tcp());
        anne.expect_response(&request, 202);
        let copy = bill.expect_request("MESSAGE");
        assert_eq!(copy.way().transport(), transport);
        assert!(copy.raw().len() > text + 8_000);
    }
    proxy.stop();
}

#[test]
fn a_long_fan_out_does_not_keep_the_worker_from_others() {
    let bench = Bench::new("a_long_fan_out_does_not_keep_the_worker");
    // One worker, and a script that takes 10 ms for each of many copies.
    let routes = format!(
        "{HANDLE}
        event_route[cpm:recipient-request] {{
            if ($ru =~ \"sip:u\") usleep(\"10000\");
        }}"
    );
    let proxy = bench.proxy(&cpm_proxy(&routes).load("cfgutils").children(1).set_number(
        "cpm",
        "max_recipients",
        200,
    ));
    let (anne, bill, crowd) = (bench.agent(), bench.agent(), bench.agent());
    let message = cpm_message("sip:anne@example.com", EXPLODER);
    let long = message.clone().recipients(many(&crowd, 0..150)).request();
    let short = message.recipients([to(&bill.uri("bill"))]).request();
    anne.send(&long, proxy.udp());
    crowd.expect_request("MESSAGE");
    anne.send(&short, proxy.udp());
    anne.expect_response(&short, 202);
    bill.expect_request("MESSAGE");
    let answered = |reply: &cpm_testbed::Received| Some(reply.call_id()) == long.header("Call-ID");
    assert!(
        !anne.received().iter().any(answered),
        "the short one was answered first"
    );
    anne.expect_response(&long, 202);
    crowd.expect_requests("MESSAGE", 149);
    proxy.stop();
}

#[test]
fn recipients_who_never_read_do_not_delay_the_202() {
    let bench = Bench::new("recipients_who_never_read");
    // Each copy is to have a transaction of tm.
    let routes = format!("{LARGE_REQUESTS}tcp_conn_wq_max=524288\n{HANDLE}");
    let config = cpm_proxy(&routes).set("cpm", "express", "no");
    let proxy = bench.proxy(&config.set_number("cpm", "max_recipients", 1000));
    let (anne, bill) = (bench.agent(), bench.agent());
    // Nobody ever reads from this connection, and the kernel's buffer for it is limited.
    let mute = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = mute.local_addr().expect("an address");
    let uris = (0..400).map(|n| format!("sip:u{n}@{address};transport=tcp"));
    let mut recipients: Vec<_> = uris.map(|uri| to(&uri)).collect();
    recipients.push(to(&bill.uri("bill")));
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients(recipients)
        .text(&"y".repeat(28_000))
        .request();
    let begin = Instant::now();
    anne.send(&request, proxy.tcp());
    anne.expect_response(&request, 202);
    let took = begin.elapsed();
    bill.expect_request("MESSAGE");
    // They are given up after 25 s.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(counter(&proxy, "failed"), 0, "some of them still wait");
    assert!(
        counter(&proxy, "recipients") < 401,
        "some of them still wait"
    );
    drop(mute);
    proxy.stop();
}

fn wait_for_transactions(proxy: &Proxy) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while proxy.transactions() > 0 {
        assert!(Instant::now() < deadline, "transactions do not end");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Long lists are work in bulk, which is not to keep SIP workers waiting for a processor.
#[test]
fn the_process_that_sends_long_lists_lets_workers_go_first() {
    let bench = Bench::new("the_process_that_sends_long_lists_lets_workers_go_first");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    // SCHED_OTHER, unless whoever started the tests has chosen another one: then that stays.
    let usual = scheduling_policy("self");
    for (pid, name) in proxy.process_table() {
        let is_bulk = name.contains("CPM fan-out") && usual == 0;
        let expected = if is_bulk { 3 } else { usual };
        // It may just have been forked.
        let deadline = Instant::now() + PATIENCE;
        while scheduling_policy(&pid.to_string()) != expected {
            assert!(Instant::now() < deadline, "{name}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
