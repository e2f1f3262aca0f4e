//! Very many recipients register at once.

use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Request, cpm_message, to};

use super::{ANNE, expect_messages, keeping_with};
use crate::common::{EXPLODER, counter, exchange, expect_counter};
use crate::storing::deferring;

const REGISTRATIONS: u32 = 100_000;
const WAITING: u32 = 50;

#[test]
fn a_hundred_thousand_registrations_at_once_block_nobody() {
    let bench = Bench::new("a_hundred_thousand_registrations");
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    let script = format!(
        "max_while_loops={REGISTRATIONS}
        request_route {{
            if (cpm_handle()) exit;
            if (is_method(\"REGISTER\")) {{
                $var(n) = 0;
                while ($var(n) < {REGISTRATIONS}) {{
                    cpm_recipient_available(\"sip:b$var(n)@127.0.0.1\");
                    $var(n) = $var(n) + 1;
                }}
            }}
            sl_send_reply(\"200\", \"OK\");
        }}"
    );
    let config = deferring(keeping_with(&bench, &script), "86400")
        .set("cpm", "max_outstanding_per_sender", "0")
        .set_number("cpm", "resume_rate", 100_000);
    let proxy = bench.proxy(&config);
    bill.answers(Answer::code(480));
    let users = (0..WAITING).map(|n| to(&bill.uri(&format!("b{}", n * 1_999))));
    let request = cpm_message(ANNE, EXPLODER).recipients(users).request();
    exchange(&anne, &request, &proxy, 202);
    bill.expect_requests("MESSAGE", WAITING as usize);
    expect_counter(&proxy, "waiting", WAITING.into());
    bill.answers(Answer::code(200));
    let register = Request::new("REGISTER", "sip:reg@example.com", "sip:reg@example.com");
    anne.send(&register, proxy.udp());
    // One worker is in that loop. The other one, and CPM fan-out, serve as ever.
    let mut slowest = Duration::ZERO;
    while anne.recv_response(&register, Duration::ZERO).is_none() {
        let began = Instant::now();
        let request = cpm_message(ANNE, EXPLODER)
            .recipients([to(&carol.uri("carol"))])
            .request();
        // The worker in the loop may have taken it.
        exchange(&anne, &request, &proxy, 202);
        carol.expect_request("MESSAGE");
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < PATIENCE, "{slowest:?}");
    // Each that waits gets it, once.
    let again = bill.expect_requests("MESSAGE", WAITING as usize);
    let second = |copy: &cpm_testbed::Received| copy.header("CSeq") == Some("2 MESSAGE");
    assert!(again.iter().all(second));
    expect_messages(&bench, 0);
    expect_counter(&proxy, "waiting", 0);
    bill.expect_nothing_until(|| proxy.ping());
    assert_eq!(counter(&proxy, "resent"), u64::from(WAITING));
    proxy.stop();
}
