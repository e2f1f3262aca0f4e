//! Whatever the network repeats, each recipient gets a message once (RFC 3261 8.2.2.2, 17.2.2; RFC
//! 6026), although tm forgets a request after `wt_timer`: here after a second, and each repetition
//! waits for that.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{
    Agent, Bench, Plan, Proxy, ProxyConfig, Received, Request, Way, cpm_message, to,
};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter, expect_log_lines,
};
use crate::groups::{GroupFolder, group_proxy, open_group, to_group};
use crate::large::{Scene, Upload, expect_nothing_left};

const ANNE: &str = "sip:anne@example.com";

/// tm forgets as early as possible.
fn forgetful(config: ProxyConfig) -> ProxyConfig {
    config.set_number("tm", "wt_timer", 1_000)
}

/// Waits until tm has forgotten all transactions.
#[track_caller]
fn tm_has_forgotten(proxy: &Proxy) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while proxy.transactions() > 0 {
        assert!(Instant::now() < deadline, "tm remembers");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The total number of MESSAGEs received.
#[track_caller]
fn has_got(agent: &Agent, count: usize) {
    let all = agent.expect_nothing_until(|| agent.received());
    let messages = all.iter().filter(|m| m.method() == Some("MESSAGE"));
    assert_eq!(messages.count(), count);
}

/// The same request over another branch.
fn over_another_branch(request: &Request, branch: &str) -> Request {
    let via = format!("SIP/2.0/@TRANSPORT@ @SENT_BY@;branch={branch}");
    request.clone().with("Via", &via)
}

#[test]
fn who_hears_nothing_and_repeats_has_sent_one_message() {
    let bench = Bench::new("who_hears_nothing_and_repeats");
    let proxy = bench.proxy(&forgetful(cpm_proxy(HANDLE)));
    let (anne, bill) = (bench.agent(), bench.agent());
    for (way, service) in [(proxy.udp(), EXPLODER), (proxy.tcp(), CONTROLLING)] {
        let users = ["b1", "b2", "b3"].map(|user| to(&bill.uri(user)));
        let request = cpm_message(ANNE, service).recipients(users).request();
        anne.send(&request, way);
        let answer = anne.expect_response(&request, 202);
        bill.expect_requests("MESSAGE", 3);
        for again in 1..=3 {
            tm_has_forgotten(&proxy);
            bill.expect_nothing_until(|| {
                // Same status and To tag: the agent accepts nothing else as a repetition.
                anne.send(&request, way);
                anne.expect_retransmissions(&answer, again);
                tm_has_forgotten(&proxy);
            });
        }
    }
    expect_counter(&proxy, "repeated", 6);
    for (name, value) in [("requests", 2), ("accepted", 2), ("recipients", 6)] {
        assert_eq!(counter(&proxy, name), value, "{name}");
    }
    proxy.stop();
}

#[test]
fn one_request_over_two_branches_is_one_message() {
    let bench = Bench::new("one_request_over_two_branches");
    let proxy = bench.proxy(&forgetful(cpm_proxy(HANDLE)));
    let (anne, bill) = (bench.agent(), bench.agent());
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    exchange(&anne, &request, &proxy, 202);
    bill.expect_request("MESSAGE");
    let mut count = 0;
    bill.expect_nothing_until(|| {
        for way in [proxy.udp(), proxy.tcp()] {
            let branch = format!("z9hG4bKother{}", way.transport());
            let merged = over_another_branch(&request, &branch);
            for _ in 0..2 {
                anne.send(&merged, way);
                // tm cannot forget a transaction that it has not created yet.
                count += 1;
                expect_counter(&proxy, "merged", count);
                tm_has_forgotten(&proxy);
            }
            let refusal = anne.expect_response(&merged, 482);
            anne.expect_retransmissions(&refusal, 1);
        }
    });
    assert_eq!(counter(&proxy, "merged"), 4);
    expect_log_lines(
        &proxy,
        "refused 482 Loop Detected: it was accepted before over another branch",
        4,
    );
    // The sender's next request is a new one, whatever else is the same (RFC 3261 8.1.3.5).
    let next = over_another_branch(&request, "z9hG4bKnext").with("CSeq", "2 MESSAGE");
    anne.send(&next, proxy.udp());
    anne.expect_response(&next, 202);
    bill.expect_request("MESSAGE");
    has_got(&bill, 2);
    proxy.stop();
}

#[test]
fn of_two_branches_at_once_one_is_taken() {
    let bench = Bench::new("of_two_branches_at_once");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let rounds = 20;
    for round in 0..rounds {
        let users = [to(&bill.uri("bill"))];
        let request = cpm_message(ANNE, EXPLODER).recipients(users).request();
        let other = over_another_branch(&request, &format!("z9hG4bKother{round}"));
        anne.send(&request, proxy.udp());
        anne.send(&other, proxy.tcp());
        // Both have the same Call-ID and CSeq, by which the agent matches responses.
        let codes = [(); 2].map(|()| {
            let response = anne.recv_response(&request, cpm_testbed::PATIENCE);
            response.expect("both are answered").status()
        });
        let codes: BTreeSet<_> = codes.into_iter().flatten().collect();
        assert_eq!(codes, [202, 482].into());
    }
    bill.expect_requests("MESSAGE", rounds);
    has_got(&bill, rounds);
    proxy.stop();
}

/// Repeats an accepted request: over its branch it gets its response, over another one 482.
fn is_only_answered_again(proxy: &Proxy, anne: &Agent, request: &Request, answer: &Received) {
    tm_has_forgotten(proxy);
    anne.send(request, proxy.udp());
    anne.expect_retransmissions(answer, 1);
    let merged = over_another_branch(request, "z9hG4bKother");
    anne.send(&merged, proxy.udp());
    anne.expect_response(&merged, 482);
}

#[test]
fn a_message_to_a_group_is_sent_once() {
    let bench = Bench::new("a_message_to_a_group_is_sent_once");
    let (anne, bill) = (bench.agent(), bench.agent());
    let folder = GroupFolder::new(&bench, "groups");
    folder.put("all", &open_group("all").members([bill.uri("bill")]));
    let proxy = bench.proxy(&forgetful(group_proxy(&folder.source())));
    let request = to_group(ANNE, "all").request();
    // Answered first by a group process, then by a worker.
    let answer = exchange(&anne, &request, &proxy, 202);
    bill.expect_request("MESSAGE");
    bill.expect_nothing_until(|| is_only_answered_again(&proxy, &anne, &request, &answer));
    proxy.stop();
}

#[test]
fn scripts_that_go_step_by_step_send_once() {
    let bench = Bench::new("scripts_that_go_step_by_step_send_once");
    let proxy = bench.proxy(&forgetful(cpm_proxy(
        "request_route {
            if (!cpm_classify()) { sl_send_reply(\"404\", \"Not Ours\"); exit; }
            if (!cpm_check()) { cpm_reply(); exit; }
            append_to_reply(\"X-Script: added\\r\\n\");
            cpm_fanout();
        }",
    )));
    let (anne, bill) = (bench.agent(), bench.agent());
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    let answer = exchange(&anne, &request, &proxy, 202);
    assert_eq!(answer.header("X-Script"), Some("added"));
    bill.expect_request("MESSAGE");
    bill.expect_nothing_until(|| is_only_answered_again(&proxy, &anne, &request, &answer));
    proxy.stop();
}

/// RFC 6026 7.1: repetitions after the 2xx are absorbed, and a second session never begins.
#[test]
fn an_invite_makes_one_session_whatever_is_repeated() {
    let scene = Scene::unseen("an_invite_makes_one_session", |_, config| forgetful(config));
    let invite_again = |upload: &Upload, repeated: u64| {
        for (number, way) in [scene.proxy.udp(), scene.proxy.tcp()]
            .into_iter()
            .enumerate()
        {
            tm_has_forgotten(&scene.proxy);
            scene.anne.send(&upload.request, way);
            expect_counter(&scene.proxy, "repeated", repeated + number as u64 + 1);
        }
        let merged = over_another_branch(&upload.request, &format!("z9hG4bKother{repeated}"));
        let way: Way = scene.proxy.udp();
        scene.anne.is_refused(&merged, way, 482);
    };
    // After its end.
    let upload = scene.upload(EXPLODER, &["bill"]);
    scene.sends(&upload);
    scene.gets("bill", &upload);
    expect_nothing_left(&scene.proxy, cpm_testbed::PATIENCE);
    invite_again(&upload, 0);
    // After all recipients have refused.
    scene.callees.plan("carol", Plan::status(486));
    let refused = scene.upload(CONTROLLING, &["carol"]);
    scene
        .anne
        .is_refused(&refused.request, scene.proxy.udp(), 480);
    invite_again(&refused, 2);
    assert_eq!(counter(&scene.proxy, "accepted"), 2);
    assert_eq!(counter(&scene.proxy, "sessions"), 0);
    for user in ["bill", "carol"] {
        let invites = scene.callees.agent().received();
        let invites = invites.iter().filter(|message| {
            message.method() == Some("INVITE") && message.uri() == Some(&scene.callees.uri(user))
        });
        assert_eq!(invites.count(), 1, "{user}");
    }
    scene.finish();
}

/// With the same key a request repeated after a restart leads to the same ids; without it, to
/// others.
#[test]
fn ids_outlast_a_restart_with_their_key() {
    let bench = Bench::new("ids_outlast_a_restart_with_their_key");
    let (anne, bill) = (bench.agent(), bench.agent());
    let state = bench.folder().join("state").display().to_string();
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("b1")), to(&bill.uri("b2"))])
        .request();
    let fan_out = |state_dir: &str, answered: &dyn Fn()| {
        let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "state_dir", state_dir));
        anne.send(&request, proxy.udp());
        answered();
        let copies = bill.expect_requests("MESSAGE", 2);
        proxy.stop();
        let ids = copies.iter().map(|copy| {
            let tag = copy.parameter("From", "tag").unwrap_or_default();
            [copy.uri().unwrap_or_default(), copy.call_id(), tag].map(str::to_owned)
        });
        let mut ids: Vec<_> = ids.collect();
        ids.sort();
        ids
    };
    let answer = OnceCell::new();
    let first = fan_out(&state, &|| {
        let _ = answer.set(anne.expect_response(&request, 202));
    });
    let answer = answer.get().expect("there was one");
    let to_tag = answer.parameter("To", "tag").unwrap_or_default();
    assert_ne!(first[0][1], first[1][1]);
    for [_, call_id, tag] in &first {
        assert!(
            !call_id.contains(to_tag) && tag != to_tag,
            "{first:?} {to_tag}"
        );
    }
    // The response is the same, including the To tag: the agent accepts nothing else as a
    // repetition.
    let again = fan_out(&state, &|| anne.expect_retransmissions(answer, 1));
    assert_eq!(again, first);
    let others = fan_out("none", &|| {
        anne.expect_response(&request, 202);
    });
    for (other, first) in others.iter().zip(&first) {
        assert_eq!(other[0], first[0]);
        assert_ne!(other[1..], first[1..]);
    }
}

#[test]
fn a_bad_key_stops_the_start() {
    let bench = Bench::new("a_bad_key_stops_the_start");
    let file = bench.folder().join("key");
    std::fs::write(&file, [1; 31]).expect("the folder of a test can be written to");
    let config = cpm_proxy(HANDLE).set("cpm", "id_key_file", &file.display().to_string());
    let failure = bench.try_proxy(&config).expect_err("it must not start");
    let line = format!("the key file {} is open to others", file.display());
    assert!(failure.log.contains(&line), "{}", failure.log);
}
