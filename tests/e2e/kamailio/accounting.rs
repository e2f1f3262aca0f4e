//! The records of `accounting.cfg`: one for each recipient, in a database, in a file, in the log,
//! at a RADIUS server.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, PATIENCE, Product, Proxy, Request};

use crate::accounting::{BUSY, RECIPIENTS, Records, send};
use crate::common::{expect_log_lines, sqlite_rows};
use crate::large::Scene;
use crate::sites::{ANNE, folder, quoted, shipped};

const RECORDS: Records = Records {
    product: Product::Kamailio,
    call_id: "sender_callid",
    leg_call_id: "callid",
    code: "sip_code",
    reason: "sip_reason",
};

/// `module`: `None` for the one of the configuration.
fn proxy(bench: &Bench, module: Option<&str>, url: &str) -> Proxy {
    let module = module.map(|module| ("DB_MODULE", quoted(module)));
    let definitions: Vec<_> = module
        .into_iter()
        .chain([("DB_URL", quoted(url))])
        .collect();
    bench.proxy(&shipped("accounting.cfg", &definitions))
}

/// Sends a message to a hundred recipients; the log has a line for each, whatever else there is.
#[track_caller]
fn send_and_expect_logged(bench: &Bench, proxy: &Proxy) -> Request {
    let request = send(bench, proxy, "OK");
    expect_log_lines(proxy, "ACC: request accounted: timestamp=", RECIPIENTS);
    let call_id = request.header("Call-ID").unwrap_or_default();
    expect_log_lines(proxy, &format!(";sender_callid={call_id}"), RECIPIENTS);
    request
}

#[test]
fn a_message_to_a_hundred_is_a_hundred_rows_that_add_up() {
    let bench = Bench::new("a_message_to_a_hundred_rows");
    let file = RECORDS.database(&bench);
    let proxy = proxy(&bench, None, &format!("sqlite:///{}", file.display()));
    let request = send_and_expect_logged(&bench, &proxy);
    RECORDS.expect_hundred(|query| sqlite_rows(&file, query), &request, "OK");
    proxy.stop();
}

#[test]
fn so_it_is_in_postgresql() {
    let bench = Bench::new("a_hundred_rows_in_postgresql");
    let server = bench.postgres();
    server.sql(&RECORDS.table());
    let proxy = proxy(&bench, Some("db_postgres.so"), &server.url());
    let request = send_and_expect_logged(&bench, &proxy);
    RECORDS.expect_hundred(|query| server.rows(query), &request, "OK");
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
    let request = send_and_expect_logged(&bench, &proxy);
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
    let request = send_and_expect_logged(&bench, &proxy);
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
        let url = format!("sqlite:///{}", RECORDS.database(bench).display());
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        shipped(
            "accounting.cfg",
            &[("DB_URL", quoted(&url)), ("MSRP_LISTEN", quoted(&listen))],
        )
    });
    RECORDS.expect_two_of_large(&scene);
    expect_log_lines(&scene.proxy, "ACC: request accounted: timestamp=", 2);
    scene.finish();
}
