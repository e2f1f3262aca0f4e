//! What the accounting tests of both proxies have in common: one message to a hundred recipients,
//! and the rows that it is to leave.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Plan, Product, Proxy, Reply, Request, cpm_message, to};

use crate::common::{EXPLODER, exchange, sqlite, sqlite_rows};
use crate::large::{SIZE, Scene};
use crate::sites::{ANNE, folder};

/// Of a message to a hundred, those that answer 486.
pub(crate) const BUSY: usize = 10;
/// The recipients of a message to a hundred.
pub(crate) const RECIPIENTS: usize = 100;

/// The table of the records, as one proxy names its columns.
pub(crate) struct Records {
    pub(crate) product: Product,
    /// The sender's Call-ID, and that of the request to the recipient.
    pub(crate) call_id: &'static str,
    pub(crate) leg_call_id: &'static str,
    pub(crate) code: &'static str,
    pub(crate) reason: &'static str,
}

impl Records {
    /// The SQL that makes the table.
    pub(crate) fn table(&self) -> String {
        let file = folder(self.product).join("cpm-acc.sql");
        fs::read_to_string(file).expect("it is part of the project")
    }

    /// An SQLite database with the table.
    pub(crate) fn database(&self, bench: &Bench) -> PathBuf {
        let file = database_file(bench);
        let table = self.table();
        sqlite(&file, &format!("PRAGMA journal_mode = WAL;\n{table}"));
        file
    }

    /// Waits for the rows of a message to a hundred, which are to add up; `delivered` is the
    /// reason of a recipient that has it.
    #[track_caller]
    pub(crate) fn expect_hundred(
        &self,
        rows: impl Fn(&str) -> Vec<String>,
        request: &Request,
        delivered: &str,
    ) {
        expect_rows(&rows, RECIPIENTS);
        let Self {
            call_id,
            leg_call_id,
            code,
            reason,
            ..
        } = self;
        let sums = rows(&format!(
            "SELECT count(DISTINCT recipient), count(DISTINCT {leg_call_id}),
                sum(CASE WHEN CAST({code} AS INTEGER) = 200 THEN 1 ELSE 0 END),
                sum(CASE WHEN CAST({code} AS INTEGER) = 486 AND {reason} = 'Busy Here'
                    THEN 1 ELSE 0 END),
                min(recipients), max(recipients), CAST(sum(bytes) / max(bytes) AS INTEGER),
                sum(CASE WHEN seconds >= 0 AND seconds < 300 THEN 1 ELSE 0 END),
                count(DISTINCT {call_id}), max({call_id}), max(contribution_id), max(icid),
                max(mode), max(kind), max(originator), max(session)
             FROM cpm_acc",
        ));
        let header = |name| request.header(name).expect("it has one");
        let expected = format!(
            "100|100|90|10|100|100|100|100|1|{}|{}|charge-9|pager|exploder|{ANNE}|",
            header("Call-ID"),
            header("Contribution-ID")
        );
        assert_eq!(sums, [expected]);
        let reasons = rows(&format!(
            "SELECT DISTINCT {reason} FROM cpm_acc WHERE CAST({code} AS INTEGER) = 200"
        ));
        assert_eq!(reasons, [delivered]);
    }

    /// Sends a large message to two, of whom one declines, and waits for their rows.
    #[track_caller]
    pub(crate) fn expect_two_of_large(&self, scene: &Scene) {
        scene.callees.plan("carol", Plan::status(603));
        let upload = scene.upload(EXPLODER, &["bill", "carol"]);
        scene.sends(&upload);
        scene.gets("bill", &upload);
        let file = database_file(&scene.bench);
        let rows = |query: &str| sqlite_rows(&file, query);
        expect_rows(rows, 2);
        let Self { code, reason, .. } = self;
        let rows = rows(&format!(
            "SELECT mode, {code}, {reason}, bytes, recipient, session IS NOT NULL FROM cpm_acc
             ORDER BY {code}"
        ));
        let row = |user, answer| format!("large|{answer}|{SIZE}|{}|1", scene.callees.uri(user));
        assert_eq!(rows, [row("bill", "200|OK"), row("carol", "603|Decline")]);
    }
}

fn database_file(bench: &Bench) -> PathBuf {
    bench.folder().join("cpm-acc.db")
}

/// Sends a message to a hundred recipients, who answer 200 with this reason, or 486. Returns when
/// all have answered.
#[track_caller]
pub(crate) fn send(bench: &Bench, proxy: &Proxy, delivered: &str) -> Request {
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    bill.answers(Answer::Reply(Reply::new(200).with_reason(delivered)));
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
    bill.expect_requests("MESSAGE", RECIPIENTS - BUSY);
    carol.expect_requests("MESSAGE", BUSY);
    request
}

/// Waits until the table has this many rows.
#[track_caller]
fn expect_rows(rows: impl Fn(&str) -> Vec<String>, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while rows("SELECT count(*) FROM cpm_acc") != [count.to_string()] {
        assert!(Instant::now() < deadline, "there are not {count} rows");
        thread::sleep(Duration::from_millis(20));
    }
}
