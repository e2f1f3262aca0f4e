//! The express lane under OpenSIPS: what closes it, and what sees responses before tm.

use cpm_testbed::Bench;

use crate::common::{HANDLE, cpm_proxy};
use crate::pager::express::{Closing, by_the_lane, open, send};

/// Features of the proxy that would miss copies sent past tm: each closes the lane, is named in the
/// log, and sees the copies.
#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn whatever_would_miss_copies_closes_the_lane() {
    let cases = [
        Closing {
            name: "express",
            why: "express is set to no",
            routes: "",
            config: |config| config.set("cpm", "express", "no"),
            sees: "",
        },
        Closing {
            name: "local_route",
            why: "there is a local_route",
            routes: "local_route { xlog(\"L_NOTICE\", \"seen $rm $ru\\n\"); }",
            config: |config| config,
            sees: "seen MESSAGE sip:bill@",
        },
        Closing {
            name: "local_request_route",
            why: "tm has a local_request_route",
            routes: "route[sent] { xlog(\"L_NOTICE\", \"seen $rm $ru\\n\"); }",
            config: |config| config.set("tm", "local_request_route", "sent"),
            sees: "seen MESSAGE sip:bill@",
        },
        Closing {
            name: "topology_hiding",
            why: "a module changes what is sent",
            routes: "",
            config: |config| config.load("topology_hiding"),
            sees: "",
        },
        Closing {
            name: "rtp_relay",
            why: "a module follows the requests of tm",
            routes: "",
            config: |config| {
                config
                    .load("dialog")
                    .load("rtpproxy")
                    .set("rtpproxy", "rtpproxy_sock", "udp:127.0.0.1:9")
                    .load("rtp_relay")
            },
            sees: "",
        },
    ];
    cases.into_iter().for_each(Closing::expect);
}

/// A reloaded script may have a local_route, and the next one none.
#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn a_local_route_that_is_loaded_later_closes_the_lane_too() {
    let bench = Bench::new("a_local_route_loaded_later");
    let proxy = bench.proxy(&open(cpm_proxy(HANDLE)));
    let (anne, bill) = (bench.agent(), bench.agent());
    let script = bench.folder().join("proxy-1/opensips.cfg");
    let without = std::fs::read_to_string(&script).expect("the proxy was started with it");
    let with = format!("{without}\nlocal_route {{ xlog(\"L_NOTICE\", \"seen $rm $ru\\n\"); }}\n");
    let mut delivered = 0;
    let mut send_one = || {
        send(&anne, proxy.udp(), [bill.uri("bill")]);
        bill.expect_request("MESSAGE");
        delivered += 1;
        by_the_lane(&proxy, delivered)
    };
    assert_eq!(send_one(), 1);
    for (text, by_lane) in [(&with, 1), (&without, 2)] {
        std::fs::write(&script, text).expect("it is the test's own");
        proxy.rpc("reload_routes");
        assert_eq!(send_one(), by_lane);
    }
    proxy.expect_log("seen MESSAGE sip:bill@");
    proxy.stop();
}

/// Features that see responses before tm see those to copies too.
#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn a_reply_route_sees_responses_to_copies() {
    let bench = Bench::new("a_reply_route_sees_responses");
    let routes = format!("onreply_route {{ xlog(\"L_NOTICE\", \"seen $rs $rm\\n\"); }}\n{HANDLE}");
    let proxy = bench.proxy(&open(cpm_proxy(&routes)));
    let (anne, bill) = (bench.agent(), bench.agent());
    send(&anne, proxy.udp(), [bill.uri("bill"), bill.uri("ben")]);
    bill.expect_requests("MESSAGE", 2);
    assert_eq!(by_the_lane(&proxy, 2), 2);
    proxy.expect_log("seen 200 MESSAGE");
    proxy.stop();
}
