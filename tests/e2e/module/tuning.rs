//! Parameters that change at run time, through Kamailio's cfg framework.
//!
//! The proxies are killed: Kamailio's own handler of SIGTERM applies changed parameters, and waits
//! forever for a lock if it has interrupted a process that was doing the same.

use std::time::{Duration, Instant};

use cpm_testbed::{
    Bench, Plan, Product, Proxy, ProxyConfig, Reply, WebAnswer, cpm_message, large_message, to,
    values,
};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, cpm_proxy, exchange, expect_log_lines, log_lines,
};
use crate::groups::{ANNE, GroupFolder, group_proxy, open_group, recipients, to_group};
use crate::large::expect_legs;

/// With the commands cfg.*.
pub(crate) fn tunable(config: ProxyConfig) -> ProxyConfig {
    config.load("cfg_rpc")
}

fn set(proxy: &Proxy, name: &str, value: i64) {
    proxy.tune(name, value);
}

/// The value of a parameter according to `cpm.config`.
pub(crate) fn in_force(proxy: &Proxy, name: &str) -> String {
    let answer = proxy.rpc("cpm.config");
    let value = values(&answer, name).next().map(str::to_owned);
    value.unwrap_or_else(|| panic!("no {name} in {answer}"))
}

#[test]
fn a_limit_changes_in_all_processes_at_once() {
    let bench = Bench::new("a_limit_changes_in_all_processes");
    let proxy = bench.proxy(&tunable(cpm_proxy(HANDLE)).children(3));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", CONTROLLING)
        .recipients([to(&all.uri("bill")), to(&all.uri("carol"))]);
    for (limit, code) in [(1, 486), (2, 202), (1, 486), (100, 202)] {
        set(&proxy, "max_recipients", limit);
        assert_eq!(in_force(&proxy, "max_recipients"), limit.to_string());
        // Both at once, over both transports, so that different workers handle them.
        let requests: Vec<_> = (0..8).map(|_| message.request()).collect();
        for (n, request) in requests.iter().enumerate() {
            let way = if n % 2 == 0 { proxy.udp() } else { proxy.tcp() };
            anne.send(request, way);
        }
        for request in &requests {
            anne.expect_response(request, code);
        }
        if code == 202 {
            all.expect_requests("MESSAGE", 16);
        }
    }
    capture.stop().assert_clean();
    proxy.kill();
}

#[test]
fn each_check_follows_its_parameter() {
    let bench = Bench::new("each_check_follows_its_parameter");
    let isf = bench.agent();
    let proxy = bench.proxy(
        &tunable(cpm_proxy(HANDLE))
            .set("cpm", "isf_uri", &format!("{};lr", isf.uri("isf")))
            .set("cpm", "interworking", "no"),
    );
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    let anonymous = message.request().with("Privacy", "id");
    let without_ids = message.request().without("Conversation-ID");
    let without_list = message
        .request()
        .with_body("message/cpim", message.cpim().clone());
    for (name, value, request, code) in [
        ("allow_anonymity", 0, &anonymous, 403),
        ("allow_anonymity", 1, &anonymous, 202),
        ("require_ids", 1, &without_ids, 400),
        ("require_ids", 0, &without_ids, 202),
        ("missing_list_code", 400, &without_list, 400),
        ("missing_list_code", 403, &without_list, 403),
    ] {
        set(&proxy, name, value);
        assert_eq!(in_force(&proxy, name), value.to_string());
        exchange(&anne, &request.again(), &proxy, code);
        if code == 202 {
            bill.expect_request("MESSAGE");
        }
    }
    // The end of a recipient's request is seen by another process than the one that sent it.
    let to_telephone =
        cpm_message("sip:anne@example.com", EXPLODER).recipients([to("tel:+12015550123")]);
    set(&proxy, "interworking", 1);
    exchange(&anne, &to_telephone.request(), &proxy, 202);
    assert_eq!(
        isf.expect_request("MESSAGE").uri(),
        Some("tel:+12015550123")
    );
    set(&proxy, "interworking", 0);
    isf.expect_nothing_until(|| exchange(&anne, &to_telephone.request(), &proxy, 202));
    capture.stop().assert_clean();
    proxy.kill();
}

