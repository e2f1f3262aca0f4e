//! The express lane under Kamailio: what closes it, and what sees responses before tm.

use cpm_testbed::Bench;

use crate::common::{HANDLE, cpm_proxy};
use crate::pager::express::{Closing, by_the_lane, open, send};

/// Empty tables as Kamailio's package has them, with their versions, which some releases check.
const KAMAILIOS_TABLES: &str = "text:///usr/share/kamailio/dbtext/kamailio";

/// Features of the proxy that would miss copies sent past tm: each closes the lane, is named in the
/// log, and sees the copies.
#[test]
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
            name: "onsend_route",
            why: "there is an onsend_route",
            routes: "onsend_route { xlog(\"L_NOTICE\", \"seen $rm $ru\\n\"); }",
            config: |config| config,
            // This release does not show it requests that tm itself sends.
            sees: "",
        },
        Closing {
            name: "local_request",
            why: "there is an event_route[tm:local-request]",
            routes: "event_route[tm:local-request] { xlog(\"L_NOTICE\", \"seen $rm $ru\\n\"); }",
            config: |config| config,
            sees: "seen MESSAGE sip:bill@",
        },
        Closing {
            name: "topoh",
            why: "a module changes or watches what is sent",
            routes: "",
            config: |config| {
                config.load("topoh").set("topoh", "mask_key", "secret").set(
                    "topoh",
                    "mask_ip",
                    "192.0.2.7",
                )
            },
            sees: "",
        },
        Closing {
            name: "topos",
            why: "a module changes or watches what is sent",
            routes: "",
            config: |config| {
                config
                    .load("rr")
                    .load("db_text")
                    .load("topos")
                    .set("topos", "storage", "db")
                    .set("topos", "db_url", KAMAILIOS_TABLES)
            },
            sees: "",
        },
        Closing {
            name: "siptrace",
            why: "a module traces what is sent",
            routes: "",
            config: |config| {
                config
                    .load("siptrace")
                    .set_number("siptrace", "trace_on", 1)
                    .set_number("siptrace", "trace_mode", 1)
                    .set_number("siptrace", "trace_to_database", 0)
                    .set("siptrace", "duplicate_uri", "sip:127.0.0.1:9")
            },
            sees: "",
        },
        Closing {
            name: "sipdump",
            why: "a module changes or watches what is sent",
            routes: "",
            config: |config| config.load("sipdump").set_number("sipdump", "enable", 0),
            sees: "",
        },
        Closing {
            name: "corex",
            why: "a module changes or watches what is sent",
            routes: "event_route[network:msg] { return; }",
            config: |config| config.load("corex").set_number("corex", "nio_intercept", 1),
            sees: "",
        },
        Closing {
            name: "dialog",
            why: "a module changes or watches what is sent",
            routes: "",
            config: |config| {
                config
                    .load("rr")
                    .load("dialog")
                    .set_number("dialog", "track_cseq_updates", 1)
            },
            sees: "",
        },
        Closing {
            name: "cfgt",
            why: "a module changes or watches what is sent",
            routes: "",
            config: |config| {
                config.load("cfgt").set("cfgt", "basedir", "@FOLDER@").set(
                    "cfgt",
                    "callid_prefix",
                    "NOBODY%",
                )
            },
            sees: "",
        },
        Closing {
            name: "event_callback",
            why: "tm has an event_callback",
            routes: "",
            config: |config| config.set("tm", "event_callback", "ksr_tm_event"),
            sees: "",
        },
        Closing {
            name: "blocklist",
            why: "use_dst_blocklist is on",
            routes: "use_dst_blocklist=on\n",
            config: |config| config,
            sees: "",
        },
    ];
    cases.into_iter().for_each(Closing::expect);
}

/// A feature turned on while the proxy runs closes the lane from then on.
#[test]
fn what_is_turned_on_later_closes_the_lane_too() {
    let bench = Bench::new("what_is_turned_on_later");
    let proxy = bench.proxy(&open(cpm_proxy(HANDLE)).load("cfg_rpc"));
    let (anne, bill) = (bench.agent(), bench.agent());
    let mut delivered = 0;
    let mut send_one = || {
        send(&anne, proxy.udp(), [bill.uri("bill")]);
        bill.expect_request("MESSAGE");
        delivered += 1;
        by_the_lane(&proxy, delivered)
    };
    let mut by_lane = 0;
    for name in ["use_dst_blocklist", "udp4_raw"] {
        if let Err(refusal) = proxy.try_rpc(&format!("cfg.set_now_int core {name} 1")) {
            // Raw sockets need a capability that not everybody who runs the tests has.
            assert_eq!(name, "udp4_raw", "{refusal}");
            continue;
        }
        assert_eq!(send_one(), by_lane, "{name}");
        proxy.rpc(&format!("cfg.set_now_int core {name} 0"));
        by_lane += 1;
        assert_eq!(send_one(), by_lane, "{name} is off again");
    }
    proxy.stop();
}

/// Features that see responses before tm see those to copies too.
#[test]
fn what_sees_responses_sees_those_to_copies() {
    struct Case {
        name: &'static str,
        why: &'static str,
        routes: &'static str,
        module: &'static str,
        /// Its log line for a response.
        sees: &'static str,
    }
    let cases = [
        Case {
            name: "reply_route",
            why: "there is a reply_route",
            routes: "reply_route { xlog(\"L_NOTICE\", \"seen $rs $rm\\n\"); }",
            module: "siputils",
            sees: "seen 200 MESSAGE",
        },
        Case {
            name: "msg_received",
            why: "there is an event_route[core:msg-received]",
            routes: "received_route_mode=1
                event_route[core:msg-received] { xlog(\"L_NOTICE\", \"seen $(rcv(buf){s.substr,0,11})\\n\"); }",
            module: "kemix",
            sees: "seen SIP/2.0 200",
        },
    ];
    for case in cases {
        let bench = Bench::new(&format!("responses_seen_by_{}", case.name));
        let routes = format!("{}\n{HANDLE}", case.routes);
        let proxy = bench.proxy(&open(cpm_proxy(&routes)).load(case.module));
        proxy.expect_log(&format!("responses take the usual way: {}", case.why));
        let (anne, bill) = (bench.agent(), bench.agent());
        send(
            &anne,
            proxy.udp(),
            [bill.uri("bill"), bill.uri("ben"), bill.tcp_uri("carol")],
        );
        bill.expect_requests("MESSAGE", 3);
        assert_eq!(by_the_lane(&proxy, 3), 3, "{}", case.name);
        proxy.expect_log(case.sees);
        proxy.stop();
    }
}

/// A module that takes datagrams on arrival keeps doing so; the lane works without them.
#[test]
fn another_module_may_take_datagrams_first() {
    let bench = Bench::new("another_module_takes_datagrams");
    let config = open(cpm_proxy(HANDLE))
        .load("db_text")
        .load("sipcapture")
        .set("sipcapture", "db_url", "text://@FOLDER@")
        .set_number("sipcapture", "hep_capture_on", 1);
    let proxy = bench.proxy(&config);
    proxy.expect_log("responses take the usual way: another module takes datagrams");
    let (anne, bill) = (bench.agent(), bench.agent());
    // It takes all UDP datagrams as reports to capture.
    send(&anne, proxy.tcp(), [bill.tcp_uri("bill")]);
    bill.expect_request("MESSAGE");
    assert_eq!(by_the_lane(&proxy, 1), 1);
    proxy.stop();
}
