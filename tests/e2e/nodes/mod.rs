//! Several nodes that share a store: what one has accepted, another one finishes, and what one
//! knows, all know.

mod bad_luck;
mod large;
mod sharing;
mod take_over;
mod tls;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Agent, Bench, PATIENCE, Proxy, ProxyConfig, Redis, Request};

use crate::common::{HANDLE, cpm_proxy};

const ANNE: &str = "sip:anne@example.com";

/// The shortest that there is.
pub(crate) const LEASE_S: i64 = 5;

/// A node with this name and this script, of a store with this URL.
fn node_with(bench: &Bench, name: &str, url: &str, script: &str) -> ProxyConfig {
    node_of(cpm_proxy(script), bench, name, url)
}

/// The same with a script of one line.
fn node(bench: &Bench, name: &str, url: &str) -> ProxyConfig {
    node_with(bench, name, url, HANDLE)
}

/// The same of this configuration.
fn node_of(config: ProxyConfig, bench: &Bench, name: &str, url: &str) -> ProxyConfig {
    let key = id_key(bench);
    let state = bench.folder().join(format!("state-{name}"));
    config
        .set("cpm", "state_dir", &state.display().to_string())
        .set("cpm", "id_key_file", &key.display().to_string())
        .set("cpm", "store", url)
        .set("cpm", "store_node", name)
        .set_number("cpm", "store_lease", LEASE_S)
}

/// A file with the key that all nodes have.
pub(crate) fn id_key(bench: &Bench) -> PathBuf {
    let key = bench.folder().join("id-key");
    fs::write(&key, [7; 32]).expect("the folder of a test can be written to");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
    key
}

/// The messages in the store, by the names of their keys.
fn messages(redis: &Redis) -> Vec<String> {
    let mut keys = redis.ask(&["KEYS", "{cpm}:msg:*"]);
    keys.retain(|key| !key.is_empty());
    keys
}

/// Waits until there are so many.
#[track_caller]
pub(crate) fn expect_messages(redis: &Redis, count: usize) {
    expect(
        || messages(redis).len() == count,
        &format!("{count} messages in the store"),
    );
}

/// Sends messages until one is accepted.
#[track_caller]
fn expect_acceptance(agent: &Agent, request: impl Fn() -> Request, proxy: &Proxy) {
    let is_accepted = || {
        let request = request();
        agent.send(&request, proxy.udp());
        let answer = agent.recv_response(&request, PATIENCE);
        answer.is_some_and(|answer| answer.status() == Some(202))
    };
    expect(is_accepted, "the node takes messages");
}

/// Waits until it is so.
#[track_caller]
fn expect(is_so: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not yet: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
