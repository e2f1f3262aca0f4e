//! Messages that would come back to the Controlling Function (spec-notes N36).

use cpm_testbed::{Bench, cc, cpm_message, to};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter};

#[test]
fn our_own_addresses_are_dropped_from_the_list() {
    let bench = Bench::new("our_own_addresses_are_dropped");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let request = cpm_message("sip:anne@example.com", service)
            .recipients([
                to(EXPLODER),
                to("sip:%65xploder@EXAMPLE.COM;x=1"),
                cc(CONTROLLING),
                to(&bill.uri("bill")),
            ])
            .request();
        exchange(&anne, &request, &proxy, 202);
        let copy = bill.expect_request("MESSAGE");
        let body = String::from_utf8_lossy(copy.body());
        assert_eq!(body.matches("<entry ").count(), round, "only bill is named");
        assert_eq!(counter(&proxy, "loops"), 3 * (round as u64 + 1));
    }
    assert_eq!(counter(&proxy, "recipients"), 2);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_copy_that_comes_back_by_another_name_is_not_sent_on() {
    let bench = Bench::new("a_copy_that_comes_back");
    let proxy = bench.proxy(&cpm_proxy(&format!(
        "{}\n{}",
        HANDLE.replacen(
            "{",
            "{ if ($rU == \"everybody\") $ru = \"sip:exploder@example.com\";
               if ($rU == \"us\") $ru = \"sip:cpm@example.com\";",
            1,
        ),
        "event_route[cpm:recipient-request] {
            if ($rd == \"home.example.com\") $du = \"sip:127.0.0.1:@PORT@\";
        }"
    )));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let request = cpm_message("sip:anne@example.com", service)
            .recipients([
                to("sip:everybody@home.example.com"),
                to("sip:us@home.example.com"),
                to(&bill.uri("bill")),
            ])
            .request();
        exchange(&anne, &request, &proxy, 202);
        bill.expect_request("MESSAGE");
        // The copies carry no list to send to: two refusals, and both recipients have failed.
        expect_counter(&proxy, "failed", 2 * (round as u64 + 1));
        assert_eq!(counter(&proxy, "refused"), 2 * (round as u64 + 1));
        bill.expect_nothing_until(|| proxy.rpc("core.uptime"));
    }
    assert_eq!(counter(&proxy, "recipients"), 6);
    capture.stop().assert_clean();
    proxy.stop();
}