#[test]
fn groups_follow_their_parameters() {
    let bench = Bench::new("groups_follow_their_parameters");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, all) = (bench.agent(), bench.agent());
    let members = [ANNE.to_owned(), all.uri("bill"), all.uri("carol")];
    folder.put("lunch", &open_group("lunch").members(members));
    let proxy = bench.proxy(&tunable(group_proxy(&folder.source())).set(
        "cpm",
        "outbound_proxy",
        &format!("sip:127.0.0.1:{};lr", all.port()),
    ));
    let lunch = || to_group(ANNE, "lunch").request();
    exchange(&anne, &lunch(), &proxy, 202);
    recipients(&all, 2);
    set(&proxy, "copy_to_sender", 1);
    // There are two group processes, and either may handle it.
    for _ in 0..4 {
        exchange(&anne, &lunch(), &proxy, 202);
        assert!(recipients(&all, 3).contains(&ANNE.to_owned()));
    }
    set(&proxy, "max_group_members", 2);
    for _ in 0..4 {
        exchange(&anne, &lunch(), &proxy, 486);
    }
    set(&proxy, "max_group_members", 3);
    exchange(&anne, &lunch(), &proxy, 202);
    recipients(&all, 3);
    let unknown = || to_group(ANNE, "dinner").request();
    exchange(&anne, &unknown(), &proxy, 404);
    set(&proxy, "unknown_group_code", 403);
    for _ in 0..4 {
        exchange(&anne, &unknown(), &proxy, 403);
    }
    proxy.kill();
}

#[test]
fn senseless_changes_are_refused_and_change_nothing() {
    let bench = Bench::new("senseless_changes_are_refused");
    let proxy = bench.proxy(&tunable(cpm_proxy(HANDLE)));
    // Kamailio itself knows the ranges.
    let of_proxy = |by_the_module: &'static str| match Product::under_test() {
        Product::Kamailio => "integer value is out of range",
        Product::OpenSips => by_the_module,
    };
    for (name, value, line) in [
        (
            "max_recipients",
            0,
            of_proxy("parameter max_recipients: \"0\" is not a number from 1 to 10000"),
        ),
        (
            "max_recipients",
            10001,
            of_proxy("parameter max_recipients: \"10001\" is not a number from 1 to 10000"),
        ),
        (
            "allow_anonymity",
            2,
            of_proxy("parameter allow_anonymity: \"2\" is neither yes (1) nor no (0)"),
        ),
        (
            "missing_list_code",
            401,
            "parameter missing_list_code: \"401\" is none of: 403, 400",
        ),
        (
            "interworking",
            1,
            "parameter interworking: \"1\" is not possible: interworking is on, but isf_uri is not set",
        ),
    ] {
        let before = (in_force(&proxy, name), log_lines(&proxy, line));
        let refusal = proxy.try_tune(name, value).expect_err(name);
        assert!(refusal.contains("error"), "{refusal}");
        assert_eq!(in_force(&proxy, name), before.0, "{name}");
        expect_log_lines(&proxy, line, before.1 + 1);
    }
    // These are only read at the start.
    for name in ["exploder_uri", "group_processes", "msrp_listen", "nothing"] {
        let command = match Product::under_test() {
            Product::Kamailio => format!("cfg.set_now_string cpm {name} sip:other@example.com"),
            Product::OpenSips => format!("cpm.set {name} sip:other@example.com"),
        };
        proxy.try_rpc(&command).expect_err(&command);
    }
    proxy.kill();
}

