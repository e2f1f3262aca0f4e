//! Disposition notifications that return to one of our addresses (9.1.1-imdn, 9.1.2-imdn; readings
//! N37).

use std::time::Instant;

use cpm_testbed::{
    Agent, Answer, Bench, CpmMessage, Message, PATIENCE, Proxy, ProxyConfig, Reply, Request,
    cpm_message, large_message, to,
};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter, header_lines,
    name_of, proves, reason,
};
use crate::groups::{GroupFolder, address, ask, group_proxy, open_group, to_group};
use crate::large::{CHUNK, SIZE, Scene};

mod members;
mod senders;

/// Rules by which everybody may send, even anonymously.
const ALL_MAY_BE_ANONYMOUS: &str = "<cp:rule id=\"all\"><cp:conditions/><cp:actions>
        <allow-initiate-conference>true</allow-initiate-conference>
        <allow-anonymity>true</allow-anonymity>
    </cp:actions></cp:rule>";

/// The document of a notification (RFC 5438 §7.2.1.1).
fn document(message_id: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\r\n\
         <message-id>{message_id}</message-id><datetime>2026-01-02T03:04:05Z</datetime>\r\n\
         <delivery-notification><status><delivered/></status></delivery-notification></imdn>\r\n"
    )
}

/// A receipt for a message in either direction: the testbed's messages are named after their
/// Contribution-ID.
pub(crate) fn receipt(from: &str, to: &str, message: &Request) -> CpmMessage {
    let id = message.header("Contribution-ID").unwrap_or_default();
    cpm_message(from, to).content("message/imdn+xml", document(id))
}

/// A message from Anne's own address to one recipient, delivered.
#[track_caller]
fn delivered(anne: &Agent, service: &str, recipient: &Agent, proxy: &Proxy) -> Request {
    let message = cpm_message(&anne.uri("anne"), service)
        .recipients([to(&recipient.uri("bill"))])
        .request();
    exchange(anne, &message, proxy, 202);
    recipient.expect_request("MESSAGE");
    message
}

/// The script gets it.
#[track_caller]
fn is_left_to_the_script(agent: &Agent, request: &Request, proxy: &Proxy) {
    let response = ask(agent, request, proxy);
    assert_eq!(
        (response.status(), reason(&response)),
        (Some(404), "Not Ours")
    );
}

#[test]
fn a_receipt_goes_on_to_the_sender() {
    let bench = Bench::new("a_receipt_goes_on_to_the_sender");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).children(4));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let mut ids = Vec::new();
    // Kamailio's workers take requests in turns: different workers see a message and its receipt.
    for (round, service) in [EXPLODER, CONTROLLING]
        .into_iter()
        .cycle()
        .take(10)
        .enumerate()
    {
        let message = delivered(&anne, service, &bill, &proxy);
        let told = receipt(&bill.uri("bill"), service, &message)
            .request()
            .with("Max-Forwards", "21")
            .with("Route", "<sip:cpm.example.com;lr>")
            .and("Route", "<sip:scscf.example.com;lr>")
            .with("Privacy", "none")
            .and("X-Unknown", "stays");
        bill.send(
            &told,
            if round % 2 == 0 {
                proxy.udp()
            } else {
                proxy.tcp()
            },
        );
        let passed_on = proves!(["9.1.1-imdn"], anne.expect_request("MESSAGE"));
        bill.expect_response(&told, 200);
        proves!(
            ["9.1.1-imdn"],
            assert_eq!(passed_on.uri(), Some(&*anne.uri("anne")))
        );
        proves!(
            ["9.1.1-imdn"],
            assert_eq!(passed_on.body(), told.body(), "bit for bit")
        );
        assert_eq!(passed_on.header("Max-Forwards"), Some("20"));
        assert_eq!(passed_on.headers("Via").len(), 2);
        assert_eq!(passed_on.headers("Route"), [""; 0]);
        // Everything else is as received.
        for name in [
            "From",
            "To",
            "Call-ID",
            "CSeq",
            "P-Asserted-Identity",
            "Accept-Contact",
            "Privacy",
            "Conversation-ID",
            "Content-Type",
            "User-Agent",
            "X-Unknown",
        ] {
            assert_eq!(passed_on.header(name), told.header(name), "{name}");
        }
        let more = ["Via", "Route", "Content-Length", "Max-Forwards"];
        let names = header_lines(&passed_on);
        let names: Vec<_> = names.iter().map(|line| name_of(line)).collect();
        for name in names.iter().filter(|name| !more.contains(name)) {
            assert!(told.header(name).is_some(), "{name} was not there before");
        }
        ids.push(passed_on.call_id().to_owned());
    }
    bill.expect_nothing_until(|| proxy.ping());
    anne.expect_nothing_until(|| proxy.ping());
    expect_counter(&proxy, "imdn_forwarded", 10);
    assert_eq!(counter(&proxy, "imdn_unknown"), 0);
    assert_eq!(counter(&proxy, "requests"), 10, "they are none of these");
    let recording = capture.stop();
    recording.assert_clean();
    let forwarded = format!(
        "sip.Method == \"MESSAGE\" && sip.r-uri contains \"anne\" && {}",
        recording.sent_by_proxy()
    );
    let rows = recording.fields(
        &forwarded,
        &["sip.Call-ID", "sip.Max-Forwards", "sip.to.addr"],
    );
    let seen: Vec<_> = rows.iter().map(|row| row[0].clone()).collect();
    proves!(["9.1.1-imdn"], assert_eq!(seen, ids, "each once"));
    assert!(rows.iter().all(|row| row[1] == "20"), "{rows:?}");
    proxy.stop();
}

