//! What a script is told about each recipient: the same in both modes and lanes, in every language,
//! and under both proxies.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{
    Answer, Bench, PATIENCE, Plan, Product, Proxy, ProxyConfig, Reply, cpm_message, to, values,
};

use crate::common::{
    EXPLODER, HANDLE, compare_with_manual, cpm_proxy, exchange, expect_log_lines, log_lines,
};
use crate::kamailio::kemi::hearing;
use crate::large::{SIZE, Scene};
use crate::storing::{deferring, storing};

const ANNE: &str = "sip:anne@example.com";

/// The variables of the manual's chapter 5.
const VARIABLES: [&str; 19] = [
    "kind",
    "mode",
    "originator",
    "recipients",
    "recipient",
    "code",
    "reason",
    "warning",
    "retry_after",
    "allow_anonymity",
    "max_recipients",
    "conversation_id",
    "contribution_id",
    "message_id",
    "call_id",
    "icid",
    "session",
    "bytes",
    "seconds",
];

const EVENTS: [&str; 7] = [
    "authorize",
    "checked",
    "recipient-request",
    "recipient-delivered",
    "recipient-failed",
    "recipient-deferred",
    "session-end",
];

/// Of scripts that have events: OpenSIPS's modules for other languages only call functions.
fn languages() -> &'static [&'static str] {
    match Product::under_test() {
        Product::Kamailio => &["native", "lua", "python"],
        Product::OpenSips => &["native"],
    }
}

/// A script that logs every variable in each event.
fn native() -> String {
    let mut script = HANDLE.to_owned();
    let shown: String = VARIABLES
        .map(|name| format!("|{name}=$cpm({name})"))
        .concat();
    for event in EVENTS {
        let _ = write!(
            script,
            "\nevent_route[cpm:{event}] {{ xlog(\"L_NOTICE\", \"record {event}{shown}|\\n\"); }}"
        );
    }
    script
}

