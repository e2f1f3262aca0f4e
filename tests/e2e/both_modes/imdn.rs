//! Disposition notifications that come back to an address of ours (9.1.1-imdn, 9.1.2-imdn; readings
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

/// Rules by which everybody may send, without a name too.
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

/// A receipt for a message that has come or gone: testbed messages are named after their
/// Contribution-ID.
pub(crate) fn receipt(from: &str, to: &str, message: &Request) -> CpmMessage {
    let id = message.header("Contribution-ID").unwrap_or_default();
    cpm_message(from, to).content("message/imdn+xml", document(id))
}

/// A message from Anne's own address to one recipient, who has it.
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
    // Kamailio's workers take what comes in turns: a message and its receipt are seen by different
    // ones.
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
        // Everything else as it came.
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

/// A receipt that says wherever it can who it is from.
fn telling_receipt(member: &str, group: &str, message: &Request) -> Request {
    let told = receipt(member, group, message).request();
    let body = String::from_utf8_lossy(told.body())
        .replace(
            "<delivery-notification>",
            &format!(
                "<recipient-uri>{member}</recipient-uri>\
                 <original-recipient-uri>{member}</original-recipient-uri><delivery-notification>"
            ),
        )
        .replace("NS: imdn", &format!("Subject: by {member}\r\nNS: imdn"));
    told.with_body("message/cpim", body)
        .with("Contact", &format!("<{member}>"))
        .with("Reply-To", &format!("<{member}>"))
        .with("Privacy", "none")
        .with("X-Unknown", member)
        .with("User-Agent", &format!("CPM-client/OMA2.2 {member}"))
}

/// Nothing of it names the member: not the user part, and not the port of the agent.
#[track_caller]
fn is_nameless(passed_on: &Message, agent: &Agent, user: &str) {
    let raw = String::from_utf8_lossy(passed_on.raw()).to_lowercase();
    for name in [user, &agent.port().to_string()] {
        assert!(!raw.contains(name), "{name} in {raw}");
    }
}