#[test]
fn recipients_do_not_learn_who_an_anonymous_sender_is() {
    let bench = Bench::new("recipients_do_not_learn_who_is_anonymous");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    let group = open_group("secrets")
        .rules(ALL_MAY_BE_ANONYMOUS)
        .members([bill.uri("bill")]);
    folder.put("secrets", &group);
    let capture = bench.capture();
    // Data about her in her side's responses.
    let telling = |status| {
        Reply::new(status)
            .with("Contact", "<sip:anne@192.0.2.7>")
            .with("P-Asserted-Identity", "<sip:anne@example.com>")
            .with("Record-Route", "<sip:anne@proxy.example.com;lr>")
            .with("History-Info", "<sip:anne@example.com>;index=1")
            .with("X-Name", "anne")
            .with("Retry-After", "7")
    };
    let outcomes: [(&str, [(u16, u16); 4]); 2] = [
        (
            "as_received",
            [(200, 200), (302, 302), (480, 480), (503, 500)],
        ),
        ("nameless", [200, 302, 480, 503].map(|status| (status, 202))),
    ];
    for (receipts, outcomes) in outcomes {
        let config = group_proxy(&folder.source()).set("cpm", "group_receipts", receipts);
        let proxy = bench.proxy(&config);
        for (status, code) in outcomes {
            let message = to_group("sip:anonymous@anonymous.invalid", "secrets")
                .request()
                .with("P-Asserted-Identity", &format!("<{}>", anne.uri("anne")))
                .with("Privacy", "id");
            exchange(&anne, &message, &proxy, 202);
            bill.expect_request("MESSAGE");
            let reply = telling(status);
            anne.answers(Answer::with(move |_| vec![reply.clone()]));
            let told = receipt(&bill.uri("bill"), &address("secrets"), &message).request();
            bill.send(&told, proxy.udp());
            assert_eq!(
                anne.expect_request("MESSAGE").uri(),
                Some(&*anne.uri("anne")),
                "the true address"
            );
            let response = bill.expect_response(&told, code);
            if code == status {
                assert_eq!(response.header("Retry-After"), Some("7"));
            }
        }
        proxy.stop();
    }
    for message in bill.received() {
        let raw = String::from_utf8_lossy(message.raw()).to_lowercase();
        assert!(!raw.contains("anne"), "{raw}");
    }
    capture.stop().assert_clean();
}

#[test]
fn a_repeated_receipt_is_absorbed() {
    let bench = Bench::new("a_repeated_receipt_is_absorbed");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = delivered(&anne, EXPLODER, &bill, &proxy);
    let told = receipt(&bill.uri("bill"), EXPLODER, &message).request();
    let bytes = told.write("UDP", bill.address());
    for _ in 0..3 {
        bill.send_bytes(&bytes, proxy.udp());
    }
    bill.expect_response(&told, 200);
    anne.expect_request("MESSAGE");
    // The effects of the repetitions would have arrived before this.
    exchange(&bill, &told.again(), &proxy, 200);
    anne.expect_request("MESSAGE");
    anne.expect_nothing_until(|| proxy.ping());
    expect_counter(&proxy, "imdn_forwarded", 2);
    proxy.stop();
}