fn lua() -> String {
    let names = VARIABLES.map(|name| format!("\"{name}\"")).join(", ");
    format!(
        "function cpm_event(name)
    local line = \"record \" .. string.sub(name, 5)
    for _, variable in ipairs({{ {names} }}) do
        local value = KSR.pv.get(\"$cpm(\" .. variable .. \")\")
        line = line .. \"|\" .. variable .. \"=\" .. (value == nil and \"<null>\" or tostring(value))
    end
    KSR.notice(line .. \"|\\n\")
    return 1
end"
    )
}

fn python() -> String {
    let names = VARIABLES.map(|name| format!("\"{name}\"")).join(", ");
    format!(
        "    def cpm_event(self, msg, name):
        line = \"record \" + name[4:]
        for variable in [{names}]:
            value = KSR.pv.get(\"$cpm(\" + variable + \")\")
            line += \"|\" + variable + \"=\" + (\"<null>\" if value is None else str(value))
        KSR.notice(line + \"|\\n\")
        return 1"
    )
}

/// A proxy whose script logs every variable in each event.
fn telling(bench: &Bench, language: &str) -> ProxyConfig {
    let script = match language {
        "lua" => lua(),
        "python" => python(),
        _ => return cpm_proxy(&native()),
    };
    hearing(bench, language, &script)
}

/// The variables that have a value, of an event about this recipient.
#[track_caller]
fn told(proxy: &Proxy, event: &str, recipient: &str) -> BTreeMap<&'static str, String> {
    let words = format!("|recipient={recipient}|");
    let begin = format!("record {event}|");
    let deadline = Instant::now() + PATIENCE;
    let line = loop {
        let log = proxy.log();
        // The last one may not be whole yet.
        let mut lines = log.split_inclusive("|\n");
        let found = lines.find(|line| line.contains(&begin) && line.contains(&words));
        if let Some(line) = found {
            let again = lines.find(|line| line.contains(&begin) && line.contains(&words));
            assert_eq!(again, None, "it was told once");
            break line.to_owned();
        }
        assert!(Instant::now() < deadline, "no {event} about {recipient}");
        thread::sleep(Duration::from_millis(5));
    };
    let value = |name| {
        let (_, rest) = line.split_once(&format!("|{name}=")).expect("it is shown");
        let value = rest.split('|').next().unwrap_or_default();
        // A parameter of an event of OpenSIPS's is empty.
        (!["<null>", ""].contains(&value)).then(|| (name, value.to_owned()))
    };
    VARIABLES.into_iter().filter_map(value).collect()
}

/// The time of an event has three decimals, and is not long ago.
#[track_caller]
fn take_seconds(told: &mut BTreeMap<&'static str, String>) {
    let seconds = told.remove("seconds").expect("there is a time");
    let (whole, decimals) = seconds.split_once('.').expect("it has decimals");
    assert!(whole.parse::<u32>().is_ok_and(|s| s < 300), "{seconds}");
    assert_eq!(decimals.len(), 3, "{seconds}");
}

/// Which variables have a value, by event and mode.
type Cells = BTreeMap<(&'static str, &'static str), Vec<&'static str>>;

#[track_caller]
fn check(
    cells: &mut Cells,
    (mode, event): (&'static str, &'static str),
    mut told: BTreeMap<&'static str, String>,
    expected: &[(&'static str, &str)],
) {
    // The first two come before the message is recorded.
    let has_time = !["authorize", "checked"].contains(&event);
    if has_time {
        take_seconds(&mut told);
    }
    let expected: BTreeMap<&str, String> = expected
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    assert_eq!(told, expected, "{mode} {event}");
    let names = told.into_keys().chain(has_time.then_some("seconds"));
    let names = names.collect();
    let known = cells
        .entry((mode, event))
        .or_insert_with(|| Vec::clone(&names));
    assert_eq!(*known, names, "{mode} {event}");
}

fn pager_mode(language: &str, express: &str, cells: &mut Cells) {
    let bench = Bench::new(&format!("records_pager_{language}_{express}"));
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    carol.answers(Answer::Reply(Reply::new(603)));
    let proxy = bench.proxy(&telling(&bench, language).set("cpm", "express", express));
    let (bill_uri, carol_uri) = (bill.uri("bill"), carol.uri("carol"));
    let message = cpm_message(ANNE, EXPLODER).recipients([to(&bill_uri), to(&carol_uri)]);
    let request = message
        .request()
        .with("P-Charging-Vector", "icid-value=\"charge-7\";orig-ioi=home");
    exchange(&anne, &request, &proxy, 202);
    let size = bill.expect_request("MESSAGE").body().len().to_string();
    let header = |name| request.header(name).expect("it has one");
    let common = [
        ("kind", "exploder"),
        ("mode", "pager"),
        ("originator", ANNE),
        ("recipients", "2"),
        ("conversation_id", header("Conversation-ID")),
        ("contribution_id", header("Contribution-ID")),
        ("message_id", header("Contribution-ID")),
        ("call_id", header("Call-ID")),
        ("icid", "charge-7"),
        ("bytes", &size),
    ];
    let policy = [("allow_anonymity", "1"), ("max_recipients", "100")];
    let known = |name: &str| !["recipients", "message_id", "bytes"].contains(&name);
    let at_first = common.iter().copied().filter(|(name, _)| known(name));
    let at_first = at_first.chain(policy).chain([("recipients", "0")]);
    check(
        cells,
        ("pager", "authorize"),
        told(&proxy, "authorize", "<null>"),
        &at_first.collect::<Vec<_>>(),
    );
    for (event, recipient, end) in [
        ("checked", &bill_uri, &policy[..]),
        ("recipient-request", &bill_uri, &[]),
        ("recipient-request", &carol_uri, &[]),
        (
            "recipient-delivered",
            &bill_uri,
            &[("code", "200"), ("reason", "OK")],
        ),
        (
            "recipient-failed",
            &carol_uri,
            &[("code", "603"), ("reason", "Decline")],
        ),
    ] {
        let of_all = [&common[..], &[("recipient", recipient.as_str())], end].concat();
        check(
            cells,
            ("pager", event),
            told(&proxy, event, recipient),
            &of_all,
        );
    }
    // The log ties the failure to the sender's request.
    let line = format!(
        ", callid={}, contribution={}",
        header("Call-ID"),
        header("Contribution-ID")
    );
    proxy.expect_log("a recipient failed with 603, leg=1, leg_callid=cpm-");
    let log = proxy.log();
    let failed = log.lines().find(|text| text.contains("a recipient failed"));
    assert!(
        failed.is_some_and(|text| text.ends_with(&line)),
        "{failed:?}"
    );
    proxy.stop();
}

/// With a store, a recipient that cannot be reached waits.
fn deferred(language: &str, cells: &mut Cells) {
    let bench = Bench::new(&format!("records_deferred_{language}"));
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::code(480));
    let config = deferring(storing(telling(&bench, language), &bench), "86400");
    let proxy = bench.proxy(&config);
    let bill_uri = bill.uri("bill");
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill_uri)])
        .request()
        .with("P-Charging-Vector", "icid-value=charge-9");
    exchange(&anne, &request, &proxy, 202);
    let size = bill.expect_request("MESSAGE").body().len().to_string();
    let header = |name| request.header(name).expect("it has one");
    check(
        cells,
        ("pager", "recipient-deferred"),
        told(&proxy, "recipient-deferred", &bill_uri),
        &[
            ("kind", "exploder"),
            ("mode", "pager"),
            ("originator", ANNE),
            ("recipients", "1"),
            ("recipient", &bill_uri),
            ("conversation_id", header("Conversation-ID")),
            ("contribution_id", header("Contribution-ID")),
            ("message_id", header("Contribution-ID")),
            ("call_id", header("Call-ID")),
            ("icid", "charge-9"),
            ("bytes", &size),
            ("code", "480"),
            ("reason", "Temporarily Unavailable"),
        ],
    );
    proxy.stop();
}

/// The same in large message mode.
fn deferred_large(language: &str, cells: &mut Cells) {
    let name = format!("records_deferred_large_{language}");
    let scene = Scene::with(&name, |bench, config| {
        drop(config);
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        let config = telling(bench, language).set("cpm", "msrp_listen", &listen);
        deferring(storing(config, bench), "86400")
    });
    scene.callees.plan("bill", Plan::status(480));
    let upload = scene
        .upload(EXPLODER, &["bill", "carol"])
        .with("P-Charging-Vector", "icid-value=charge-10");
    scene.sends(&upload);
    scene.gets("carol", &upload);
    let bill = scene.callees.uri("bill");
    // It is told once the message is kept: its header is there, however early Bill has answered.
    let told = told(&scene.proxy, "recipient-deferred", &bill);
    let session = told.get("session").cloned().unwrap_or_default();
    let header = |name| upload.request.header(name).expect("it has one");
    let size = SIZE.to_string();
    check(
        cells,
        ("large", "recipient-deferred"),
        told,
        &[
            ("kind", "exploder"),
            ("mode", "large"),
            ("originator", ANNE),
            ("recipients", "2"),
            ("recipient", &bill),
            ("conversation_id", header("Conversation-ID")),
            ("contribution_id", header("Contribution-ID")),
            ("message_id", header("Contribution-ID")),
            ("call_id", header("Call-ID")),
            ("icid", "charge-10"),
            ("session", &session),
            ("bytes", &size),
            ("code", "480"),
            ("reason", "Temporarily Unavailable"),
        ],
    );
    // It is the session that the message came in.
    expect_log_lines(&scene.proxy, "record session-end|", 1);
    let log = scene.proxy.log();
    let end = log
        .lines()
        .find(|line| line.contains("record session-end|"));
    let ended = format!("|session={session}|");
    assert!(end.is_some_and(|line| line.contains(&ended)), "{end:?}");
    scene.finish();
}

fn large_message_mode(language: &str, cells: &mut Cells) {
    let name = format!("records_large_{language}");
    let scene = Scene::with(&name, |bench, config| {
        drop(config);
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        telling(bench, language).set("cpm", "msrp_listen", &listen)
    });
    scene.callees.plan("carol", Plan::status(603));
    let upload = scene
        .upload(EXPLODER, &["bill", "carol"])
        .with("P-Charging-Vector", "icid-value=charge-8");
    scene.sends(&upload);
    scene.gets("bill", &upload);
    let (bill, carol) = (scene.callees.uri("bill"), scene.callees.uri("carol"));
    expect_log_lines(&scene.proxy, "record session-end|", 1);
    let header = |name| upload.request.header(name).expect("it has one");
    let log = scene.proxy.log();
    let (_, session) = log.split_once("record session-end|").expect("it has ended");
    let (_, session) = session.split_once("|session=").expect("it is shown");
    let session = session.split('|').next().unwrap_or_default();
    let size = SIZE.to_string();
    let common = [
        ("kind", "exploder"),
        ("mode", "large"),
        ("originator", ANNE),
        ("recipients", "2"),
        ("conversation_id", header("Conversation-ID")),
        ("contribution_id", header("Contribution-ID")),
        ("call_id", header("Call-ID")),
        ("icid", "charge-8"),
        ("session", session),
        ("bytes", &size),
    ];
    // The header of the message comes after the answers to the INVITEs.
    let later = ("message_id", header("Contribution-ID"));
    let policy = [("allow_anonymity", "1"), ("max_recipients", "100")];
    let known = |name: &str| !["recipients", "bytes"].contains(&name);
    let at_first = common.iter().copied().filter(|(name, _)| known(name));
    for (event, recipient, recipients) in [
        ("authorize", "<null>", "0"),
        ("checked", bill.as_str(), "2"),
    ] {
        let shown = (recipient != "<null>").then_some(("recipient", recipient));
        let of_all = at_first.clone().chain(policy).chain(shown);
        let of_all = of_all.chain([("recipients", recipients)]);
        check(
            cells,
            ("large", event),
            told(&scene.proxy, event, recipient),
            &of_all.collect::<Vec<_>>(),
        );
    }
    for (event, recipient, end) in [
        ("recipient-request", bill.as_str(), &[][..]),
        ("recipient-request", &carol, &[]),
        (
            "recipient-delivered",
            &bill,
            &[later, ("code", "200"), ("reason", "OK")],
        ),
        (
            "recipient-failed",
            &carol,
            &[later, ("code", "603"), ("reason", "Decline")],
        ),
        (
            "session-end",
            EXPLODER,
            &[later, ("code", "200"), ("reason", "OK")],
        ),
    ] {
        let of_all = [&common[..], &[("recipient", recipient)], end].concat();
        let mut told = told(&scene.proxy, event, recipient);
        if event == "recipient-failed" {
            // The refusal may have come before the header of the message.
            let id = told.insert("message_id", later.1.to_owned());
            assert!(id.is_none_or(|id| id == later.1));
        }
        check(cells, ("large", event), told, &of_all);
    }
    scene
        .proxy
        .expect_log("a recipient failed with 603, leg=1, leg_callid=");
    let words = format!(
        ", callid={}, contribution={}, session={session}",
        header("Call-ID"),
        header("Contribution-ID")
    );
    assert_eq!(log_lines(&scene.proxy, &words), 1);
    // What became of it, by each of its names.
    for id in [header("Contribution-ID"), header("Call-ID"), session] {
        let shown = scene.proxy.rpc(&format!("cpm.message {id}"));
        for (name, value) in [
            ("state", "partly"),
            ("mode", "large"),
            ("session", session),
            ("message_id", header("Contribution-ID")),
            ("delivered", "1"),
            ("failed", "1"),
            ("bytes", &size),
            ("code", "200"),
        ] {
            assert_eq!(
                values(&shown, name).next(),
                Some(value),
                "{name} in {shown}"
            );
        }
        let states: Vec<&str> = values(&shown, "state").skip(1).collect();
        assert_eq!(states, ["delivered", "failed"], "{shown}");
    }
    scene.finish();
}

/// The table of the manual: in which mode a variable has a value in an event.
fn table(cells: &Cells) -> String {
    let mut table = String::from("| name |");
    for event in EVENTS {
        let _ = write!(table, " `{event}` |");
    }
    table.push_str(&format!("\n|{}\n", "---|".repeat(EVENTS.len() + 1)));
    for name in VARIABLES {
        let _ = write!(table, "| `{name}` |");
        for event in EVENTS {
            let has = |mode| {
                cells
                    .get(&(mode, event))
                    .is_some_and(|names| names.contains(&name))
            };
            let cell = match (has("pager"), has("large")) {
                (true, true) => "both modes",
                (true, false) => "pager mode",
                (false, true) => "large message mode",
                (false, false) => "",
            };
            let _ = write!(table, " {cell} |");
        }
        table.push('\n');
    }
    table
}

#[test]
fn each_variable_has_its_value_in_each_event() {
    let mut cells = Cells::new();
    for language in languages() {
        for express in ["auto", "no"] {
            pager_mode(language, express, &mut cells);
        }
        deferred(language, &mut cells);
        deferred_large(language, &mut cells);
        large_message_mode(language, &mut cells);
    }
    compare_with_manual(
        "variables",
        &table(&cells),
        "each_variable_has_its_value_in_each_event",
    );
}
