//! An IMS application server behind an S-CSCF.

use std::collections::BTreeSet;

use cpm_testbed::{Answer, Bench, Request, cpm_message, large_message, to};

use super::{ANNE, large_application_server, large_message_arrives, quoted, shipped, through_core};
use crate::common::{EXPLODER, exchange, expect_counter};

#[test]
fn an_application_server_takes_and_sends_through_the_core() {
    let bench = Bench::new("an_application_server");
    let core = bench.agent();
    let proxy = bench.proxy(&shipped(
        "ims-application-server.cfg",
        &[
            ("SCSCF_URI", quoted(&format!("{};lr", core.uri("core")))),
            ("SCSCF_ADDRESS", quoted("127.0.0.1")),
        ],
    ));
    let capture = bench.capture();
    let message = cpm_message(ANNE, EXPLODER)
        .recipients([to("sip:bill@example.com"), to("tel:+12015550123")]);
    let request = through_core(&message.request(), &proxy, &core);
    core.send(&request, proxy.udp());
    core.expect_response(&request, 202);
    let copies = core.expect_requests("MESSAGE", 2);
    for copy in &copies {
        assert_eq!(
            copy.headers("Route"),
            [format!("<{};lr>", core.uri("core"))]
        );
        assert_eq!(
            copy.header("P-Asserted-Identity"),
            Some("<sip:anne@example.com>")
        );
        assert_eq!(copy.header("P-Charging-Vector"), None);
    }
    assert_eq!(
        copies
            .iter()
            .map(|copy| copy.uri())
            .collect::<BTreeSet<_>>(),
        BTreeSet::from([Some("sip:bill@example.com"), Some("tel:+12015550123")])
    );
    // A request that is not for us returns to the core unchanged.
    let other = through_core(&message.request(), &proxy, &core).with_uri("sip:bill@example.com");
    core.send(&other, proxy.udp());
    let back = core.expect_request("MESSAGE");
    assert_eq!(back.uri(), Some("sip:bill@example.com"));
    assert_eq!(back.body(), other.body());
    core.expect_response(&other, 200);
    let ping = Request::new("OPTIONS", &core.uri("core"), "sip:cpm-as.example.com");
    exchange(&core, &ping, &proxy, 200);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_user_who_registers_later_gets_the_message_then() {
    let bench = Bench::new("a_user_who_registers_later");
    let core = bench.agent();
    core.answers(Answer::code(480));
    let proxy = bench.proxy(&shipped(
        "ims-application-server.cfg",
        &[
            ("SCSCF_URI", quoted(&format!("{};lr", core.uri("core")))),
            ("SCSCF_ADDRESS", quoted("127.0.0.1")),
            ("DEFERRED_CODES", quoted("480")),
        ],
    ));
    let message = cpm_message(ANNE, EXPLODER)
        .recipients([to("sip:bill@example.com"), to("tel:+12015550123")]);
    let request = through_core(&message.request(), &proxy, &core);
    core.send(&request, proxy.udp());
    core.expect_response(&request, 202);
    core.expect_requests("MESSAGE", 2);
    expect_counter(&proxy, "waiting", 2);
    core.answers(Answer::code(200));
    let register = |expires: &str| {
        Request::new("REGISTER", "sip:scscf.example.com", "sip:bill@example.com")
            .with_uri("sip:cpm-as.example.com")
            .with("Expires", expires)
            .with(
                "P-Associated-URI",
                "<sip:bill@example.com>, <tel:+12015550123>",
            )
    };
    // It goes, and then it comes.
    exchange(&core, &register("0"), &proxy, 200);
    exchange(&core, &register("600000"), &proxy, 200);
    for copy in core.expect_requests("MESSAGE", 2) {
        assert_eq!(copy.header("CSeq"), Some("2 MESSAGE"));
    }
    expect_counter(&proxy, "delivered", 2);
    proxy.stop();
}

#[test]
fn an_application_server_takes_large_messages() {
    let bench = Bench::new("an_application_server_takes_large");
    let (anne, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let proxy = bench.proxy(&large_application_server(&bench, &callees));
    let capture = bench.capture();
    let message = large_message(ANNE, EXPLODER)
        .recipients([to("sip:bob@example.com"), to("sip:carol@example.com")]);
    let content = message.content(200_000);
    let session = peer.session();
    let invite = message
        .request(&anne, &session, content.len())
        .with("Route", &format!("<sip:127.0.0.1:{};lr>", proxy.port()));
    let mut call = anne.invites(&invite, proxy.udp());
    large_message_arrives(&mut call, &session, &callees, &content);
    expect_counter(&proxy, "delivered", 2);
    capture.stop().assert_clean();
    proxy.stop();
}
