//! Parameters and the certificate are read again while the proxy runs: in all processes, or in
//! none.

use std::fs;
use std::path::Path;

use cpm_testbed::{
    Agent, Bench, Certificate, Proxy, ProxyConfig, cpm_message, large_message, to, values,
};

use crate::common::{EXPLODER, HANDLE, counter, exchange, expect_log_lines, untrusting_proxy};
use crate::groups::{GroupFolder, open_group, recipients, to_group};
use crate::large::transport::with_tls;
use crate::large::{ANNE, CHUNK, SIZE, Scene};

const SECOND: &str = "sip:second@example.com";

/// Enough for every worker to have some.
const MANY: usize = 24;

fn with_file(config: ProxyConfig, file: &Path, text: &str) -> ProxyConfig {
    fs::write(file, text).expect("the folder of a test can be written to");
    config.set("cpm", "parameter_file", &file.display().to_string())
}

/// As many messages to this address get this answer.
#[track_caller]
fn all_get(anne: &Agent, bill: &Agent, proxy: &Proxy, service: &str, code: u16) {
    let message = cpm_message(ANNE, service).recipients([to(&bill.uri("bill"))]);
    for _ in 0..MANY {
        exchange(anne, &message.request(), proxy, code);
    }
}

#[test]
fn peers_addresses_and_groups_change_in_all_processes() {
    let bench = Bench::new("peers_addresses_and_groups_change");
    let (old, new) = (
        GroupFolder::new(&bench, "old"),
        GroupFolder::new(&bench, "new"),
    );
    let (anne, bill) = (bench.agent(), bench.agent());
    old.put("friends", &open_group("friends").members([bill.uri("old")]));
    new.put("friends", &open_group("friends").members([bill.uri("new")]));
    let file = bench.folder().join("parameters");
    let text = format!("# of the first hour\ngroup_source = {}\n", old.source());
    let config = untrusting_proxy(HANDLE)
        .children(4)
        .set("cpm", "trusted_peer", "192.0.2.1")
        .set("cpm", "group_uri", "sip:*@groups.example.com");
    let proxy = bench.proxy(&with_file(config, &file, &text));
    all_get(&anne, &bill, &proxy, EXPLODER, 403);
    all_get(&anne, &bill, &proxy, SECOND, 404);

    let text = format!(
        "trusted_peer = 127.0.0.1\nexploder_uri = {EXPLODER}\nexploder_uri = \"{SECOND}\"\n\
         group_source = {}\n",
        old.source()
    );
    fs::write(&file, &text).expect("it can be written");
    let told = proxy.rpc("cpm.reload");
    for (name, value) in [
        ("addresses", "3"),
        ("trusted_peers", "1"),
        ("group_sources", "1"),
        ("certificate", "0"),
    ] {
        assert_eq!(values(&told, name).next(), Some(value), "{told}");
    }
    all_get(&anne, &bill, &proxy, EXPLODER, 202);
    all_get(&anne, &bill, &proxy, SECOND, 202);
    bill.expect_requests("MESSAGE", 2 * MANY);
    exchange(&anne, &to_group(ANNE, "friends").request(), &proxy, 202);
    assert_eq!(recipients(&bill, 1), [bill.uri("old")]);
    assert!(proxy.rpc("cpm.config").contains(SECOND));

    // The same group elsewhere, in each of the processes that have found it before.
    fs::write(&file, text.replace(&old.source(), &new.source())).expect("it can be written");
    proxy.rpc("cpm.reload");
    for _ in 0..MANY {
        exchange(&anne, &to_group(ANNE, "friends").request(), &proxy, 202);
        assert_eq!(recipients(&bill, 1), [bill.uri("new")]);
    }

    // What the file no longer sets is as configured.
    fs::write(&file, format!("group_source = {}", new.source())).expect("it can be written");
    proxy.rpc("cpm.reload");
    all_get(&anne, &bill, &proxy, EXPLODER, 403);
    all_get(&anne, &bill, &proxy, SECOND, 404);
    proxy.stop();
}

#[test]
fn a_broken_file_changes_nothing() {
    let bench = Bench::new("a_broken_file_changes_nothing");
    let file = bench.folder().join("parameters");
    let config = with_file(
        untrusting_proxy(HANDLE),
        &file,
        "trusted_peer = 127.0.0.1\n",
    );
    let proxy = bench.proxy(&config);
    let (anne, bill) = (bench.agent(), bench.agent());
    for (text, words) in [
        ("trusted_peer = nobody", "line 1: trusted_peer "),
        ("trusted_peer", "line 1 is not `name = value`"),
        (
            "\nmax_recipients = 5",
            "line 2: max_recipients cannot be set in this file",
        ),
        ("trusted = 127.0.0.1", "line 1: trusted "),
        (
            "trusted_peer = 192.0.2.1\ncontrolling_uri = sip:exploder@example.com",
            "are the same address",
        ),
        (
            "trusted_peer = 192.0.2.1\ngroup_uri = sip:*@groups.example.com\ngroup_source = dir:/tmp",
            "has started without groups",
        ),
    ] {
        fs::write(&file, text).expect("it can be written");
        let refused = proxy.try_rpc("cpm.reload").expect_err(text);
        assert!(refused.contains("The old values stay"), "{refused}");
        proxy.expect_log("nothing is reloaded: ");
        proxy.expect_log(words);
        all_get(&anne, &bill, &proxy, EXPLODER, 202);
    }
    fs::remove_file(&file).expect("it is there");
    proxy.try_rpc("cpm.reload").expect_err("there is no file");
    proxy.expect_log("cannot be read: No such file");
    all_get(&anne, &bill, &proxy, EXPLODER, 202);
    assert_eq!(counter(&proxy, "refused"), 0);
    let started = bench.try_proxy(&with_file(untrusting_proxy(HANDLE), &file, "nonsense"));
    assert!(started.is_err(), "at the start a fault is one");
    proxy.stop();
}

