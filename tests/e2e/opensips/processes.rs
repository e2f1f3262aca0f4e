//! Processes: a request that another process has taken is answered, whatever happens to that
//! process, and each process copes with a reloaded script.

use std::process::Command;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, Proxy, cpm_message, to};

use crate::common::{EXPLODER, HANDLE, cpm_proxy, exchange, expect_counter, expect_log_lines};
use crate::groups::{ANNE, GroupFolder, group_proxy, open_group, to_group};

/// Sends a signal to the process with this name in the proxy's table.
fn signal(proxy: &Proxy, title: &str, signal: &str) {
    let table = proxy.process_table();
    let found = table.iter().find(|(_, name)| name.contains(title));
    let (pid, _) = found.unwrap_or_else(|| panic!("no {title} in {table:?}"));
    let status = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(status.is_ok_and(|status| status.success()));
}

/// OpenSIPS has no timer for a transaction that is taken and left.
#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn what_a_process_has_taken_and_does_not_answer_is_answered_by_a_timer() {
    let bench = Bench::new("taken_and_not_answered");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let proxy = bench.proxy(&group_proxy(&folder.source()).set_number("cpm", "group_processes", 1));
    signal(&proxy, "CPM groups", "-STOP");
    let request = to_group(ANNE, "lunch").request();
    let begin = Instant::now();
    anne.send(&request, proxy.udp());
    let answer = loop {
        let answer = anne.recv_response(&request, Duration::from_secs(60));
        let answer = answer.expect("it is answered");
        if answer.status().is_some_and(|status| status >= 200) {
            break answer;
        }
    };
    assert_eq!(answer.status(), Some(408));
    assert!(begin.elapsed() > Duration::from_secs(29), "{begin:?}");
    proxy.expect_log("a request that another process had taken was not answered in time");
    // When it continues it is too late, and nobody gets a message that its sender knows has failed.
    signal(&proxy, "CPM groups", "-CONT");
    let other = to_group(ANNE, "lunch").text("another").request();
    exchange(&anne, &other, &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    assert!(String::from_utf8_lossy(copy.body()).contains("another"));
    expect_counter(&proxy, "delivered", 1);
    let late = anne
        .received()
        .into_iter()
        .find(|one| Some(one.call_id()) == request.header("Call-ID") && one.status() == Some(202));
    assert!(late.is_none(), "{late:?}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while proxy.transactions() > 0 {
        assert!(Instant::now() < deadline, "transactions do not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    proxy.stop();
}

/// A worker's script ends while another process writes the answer.
#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn what_another_process_answers_is_whole() {
    let bench = Bench::new("what_another_process_answers_is_whole");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let proxy = bench.proxy(&group_proxy(&folder.source()).children(4));
    for _ in 0..1000 {
        let request = to_group(ANNE, "lunch").request();
        let answer = exchange(&anne, &request, &proxy, 202);
        assert!(answer.body().is_empty(), "{answer:?}");
        let named = answer.header("Contribution-ID");
        assert_eq!(named, request.header("Contribution-ID"));
    }
    proxy.stop();
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn routes_run_while_the_script_is_loaded_anew() {
    let bench = Bench::new("routes_run_while_the_script_is_loaded_anew");
    let routes = format!(
        "{HANDLE}
        event_route[cpm:authorize] {{ $var(seen) = $cpm(originator); }}
        event_route[cpm:recipient-request] {{ append_hf(\"X-Seen: yes\\r\\n\"); usleep(\"500\"); }}
        event_route[cpm:recipient-delivered] {{ xlog(\"L_NOTICE\", \"got $cpm(recipient)\\n\"); }}"
    );
    let proxy = bench.proxy(&cpm_proxy(&routes).load("cfgutils"));
    let (anne, bill) = (bench.agent(), bench.agent());
    let message =
        cpm_message(ANNE, EXPLODER).recipients((0..20).map(|n| to(&bill.uri(&format!("u{n}")))));
    for _ in 0..20 {
        let request = message.request();
        anne.send(&request, proxy.udp());
        proxy.rpc("reload_routes");
        anne.expect_response(&request, 202);
        for copy in bill.expect_requests("MESSAGE", 20) {
            assert_eq!(copy.headers("X-Seen"), ["yes"]);
        }
    }
    expect_counter(&proxy, "delivered", 400);
    expect_log_lines(&proxy, "got sip:u", 400);
    assert!(proxy.processes_alive());
    proxy.stop();
}