#[test]
fn members_of_a_group_get_no_receipts_and_the_sender_does() {
    let bench = Bench::new("members_of_a_group_get_no_receipts");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    let members = [bill.uri("bill"), carol.uri("carol")];
    folder.put("lunch", &open_group("lunch").members(members));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    let message = to_group(&anne.uri("anne"), "lunch").request();
    exchange(&anne, &message, &proxy, 202);
    let mut ids = Vec::new();
    for (agent, user) in [(&bill, "bill"), (&carol, "carol")] {
        let copy = agent.expect_request("MESSAGE");
        // To whom the message seems to come from.
        let group = copy.header("P-Asserted-Identity").unwrap_or_default();
        let group = group.trim_matches(['<', '>']);
        assert_eq!(group, address("lunch"));
        let told = telling_receipt(&agent.uri(user), group, &message).with("Max-Forwards", "21");
        // Also without the feature tag of a message, which it is not.
        for request in [told.again(), told.again().without("Accept-Contact")] {
            let response = exchange(agent, &request, &proxy, 202);
            assert_eq!(response.header("Server"), Some("CPM-serv/OMA2.2"));
            let passed_on = anne.expect_request("MESSAGE");
            proves!(["9.1.1-imdn"], is_nameless(&passed_on, agent, user));
            proves!(
                ["9.1.1-imdn"],
                assert_eq!(passed_on.uri(), Some(&*anne.uri("anne")))
            );
            let own = format!("<{group}>");
            assert_eq!(passed_on.headers("P-Asserted-Identity"), [&*own]);
            let from = passed_on.header("From").unwrap_or_default();
            assert!(from.starts_with(&format!("{own};tag=")), "{from}");
            assert_eq!(passed_on.header("Max-Forwards"), Some("20"));
            assert_eq!(
                passed_on.header("Accept-Contact"),
                told.header("Accept-Contact")
            );
            for name in ["Conversation-ID", "Contribution-ID"] {
                assert_eq!(passed_on.header(name), request.header(name), "{name}");
            }
            let body = String::from_utf8_lossy(passed_on.body()).into_owned();
            let id = message.header("Contribution-ID").unwrap_or_default();
            for part in [
                &format!("From: {own}\r\nTo: <{}>\r\n", anne.uri("anne")),
                &format!("<message-id>{id}</message-id>"),
                &format!("<recipient-uri>{group}</recipient-uri>"),
                "<datetime>2026-01-02T03:04:05Z</datetime>",
                "<delivery-notification><status><delivered/>",
            ] {
                proves!(
                    ["9.1.1-imdn"],
                    assert!(body.contains(part), "{part} in {body}")
                );
            }
            ids.push(passed_on.call_id().to_owned());
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "a dialog of its own each");
    // What would not stay nameless.
    let told = telling_receipt(&bill.uri("bill"), &address("lunch"), &message);
    let change = |from: &str, to: &str| {
        let body = String::from_utf8_lossy(told.body()).replace(from, to);
        told.again().with_body("message/cpim", body)
    };
    for broken in [
        change("<delivered/>", "<bill/>"),
        change("2026-01-02T", "bill"),
    ] {
        exchange(&bill, &broken, &proxy, 400);
    }
    let named = told.again().with("Contribution-ID", "1@bill.example.com");
    exchange(&bill, &named, &proxy, 202);
    is_nameless(&anne.expect_request("MESSAGE"), &bill, "bill");
    for agent in [&anne, &bill, &carol] {
        agent.expect_nothing_until(|| proxy.ping());
    }
    expect_counter(&proxy, "imdn_forwarded", 5);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn receipts_of_a_group_go_on_as_received_where_the_operator_wants_it() {
    let bench = Bench::new("receipts_of_a_group_as_received");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let config = group_proxy(&folder.source()).set("cpm", "group_receipts", "as_received");
    let proxy = bench.proxy(&config);
    let message = to_group(&anne.uri("anne"), "lunch").request();
    exchange(&anne, &message, &proxy, 202);
    bill.expect_request("MESSAGE");
    let told = telling_receipt(&bill.uri("bill"), &address("lunch"), &message);
    exchange(&bill, &told, &proxy, 200);
    let passed_on = anne.expect_request("MESSAGE");
    assert_eq!(passed_on.body(), told.body());
    for name in ["From", "To", "Contact", "P-Asserted-Identity", "Call-ID"] {
        assert_eq!(passed_on.header(name), told.header(name), "{name}");
    }
    expect_counter(&proxy, "imdn_forwarded", 1);
    proxy.stop();
}

#[test]
fn a_repeated_receipt_of_a_member_is_absorbed() {
    let bench = Bench::new("a_repeated_receipt_of_a_member");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let steps = "request_route {
        if (cpm_forward_imdn()) exit;
        cpm_handle();
        exit;
    }";
    for routes in [HANDLE, steps] {
        let config = cpm_proxy(routes)
            .set("cpm", "group_source", &folder.source())
            .set("cpm", "group_uri", "sip:*@groups.example.com")
            .children(4);
        let proxy = bench.proxy(&config);
        let message = to_group(&anne.uri("anne"), "lunch").request();
        exchange(&anne, &message, &proxy, 202);
        bill.expect_request("MESSAGE");
        let told = telling_receipt(&bill.uri("bill"), &address("lunch"), &message);
        let bytes = told.write("UDP", bill.address());
        for _ in 0..3 {
            bill.send_bytes(&bytes, proxy.udp());
        }
        bill.expect_response(&told, 202);
        is_nameless(&anne.expect_request("MESSAGE"), &bill, "bill");
        anne.expect_nothing_until(|| proxy.ping());
        expect_counter(&proxy, "imdn_forwarded", 1);
        proxy.stop();
    }
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
    // What her side says of her in its responses.
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
fn what_nobody_is_known_for_is_left_to_the_script() {
    let bench = Bench::new("what_nobody_is_known_for");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    let bill_uri = bill.uri("bill");
    let message = delivered(&anne, EXPLODER, &bill, &proxy);
    let told = receipt(&bill_uri, EXPLODER, &message);

    // About messages that were never sent, were refused, asked for nothing, or whose sender no
    // request could reach.
    let unsent = cpm_message(&anne.uri("anne"), EXPLODER).recipients([to(&bill_uri)]);
    let refused = unsent.clone().recipients([]).request();
    exchange(&anne, &refused, &proxy, 403);
    let silent = unsent.request();
    let body = String::from_utf8_lossy(silent.body()).replace("imdn.Disposition-", "imdn.Other-");
    let content_type = silent.header("Content-Type").unwrap_or_default().to_owned();
    let silent = silent.with_body(&content_type, body);
    exchange(&anne, &silent, &proxy, 202);
    bill.expect_request("MESSAGE");
    let unreachable = cpm_message("tel:+12015550123", EXPLODER)
        .recipients([to(&bill_uri)])
        .request()
        .with("From", "<sip:anne@example.com>;tag=1");
    exchange(&anne, &unreachable, &proxy, 202);
    bill.expect_request("MESSAGE");
    let ourselves = cpm_message(CONTROLLING, EXPLODER)
        .recipients([to(&bill_uri)])
        .request();
    exchange(&anne, &ourselves, &proxy, 202);
    bill.expect_request("MESSAGE");
    let never = cpm_message(&bill_uri, EXPLODER).request();
    for about in [never, refused, silent, unreachable, ourselves] {
        let told = receipt(&bill_uri, EXPLODER, &about).request();
        is_left_to_the_script(&bill, &told, &proxy);
        assert_eq!(told.header("To"), Some("<sip:exploder@example.com>"));
    }
    expect_counter(&proxy, "imdn_unknown", 5);

    // What names no message, is no notification, or is not for us.
    let id = message.header("Contribution-ID").unwrap_or_default();
    for document in [
        "",
        "<imdn",
        "<imdn/>",
        "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"/>",
        &document(id).replace("</imdn>", ""),
        &document(id).replace("urn:ietf:params:xml:ns:imdn", "urn:other"),
    ] {
        let broken = cpm_message(&bill_uri, EXPLODER).content("message/imdn+xml", document);
        is_left_to_the_script(&bill, &broken.request(), &proxy);
        let broken = broken.request().with_uri(&address("lunch"));
        is_left_to_the_script(&bill, &broken.again(), &proxy);
    }
    for elsewhere in [
        "sip:bill@example.com",
        "sip:cpm-group-1@example.com",
        "tel:+1",
    ] {
        is_left_to_the_script(&bill, &told.request().again().with_uri(elsewhere), &proxy);
    }
    // With a list it is not one to be forwarded, and neither fanned out.
    let listed = told.clone().recipients([to(&bill_uri)]).request();
    is_left_to_the_script(&bill, &listed.again(), &proxy);
    expect_counter(&proxy, "imdn_unknown", 5);
    bill.expect_nothing_until(|| proxy.ping());
    anne.expect_nothing_until(|| proxy.ping());

    // All that did no harm.
    exchange(&bill, &told.request().again(), &proxy, 200);
    anne.expect_request("MESSAGE");
    assert_eq!(counter(&proxy, "imdn_forwarded"), 1);
    capture.stop().assert_clean();
    proxy.stop();
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
    // What the repetitions caused would have come before this.
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
    // A sender whose address leads nowhere.
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

/// RFC 3325 §5: what a peer that nobody trusts asserts goes no further. Everything else does.
#[test]
fn a_receipt_of_an_untrusted_peer_asserts_nothing() {
    let bench = Bench::new("a_receipt_of_an_untrusted_peer");
    // Of the two addresses of this machine one is trusted.
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
        // It knows what to do with any address, and who has two is reached by the one that leads
        // somewhere.
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
fn after_its_time_a_message_is_unknown() {
    let bench = Bench::new("after_its_time_a_message_is_unknown");
    let proxy = bench.proxy(
        &cpm_proxy(HANDLE)
            .load("cfg_rpc")
            .set("cpm", "imdn_ttl", "1"),
    );
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = delivered(&anne, EXPLODER, &bill, &proxy);
    let deadline = Instant::now() + PATIENCE;
    let told = receipt(&bill.uri("bill"), EXPLODER, &message).request();
    while ask(&bill, &told.again(), &proxy).status() != Some(404) {
        assert!(Instant::now() < deadline, "it is known for ever");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // A longer time holds for messages from then on.
    proxy.tune("imdn_ttl", 3600);
    let mut longer;
    let told = loop {
        // A worker learns of it before its next request.
        longer = delivered(&anne, EXPLODER, &bill, &proxy);
        let told = receipt(&bill.uri("bill"), EXPLODER, &longer).request();
        if ask(&bill, &told, &proxy).status() == Some(200) {
            break told;
        }
        assert!(Instant::now() < deadline, "it never holds");
    };
    is_left_to_the_script(
        &bill,
        &receipt(&bill.uri("bill"), EXPLODER, &message).request(),
        &proxy,
    );
    exchange(&bill, &told.again(), &proxy, 200);
    proxy.stop();
}

#[test]
fn the_oldest_messages_are_forgotten_first() {
    let bench = Bench::new("the_oldest_messages_are_forgotten_first");
    let few = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "imdn_records", "3"));
    let none = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "imdn_records", "0"));
    let (anne, bill) = (bench.agent(), bench.agent());
    let messages: Vec<Request> = (0..7)
        .map(|_| delivered(&anne, EXPLODER, &bill, &few))
        .collect();
    for (place, message) in messages.iter().enumerate() {
        let told = receipt(&bill.uri("bill"), EXPLODER, message).request();
        if place < 4 {
            is_left_to_the_script(&bill, &told, &few);
        } else {
            exchange(&bill, &told, &few, 200);
            anne.expect_request("MESSAGE");
        }
    }
    let message = delivered(&anne, EXPLODER, &bill, &none);
    let told = receipt(&bill.uri("bill"), EXPLODER, &message).request();
    is_left_to_the_script(&bill, &told, &none);
    assert_eq!(counter(&none, "imdn_unknown"), 0, "none was to be known");
    anne.expect_nothing_until(|| few.ping());
    few.stop();
    none.stop();
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
    // What it is not for, it does not touch.
    let other = Request::new("OPTIONS", &bill.uri("bill"), EXPLODER).with("X-Forward", "yes");
    for proxy in [&proxy, &in_steps] {
        is_left_to_the_script(&bill, &other.again(), proxy);
        expect_counter(proxy, "imdn_forwarded", 1);
    }
    capture.stop().assert_clean();
    proxy.stop();
    in_steps.stop();
}

/// Knowing a message, as its recipients do, makes nobody its sender.
#[test]
fn the_first_sender_of_a_message_stays_its_sender() {
    let bench = Bench::new("the_first_sender_stays");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = delivered(&anne, EXPLODER, &bill, &proxy);
    let mallory = message
        .again()
        .with("P-Asserted-Identity", &format!("<{}>", bill.uri("mallory")));
    exchange(&bill, &mallory, &proxy, 202);
    bill.expect_request("MESSAGE");
    let told = receipt(&bill.uri("bill"), EXPLODER, &message).request();
    exchange(&bill, &told, &proxy, 200);
    anne.expect_request("MESSAGE");
    bill.expect_nothing_until(|| proxy.ping());
    proxy.stop();
}

/// Several processes work on a message to a large group, and a receipt may come before the last of
/// them is done.
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

#[test]
fn receipts_for_large_messages_go_on_to_the_sender() {
    let scene = Scene::new("receipts_for_large_messages");
    let anne = scene.anne.uri("anne");
    let agent = scene.callees.agent();
    for (round, (service, chunk)) in [(EXPLODER, CHUNK), (CONTROLLING, CHUNK), (CONTROLLING, 50)]
        .into_iter()
        .enumerate()
    {
        let message = large_message(&anne, service).recipients([to(&scene.callees.uri("bill"))]);
        // Small chunks are many: few bytes of content then.
        let size = if chunk == CHUNK { SIZE } else { 1_000 };
        let upload = scene.upload_of(message, size);
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, chunk);
        let bill = scene.callees.expect_nth_call("bill", round);
        assert_eq!(bill.session.expect_message().bytes, upload.content);
        call.bye(200);
        scene.callees.expect_in(&bill, "BYE");
        // A Group Session Identity of its own, where it is an ad-hoc group.
        let asserted = bill
            .invite
            .header("P-Asserted-Identity")
            .unwrap_or_default();
        let asserted = asserted.trim_matches(['<', '>']);
        assert_eq!(
            asserted.starts_with("sip:cpm-group-"),
            service == CONTROLLING
        );
        let own = [service, asserted];
        let addresses = own.into_iter().filter(|uri| *uri != anne);
        for address in addresses {
            let told = receipt(&scene.callees.uri("bill"), address, &upload.request).request();
            exchange(agent, &told, &scene.proxy, 200);
            let passed_on = scene.anne.expect_request("MESSAGE");
            proves!(["9.1.2-imdn"], assert_eq!(passed_on.uri(), Some(&*anne)));
            proves!(["9.1.2-imdn"], assert_eq!(passed_on.body(), told.body()));
        }
    }
    expect_counter(&scene.proxy, "imdn_forwarded", 5);
    let messages = agent.received();
    assert!(messages.iter().all(|one| one.method() != Some("MESSAGE")));
    scene.finish();
}