#[test]
fn a_receipt_that_can_go_no_further_is_answered() {
    let bench = Bench::new("a_receipt_that_can_go_no_further");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = delivered(&anne, EXPLODER, &bill, &proxy);
    let told = receipt(&bill.uri("bill"), EXPLODER, &message).request();
    for (hops, code) in [("0", 483), ("many", 400)] {
        let request = told.again().with("Max-Forwards", hops);
        let response = exchange(&bill, &request, &proxy, code);
        assert_eq!(response.header("Server"), Some("CPM-serv/OMA2.2"));
    }
    let request = told.again().without("Max-Forwards");
    exchange(&bill, &request, &proxy, 200);
    assert_eq!(
        anne.expect_request("MESSAGE").headers("Max-Forwards"),
        ["70"]
    );
    // A sender whose address cannot be reached.
    let message = cpm_message("sip:gone@nowhere.invalid", EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    exchange(&anne, &message, &proxy, 202);
    bill.expect_request("MESSAGE");
    let told = receipt(&bill.uri("bill"), EXPLODER, &message).request();
    let response = ask(&bill, &told, &proxy);
    let status = response.status().unwrap_or_default();
    assert!((400..600).contains(&status), "{:?}", *response);
    assert!(!String::from_utf8_lossy(response.raw()).contains("nowhere"));
    proxy.expect_log("a disposition notification could not be forwarded");
    assert_eq!(counter(&proxy, "imdn_forwarded"), 1);
    anne.expect_nothing_until(|| proxy.ping());
    capture
        .stop()
        .assert_clean_where("!(frame contains \"many\")");
    proxy.stop();
}

/// RFC 3325 §5: an identity asserted by an untrusted peer is not passed on. Everything else is.
#[test]
fn a_receipt_of_an_untrusted_peer_asserts_nothing() {
    let bench = Bench::new("a_receipt_of_an_untrusted_peer");
    // One of this machine's two addresses is trusted.
    let proxy = bench.proxy(&cpm_proxy(HANDLE).over_ipv6());
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent_v6());
    let capture = bench.capture();
    let recipients = [to(&bill.uri("bill")), to(&carol.uri("carol"))];
    for service in [EXPLODER, CONTROLLING] {
        let message = cpm_message(&anne.uri("anne"), service)
            .recipients(recipients.clone())
            .request();
        exchange(&anne, &message, &proxy, 202);
        for (agent, user, way, is_trusted) in [
            (&bill, "bill", proxy.udp(), true),
            (&carol, "carol", proxy.udp_v6(), false),
        ] {
            agent.expect_request("MESSAGE");
            let told = receipt(&agent.uri(user), service, &message)
                .request()
                .and("P-Asserted-Identity", "<tel:+12015550123>")
                .and("X-Unknown", "stays");
            agent.send(&told, way);
            let passed_on = anne.expect_request("MESSAGE");
            agent.expect_response(&told, 200);
            let asserted = match is_trusted {
                true => vec![
                    format!("<{}>", agent.uri(user)),
                    "<tel:+12015550123>".into(),
                ],
                false => Vec::new(),
            };
            proves!(
                ["9.1.1-imdn"],
                assert_eq!(passed_on.headers("P-Asserted-Identity"), asserted, "{user}")
            );
            assert_eq!(passed_on.body(), told.body());
            for name in ["From", "X-Unknown", "Accept-Contact"] {
                assert_eq!(passed_on.header(name), told.header(name), "{name}");
            }
        }
    }
    expect_counter(&proxy, "imdn_forwarded", 4);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_outbound_proxy_takes_receipts_too() {
    let bench = Bench::new("the_outbound_proxy_takes_receipts_too");
    let (anne, bill, next) = (bench.agent(), bench.agent(), bench.agent());
    let capture = bench.capture();
    for suffix in ["", ";lr"] {
        let hop = format!("{}{suffix}", next.uri("next"));
        let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "outbound_proxy", &hop));
        // It can route any address; a sender with two addresses is reached at the routable one.
        for asserted in [
            "<sip:anne@example.com>",
            "<tel:+12015550123>, <sip:anne@example.com>",
            "<tel:+12015550123>",
        ] {
            let message = cpm_message("sip:anne@example.com", EXPLODER)
                .recipients([to(&bill.uri("bill"))])
                .request()
                .with("P-Asserted-Identity", asserted);
            exchange(&anne, &message, &proxy, 202);
            next.expect_request("MESSAGE");
            let told = receipt(&bill.uri("bill"), EXPLODER, &message)
                .request()
                .with("Route", "<sip:cpm.example.com;lr>");
            exchange(&bill, &told, &proxy, 200);
            let passed_on = next.expect_request("MESSAGE");
            let sender = asserted.split(", ").next().unwrap_or_default();
            assert_eq!(passed_on.uri(), Some(sender.trim_matches(['<', '>'])));
            let route: &[String] = match suffix {
                "" => &[],
                _ => &[format!("<{hop}>")],
            };
            assert_eq!(passed_on.headers("Route"), route);
            assert_eq!(passed_on.body(), told.body());
        }
        proxy.stop();
    }
    capture.stop().assert_clean();
}

