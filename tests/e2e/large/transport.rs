//! Transports of large messages: SIP over UDP and TCP, MSRP over TCP and TLS, IPv4 and IPv6 (RFC
//! 4975, RFC 8122).

use std::path::PathBuf;

use cpm_testbed::{Bench, Callees, Certificate, Plan, ProxyConfig, large_message, sha256, to};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, cpm_proxy, duty, expect_counter, proves};
use crate::large::{ANNE, CHUNK, SIZE, Scene, expect_nothing_left};

/// The files of a certificate in the folder of a test.
fn files(bench: &Bench, certificate: &Certificate) -> (PathBuf, PathBuf) {
    let folder = bench.folder().join("tls");
    std::fs::create_dir(&folder).expect("the folder of a test can be written to");
    certificate.files(&folder)
}

/// Takes and offers MSRP over TLS, with this certificate.
pub(crate) fn with_tls(
    config: ProxyConfig,
    bench: &Bench,
    certificate: &Certificate,
) -> ProxyConfig {
    let (certificate, key) = files(bench, certificate);
    config
        .set(
            "cpm",
            "msrp_listen",
            &format!("tls:127.0.0.1:{}", bench.port()),
        )
        .set(
            "cpm",
            "msrp_tls_certificate",
            &certificate.display().to_string(),
        )
        .set("cpm", "msrp_tls_private_key", &key.display().to_string())
        .set("cpm", "msrp_transport", "tls")
}

#[test]
fn msrp_over_tls_both_ways() {
    let [own, annes, bills] = [(), (), ()].map(|()| Certificate::new(&["127.0.0.1"]));
    let scene = Scene::with("msrp_over_tls_both_ways", |bench, config| {
        with_tls(config, bench, &own)
    });
    let sender = scene.bench.msrps_peer(&annes);
    let secure = scene
        .bench
        .callees_of(scene.bench.agent(), scene.bench.msrps_peer(&bills));
    secure.plan("active", Plan::accept().active());
    let fingerprint = |value: Option<&str>| value.unwrap_or_default().to_uppercase();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let users = ["bill", "active"];
        let message =
            large_message(ANNE, service).recipients(users.map(|user| to(&secure.uri(user))));
        let session = sender.session();
        let request = message.request(&scene.anne, &session, SIZE);
        let mut call = scene.anne.invites(&request, scene.proxy.udp());
        let sdp = call.sdp();
        proves!(
            ["9.1.2-200-2b"],
            assert!(sdp.path().starts_with("msrps://"), "{sdp:?}")
        );
        assert!(sdp.lines('m')[0].contains(" TCP/TLS/MSRP *"), "{sdp:?}");
        assert_eq!(
            fingerprint(sdp.attribute("fingerprint")),
            own.fingerprint().to_uppercase()
        );
        session.sends_to(sdp.path());
        call.ack();
        session.connect_and_bind();
        assert_eq!(session.peer_fingerprint(), Some(own.fingerprint()));
        let content = message.content(SIZE);
        session.deliver(&content, CHUNK);
        for user in users {
            let leg = secure.expect_nth_call(user, round);
            let offer = leg.sdp();
            proves!(
                [duty(service, "9.1.2-8j-ii", "9.1.2-9h-viii")],
                assert!(offer.path().starts_with("msrps://"), "{offer:?}")
            );
            assert!(offer.lines('m')[0].contains(" TCP/TLS/MSRP *"), "{offer:?}");
            assert_eq!(
                fingerprint(offer.attribute("fingerprint")),
                own.fingerprint().to_uppercase()
            );
            let role = if user == "active" {
                "9.1.2-ack-2b-ii"
            } else {
                "9.1.2-ack-2b-i"
            };
            proves!(
                ["9.1.2-ack-2c", role],
                assert_eq!(
                    leg.session.expect_message().sha256(),
                    sha256(&content),
                    "{user}"
                )
            );
            assert_eq!(
                leg.session.peer_fingerprint(),
                Some(own.fingerprint()),
                "{user}"
            );
        }
        call.bye(200);
    }
    expect_counter(&scene.proxy, "delivered", 4);
    secure.peer().assert_no_faults();
    sender.assert_no_faults();
    scene.finish();
}

#[test]
fn a_certificate_that_the_description_does_not_name_is_refused() {
    let [own, annes, bills, mallory] = [(); 4].map(|()| Certificate::new(&["127.0.0.1"]));
    let scene = Scene::with("a_certificate_not_named", |bench, config| {
        with_tls(config, bench, &own)
    });
    let sender = scene.bench.msrps_peer(&annes);
    let secure = scene
        .bench
        .callees_of(scene.bench.agent(), scene.bench.msrps_peer(&bills));
    let wrong = mallory.fingerprint();
    secure.plan(
        "mallory",
        Plan::accept().attribute("fingerprint", Some(&wrong)),
    );
    let message = large_message(ANNE, EXPLODER)
        .recipients(["bill", "mallory"].map(|user| to(&secure.uri(user))));
    let session = sender.session();
    let request = message.request(&scene.anne, &session, SIZE);
    let mut call = scene.anne.invites(&request, scene.proxy.udp());
    session.sends_to(call.sdp().path());
    call.ack();
    session.connect_and_bind();
    let content = message.content(SIZE);
    session.deliver(&content, CHUNK);
    let bill = secure.expect_call("bill");
    assert_eq!(bill.session.expect_message().bytes, content);
    let mallory = secure.expect_call("mallory");
    let bye = secure.expect_in(&mallory, "BYE");
    assert!(
        !bye.header("Reason")
            .unwrap_or_default()
            .contains("cause=200")
    );
    assert_eq!(mallory.session.content_bytes(), 0);
    call.bye(200);
    expect_counter(&scene.proxy, "failed", 1);
    scene.finish();
}

