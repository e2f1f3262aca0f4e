//! Receipts of group members, which must not reveal them to the sender.

use super::*;

/// A receipt that identifies its author in every possible place.
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

/// Nothing in it identifies the member: neither the user part nor the agent's port.
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
        // The apparent recipients of the message.
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
    // A receipt that would reveal its author.
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
