//! The express lane under Kamailio: what closes it, and what sees responses before tm.

use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, UdpSocket};

use cpm_testbed::{Bench, Certificate, PATIENCE, ProxyConfig, Request};

use crate::common::{HANDLE, counter, cpm_proxy, expect_counter};
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
            routes: "event_route[topoh:msg-outgoing] {
                xlog(\"L_NOTICE\", \"seen to $sndto(port)\\n\");
            }",
            config: |config| {
                config.load("topoh").set("topoh", "mask_key", "secret").set(
                    "topoh",
                    "mask_ip",
                    "192.0.2.7",
                )
            },
            sees: "seen to @BILL@",
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
            routes: "event_route[network:msg] {
                if (!is_incoming()) xlog(\"L_NOTICE\", \"seen $(mb{s.substr,0,12})\\n\");
            }",
            config: |config| config.load("corex").set_number("corex", "nio_intercept", 1),
            sees: "seen MESSAGE sip:",
        },
        Closing {
            name: "gzcompress",
            why: "a module changes or watches what is sent",
            routes: "event_route[cpm:recipient-request] {
                append_hf(\"Content-Encoding: deflate\\r\\n\");
            }",
            config: |config| config.load("gzcompress"),
            // How the body begins once zlib has compressed it: x, and a byte that is not UTF-8.
            sees: "\r\n\r\nx\u{fffd}",
        },
        Closing {
            name: "crypto",
            why: "a module changes or watches what is sent",
            routes: "event_route[crypto:netio] {
                if (crypto_netio_out()) xlog(\"L_NOTICE\", \"seen to $sndto(port)\\n\");
            }",
            config: |config| {
                config
                    .load("crypto")
                    .set_number("crypto", "register_evcb", 1)
                    .set("crypto", "netio_key", "secret")
            },
            sees: "seen to @BILL@",
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

/// TLS has to be enabled before its module is loaded.
const FRAME_WITH_TLS: &str = r#"#!KAMAILIO
debug=2
log_stderror=yes
children=1
tcp_children=1
enable_tls=yes
@LISTEN@
loadmodule "kex.so"
loadmodule "ctl.so"
modparam("ctl", "binrpc", "unix:@CTL@")
@MODULES@
@MODPARAMS@
@ROUTES@
"#;

/// TLS is tm's, also for one recipient among others.
#[test]
fn copies_over_tls_are_sent_by_tm() {
    let bench = Bench::new("copies_over_tls");
    let (certificate, key) = Certificate::new(&["127.0.0.1"]).files(bench.folder());
    // With the default versions OpenSSL 3 finds no signature algorithm for the certificate.
    let with_tls = |config: ProxyConfig| {
        config
            .template(FRAME_WITH_TLS)
            .load("tls")
            .set("tls", "certificate", &certificate.display().to_string())
            .set("tls", "private_key", &key.display().to_string())
            .set("tls", "tls_method", "TLSv1.2")
    };
    let listens = |port: u16| format!("listen=tls:127.0.0.1:{port}\n");
    let port = bench.port();
    let answers = format!(
        "{}request_route {{
            xlog(\"L_NOTICE\", \"seen $rm $rU over $pr\\n\");
            sl_send_reply(\"200\", \"OK\");
        }}",
        listens(port)
    );
    let secure = ProxyConfig::new(&answers)
        .load("sl")
        .load("pv")
        .load("xlog");
    let secure = bench.proxy(&with_tls(secure));
    let routes = format!("{}{HANDLE}", listens(bench.port()));
    let proxy = bench.proxy(&with_tls(open(cpm_proxy(&routes))));
    let (anne, bill) = (bench.agent(), bench.agent());
    let carol = format!("sip:carol@127.0.0.1:{port};transport=tls");
    send(&anne, proxy.udp(), [bill.uri("bill"), carol]);
    bill.expect_request("MESSAGE");
    secure.expect_log("seen MESSAGE carol over tls");
    assert_eq!(by_the_lane(&proxy, 2), 1, "Bill's");
    assert_eq!(counter(&proxy, "express_by_tm"), 1, "Carol's");
    proxy.stop();
    secure.stop();
}

/// A link-local address says nothing without an interface, which only the proxy's socket names.
#[test]
fn copies_to_link_local_addresses_are_sent_by_tm() {
    let bench = Bench::new("copies_to_link_local_addresses");
    let config = open(cpm_proxy(HANDLE)).set_number("tm", "fr_timer", 500);
    let proxy = bench.proxy(&config.over_ipv6());
    let anne = bench.agent();
    // The socket of ::1 leads to no link, and tm waits for an answer all the same.
    send(&anne, proxy.udp(), ["sip:bill@[fe80::1]".to_owned()]);
    expect_counter(&proxy, "failed", 1);
    assert_eq!(counter(&proxy, "express"), 0);
    assert_eq!(counter(&proxy, "express_by_tm"), 1);
    proxy.stop();
    let Some((address, interface)) = link_local() else {
        println!("no interface of this machine has a link-local address");
        return;
    };
    let bill = UdpSocket::bind(SocketAddrV6::new(address, 0, 0, interface));
    let bill = bill.expect("a free port");
    bill.set_read_timeout(Some(PATIENCE))
        .expect("it is not zero");
    let routes = format!(
        "bind_ipv6_link_local=1\nlisten=udp:[{address}]:{}\n{HANDLE}",
        bench.port()
    );
    let proxy = bench.proxy(&open(cpm_proxy(&routes)));
    let port = bill.local_addr().expect("it is bound").port();
    send(&anne, proxy.udp(), [format!("sip:bill@[{address}]:{port}")]);
    let mut copy = [0; 8];
    bill.peek(&mut copy).expect("it comes");
    assert_eq!(&copy, b"MESSAGE ");
    assert_eq!(counter(&proxy, "express"), 0);
    assert_eq!(counter(&proxy, "express_by_tm"), 1);
    proxy.stop();
}

/// A link-local address of this machine, and the number of its interface.
fn link_local() -> Option<(Ipv6Addr, u32)> {
    const LINK: &str = "20";
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let interface = u32::from_str_radix(fields.next()?, 16).ok()?;
        (fields.nth(1) == Some(LINK)).then_some((address.into(), interface))
    })
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
        Case {
            name: "pre_routing",
            why: "there is an event_route[core:pre-routing]",
            routes: "event_route[core:pre-routing] { xlog(\"L_NOTICE\", \"seen $rs $rm\\n\"); }",
            module: "kemix",
            sees: "seen 200 MESSAGE",
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

/// Over TCP too, responses to copies come to the lane before Kamailio parses them, which counts
/// what it parses. Others on the same connection are left to it.
#[test]
fn responses_over_tcp_are_not_parsed_twice() {
    let bench = Bench::new("responses_over_tcp");
    let routes = "request_route { if (method == \"OPTIONS\") { t_relay(); exit; } cpm_handle(); }";
    let proxy = bench.proxy(&open(cpm_proxy(routes)));
    let (anne, bill) = (bench.agent(), bench.agent());
    let parsed = || proxy.statistic("core", "rcv_replies");
    for number in 1..=2 {
        send(
            &anne,
            proxy.udp(),
            [bill.tcp_uri("bill"), bill.tcp_uri("ben")],
        );
        bill.expect_requests("MESSAGE", 2);
        assert_eq!(by_the_lane(&proxy, 2 * number), 2 * number);
        assert_eq!(parsed(), number - 1);
        let other = Request::new("OPTIONS", "sip:anne@example.com", &bill.tcp_uri("bill"));
        anne.send(&other, proxy.udp());
        bill.expect_request("OPTIONS");
        anne.expect_response(&other, 200);
        assert_eq!(parsed(), number);
    }
    proxy.stop();
}

/// More than a window of copies to a TCP port that refuses: they do not wait for timer F, and
/// nobody else waits for them.
#[test]
fn copies_to_a_port_that_refuses_fail_at_once() {
    const REFUSED: usize = 100;
    let bench = Bench::new("port_that_refuses");
    let routes = format!(
        "{HANDLE}
        event_route[cpm:recipient-failed] {{ xlog(\"L_NOTICE\", \"lost $cpm(code) $cpm(reason)\\n\"); }}"
    );
    // Nothing of it fires while the test waits.
    let config = open(cpm_proxy(&routes)).set_number("tm", "fr_timer", 100_000);
    let proxy = bench.proxy(&config.set_number("cpm", "max_recipients", 200));
    let (anne, bill) = (bench.agent(), bench.agent());
    let refusing = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = refusing.local_addr().expect("an address");
    drop(refusing);
    let uris = (0..REFUSED).map(|n| format!("sip:u{n}@{address};transport=tcp"));
    send(
        &anne,
        proxy.tcp(),
        uris.chain([bill.uri("bill"), bill.tcp_uri("ben")]),
    );
    bill.expect_requests("MESSAGE", 2);
    expect_counter(&proxy, "failed", REFUSED as u64);
    proxy.expect_log("lost 503 Not Sendable");
    assert_eq!(by_the_lane(&proxy, 2), REFUSED as u64 + 2);
    assert_eq!(counter(&proxy, "express_by_tm"), 0);
    proxy.stop();
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
