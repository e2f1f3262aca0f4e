//! The routing script's functions, and invalid parameters.

use std::fs;
use std::net::TcpListener;

use cpm_testbed::{Bench, Certificate, cpm_message, to};

use crate::common::{EXPLODER, HANDLE, cpm_proxy};

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

/// Parameters that name things outside the configuration: what cannot work is reported before there
/// are processes, in one accurate line.
#[test]
fn what_cannot_work_stops_the_start_with_one_true_line() {
    let bench = Bench::new("what_cannot_work");
    let at = |name: &str| bench.folder().join(name).display().to_string();
    let (certificate, key) = Certificate::new(&["127.0.0.1"]).files(bench.folder());
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let other = bench.folder().join("other");
    fs::create_dir(&other).expect("the folder of a test can be written to");
    let other_key = Certificate::new(&["127.0.0.1"]).files(&other).1;
    let other_key = other_key.display().to_string();
    fs::write(at("garbage"), "nothing of use").expect("the folder of a test can be written to");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("it is bound");
    let (nowhere, garbage) = (at("nowhere"), at("garbage"));
    let tcp = format!("tcp:127.0.0.1:{}", bench.port());
    let tls = format!("tls:127.0.0.1:{}", bench.port());
    let group = |source: &str| {
        vec![
            ("group_uri", "sip:*@groups.example.com".to_owned()),
            ("group_source", source.to_owned()),
        ]
    };
    let spool = |dir: &str| {
        vec![
            ("msrp_listen", tcp.clone()),
            ("msrp_spool_dir", dir.to_owned()),
        ]
    };
    let secure = |certificate: &str, key: &str, ca: Option<&str>| {
        let mut parameters = vec![
            ("msrp_listen", tls.clone()),
            ("msrp_transport", "tls".to_owned()),
            ("msrp_tls_certificate", certificate.to_owned()),
            ("msrp_tls_private_key", key.to_owned()),
        ];
        parameters.extend(ca.map(|ca| ("msrp_tls_ca_file", ca.to_owned())));
        parameters
    };
    let listen = |address: &str| vec![("msrp_listen", format!("tcp:{address}"))];
    let https = |ca: &str| {
        let mut parameters = group("xcap:https://127.0.0.1:1/root");
        parameters.push(("xcap_ca_file", ca.to_owned()));
        parameters
    };
    for (parameters, line) in [
        (
            group("dir:groups"),
            "group source 1 is not an absolute path".to_owned(),
        ),
        (
            group(&format!("dir:{nowhere}")),
            "group source 1: there is no such folder".to_owned(),
        ),
        (
            group(&format!("dir:{garbage}")),
            "group source 1: that is not a folder".to_owned(),
        ),
        (
            group("file:/groups"),
            "parameter group_source: \"file:/groups\" is none of dir:PATH, xcap:URL, db:URL"
                .to_owned(),
        ),
        (
            group("xcap:ftp://xdms.example.com/"),
            "group source 1 is not an http or https URL".to_owned(),
        ),
        (
            group("db:sqlite:///groups"),
            "group source 1: no such database module is loaded: loadmodule \"db_sqlite.so\""
                .to_owned(),
        ),
        (
            https(&nowhere),
            format!("authority file {nowhere} cannot be used: No such file or directory"),
        ),
        (
            https(&garbage),
            format!("authority file {garbage} cannot be used: no certificate in it (PEM)"),
        ),
        (
            spool(&garbage),
            format!("msrp_spool_dir {garbage} is not a directory"),
        ),
        (
            spool("spool"),
            "parameter msrp_spool_dir: \"spool\" is neither an absolute path nor none".to_owned(),
        ),
        (
            spool(&format!("{garbage}/spool")),
            format!("msrp_spool_dir {garbage}/spool cannot be made: Not a directory"),
        ),
        (
            spool("/proc/cpm"),
            "msrp_spool_dir /proc/cpm cannot be made: No such file or directory".to_owned(),
        ),
        (
            listen(&taken.to_string()),
            format!("cannot listen on tcp:{taken}: Address already in use"),
        ),
        (
            listen("192.0.2.7:2855"),
            "cannot listen on tcp:192.0.2.7:2855: Cannot assign requested address".to_owned(),
        ),
        (
            secure(&nowhere, &key, None),
            format!("certificate {nowhere} cannot be used: No such file or directory"),
        ),
        (
            secure(&garbage, &key, None),
            format!("certificate {garbage} cannot be used: no certificate in it (PEM)"),
        ),
        (
            secure(&certificate, &nowhere, None),
            format!("private key {nowhere} cannot be used: No such file or directory"),
        ),
        (
            secure(&certificate, &certificate, None),
            format!("private key {certificate} cannot be used: no private key in it (PEM)"),
        ),
        (
            secure(&certificate, &other_key, None),
            "the key does not match the certificate".to_owned(),
        ),
        (
            secure(&certificate, &key, Some(&nowhere)),
            format!("authority file {nowhere} cannot be used: No such file or directory"),
        ),
    ] {
        let config = parameters.iter().fold(
            cpm_proxy("request_route { exit; }"),
            |config, (name, value)| config.set("cpm", name, value),
        );
        let log = bench.try_proxy(&config).expect_err(&line).log;
        let said = log.lines().filter(|text| text.contains(&line)).count();
        assert_eq!(said, 1, "{line}:\n{log}");
    }
    drop(listener);
}

/// A remote service may be down when the proxy starts, and come up later.
#[test]
fn an_xdms_that_is_down_does_not_stop_the_start() {
    let bench = Bench::new("an_xdms_that_is_down");
    let root = format!("xcap:http://127.0.0.1:{}/root", bench.port());
    let config = cpm_proxy(HANDLE)
        .set("cpm", "group_uri", "sip:*@groups.example.com")
        .set("cpm", "group_source", &root);
    bench.proxy(&config).stop();
}