#[test]
fn one_side_over_tls_the_other_plain() {
    let [own, annes] = [(), ()].map(|()| Certificate::new(&["127.0.0.1"]));
    let scene = Scene::with("one_side_over_tls", |bench, config| {
        with_tls(config, bench, &own).set("cpm", "msrp_transport", "tcp")
    });
    let sender = scene.bench.msrps_peer(&annes);
    let message = scene.message(EXPLODER, &["bill"]);
    let session = sender.session();
    let request = message.request(&scene.anne, &session, SIZE);
    let mut call = scene.anne.invites(&request, scene.proxy.udp());
    session.sends_to(call.sdp().path());
    assert!(call.sdp().path().starts_with("msrps://"));
    call.ack();
    session.connect_and_bind();
    let content = message.content(SIZE);
    session.deliver(&content, CHUNK);
    let bill = scene.callees.expect_call("bill");
    assert!(bill.sdp().path().starts_with("msrp://"));
    assert_eq!(bill.session.expect_message().bytes, content);
    call.bye(200);
    scene.finish();
}

#[test]
fn ipv6_from_end_to_end() {
    let bench = Bench::new("ipv6_from_end_to_end");
    let (anne, sender) = (bench.agent_v6(), bench.msrp_peer_v6());
    let callees: Callees = bench.callees_of(bench.agent_v6(), bench.msrp_peer_v6());
    callees.plan("active", Plan::accept().active());
    let port = bench.msrp_port();
    let proxy = bench.proxy(
        &cpm_proxy(HANDLE)
            .over_ipv6()
            .set("cpm", "trusted_peer", "::1")
            .set("cpm", "msrp_listen", &format!("tcp:[::1]:{port}"))
            .set("cpm", "contact_uri", "sip:cpm@[::1]:@PORT@"),
    );
    let capture = bench.capture();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let users = ["bill", "active"];
        let message =
            large_message(ANNE, service).recipients(users.map(|user| to(&callees.uri(user))));
        let session = sender.session();
        let request = message.request(&anne, &session, SIZE);
        let mut call = anne.invites(&request, proxy.udp_v6());
        let sdp = call.sdp();
        assert_eq!(sdp.lines('c'), ["IN IP6 ::1"]);
        assert!(
            sdp.path().starts_with(&format!("msrp://[::1]:{port}/")),
            "{sdp:?}"
        );
        session.sends_to(sdp.path());
        call.ack();
        session.connect_and_bind();
        let content = message.content(SIZE);
        session.deliver(&content, CHUNK);
        for user in users {
            let leg = callees.expect_nth_call(user, round);
            assert_eq!(leg.sdp().lines('c'), ["IN IP6 ::1"]);
            assert!(leg.invite.way().address().is_ipv6());
            assert_eq!(leg.session.expect_message().bytes, content, "{user}");
        }
        call.bye(200);
        for user in users {
            callees.expect_in(&callees.expect_nth_call(user, round), "BYE");
        }
    }
    expect_nothing_left(&proxy, cpm_testbed::PATIENCE);
    callees.peer().assert_no_faults();
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn sip_over_tcp_on_both_sides() {
    let scene = Scene::new("sip_over_tcp_on_both_sides");
    let agent = scene.callees.agent();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let users = ["bill", "carol"];
        let message =
            large_message(ANNE, service).recipients(users.map(|user| to(&agent.tcp_uri(user))));
        let upload = scene.upload_of(message, SIZE);
        let mut call = scene.anne.invites(&upload.request, scene.proxy.tcp());
        proves!(
            ["9.1.2-200-5"],
            assert_eq!(call.answer().way().transport(), "TCP")
        );
        upload.session.sends_to(call.sdp().path());
        call.ack();
        upload.session.connect_and_bind();
        upload.session.deliver(&upload.content, CHUNK);
        for user in users {
            let leg = scene.callees.expect_nth_call(user, round);
            proves!(
                [duty(service, "9.1.2-8m", "9.1.2-9j")],
                assert_eq!(leg.invite.way().transport(), "TCP")
            );
            assert_eq!(leg.session.expect_message().bytes, upload.content);
        }
        call.bye(200);
        for user in users {
            let leg = scene.callees.expect_nth_call(user, round);
            scene.hangs_up(&leg, 200);
        }
    }
    scene.finish();
}

#[test]
fn what_peers_are_told_can_be_set() {
    let scene = Scene::with("what_peers_are_told", |_, config| {
        config
            .set("cpm", "msrp_advertise", "tcp:203.0.113.7:2855")
            .set("cpm", "contact_uri", "sip:cf@127.0.0.1:@PORT@;x=1")
    });
    let upload = scene.upload(CONTROLLING, &["bill"]);
    let mut call = scene.anne.invites(&upload.request, scene.proxy.udp());
    let leg = scene.callees.expect_call("bill");
    for (sdp, duty) in [(call.sdp(), "9.1.2-200-2b"), (leg.sdp(), "9.1.2-8j-ii")] {
        assert_eq!(sdp.target().to_string(), "203.0.113.7:2855");
        proves!(
            [duty],
            assert!(
                sdp.path().starts_with("msrp://203.0.113.7:2855/"),
                "{sdp:?}"
            )
        );
    }
    let contact = format!("<sip:cf@127.0.0.1:{};x=1>", scene.proxy.port());
    for (message, duty) in [(call.answer(), "9.1.2-200-4"), (&leg.invite, "9.1.2-8e")] {
        let own = message.header("Contact").unwrap_or_default();
        proves!([duty], assert!(own.starts_with(&contact), "{own}"));
    }
    call.ack();
    call.bye(480);
    scene.finish();
}