#[test]
fn sessions_follow_their_parameters() {
    let bench = Bench::new("sessions_follow_their_parameters");
    let (anne, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let proxy = bench.proxy(
        &tunable(cpm_proxy(HANDLE))
            .set("cpm", "msrp_listen", &listen)
            .set("cpm", "large_group_no_cpm_code", "488"),
    );
    callees.plan("bob", Plan::no_answer().ringing());
    let message = large_message(ANNE, EXPLODER).recipients([to(&callees.uri("bob"))]);
    let invite = || message.request(&anne, &peer.session(), 1000);
    let refused = |code: u16| anne.is_refused(&invite(), proxy.udp(), code);
    set(&proxy, "max_sessions", 1);
    let first = invite();
    anne.send(&first, proxy.udp());
    callees.expect_nth_call("bob", 0);
    assert_eq!(refused(503).header("Retry-After"), Some("5"));
    set(&proxy, "max_sessions", 2);
    // A session in progress continues as it began; recipients called from now on do not ring for
    // long.
    set(&proxy, "leg_timeout", 1);
    refused(480);
    let cancel = first.cancel();
    anne.send(&cancel, proxy.udp());
    anne.expect_response(&cancel, 200);
    anne.expect_refused(&first, proxy.udp(), 487);
    // The same for those that pace INVITEs, and for the time that content is kept.
    for (name, value) in [("max_parallel_legs", 1), ("legs_per_second", 100)] {
        set(&proxy, name, value);
        assert_eq!(in_force(&proxy, name), value.to_string());
    }
    set(&proxy, "spool_ttl", 0);
    let refused = proxy.try_tune("spool_ttl", 43_201);
    refused.expect_err("it is 12 hours at most");
    let two = ["bob", "carol"].map(|user| to(&callees.uri(user)));
    let two = large_message(ANNE, EXPLODER).recipients(two);
    let second = two.request(&anne, &peer.session(), 1000);
    set(&proxy, "leg_timeout", 60);
    set(&proxy, "max_sessions", 3);
    anne.send(&second, proxy.udp());
    let bob = callees.expect_nth_call("bob", 2);
    expect_legs(&proxy, "waiting", 1);
    callees.agent().reply(&bob.invite, &Reply::new(486));
    anne.expect_answered(&second, proxy.udp()).bye(480);
    assert_eq!(in_force(&proxy, "large_group_no_cpm_code"), "488");
    let refused = proxy.try_tune("large_group_no_cpm_code", 450);
    refused.expect_err("it is 404 or 488");
    proxy.kill();
}

#[test]
fn how_long_a_group_is_cached_changes_while_running() {
    let bench = Bench::new("how_long_a_group_is_cached");
    let (anne, all, server) = (bench.agent(), bench.agent(), bench.web_server());
    let proxy = bench.proxy(
        &tunable(group_proxy(&format!("xcap:{}", server.url())))
            .set("cpm", "group_lifetime", "86400")
            .set_number("cpm", "group_processes", 1),
    );
    let group_of = |user: &str| {
        let member = all.uri(user);
        server.answers(move |_| {
            // Another version each time, otherwise it would not be sent again.
            WebAnswer::document(&member, open_group("lunch").members([&member]).xml())
        });
    };
    let send = || {
        exchange(&anne, &to_group(ANNE, "lunch").request(), &proxy, 202);
        recipients(&all, 1)
    };
    group_of("bill");
    assert_eq!(send(), [all.uri("bill")]);
    group_of("carol");
    assert_eq!(send(), [all.uri("bill")], "it is cached");
    set(&proxy, "group_lifetime", 0);
    assert_eq!(send(), [all.uri("carol")]);
    // The proxy waits for a silent server as long as is now permitted.
    server.answers(|_| WebAnswer::Hang(Duration::from_secs(600)));
    proxy.rpc("cpm.groups_flush");
    set(&proxy, "group_timeout", 200);
    let begin = Instant::now();
    exchange(&anne, &to_group(ANNE, "lunch").request(), &proxy, 480);
    assert!(begin.elapsed() < Duration::from_secs(4), "{begin:?}");
    proxy.kill();
}
