//! Each process of the proxy is stopped for a while, and killed.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, PATIENCE, Proxy, Request, cpm_message, unmarked};
use rustix::process::{Pid, Signal};

use crate::common::{EXPLODER, HANDLE, counter, cpm_proxy, well_again};
use crate::kamailio::chaos::{MAIN_PROCESS, signal, victims};

/// Longer than others wait for the lock of a shared table (`HELD_MS`): they take it over, and then
/// its holder continues.
const STOPPED: Duration = Duration::from_millis(1_300);

fn message(uris: impl IntoIterator<Item = String>) -> Request {
    cpm_message("sip:anne@example.com", EXPLODER)
        .recipients(uris.into_iter().map(|uri| unmarked(&uri)))
        .request()
}

/// Requests sent meanwhile are answered afterwards, and each recipient gets one copy.
#[test]
fn whichever_process_is_stopped_for_a_while_nothing_is_lost_or_doubled() {
    let bench = Bench::new("whichever_process_is_stopped");
    let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let config = cpm_proxy(HANDLE).set("cpm", "msrp_listen", &listen);
    let proxy = bench.proxy(&config);
    let (anne, bill) = (bench.agent(), bench.agent());
    let victims = victims(&proxy);
    let names = [
        "CPM fan-out",
        "CPM sessions",
        "udp receiver",
        "tcp main process",
        "timer",
    ];
    for name in names {
        assert!(
            victims.iter().any(|(_, known)| known.contains(name)),
            "{name}: {victims:?}"
        );
    }
    for (round, (process, name)) in victims.iter().enumerate() {
        let users: Vec<String> = (0..5).map(|user| format!("u{round}x{user}")).collect();
        let requests = [0, 1].map(|part| {
            let own = users
                .iter()
                .filter(|user| user.ends_with(['0', '2', '4']) == (part == 0));
            message(own.map(|user| bill.uri(user)))
        });
        signal(*process, Signal::STOP);
        let begun = Instant::now();
        anne.send(&requests[0], proxy.udp());
        anne.send(&requests[1], proxy.tcp());
        // Its sender got no response, and repeats it.
        while begun.elapsed() < STOPPED {
            thread::sleep(Duration::from_millis(400));
            anne.send(&requests[0], proxy.udp());
        }
        signal(*process, Signal::CONT);
        let continued = Instant::now();
        for request in &requests {
            let answer = anne.recv_response(request, PATIENCE);
            let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
            assert_eq!(answer.status(), Some(202), "{name}: {answer:?}");
        }
        let mut got: Vec<String> = bill
            .expect_requests("MESSAGE", users.len())
            .iter()
            .filter_map(|request| {
                request
                    .start_line()
                    .split([':', '@'])
                    .nth(1)
                    .map(str::to_owned)
            })
            .collect();
        got.sort();
        assert_eq!(got, users, "{name}");
        well_again(&format!("{name} was stopped"), continued);
    }
    assert_eq!(counter(&proxy, "express_outstanding"), 0);
    // Nobody gets another copy.
    let left = bill.recv_request(Duration::from_millis(500));
    assert!(left.is_none(), "{left:?}");
    proxy.stop();
}

/// The kinds of processes, each with the first process of it.
fn kinds(proxy: &Proxy) -> BTreeMap<String, u32> {
    let table = proxy.process_table().into_iter().rev();
    table
        .map(|(pid, name)| {
            let kind = name.split(" child=").next().unwrap_or_default();
            (kind.to_owned(), pid)
        })
        .collect()
}

/// Kamailio ends when one of its processes is killed, and its supervisor restarts it: the ports are
/// free, and the next message is delivered.
#[test]
fn whichever_process_is_killed_the_next_proxy_serves() {
    let bench = Bench::new("whichever_process_is_killed");
    let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let config = cpm_proxy(HANDLE).set("cpm", "msrp_listen", &listen);
    let (anne, bill) = (bench.agent(), bench.agent());
    let mut proxy = bench.proxy(&config);
    let all = kinds(&proxy);
    assert!(all.len() >= 8, "{all:?}");
    for (round, kind) in all.into_keys().enumerate() {
        let request = message((0..20).map(|user| bill.uri(&format!("u{round}x{user}"))));
        anne.send(&request, proxy.tcp());
        anne.expect_response(&request, 202);
        let victim = kinds(&proxy).get(&kind).copied();
        let victim = victim.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let port = proxy.port();
        signal(victim.unwrap_or_else(|| panic!("no {kind}")), Signal::KILL);
        let killed = Instant::now();
        // The main process, which tells of the others, is killed with them by the supervisor.
        if !kind.contains(MAIN_PROCESS) {
            proxy.expect_log("exited by a signal 9");
        }
        proxy.kill();
        anne.close_connections();
        proxy = bench.proxy_again(&config, port);
        let request = message([bill.uri("again")]);
        anne.send(&request, proxy.udp());
        anne.expect_response(&request, 202);
        let is_again = |message: &cpm_testbed::Message| message.start_line().contains(":again@");
        assert!(bill.recv_where(PATIENCE, is_again).is_some(), "{kind}");
        well_again(&format!("{kind} was killed"), killed);
    }
    proxy.stop();
}
