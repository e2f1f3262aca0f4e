//! The manual's own limits for lists and senders.

use cpm_testbed::{Bench, cpm_message, to};

use crate::common::{EXPLODER, HANDLE, cpm_proxy, exchange, manual_example};

/// The example of `cpm:checked`: a message to at most 20, and 50 recipients in a minute.
#[test]
fn a_limit_takes_three_lines() {
    let bench = Bench::new("a_limit_takes_three_lines");
    let (anne, bill) = (bench.agent(), bench.agent());
    let example = manual_example("event_route[cpm:checked]");
    let proxy = bench.proxy(&cpm_proxy(&format!("{example}\n{HANDLE}")));
    let message = |sender: &str, count: usize| {
        let users = (0..count).map(|n| bill.uri(&format!("user{n}")));
        let message = cpm_message(sender, EXPLODER).recipients(users.map(|uri| to(&uri)));
        message.request()
    };
    let mallory = "sip:mallory@example.com";
    let refused = exchange(&anne, &message(mallory, 21), &proxy, 480);
    assert_eq!(refused.header("Retry-After"), Some("60"));
    for _ in 0..2 {
        exchange(&anne, &message(mallory, 20), &proxy, 202);
    }
    exchange(&anne, &message(mallory, 11), &proxy, 480);
    exchange(&anne, &message(mallory, 10), &proxy, 202);
    exchange(&anne, &message(mallory, 1), &proxy, 480);
    exchange(&anne, &message("sip:anne@example.com", 20), &proxy, 202);
    proxy.stop();
}
