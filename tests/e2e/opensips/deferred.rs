//! Deferred delivery under OpenSIPS: its event tells who waits, and script and operator say who is
//! available again.

use cpm_testbed::{Answer, Bench, Request, cpm_message, to};

use crate::common::{EXPLODER, cpm_proxy, exchange, expect_counter, expect_log_lines};
use crate::storing::{REGISTERS, deferring, storing};

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn who_waits_is_told_by_an_event_and_gets_the_message_later() {
    let bench = Bench::new("who_waits_is_told_by_an_event");
    let (anne, bill) = (bench.agent(), bench.agent());
    let script = format!(
        "{REGISTERS}
        event_route[cpm:recipient-deferred] {{ xlog(\"L_NOTICE\", \"waits $cpm(recipient) $cpm(code)\\n\"); }}"
    );
    let proxy = bench.proxy(&deferring(storing(cpm_proxy(&script), &bench), "86400"));
    for (round, is_registering) in [true, false].into_iter().enumerate() {
        bill.answers(Answer::code(480));
        let message = cpm_message("sip:anne@example.com", EXPLODER);
        let request = message.recipients([to(&bill.uri("bill"))]).request();
        exchange(&anne, &request, &proxy, 202);
        bill.expect_request("MESSAGE");
        expect_counter(&proxy, "waiting", 1);
        let told = format!("waits {} 480", bill.uri("bill"));
        expect_log_lines(&proxy, &told, round + 1);
        bill.answers(Answer::code(200));
        if is_registering {
            let register = Request::new("REGISTER", "sip:scscf.example.com", &bill.uri("bill"));
            exchange(&bill, &register, &proxy, 200);
            expect_log_lines(&proxy, "noted", 1);
        } else {
            proxy.rpc(&format!("cpm.available {}", bill.uri("bill")));
        }
        bill.expect_request("MESSAGE");
        expect_counter(&proxy, "delivered", round as u64 + 1);
        expect_counter(&proxy, "waiting", 0);
    }
    proxy.stop();
}
