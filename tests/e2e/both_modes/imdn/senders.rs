//! For which messages the sender is known, and for how long.

use super::*;

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

    // For messages that were never sent, were refused, requested nothing, or whose sender cannot be
    // reached.
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

    // A notification without a Message-ID, a message that is no notification, and one that is not
    // for us.
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
    // With a list it is neither forwarded nor fanned out.
    let listed = told.clone().recipients([to(&bill_uri)]).request();
    is_left_to_the_script(&bill, &listed.again(), &proxy);
    expect_counter(&proxy, "imdn_unknown", 5);
    bill.expect_nothing_until(|| proxy.ping());
    anne.expect_nothing_until(|| proxy.ping());

    // None of that did any harm.
    exchange(&bill, &told.request().again(), &proxy, 200);
    anne.expect_request("MESSAGE");
    assert_eq!(counter(&proxy, "imdn_forwarded"), 1);
    capture.stop().assert_clean();
    proxy.stop();
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
    // A longer time applies to messages from then on.
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

/// Knowing a message, as its recipients do, does not make anybody its sender.
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
        // Small chunks mean many of them, so there is little content.
        let size = if chunk == CHUNK { SIZE } else { 1_000 };
        let upload = scene.upload_of(message, size);
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, chunk);
        let bill = scene.callees.expect_nth_call("bill", round);
        assert_eq!(bill.session.expect_message().bytes, upload.content);
        call.bye(200);
        scene.callees.expect_in(&bill, "BYE");
        // An ad-hoc group has a Group Session Identity of its own.
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
        // It is delivered nevertheless.
        assert_eq!(bill.session.expect_message().bytes, upload.content);
        call.bye(200);
        scene.callees.expect_in(&bill, "BYE");
        let told = receipt(&scene.callees.uri("bill"), EXPLODER, &upload.request).request();
        is_left_to_the_script(scene.callees.agent(), &told, &scene.proxy);
    }
    expect_counter(&scene.proxy, "imdn_unknown", 3);
    scene.finish();
}
