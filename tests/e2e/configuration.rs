//! The routing script's functions, and parameters that make no sense.

use cpm_testbed::{Bench, cpm_message, to};

use crate::common::{EXPLODER, cpm_proxy};

#[test]
fn the_four_functions_do_what_cpm_handle_does() {
    let bench = Bench::new("the_four_functions");
    let proxy = bench.proxy(&cpm_proxy(
        "request_route {
            if (cpm_classify()) {
                xlog(\"L_NOTICE\", \"seen kind=$cpm(kind) mode=$cpm(mode) from=$cpm(originator)\\n\");
                if (!cpm_check()) {
                    xlog(\"L_NOTICE\", \"seen $cpm(code) $cpm(reason) [$cpm(warning)]\\n\");
                    cpm_reply();
                    exit;
                }
                xlog(\"L_NOTICE\", \"seen n=$cpm(recipients) last=$(cpm(recipient)[-1]) id=$cpm(contribution_id)\\n\");
                cpm_fanout();
                exit;
            }
            sl_send_reply(\"404\", \"Not Ours\");
        }",
    ));
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    let message = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to(&bill.uri("bill")), to(&carol.uri("carol"))]);

    let request = message.request();
    anne.send(&request, proxy.udp());
    anne.expect_response(&request, 202);
    bill.expect_request("MESSAGE");
    carol.expect_request("MESSAGE");
    proxy.expect_log("seen kind=exploder mode=pager from=sip:anne@example.com");
    let id = request
        .header("Contribution-ID")
        .expect("a CPM message has one");
    proxy.expect_log(&format!("seen n=2 last={} id={id}", carol.uri("carol")));

    let refused = message.request().without("P-Asserted-Identity");
    anne.send(&refused, proxy.udp());
    anne.expect_response(&refused, 403);
    proxy.expect_log("seen 403 Forbidden [127 Service not authorised]");

    let other = message.request().with_uri("sip:bill@example.com");
    anne.send(&other, proxy.udp());
    assert!(
        anne.expect_response(&other, 404)
            .start_line()
            .ends_with("Not Ours")
    );
    proxy.stop();
}

#[test]
fn senseless_parameters_stop_the_start_with_one_clear_line() {
    let bench = Bench::new("senseless_parameters");
    for (name, value, line) in [
        (
            "max_recipients",
            "many",
            "parameter max_recipients: \"many\" is not a number from 1 to 10000",
        ),
        (
            "exploder_uri",
            "tel:+1555",
            "parameter exploder_uri: \"tel:+1555\" is not a sip: or sips: URI",
        ),
        (
            "controlling_uri",
            "sip:%65xploder@EXAMPLE.com",
            "an exploder_uri and a controlling_uri are the same address",
        ),
        (
            "interworking",
            "yes",
            "interworking is on, but isf_uri is not set",
        ),
    ] {
        let failure =
            bench.try_proxy(&cpm_proxy("request_route { exit; }").set("cpm", name, value));
        let log = failure.expect_err(name).log;
        let said = log.lines().filter(|text| text.contains(line)).count();
        assert_eq!(said, 1, "{name}={value}:\n{log}");
    }
}
