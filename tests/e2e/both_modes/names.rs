//! Names of peers: how they are found, and that nobody waits for another peer's (RFC 3263).

use std::time::{Duration, Instant};

use cpm_testbed::{
    Agent, Answer, Bench, DEAD, NameServer, Plan, Proxy, ProxyConfig, cpm_message, large_message,
    to,
};

use crate::both_modes::imdn::receipt;
use crate::common::{EXPLODER, HANDLE, cpm_proxy, exchange, expect_counter};
use crate::large::{ANNE, SIZE, Scene};

/// How long a 202 may take while others wait for names: far below the seconds that a dead name
/// takes, and enough for a busy machine. On a quiet one it is below the 50 ms of the manual.
const SOON: Duration = Duration::from_millis(700);

fn with_names(config: ProxyConfig, server: &NameServer) -> ProxyConfig {
    config.set("cpm", "dns_server", &server.address().to_string())
}

/// Sends a message between two others, to an IP address; returns how long its 202 takes.
#[track_caller]
fn somebody_else(agent: &Agent, proxy: &Proxy) -> Duration {
    let message = cpm_message("sip:erik@example.com", EXPLODER)
        .recipients([to(&agent.uri("erik"))])
        .request();
    let begin = Instant::now();
    exchange(agent, &message, proxy, 202);
    let took = begin.elapsed();
    agent.expect_request("MESSAGE");
    took
}

