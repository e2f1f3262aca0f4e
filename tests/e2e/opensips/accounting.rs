//! The records of `accounting.cfg`: one for each recipient, in a database and in the log.

use cpm_testbed::{Bench, Product, Proxy, Request};

use crate::accounting::{RECIPIENTS, Records, send};
use crate::common::{expect_log_lines, sqlite_rows};
use crate::large::Scene;
use crate::sites::{quoted, shipped};

/// What a peer may write so that it would end a text, in JSON and in SQL.
const ODD: &str = "O'K \\\"; DROP TABLE cpm_acc; --";

const RECORDS: Records = Records {
    product: Product::OpenSips,
    call_id: "call_id",
    leg_call_id: "leg_call_id",
    code: "code",
    reason: "reason",
};

/// The log has a line for each of a hundred, whatever else there is.
fn expect_logged(proxy: &Proxy, request: &Request) {
    let call_id = request.header("Call-ID").unwrap_or_default();
    let words = format!("{{\"call_id\":\"{call_id}\"}}");
    expect_log_lines(proxy, &words, RECIPIENTS);
    // Nor is there one for each thing that a message lacks, such as a session.
    let log = proxy.log();
    // A timer of the proxy may be late on a machine that does other things as well.
    let mut warnings = log.lines().filter(|line| line.contains("WARNING"));
    assert!(
        warnings.all(|line| line.contains("delay in execution")),
        "{log}"
    );
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn a_message_to_a_hundred_is_a_hundred_rows_that_add_up() {
    let bench = Bench::new("opensips_a_hundred_rows");
    let file = RECORDS.database(&bench);
    let url = format!("sqlite://{}", file.display());
    let proxy = bench.proxy(&shipped("accounting.cfg", &[("DB_URL", quoted(&url))]));
    let request = send(&bench, &proxy, ODD);
    expect_logged(&proxy, &request);
    RECORDS.expect_hundred(|query| sqlite_rows(&file, query), &request, ODD);
    proxy.stop();
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn so_it_is_in_postgresql() {
    let bench = Bench::new("opensips_a_hundred_rows_in_postgresql");
    let server = bench.postgres();
    server.sql(&RECORDS.table());
    let own = [
        ("DB_MODULE", quoted("db_postgres.so")),
        ("BUSY_TIMEOUT", String::new()),
        ("DB_URL", quoted(&server.url())),
    ];
    let proxy = bench.proxy(&shipped("accounting.cfg", &own));
    let request = send(&bench, &proxy, ODD);
    expect_logged(&proxy, &request);
    RECORDS.expect_hundred(|query| server.rows(query), &request, ODD);
    proxy.stop();
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn a_large_message_has_its_rows() {
    let scene = Scene::with("opensips_a_large_message_has_its_rows", |bench, _| {
        let url = format!("sqlite://{}", RECORDS.database(bench).display());
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        shipped(
            "accounting.cfg",
            &[("DB_URL", quoted(&url)), ("MSRP_LISTEN", quoted(&listen))],
        )
    });
    RECORDS.expect_two_of_large(&scene);
    expect_log_lines(&scene.proxy, "record {\"leg_call_id\":", 2);
    scene.finish();
}
