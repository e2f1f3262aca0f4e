//! A server that is spoken to over TLS: only the one that an authority vouches for gets anything.

use std::fs;
use std::path::PathBuf;

use cpm_testbed::{Bench, Certificate, ProxyConfig, Redis, cpm_message, to};

use super::{ANNE, expect_acceptance, expect_messages, messages, node};
use crate::common::{EXPLODER, counter, exchange, expect_counter, expect_log_lines};

/// A node of the store at this URL, on a system that has no authorities of its own.
fn trusting_nobody(bench: &Bench, url: &str) -> ProxyConfig {
    let nowhere = bench.folder().join("nowhere").display().to_string();
    node(bench, "one", url)
        .variable("SSL_CERT_FILE", &nowhere)
        .variable("SSL_CERT_DIR", &nowhere)
}

/// The same, which trusts this authority.
fn trusting(bench: &Bench, url: &str, authority: &Certificate) -> ProxyConfig {
    let path: PathBuf = bench.folder().join("authority.pem");
    fs::write(&path, authority.pem()).expect("the folder of a test can be written to");
    let path = path.display().to_string();
    trusting_nobody(bench, url).set("cpm", "store_ca_file", &path)
}

fn has_connections(redis: &Redis) -> bool {
    // The one that asks.
    redis.ask(&["CLIENT", "LIST"]).len() > 1
}

#[test]
fn a_message_is_kept_by_a_server_over_tls_with_a_password() {
    let bench = Bench::new("a_message_is_kept_over_tls");
    let certificate = Certificate::new(&["127.0.0.1"]);
    let redis = bench.redis_over_tls(&certificate);
    let rights = ["on", ">secret", "~{cpm}:*", "+@all"];
    redis.ask(&[&["ACL", "SETUSER", "cpm"], &rights[..]].concat());
    let url = redis.url_at("cpm:secret@127.0.0.1");
    let proxy = bench.proxy(&trusting(&bench, &url, &certificate));
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = || cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    exchange(&anne, &message().request(), &proxy, 202);
    bill.expect_request("MESSAGE");
    expect_counter(&proxy, "delivered", 1);
    expect_messages(&redis, 0);
    assert_eq!(counter(&proxy, "stored"), 1);
    // It comes back, with the same certificate.
    let redis = redis.kill_and_start(|| {
        exchange(&anne, &message().request(), &proxy, 503);
    });
    redis.ask(&[&["ACL", "SETUSER", "cpm"], &rights[..]].concat());
    expect_acceptance(&anne, || message().request(), &proxy);
    bill.expect_request("MESSAGE");
    assert!(has_connections(&redis));
    assert!(
        !proxy.log().contains("secret"),
        "the password is in the log"
    );
    proxy.stop();
}

#[test]
fn a_server_that_nobody_vouches_for_gets_no_message() {
    let bench = Bench::new("a_server_that_nobody_vouches_for");
    let certificate = Certificate::new(&["127.0.0.1"]);
    let redis = bench.redis_over_tls(&certificate);
    let other = Certificate::new(&["127.0.0.1"]);
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    for (url, authority, why) in [
        (redis.url(), &other, "invalid peer certificate"),
        (
            redis.url_at("localhost"),
            &certificate,
            "not valid for name",
        ),
    ] {
        let proxy = bench.proxy(&trusting(&bench, &url, authority));
        let refusal = exchange(&anne, &message.request(), &proxy, 503);
        assert!(refusal.header("Retry-After").is_some());
        let shown = format!("the store {url} cannot be used now");
        expect_log_lines(&proxy, &shown, 1);
        assert!(proxy.log().contains(why), "{}", proxy.log());
        assert_eq!(messages(&redis), [""; 0]);
        proxy.stop();
    }
}

#[test]
fn a_system_that_trusts_nobody_does_not_start() {
    let bench = Bench::new("a_system_that_trusts_nobody");
    let redis = bench.redis_over_tls(&Certificate::new(&["127.0.0.1"]));
    let failure = bench.try_proxy(&trusting_nobody(&bench, &redis.url()));
    let log = failure.expect_err("nobody can vouch for the server").log;
    assert!(log.contains("the system's authorities: "), "{log}");
}