#[test]
fn dead_names_hold_nobody_up() {
    let bench = Bench::new("dead_names_hold_nobody_up");
    let server = NameServer::start(&[("carol.example.com", "A 127.0.0.1")]);
    let routes = format!(
        "{HANDLE}
        event_route[cpm:recipient-request] {{ xlog(\"L_NOTICE\", \"shown $rU\\n\"); }}
        event_route[cpm:recipient-failed] {{ xlog(\"L_NOTICE\", \"lost $cpm(recipient) $cpm(code)\\n\"); }}"
    );
    let config = with_names(cpm_proxy(&routes), &server).children(2);
    let proxy = bench.proxy(&config);
    let (anne, carol, erik) = (bench.agent(), bench.agent(), bench.agent());
    for round in 0..2 {
        let mut uris: Vec<String> = (0..20)
            .map(|number| format!("sip:user{round}x{number}@r{round}x{number}{DEAD}"))
            .collect();
        uris.push(format!("sip:carol@carol.example.com:{}", carol.port()));
        let message = cpm_message("sip:anne@example.com", EXPLODER)
            .recipients(uris.iter().map(|uri| to(uri)))
            .request();
        let begin = Instant::now();
        exchange(&anne, &message, &proxy, 202);
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        // Recipients that can be found get it at once.
        carol.expect_request("MESSAGE");
        assert!(begin.elapsed() < SOON * 2, "{:?}", begin.elapsed());
    }
    // A name is given up after three seconds: until then, and at that moment.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(4) {
        let took = somebody_else(&erik, &proxy);
        assert!(took < SOON, "{took:?}");
        // Each message holds some memory for five seconds.
        std::thread::sleep(Duration::from_millis(20));
    }
    expect_counter(&proxy, "failed", 40);
    proxy.expect_log("lost sip:user1x19@r1x19.dead.example 503");
    proxy.expect_log("the name of its next hop has no address");
    // The script has seen each of them once.
    assert_eq!(proxy.log().matches("shown user0x7").count(), 1);
    // A name that has just been dead fails at once.
    let again = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to(&format!("sip:user@r0x7{DEAD}"))])
        .request();
    let asked = server.asked().len();
    exchange(&anne, &again, &proxy, 202);
    expect_counter(&proxy, "failed", 41);
    assert_eq!(server.asked().len(), asked);
    proxy.stop();
}

#[test]
fn a_domain_leads_to_its_servers() {
    let bench = Bench::new("a_domain_leads_to_its_servers");
    let (anne, udp, tcp) = (bench.agent(), bench.agent(), bench.agent());
    let srv = |agent: &Agent| format!("SRV 10 0 {} host.example.com", agent.port());
    let server = NameServer::start(&[
        ("host.example.com", "A 127.0.0.1"),
        (
            "one.example.com",
            "NAPTR 20 10 s SIP+D2U _sip._udp.one.example.com",
        ),
        (
            "one.example.com",
            "NAPTR 10 10 s SIP+D2T _sip._tcp.one.example.com",
        ),
        // This Kamailio has no TLS, and is not asked to use it.
        (
            "one.example.com",
            "NAPTR 5 10 s SIPS+D2T _sips._tcp.one.example.com",
        ),
        ("_sips._tcp.one.example.com", "SRV 10 0 9 host.example.com"),
        ("_sip._tcp.one.example.com", &srv(&tcp)),
        ("_sip._udp.one.example.com", &srv(&udp)),
        ("_sip._udp.two.example.com", &srv(&udp)),
    ]);
    let proxy = bench.proxy(&with_names(cpm_proxy(HANDLE), &server));
    for round in 0..3 {
        let message = cpm_message("sip:anne@example.com", EXPLODER)
            .recipients([
                to("sip:bill@one.example.com"),
                to("sip:carol@two.example.com"),
            ])
            .request();
        exchange(&anne, &message, &proxy, 202);
        assert_eq!(
            tcp.expect_request("MESSAGE").uri(),
            Some("sip:bill@one.example.com")
        );
        assert_eq!(
            udp.expect_request("MESSAGE").uri(),
            Some("sip:carol@two.example.com")
        );
        // A result is known to all processes.
        if round == 0 {
            expect_counter(&proxy, "delivered", 2);
        }
    }
    let asked = server.asked();
    let naptr = asked
        .iter()
        .filter(|name| *name == "one.example.com")
        .count();
    assert_eq!(naptr, 1, "{asked:?}");
    proxy.stop();
}

#[test]
fn another_address_is_tried_where_the_first_cannot() {
    let bench = Bench::new("another_address_is_tried");
    let (anne, full, bill) = (bench.agent(), bench.agent(), bench.agent());
    full.answers(Answer::code(503));
    let server = NameServer::start(&[
        ("host.example.com", "A 127.0.0.1"),
        (
            "_sip._udp.example.net",
            &format!("SRV 1 0 {} host.example.com", full.port()),
        ),
        (
            "_sip._udp.example.net",
            &format!("SRV 2 0 {} host.example.com", bill.port()),
        ),
        (
            "_sip._udp.example.org",
            &format!("SRV 1 0 {} host.example.com", full.port()),
        ),
    ]);
    let proxy = bench.proxy(&with_names(cpm_proxy(HANDLE), &server));
    let capture = bench.capture();
    for round in 1..=2 {
        let message = cpm_message("sip:anne@example.com", EXPLODER)
            .recipients([to("sip:bill@example.net")])
            .request();
        exchange(&anne, &message, &proxy, 202);
        let (first, second) = (
            full.expect_request("MESSAGE"),
            bill.expect_request("MESSAGE"),
        );
        for name in [
            "Call-ID",
            "From",
            "To",
            "CSeq",
            "Max-Forwards",
            "Content-Type",
        ] {
            assert_eq!(first.header(name), second.header(name), "{name}");
        }
        assert_eq!((first.uri(), first.body()), (second.uri(), second.body()));
        assert_ne!(first.header("Via"), second.header("Via"));
        expect_counter(&proxy, "delivered", round);
    }
    // It fails if there is no other one.
    let message = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to("sip:bill@example.org")])
        .request();
    exchange(&anne, &message, &proxy, 202);
    expect_counter(&proxy, "failed", 1);
    full.expect_request("MESSAGE");
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn large_messages_go_by_names_too() {
    let server = NameServer::start(&[("host.example.com", "A 127.0.0.1")]);
    let scene = Scene::unseen("large_messages_go_by_names_too", |_, config| {
        with_names(config, &server)
    });
    let full = scene.bench.agent();
    full.answers(Answer::code(503));
    for (priority, agent) in [(1, &full), (2, scene.callees.agent())] {
        let record = format!("SRV {priority} 0 {} host.example.com", agent.port());
        server.learn("_sip._udp.example.net", &record);
    }
    // Bill's requests within the dialog use a name too.
    let contact = format!(
        "<sip:bill@host.example.com:{}>",
        scene.callees.agent().port()
    );
    let plan = Plan::accept().header("Contact", &contact);
    scene.callees.plan("bill", plan);
    let recipients = [
        to("sip:bill@example.net"),
        to(&format!(
            "sip:carol@localhost:{}",
            scene.callees.agent().port()
        )),
        to(&format!("sip:dave@dave{DEAD}")),
    ];
    let message = large_message(ANNE, EXPLODER).recipients(recipients);
    let upload = scene.upload_of(message, SIZE);
    let begin = Instant::now();
    scene.sends(&upload);
    let (bill, _) = scene.gets("bill", &upload);
    let (carol, _) = scene.gets("carol", &upload);
    assert!(begin.elapsed() < SOON * 4, "{:?}", begin.elapsed());
    for call in [&bill, &carol] {
        scene.callees.expect_in(call, "ACK");
        scene.callees.expect_in(call, "BYE");
    }
    full.expect_request("INVITE");
    full.expect_request("ACK");
    expect_counter(&scene.proxy, "failed", 1);
    scene.finish();
}

#[test]
fn a_notification_waits_for_its_name_alone() {
    let bench = Bench::new("a_notification_waits_for_its_name_alone");
    let (anne, bill, erik) = (bench.agent(), bench.agent(), bench.agent());
    let server = NameServer::start(&[("anne.example.com", "A 127.0.0.1")]);
    let proxy = bench.proxy(&with_names(cpm_proxy(HANDLE), &server).children(2));
    let from = |host: &str| {
        let sender = format!("sip:anne@{host}:{}", anne.port());
        let message = cpm_message(&sender, EXPLODER)
            .recipients([to(&bill.uri("bill"))])
            .request();
        exchange(&anne, &message, &proxy, 202);
        bill.expect_request("MESSAGE");
        receipt(&bill.uri("bill"), EXPLODER, &message).request()
    };
    let (found, dead) = (from("anne.example.com"), from(&format!("anne{DEAD}")));
    let dead_too: Vec<_> = (0..5).map(|_| dead.again()).collect();
    for request in &dead_too {
        bill.send(request, proxy.udp());
    }
    let begin = Instant::now();
    exchange(&bill, &found, &proxy, 200);
    let passed_on = anne.expect_request("MESSAGE");
    assert_eq!(passed_on.body(), found.body());
    for _ in 0..5 {
        let took = somebody_else(&erik, &proxy);
        assert!(took < SOON, "{took:?}");
    }
    assert!(begin.elapsed() < SOON * 3);
    for request in &dead_too {
        bill.expect_response(request, 478);
    }
    proxy.stop();
}
