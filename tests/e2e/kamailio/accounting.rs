//! The records of `accounting.cfg`: one for each recipient, in a database, in a file, in the log,
//! at a RADIUS server.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Plan, Product, Proxy, Request, cpm_message, to};

use crate::common::{EXPLODER, exchange, expect_log_lines, sqlite, sqlite_rows};
use crate::large::{SIZE, Scene};
use crate::sites::{ANNE, folder, quoted, shipped};

/// Of a message to a hundred, those that answer 486.
const BUSY: usize = 10;
const RECIPIENTS: usize = 100;

fn table() -> String {
    let file = folder(Product::Kamailio).join("cpm-acc.sql");
    fs::read_to_string(file).expect("it is part of the project")
}

/// `module`: `None` for the one of the configuration.
fn proxy(bench: &Bench, module: Option<&str>, url: &str) -> Proxy {
    let module = module.map(|module| ("DB_MODULE", quoted(module)));
    let definitions: Vec<_> = module
        .into_iter()
        .chain([("DB_URL", quoted(url))])
        .collect();
    bench.proxy(&shipped("accounting.cfg", &definitions))
}

/// Sends a message to a hundred recipients.
fn send(bench: &Bench, proxy: &Proxy) -> Request {
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
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
    expect_log_lines(proxy, "ACC: request accounted: timestamp=", RECIPIENTS);
    let words = format!(
        ";sender_callid={}",
        request.header("Call-ID").unwrap_or_default()
    );
    expect_log_lines(proxy, &words, RECIPIENTS);
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
        "SELECT count(DISTINCT recipient), count(DISTINCT callid),
            sum(CASE WHEN sip_code = '200' AND sip_reason = 'OK' THEN 1 ELSE 0 END),
            sum(CASE WHEN sip_code = '486' THEN 1 ELSE 0 END),
            min(recipients), max(recipients), CAST(sum(bytes) / max(bytes) AS INTEGER),
            sum(CASE WHEN seconds >= 0 AND seconds < 300 THEN 1 ELSE 0 END),
            count(DISTINCT sender_callid), max(sender_callid), max(contribution_id), max(icid),
            max(mode), max(kind), max(originator), max(session)
         FROM cpm_acc",
    );
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
fn a_message_to_a_hundred_is_a_hundred_rows_that_add_up() {
    let bench = Bench::new("a_message_to_a_hundred_rows");
    let file = bench.folder().join("cpm-acc.db");
    sqlite(&file, &format!("PRAGMA journal_mode = WAL;\n{}", table()));
    let proxy = proxy(&bench, None, &format!("sqlite:///{}", file.display()));
    let request = send(&bench, &proxy);
    let rows = |query: &str| sqlite_rows(&file, query);
    assert_eq!(sums(rows, RECIPIENTS), expected(&request));
    proxy.stop();
}

#[test]
fn so_it_is_in_postgresql() {
    let bench = Bench::new("a_hundred_rows_in_postgresql");
    let server = bench.postgres();
    server.sql(&table());
    let proxy = proxy(&bench, Some("db_postgres.so"), &server.url());
    let request = send(&bench, &proxy);
    assert_eq!(
        sums(|query| server.rows(query), RECIPIENTS),
        expected(&request)
    );
    proxy.stop();
}

#[test]
fn so_it_is_in_files() {
    let bench = Bench::new("a_hundred_lines_in_files");
    let files = bench.folder().join("accounting");
    fs::create_dir(&files).expect("the folder of a test can be written to");
    let proxy = proxy(
        &bench,
        Some("db_flatstore.so"),
        &format!("flatstore:{}", files.display()),
    );
    let request = send(&bench, &proxy);
    let call_id = request.header("Call-ID").expect("it has one");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lines = lines_of(&files);
        if lines.len() == RECIPIENTS {
            let busy = lines.iter().filter(|line| line.contains("|486|"));
            assert_eq!(busy.count(), BUSY);
            assert!(lines.iter().all(|line| line.contains(call_id)));
            break;
        }
        assert!(Instant::now() < deadline, "{} lines", lines.len());
        thread::sleep(Duration::from_millis(20));
    }
    proxy.stop();
}

