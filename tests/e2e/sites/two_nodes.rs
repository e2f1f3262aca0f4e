//! A site with two nodes behind a dispatcher.

use std::fs;

use cpm_testbed::{Answer, Bench, Product, Proxy, Reply, cpm_message, large_message, to};

use super::{
    ANNE, database_script, folder, large_application_server, large_message_arrives, quoted,
    shipped, through_core,
};
use crate::common::{EXPLODER, counter, expect_counter, expect_log_lines, log_lines, sqlite};
use crate::nodes::{LEASE_S, expect_messages, id_key};

/// Of a message whose node dies.
const RECIPIENTS: usize = 20;

/// The front of these nodes.
fn front(bench: &Bench, nodes: [&Proxy; 2]) -> Proxy {
    let product = Product::under_test();
    let list = match product {
        Product::Kamailio => "dispatcher.list",
        Product::OpenSips => "dispatcher.sql",
    };
    let mut text =
        fs::read_to_string(folder(product).join(list)).expect("it is part of the project");
    for (node, shipped) in nodes.iter().zip(["192.0.2.21:5060", "192.0.2.22:5060"]) {
        assert!(text.contains(shipped), "{text}");
        text = text.replace(shipped, &format!("127.0.0.1:{}", node.port()));
    }
    let mut definitions = vec![("CORE_ADDRESS", quoted("127.0.0.1"))];
    match product {
        Product::Kamailio => {
            let list = bench.folder().join(list);
            fs::write(&list, text).expect("the folder of a test can be written to");
            definitions.extend([
                ("NODES", quoted(&list.display().to_string())),
                ("NODE_TIMEOUT", "3000".to_owned()),
                ("PING_TIMEOUT", "500".to_owned()),
            ]);
        }
        Product::OpenSips => {
            let file = bench.folder().join("nodes.db");
            sqlite(
                &file,
                &(database_script(&["standard", "dispatcher"]) + &text),
            );
            definitions.extend([
                ("NODES", quoted(&format!("sqlite://{}", file.display()))),
                // Longer than it takes to detect a dead node: a ping each second, and two for its
                // response.
                ("NODE_TIMEOUT", "6".to_owned()),
            ]);
        }
    }
    bench.proxy(&shipped("dispatcher.cfg", &definitions))
}

#[test]
fn large_messages_pass_the_front_of_two_nodes() {
    let bench = Bench::new("large_messages_pass_the_front");
    let (anne, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let node = || bench.proxy(&large_application_server(&bench, &callees));
    let (first, second) = (node(), node());
    let front = front(&bench, [&first, &second]);
    let capture = bench.capture();
    let message = large_message(ANNE, EXPLODER)
        .recipients([to("sip:bob@example.com"), to("sip:carol@example.com")]);
    let content = message.content(200_000);
    let session = peer.session();
    let invite = message
        .request(&anne, &session, content.len())
        .with("Route", &format!("<sip:127.0.0.1:{};lr>", front.port()));
    let mut call = anne.invites(&invite, front.udp());
    assert_eq!(call.answer().headers("Record-Route").len(), 1);
    large_message_arrives(&mut call, &session, &callees, &content);
    let accepted = [&first, &second].map(|node| counter(node, "accepted"));
    assert_eq!(accepted.iter().sum::<u64>(), 1);
    capture.stop().assert_clean();
    for proxy in [front, first, second] {
        proxy.stop();
    }
}

#[test]
fn a_dead_nodes_traffic_goes_to_the_other() {
    let bench = Bench::new("a_dead_nodes_traffic");
    let core = bench.agent();
    let node = || {
        bench.proxy(&shipped(
            "ims-application-server.cfg",
            &[
                ("SCSCF_URI", quoted(&format!("{};lr", core.uri("core")))),
                ("SCSCF_ADDRESS", quoted("127.0.0.1")),
            ],
        ))
    };
    let (first, second) = (node(), node());
    let front = front(&bench, [&first, &second]);
    let message = cpm_message(ANNE, EXPLODER).recipients([to("sip:bill@example.com")]);
    const MESSAGES: usize = 24;
    let send = || {
        let requests: Vec<_> = (0..MESSAGES)
            .map(|_| through_core(&message.request(), &front, &core))
            .collect();
        for request in &requests {
            core.send(request, front.udp());
        }
        for request in &requests {
            core.expect_response(request, 202);
        }
        core.expect_requests("MESSAGE", MESSAGES);
    };
    send();
    let shares = [&first, &second].map(|node| counter(node, "accepted"));
    assert_eq!(shares.iter().sum::<u64>(), MESSAGES as u64);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");

    let port = first.port();
    first.kill();
    send();
    let dead = format!("node sip:127.0.0.1:{port} is dead");
    front.expect_log(&dead);
    assert_eq!(counter(&second, "accepted"), shares[1] + MESSAGES as u64);
    // Now it is known, and nobody waits.
    send();
    expect_log_lines(&front, &dead, 1);
    let rescued = log_lines(&front, "the other takes its request");
    assert!(
        (1..=MESSAGES).contains(&rescued),
        "{rescued} of those that were sent before it was known"
    );
    second.stop();
    front.stop();
}

/// The nodes share a store, and one of them dies amid a fan-out.
#[test]
fn what_a_dead_node_has_accepted_the_other_finishes() {
    let bench = Bench::new("what_a_dead_node_has_accepted_site");
    let redis = bench.redis();
    let core = bench.agent();
    let key = id_key(&bench);
    let node = |name: &str| {
        let config = shipped(
            "ims-application-server.cfg",
            &[
                ("SCSCF_URI", quoted(&format!("{};lr", core.uri("core")))),
                ("SCSCF_ADDRESS", quoted("127.0.0.1")),
                ("STORE", quoted(&redis.url())),
                ("ID_KEY", quoted(&key.display().to_string())),
            ],
        );
        let config = config.set("cpm", "store_node", name);
        bench.proxy(&config.set_number("cpm", "store_lease", LEASE_S))
    };
    let nodes = [node("one"), node("two")];
    let front = front(&bench, [&nodes[0], &nodes[1]]);
    core.answers(Answer::Silent);
    let recipients = (0..RECIPIENTS).map(|n| to(&format!("sip:r{n}@example.com")));
    let message = cpm_message(ANNE, EXPLODER).recipients(recipients);
    let request = through_core(&message.request(), &front, &core);
    core.send(&request, front.udp());
    core.expect_response(&request, 202);
    let copies = core.expect_requests("MESSAGE", RECIPIENTS);
    for copy in &copies[..RECIPIENTS / 2] {
        core.reply(copy, &Reply::new(200));
    }
    let [first, second] = nodes;
    let (owner, other) = match counter(&first, "accepted") {
        1 => (first, second),
        _ => (second, first),
    };
    expect_counter(&owner, "delivered", RECIPIENTS as u64 / 2);
    core.answers(Answer::code(200));
    owner.kill();
    // An outcome may not have been written in time: then its copy is sent twice.
    expect_messages(&redis, 0);
    let again = counter(&other, "delivered");
    assert!(
        (RECIPIENTS as u64 / 2..=RECIPIENTS as u64).contains(&again),
        "{again}"
    );
    let all = core.received();
    let open = copies[RECIPIENTS / 2..].iter().map(|copy| copy.call_id());
    for call_id in open {
        let same = all
            .iter()
            .filter(|one| one.method() == Some("MESSAGE") && one.call_id() == call_id);
        assert!(same.count() >= 1, "{call_id}");
    }
    other.stop();
    front.stop();
}
