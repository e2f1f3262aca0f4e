//! The store: accepted messages outlive the proxy.

mod bad_luck;
mod burst;
mod clock;
mod disk;
mod keeping;
mod killed_large;
mod large;
mod large_waiting;
mod operator;
mod power_loss;
mod recorded_disk;
mod restart;
mod under_load;
mod waiting;

use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Agent, Bench, PATIENCE, ProxyConfig, Request};
use rusqlite::Connection;

use crate::common::{HANDLE, cpm_proxy};
use crate::storing::{folder, storing};

const ANNE: &str = "sip:anne@example.com";

/// A proxy whose store and key stay when it goes.
fn keeping(bench: &Bench) -> ProxyConfig {
    keeping_with(bench, HANDLE)
}

/// The same with this script.
fn keeping_with(bench: &Bench, script: &str) -> ProxyConfig {
    storing(cpm_proxy(script), bench)
}

/// The database, as an operator may look into it.
fn database(bench: &Bench) -> Connection {
    let database = Connection::open(folder(bench).join("messages.db")).expect("it is there");
    let set = database.busy_timeout(PATIENCE);
    set.expect("a time to wait is not zero");
    database
}

/// How many messages it has.
fn messages(bench: &Bench) -> u32 {
    rows(bench, "message")
}

fn rows(bench: &Bench, table: &str) -> u32 {
    let count = format!("SELECT count(*) FROM {table}");
    let count = database(bench).query_row(&count, [], |row| row.get(0));
    count.expect("the table is there")
}

/// The sender of this message is told that it has failed.
#[track_caller]
fn expect_failure_told(sender: &Agent, request: &Request) {
    let told = sender.expect_request("MESSAGE");
    let body = String::from_utf8_lossy(told.body()).into_owned();
    let id = request.header("Contribution-ID").unwrap_or_default();
    assert!(
        body.contains(&format!("<message-id>{id}</message-id>")),
        "{body}"
    );
    assert!(body.contains("<failed/>"), "{body}");
}

/// Waits until it has so many messages.
#[track_caller]
fn expect_messages(bench: &Bench, count: u32) {
    expect_rows(bench, "message", count);
}

/// Waits until a table has so many rows: `outcome` has one for each message with recipients that
/// have ended.
#[track_caller]
fn expect_rows(bench: &Bench, table: &str, count: u32) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = rows(bench, table);
        if found == count {
            return;
        }
        assert!(Instant::now() < deadline, "{found} rows of {table}");
        thread::sleep(Duration::from_millis(10));
    }
}