#[test]
fn large_messages_that_ask_for_nothing_are_not_noted() {
    let scene = Scene::new("large_messages_that_ask_for_nothing");
    let anne = scene.anne.uri("anne");
    let text = |content: &[u8]| String::from_utf8_lossy(content).into_owned();
    let endless = format!("X: {}\r\n", "x".repeat(100)).repeat(200);
    let changes: [&dyn Fn(String) -> String; 3] = [
        &|content| content.replace("imdn.Disposition-Notification", "imdn.Other"),
        &|content| content.replace("\r\n", "\n").replace("\n\n", "\n"),
        &|content| endless.clone() + &content,
    ];
    for (round, change) in changes.into_iter().enumerate() {
        let message = large_message(&anne, EXPLODER).recipients([to(&scene.callees.uri("bill"))]);
        let mut upload = scene.upload_of(message, SIZE);
        upload.content = change(text(&upload.content)).into_bytes();
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, CHUNK);
        let bill = scene.callees.expect_nth_call("bill", round);
        // It is delivered all the same.
        assert_eq!(bill.session.expect_message().bytes, upload.content);
        call.bye(200);
        scene.callees.expect_in(&bill, "BYE");
        let told = receipt(&scene.callees.uri("bill"), EXPLODER, &upload.request).request();
        is_left_to_the_script(scene.callees.agent(), &told, &scene.proxy);
    }
    expect_counter(&scene.proxy, "imdn_unknown", 3);
    scene.finish();
}
