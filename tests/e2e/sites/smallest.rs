//! The smallest configuration.

use std::time::Instant;

use cpm_testbed::{Bench, Plan, large_message, sha256, to};

use super::{ANNE, serves_this_machine, smallest};
use crate::common::EXPLODER;

#[test]
fn the_smallest_serves_this_machine() {
    let bench = Bench::new("the_smallest_serves_this_machine");
    let proxy = bench.proxy(&smallest());
    serves_this_machine(&bench, &proxy);
    proxy.stop();
}

/// No parameter but the listener: there is a spool, so that a ringing recipient keeps nobody
/// waiting.
#[test]
fn the_smallest_with_an_msrp_listener_has_a_spool() {
    let bench = Bench::new("the_smallest_with_an_msrp_listener");
    let (anne, sender, callees) = (bench.agent(), bench.msrp_peer(), bench.callees());
    let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let config = smallest().set("cpm", "msrp_listen", &listen);
    let proxy = bench.proxy(&config);
    callees.plan("carol", Plan::no_answer().ringing());
    let mut took = Vec::new();
    // On a busy machine it may take longer.
    for round in 0..3 {
        let session = sender.session();
        let message = large_message(ANNE, EXPLODER)
            .recipients(["bill", "carol"].map(|user| to(&callees.uri(user))));
        let content = message.content(9_000_000);
        let invite = message.request(&anne, &session, content.len());
        let mut call = anne.invites(&invite, proxy.udp());
        session.sends_to(call.sdp().path());
        call.ack();
        session.connect_and_bind();
        let begun = Instant::now();
        session.deliver(&content, content.len());
        let bill = callees.expect_nth_call("bill", round);
        let message = bill.session.expect_message();
        took.push(begun.elapsed());
        assert_eq!(message.sha256(), sha256(&content));
        assert_eq!(callees.calls_of("carol"), round + 1);
        call.bye(200);
    }
    assert!(took.iter().any(|took| took.as_secs() < 1), "{took:?}");
    proxy.stop();
}