#[test]
fn so_it_is_at_a_radius_server() {
    let bench = Bench::new("a_hundred_records_at_a_radius_server");
    let server = bench.radius();
    let at = folder(Product::Kamailio);
    // As it ships, but for what a site has to say; and a packet late on a busy machine is not lost.
    let shipped_config = fs::read_to_string(at.join("radius.conf")).expect("it can be read");
    let config = [
        ("acctserver", server.address()),
        ("servers", server.servers().display().to_string()),
        (
            "dictionary",
            at.join("radius.dictionary").display().to_string(),
        ),
        ("radius_timeout", PATIENCE.as_secs().to_string()),
    ]
    .iter()
    .fold(shipped_config, |config, (name, value)| {
        let line = config
            .lines()
            .find(|line| line.starts_with(&format!("{name}\t")))
            .expect("the file has it");
        config.replace(&format!("\n{line}\n"), &format!("\n{name}\t{value}\n"))
    });
    let file = bench.folder().join("radius.conf");
    fs::write(&file, config).expect("the folder of a test can be written to");
    let script = at.join("radius.lua");
    let definitions = [
        ("RADIUS_CONFIG", quoted(&file.display().to_string())),
        ("RADIUS_SCRIPT", quoted(&script.display().to_string())),
    ];
    let proxy = bench.proxy(&shipped("accounting.cfg", &definitions));
    let request = send(&bench, &proxy);
    let deadline = Instant::now() + PATIENCE;
    while server.records().len() < RECIPIENTS {
        assert!(Instant::now() < deadline, "{:?}", server.records().len());
        thread::sleep(Duration::from_millis(20));
    }
    let records = server.records();
    let values = |name| -> Vec<&str> {
        let values = records.iter().filter_map(|record| record.get(name));
        values.map(String::as_str).collect()
    };
    let distinct = |name| values(name).into_iter().collect::<BTreeSet<_>>().len();
    assert_eq!(records.len(), RECIPIENTS);
    assert_eq!(distinct("Called-Station-Id"), RECIPIENTS);
    assert_eq!(distinct("Acct-Session-Id"), RECIPIENTS);
    assert_eq!(values("User-Name"), vec![ANNE; RECIPIENTS]);
    let call_id = request.header("Call-ID").expect("it has one");
    assert_eq!(values("Acct-Multi-Session-Id"), vec![call_id; RECIPIENTS]);
    // Without dictionaries of SIP, FreeRADIUS has another name for the response code (102).
    let codes = values("EAP-Key-Name");
    let count = |code: u16| {
        let value = format!("{code:#010x}");
        codes.iter().filter(|found| **found == value).count()
    };
    assert_eq!((count(200), count(486)), (RECIPIENTS - BUSY, BUSY));
    let bytes = values("Acct-Output-Octets");
    assert_eq!(bytes.len(), RECIPIENTS);
    let all_alike = bytes.iter().all(|found| *found == bytes[0]);
    assert!(
        all_alike
            && bytes[0]
                .parse::<u32>()
                .is_ok_and(|bytes| bytes > 0 && bytes < 1300)
    );
    proxy.stop();
}

/// The whole lines in the files of a folder.
fn lines_of(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).expect("it can be read");
    let texts = files.map(|file| {
        let path = file.expect("it can be read").path();
        fs::read_to_string(path).expect("it can be read")
    });
    let lines = texts.flat_map(|text| {
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole.map(str::to_owned).collect::<Vec<_>>()
    });
    lines.collect()
}

#[test]
fn a_large_message_has_its_rows() {
    let scene = Scene::with("a_large_message_has_its_rows", |bench, _| {
        let file = bench.folder().join("cpm-acc.db");
        sqlite(&file, &format!("PRAGMA journal_mode = WAL;\n{}", table()));
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        shipped(
            "accounting.cfg",
            &[
                ("DB_URL", quoted(&format!("sqlite:///{}", file.display()))),
                ("MSRP_LISTEN", quoted(&listen)),
            ],
        )
    });
    scene.callees.plan("carol", Plan::status(603));
    let upload = scene.upload(EXPLODER, &["bill", "carol"]);
    scene.sends(&upload);
    scene.gets("bill", &upload);
    let file = scene.bench.folder().join("cpm-acc.db");
    let rows = |query: &str| sqlite_rows(&file, query);
    expect_log_lines(&scene.proxy, "ACC: request accounted: timestamp=", 2);
    sums(rows, 2);
    let rows = rows(
        "SELECT mode, sip_code, sip_reason, bytes, recipient, session IS NOT NULL FROM cpm_acc
         ORDER BY sip_code",
    );
    let row = |user, answer| format!("large|{answer}|{SIZE}|{}|1", scene.callees.uri(user));
    assert_eq!(rows, [row("bill", "200|OK"), row("carol", "603|Decline")]);
    scene.finish();
}