#[test]
fn a_script_may_decide_by_itself() {
    let bench = Bench::new("a_script_may_decide_by_itself");
    let (anne, bill) = (bench.agent(), bench.agent());
    let routes = "request_route {
        if (cpm_handle()) exit;
        if (is_present_hf(\"X-Forward\") && cpm_forward_imdn()) exit;
        sl_send_reply(\"404\", \"Not Ours\");
    }";
    let config: ProxyConfig = cpm_proxy(routes).set("cpm", "imdn", "script");
    let proxy = bench.proxy(&config);
    let steps = "request_route {
        if (cpm_classify()) {
            if (!cpm_check()) { cpm_reply(); exit; }
            cpm_fanout();
            exit;
        }
        if (cpm_forward_imdn()) exit;
        sl_send_reply(\"404\", \"Not Ours\");
    }";
    let in_steps = bench.proxy(&cpm_proxy(steps));
    let capture = bench.capture();
    let message = delivered(&anne, EXPLODER, &bill, &proxy);
    let told = receipt(&bill.uri("bill"), EXPLODER, &message).request();
    is_left_to_the_script(&bill, &told, &proxy);
    let wanted = told.again().with("X-Forward", "yes");
    exchange(&bill, &wanted, &proxy, 200);
    assert_eq!(anne.expect_request("MESSAGE").body(), told.body());
    let message = delivered(&anne, EXPLODER, &bill, &in_steps);
    let told = receipt(&bill.uri("bill"), EXPLODER, &message).request();
    exchange(&bill, &told, &in_steps, 200);
    assert_eq!(anne.expect_request("MESSAGE").body(), told.body());
    // A message it is not for is left alone.
    let other = Request::new("OPTIONS", &bill.uri("bill"), EXPLODER).with("X-Forward", "yes");
    for proxy in [&proxy, &in_steps] {
        is_left_to_the_script(&bill, &other.again(), proxy);
        expect_counter(proxy, "imdn_forwarded", 1);
    }
    capture.stop().assert_clean();
    proxy.stop();
    in_steps.stop();
}

/// Several processes work on a message to a large group, and a receipt may arrive before the last
/// of them is done.
#[test]
fn receipts_are_forwarded_before_everybody_has_his_copy() {
    let bench = Bench::new("receipts_before_everybody_has_his_copy");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, all) = (bench.agent(), bench.agent());
    let members: Vec<String> = (0..500).map(|user| all.uri(&format!("u{user}"))).collect();
    folder.put("crowd", &open_group("crowd").members(&members));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let message = to_group(&anne.uri("anne"), "crowd").request();
    anne.send(&message, proxy.udp());
    all.expect_request("MESSAGE");
    let told = receipt(&all.uri("u0"), &address("crowd"), &message).request();
    exchange(&all, &told, &proxy, 202);
    anne.expect_request("MESSAGE");
    anne.expect_response(&message, 202);
    all.expect_requests("MESSAGE", 499);
    proxy.stop();
}
