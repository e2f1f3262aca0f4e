//! Which requests are for the Controlling Function, and of which kind (9.1.1-0; readings N2, N26).

use cpm_testbed::{Agent, Bench, PAGER_FEATURE_TAG, Proxy, Request, cpm_message, to};

use crate::common::{
    CONTROLLING, EXPLODER, counters, cpm_proxy, exchange, header_lines, name_of, proves, reason,
};

/// Reports in the reason phrase how a request was classified.
const TELL: &str = "request_route {
    if (!cpm_classify()) {
        sl_send_reply(\"200\", \"not ours\");
        exit;
    }
    sl_send_reply(\"200\", \"it is $cpm(kind) $cpm(mode)\");
}";

const EXPLODED: &str = "it is exploder pager";
const AD_HOC: &str = "it is adhoc pager";
const NOT_OURS: &str = "not ours";

#[track_caller]
fn taken_for(agent: &Agent, request: &Request, proxy: &Proxy) -> String {
    reason(&exchange(agent, request, proxy, 200)).to_owned()
}

#[test]
fn the_request_uri_tells_the_kind() {
    let bench = Bench::new("the_request_uri_tells_the_kind");
    let proxy = bench.proxy(
        &cpm_proxy(TELL)
            .set("cpm", "exploder_uri", "sip:many@example.net:5070")
            .set("cpm", "exploder_uri", "sips:exploder@secure.example.com")
            .set("cpm", "controlling_uri", "sip:example.org")
            .set(
                "cpm",
                "controlling_uri",
                "sip:cpm@[2001:db8::1];transport=tcp",
            ),
    );
    let anne = bench.agent();
    let capture = bench.capture();
    for (uri, kind) in [
        (EXPLODER, EXPLODED),
        (CONTROLLING, AD_HOC),
        ("sip:many@example.net:5070", EXPLODED),
        ("sips:exploder@secure.example.com", EXPLODED),
        ("sip:example.org", AD_HOC),
        ("sip:cpm@[2001:db8::1];transport=tcp", AD_HOC),
        // RFC 3261 §19.1.4: these are equal.
        ("sip:%65xplode%72@example.com", EXPLODED),
        ("SIP:exploder@EXAMPLE.Com", EXPLODED),
        ("sip:exploder@example.com;newparam=5", EXPLODED),
        ("sip:cpm@example.com;security=on", AD_HOC),
        // And these are not.
        ("sip:Exploder@example.com", NOT_OURS),
        ("sip:exploder@example.com:5060", NOT_OURS),
        ("sip:many@example.net", NOT_OURS),
        ("sip:many@example.net:5071", NOT_OURS),
        ("sip:exploder@example.com;transport=udp", NOT_OURS),
        ("sip:exploder@example.com;user=phone", NOT_OURS),
        ("sips:exploder@example.com", NOT_OURS),
        ("sip:exploder:secret@example.com", NOT_OURS),
        ("sip:exploder@example.com?Subject=x", NOT_OURS),
        ("sip:example.com", NOT_OURS),
        ("tel:+12015550123", NOT_OURS),
    ] {
        let request = cpm_message("sip:anne@example.com", EXPLODER)
            .recipients([to("sip:bill@example.com")])
            .request()
            .with_uri(uri);
        proves!(
            ["9.1.1-0"],
            assert_eq!(taken_for(&anne, &request, &proxy), kind, "{uri}")
        );
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_feature_tag_tells_the_mode() {
    let bench = Bench::new("the_feature_tag_tells_the_mode");
    let proxy = bench.proxy(&cpm_proxy(TELL));
    let anne = bench.agent();
    let capture = bench.capture();
    let message = || {
        cpm_message("sip:anne@example.com", EXPLODER)
            .recipients([to("sip:bill@example.com")])
            .request()
    };
    for value in [
        PAGER_FEATURE_TAG,
        r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg";require;explicit"#,
        r#"*;+g.3gpp.icsi-ref="urn%3aurn-7%3a3gpp-service.ims.icsi.oma.cpm.msg""#,
        r#"*;+g.3gpp.icsi-ref="urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg""#,
        r#"*;require;+G.3GPP.ICSI-Ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
        r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3Aother,urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
        r#"*;audio, *;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
        "*;explicit;\r\n +g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"",
    ] {
        let request = message().with("Accept-Contact", value);
        proves!(
            ["9.1.1-0"],
            assert_eq!(taken_for(&anne, &request, &proxy), EXPLODED, "{value}")
        );
    }
    let second_field = message()
        .with("Accept-Contact", "*;audio")
        .and("a", PAGER_FEATURE_TAG);
    assert_eq!(taken_for(&anne, &second_field, &proxy), EXPLODED);

    for value in [
        "*",
        r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg.group""#,
        r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg""#,
        r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.ms""#,
        r#"*;+g.3gpp.iari-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
    ] {
        let request = message().with("Accept-Contact", value);
        proves!(
            ["9.1.1-0"],
            assert_eq!(taken_for(&anne, &request, &proxy), NOT_OURS, "{value}")
        );
    }
    let untagged = message().without("Accept-Contact");
    proves!(
        ["9.1.1-0"],
        assert_eq!(taken_for(&anne, &untagged, &proxy), NOT_OURS)
    );
    let rejected = untagged.again().and("Reject-Contact", PAGER_FEATURE_TAG);
    assert_eq!(taken_for(&anne, &rejected, &proxy), NOT_OURS);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_asserted_service_marks_a_request_where_it_is_told_to() {
    let bench = Bench::new("the_asserted_service_marks_a_request");
    let proxy = bench.proxy(&cpm_proxy(TELL).set("cpm", "trigger", "accept_contact_or_service"));
    let anne = bench.agent();
    let capture = bench.capture();
    let untagged = cpm_message("sip:anne@example.com", CONTROLLING)
        .request()
        .without("Accept-Contact");
    for (service, kind) in [
        ("urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg", AD_HOC),
        ("urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group", AD_HOC),
        ("urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg", NOT_OURS),
    ] {
        let request = untagged.again().with("P-Asserted-Service", service);
        assert_eq!(taken_for(&anne, &request, &proxy), kind, "{service}");
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn what_is_not_ours_goes_on_as_if_the_module_were_not_there() {
    let bench = Bench::new("what_is_not_ours_goes_on");
    let (anne, bill) = (bench.agent(), bench.agent());
    let proxy = bench.proxy(&cpm_proxy(&format!(
        "request_route {{
            if (cpm_handle()) exit;
            if (!cpm_classify()) {{
                $du = \"sip:127.0.0.1:{}\";
                t_relay();
            }}
        }}",
        bill.port()
    )));
    let capture = bench.capture();
    let log = proxy.log();
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    let other_method = Request::new("INFO", "sip:anne@example.com", EXPLODER)
        .with("Accept-Contact", PAGER_FEATURE_TAG)
        .with_body("text/plain", "Hello");
    for request in [
        message.request().with_uri("sip:bill@example.com"),
        message.request().without("Accept-Contact"),
        message
            .request()
            .with("Accept-Contact", "*;audio")
            .without("P-Asserted-Identity"),
        message
            .request()
            .with_body("multipart/mixed", "broken")
            .with("Accept-Contact", "*"),
        other_method,
    ] {
        let sent = request.write(
            "UDP",
            format!("127.0.0.1:{}", anne.port())
                .parse()
                .expect("an address"),
        );
        anne.send_bytes(&sent, proxy.udp());
        anne.expect_response(&request, 200);
        let received = bill.expect_request(request.method());
        let received_lines = header_lines(&received);
        let (via, lines) = received_lines.split_first().expect("it has header fields");
        assert_eq!(name_of(via), "Via");
        proves!(
            ["9.1.1-0"],
            assert_eq!(lines, header_lines(&cpm_testbed::Message::read(sent)))
        );
        assert_eq!(received.body(), request.body());
    }
    proves!(
        ["9.1.1-0"],
        assert!(
            counters(&proxy).iter().all(|(_, value)| *value == 0),
            "{:?}",
            counters(&proxy)
        )
    );
    assert_eq!(proxy.log(), log, "nothing is logged");
    let recording = capture.stop();
    recording.assert_clean_where("!(sip.Content-Type contains \"multipart/mixed\")");
    proxy.stop();
}

#[test]
fn the_request_uri_in_force_counts() {
    let bench = Bench::new("the_request_uri_in_force_counts");
    let proxy = bench.proxy(&cpm_proxy(
        "request_route {
            if ($rU == \"everybody\") $ru = \"sip:exploder@example.com\";
            if ($rU == \"leave\") $ru = \"sip:nobody@example.com\";
            if (cpm_handle()) exit;
            sl_send_reply(\"404\", \"Not Ours\");
        }",
    ));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    exchange(
        &anne,
        &message.request().with_uri("sip:everybody@example.com"),
        &proxy,
        202,
    );
    bill.expect_request("MESSAGE");
    let left = message.request().with_uri("sip:leave@example.com");
    assert_eq!(reason(&exchange(&anne, &left, &proxy, 404)), "Not Ours");
    capture.stop().assert_clean();
    proxy.stop();
}