#[test]
fn another_certificate_is_for_sessions_from_then_on() {
    let [old, new, annes, bills] = [(); 4].map(|()| Certificate::new(&["127.0.0.1"]));
    let scene = Scene::unseen("another_certificate_is_for_sessions", |bench, config| {
        with_tls(config, bench, &old)
    });
    let folder = scene.bench.folder().join("tls");
    let sender = scene.bench.msrps_peer(&annes);
    let secure = scene
        .bench
        .callees_of(scene.bench.agent(), scene.bench.msrps_peer(&bills));
    let message = large_message(ANNE, EXPLODER).recipients([to(&secure.uri("bill"))]);
    let content = message.content(SIZE);
    let begins = |certificate: &Certificate| {
        let session = sender.session();
        let request = message.request(&scene.anne, &session, SIZE);
        let call = scene.anne.invites(&request, scene.proxy.udp());
        let announced = call.sdp().attribute("fingerprint").map(str::to_uppercase);
        assert_eq!(announced, Some(certificate.fingerprint().to_uppercase()));
        session.sends_to(call.sdp().path());
        call.ack();
        session.connect_and_bind();
        assert_eq!(session.peer_fingerprint(), Some(certificate.fingerprint()));
        (session, call)
    };
    let (before, mut call_before) = begins(&old);

    // A key of somebody else's, a certificate that is half written, and none: nothing changes.
    let mallorys = Certificate::new(&["127.0.0.1"]);
    let certificate = folder.join("certificate.pem");
    mallorys.files(&folder);
    let half = &new.pem()[..new.pem().len() / 2];
    for (fault, text) in [("mismatch", old.pem()), ("half", half), ("empty", "")] {
        fs::write(&certificate, text).expect("it can be written");
        let refused = scene.proxy.try_rpc("cpm.reload").expect_err(fault);
        assert!(
            refused.contains("The old values stay"),
            "{fault}: {refused}"
        );
    }
    expect_log_lines(&scene.proxy, "nothing is reloaded: ", 3);
    let (between, mut call_between) = begins(&old);

    new.files(&folder);
    let told = scene.proxy.rpc("cpm.reload");
    assert_eq!(values(&told, "certificate").next(), Some("1"), "{told}");
    scene.proxy.expect_log("another certificate is in use");
    let (after, mut call_after) = begins(&new);
    // Those that have begun go on, and new legs present the new one.
    for (session, call) in [
        (&before, &mut call_before),
        (&between, &mut call_between),
        (&after, &mut call_after),
    ] {
        session.deliver(&content, CHUNK);
        call.bye(200);
    }
    for (round, certificate) in [&old, &old, &new].into_iter().enumerate() {
        let leg = secure.expect_nth_call("bill", round);
        assert_eq!(leg.session.expect_message().bytes, content);
        assert_eq!(
            leg.session.peer_fingerprint(),
            Some(certificate.fingerprint())
        );
    }
    scene.finish();
}

/// The authorities of peers are those of the file that was last whole.
#[test]
fn broken_authorities_change_nothing() {
    let bench = Bench::new("broken_authorities_change_nothing");
    let [own, first, second] = [(); 3].map(|()| Certificate::new(&["127.0.0.1"]));
    let file = bench.folder().join("authorities.pem");
    fs::write(&file, first.pem()).expect("the folder of a test can be written to");
    let config = with_tls(untrusting_proxy(HANDLE), &bench, &own).set(
        "cpm",
        "msrp_tls_ca_file",
        &file.display().to_string(),
    );
    let proxy = bench.proxy(&config);
    let both = [first.pem(), second.pem()].concat();
    let cut = &both[..both.len() - second.pem().len() / 2];
    for (fault, text) in [("cut", cut), ("empty", ""), ("no certificate", "nonsense")] {
        fs::write(&file, text).expect("it can be written");
        let refused = proxy.try_rpc("cpm.reload").expect_err(fault);
        assert!(
            refused.contains("The old values stay"),
            "{fault}: {refused}"
        );
    }
    fs::remove_file(&file).expect("it is there");
    proxy.try_rpc("cpm.reload").expect_err("there is no file");
    expect_log_lines(&proxy, "nothing is reloaded: authority file", 4);
    fs::write(&file, both).expect("it can be written");
    proxy.rpc("cpm.reload");
    proxy.stop();
}
