//! The records of `accounting.cfg`: one for each recipient, in a database and in the log.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Plan, Product, Proxy, Reply, Request, cpm_message, to};

use crate::common::{EXPLODER, exchange, expect_log_lines, sqlite, sqlite_rows};
use crate::large::{SIZE, Scene};
use crate::sites::{ANNE, folder, quoted, shipped};

/// Of a message to a hundred, those that answer 486.
const BUSY: usize = 10;
const RECIPIENTS: usize = 100;
/// What a peer may write so that it would end a text, in JSON and in SQL.
const ODD: &str = "O'K \\\"; DROP TABLE cpm_acc; --";

fn table() -> String {
    let file = folder(Product::OpenSips).join("cpm-acc.sql");
    fs::read_to_string(file).expect("it is part of the project")
}

/// Sends a message to a hundred recipients.
fn send(bench: &Bench, proxy: &Proxy) -> Request {
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    bill.answers(Answer::Reply(Reply::new(200).with_reason(ODD)));
    carol.answers(Answer::code(486));
    let uris = (0..RECIPIENTS).map(|n| {
        let agent = if n < BUSY { &carol } else { &bill };
        agent.uri(&format!("user{n}"))
    });
    let message = cpm_message(ANNE, EXPLODER).recipients(uris.map(|uri| to(&uri)));
    let request = message
        .request()
        .with("P-Charging-Vector", "icid-value=charge-9");
    exchange(&anne, &request, proxy, 202);
    // The log has a line for each, whatever else there is.
    let call_id = request.header("Call-ID").unwrap_or_default();
    let words = format!("{{\"call_id\":\"{call_id}\"}}");
    expect_log_lines(proxy, &words, RECIPIENTS);
    // Nor is there one for each thing that a message lacks, such as a session.
    let log = proxy.log();
    assert!(!log.contains("WARNING"), "{log}");
    request
}

/// Waits for this many rows, and returns what they add up to.
#[track_caller]
fn sums(rows: impl Fn(&str) -> Vec<String>, count: usize) -> String {
    let deadline = Instant::now() + PATIENCE;
    while rows("SELECT count(*) FROM cpm_acc") != [count.to_string()] {
        assert!(Instant::now() < deadline, "there are not {count} rows");
        thread::sleep(Duration::from_millis(20));
    }
    let sums = rows(
        "SELECT count(DISTINCT recipient), count(DISTINCT leg_call_id),
            sum(CASE WHEN code = 200 THEN 1 ELSE 0 END),
            sum(CASE WHEN code = 486 AND reason = 'Busy Here' THEN 1 ELSE 0 END),
            min(recipients), max(recipients), CAST(sum(bytes) / max(bytes) AS INTEGER),
            sum(CASE WHEN seconds >= 0 AND seconds < 300 THEN 1 ELSE 0 END),
            count(DISTINCT call_id), max(call_id), max(contribution_id), max(icid),
            max(mode), max(kind), max(originator), max(session)
         FROM cpm_acc",
    );
    let reasons = rows("SELECT DISTINCT reason FROM cpm_acc WHERE code = 200");
    assert_eq!(reasons, [ODD]);
    sums.concat()
}

/// What they are to add up to.
fn expected(request: &Request) -> String {
    let header = |name| request.header(name).expect("it has one");
    format!(
        "100|100|90|10|100|100|100|100|1|{}|{}|charge-9|pager|exploder|{ANNE}|",
        header("Call-ID"),
        header("Contribution-ID")
    )
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn a_message_to_a_hundred_is_a_hundred_rows_that_add_up() {
    let bench = Bench::new("opensips_a_hundred_rows");
    let file = bench.folder().join("cpm-acc.db");
    sqlite(&file, &format!("PRAGMA journal_mode = WAL;\n{}", table()));
    let url = format!("sqlite://{}", file.display());
    let proxy = bench.proxy(&shipped("accounting.cfg", &[("DB_URL", quoted(&url))]));
    let request = send(&bench, &proxy);
    let rows = |query: &str| sqlite_rows(&file, query);
    assert_eq!(sums(rows, RECIPIENTS), expected(&request));
    proxy.stop();
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn so_it_is_in_postgresql() {
    let bench = Bench::new("opensips_a_hundred_rows_in_postgresql");
    let server = bench.postgres();
    server.sql(&table());
    let own = [
        ("DB_MODULE", quoted("db_postgres.so")),
        ("BUSY_TIMEOUT", String::new()),
        ("DB_URL", quoted(&server.url())),
    ];
    let proxy = bench.proxy(&shipped("accounting.cfg", &own));
    let request = send(&bench, &proxy);
    assert_eq!(
        sums(|query| server.rows(query), RECIPIENTS),
        expected(&request)
    );
    proxy.stop();
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn a_large_message_has_its_rows() {
    let scene = Scene::with("opensips_a_large_message_has_its_rows", |bench, _| {
        let file = bench.folder().join("cpm-acc.db");
        sqlite(&file, &format!("PRAGMA journal_mode = WAL;\n{}", table()));
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        let url = format!("sqlite://{}", file.display());
        shipped(
            "accounting.cfg",
            &[("DB_URL", quoted(&url)), ("MSRP_LISTEN", quoted(&listen))],
        )
    });
    scene.callees.plan("carol", Plan::status(603));
    let upload = scene.upload(EXPLODER, &["bill", "carol"]);
    scene.sends(&upload);
    scene.gets("bill", &upload);
    expect_log_lines(&scene.proxy, "record {\"leg_call_id\":", 2);
    let file = scene.bench.folder().join("cpm-acc.db");
    let deadline = Instant::now() + PATIENCE;
    while sqlite_rows(&file, "SELECT count(*) FROM cpm_acc") != ["2"] {
        assert!(Instant::now() < deadline, "there are not 2 rows");
        thread::sleep(Duration::from_millis(20));
    }
    let rows = sqlite_rows(
        &file,
        "SELECT mode, code, reason, bytes, recipient, session IS NOT NULL FROM cpm_acc
         ORDER BY code",
    );
    let row = |user, answer| format!("large|{answer}|{SIZE}|{}|1", scene.callees.uri(user));
    assert_eq!(rows, [row("bill", "200|OK"), row("carol", "603|Decline")]);
    scene.finish();
}
