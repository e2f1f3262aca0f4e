//! Counters wherever Kamailio shows counters, and the help of its commands.

use std::path::Path;
use std::time::Instant;

use cpm_testbed::{
    Answer, Bench, MsrpRequest, PATIENCE, Plan, ProxyConfig, cpm_message, to, values,
};

use crate::common::{
    EXPLODER, HANDLE, counter_names, cpm_proxy, exchange, expect_counter, http, http_get,
};
use crate::large::{ANNE, CHUNK, SIZE, Scene};
use crate::storing::storing;

#[test]
fn counters_are_seen_wherever_kamailio_shows_counters() {
    let bench = Bench::new("counters_are_seen");
    let proxy = bench.proxy(&with_http(cpm_proxy(&format!(
        "tcp_accept_no_cl=yes
        {HANDLE}
        event_route[xhttp:request] {{
            if ($hu == \"/metrics\") prom_dispatch(); else jsonrpc_dispatch();
        }}"
    ))));
    let (anne, bill) = (bench.agent(), bench.agent());
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to(&bill.uri("bill")), to(&bill.uri("ben"))])
        .request();
    exchange(&anne, &request, &proxy, 202);
    exchange(
        &anne,
        &request.again().without("P-Asserted-Identity"),
        &proxy,
        403,
    );
    bill.expect_requests("MESSAGE", 2);
    expect_counter(&proxy, "delivered", 2);
    let expected = |name: &str| match name {
        // The lane may be closed for all tests.
        "express" if std::env::var("CPM_EXPRESS").is_ok() => 0,
        "express_by_tm" if std::env::var("CPM_EXPRESS").is_ok() => 2,
        "requests" | "recipients" | "delivered" | "express" => 2,
        "accepted" | "refused" => 1,
        _ => 0,
    };

    let own = proxy.rpc("cpm.stats");
    let core = proxy.rpc("stats.get_statistics cpm:");
    let scraped = http_get(proxy.port(), "/metrics");
    let json = json_rpc(proxy.port(), "cpm.stats");
    for name in counter_names() {
        let value = expected(name);
        assert_eq!(
            values(&own, name).next(),
            Some(&*value.to_string()),
            "{own}"
        );
        assert!(core.contains(&format!("cpm:{name} = {value}")), "{core}");
        let line = format!("\nkamailio_cpm_{name} {value}");
        assert!(scraped.contains(&line), "{name} is not in {scraped}");
        let member = format!("\"{name}\":{value}");
        assert!(
            json.replace([' ', '\t', '\n'], "").contains(&member),
            "{json}"
        );
    }
    proxy.stop();
}

#[test]
fn every_command_says_what_it_does() {
    let bench = Bench::new("every_command_says_what_it_does");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let commands = proxy.rpc("system.listMethods");
    let commands: Vec<&str> = commands
        .lines()
        .map(str::trim)
        .filter(|name| name.starts_with("cpm."))
        .collect();
    assert!(!commands.is_empty());
    for command in commands {
        let help = proxy.rpc(&format!("system.methodHelp {command}"));
        assert!(help.trim().ends_with('.'), "{command}: {help}");
    }
    proxy.stop();
}

/// A command's example in the manual: its answer, line by line.
fn shown(manual: &str, command: &str) -> Vec<String> {
    let heading = format!("\n#### `{command}`\n");
    let (_, section) = manual.split_once(&heading).expect("it has a section");
    let section = section.split("\n#").next().unwrap_or_default();
    let mut lines = section.lines().skip_while(|line| {
        let typed = line.strip_prefix("    kamcmd ");
        typed.and_then(|typed| typed.split(' ').next()) != Some(command)
    });
    lines
        .next()
        .unwrap_or_else(|| panic!("{command} has no example"));
    lines
        .map_while(|line| line.strip_prefix("    "))
        .map(str::to_owned)
        .collect()
}

/// The names of the fields, and the braces around them.
fn names<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    lines
        .map(|line| line.trim().split(": ").next().unwrap_or_default())
        .map(|name| name.trim_end_matches(':'))
        .collect()
}

#[test]
fn each_command_answers_as_the_manual_shows() {
    let scene = Scene::unseen("each_command_answers", |bench, config| {
        let groups = bench.folder().join("groups");
        std::fs::create_dir(&groups).expect("the folder of a test can be written to");
        storing(config, bench)
            .set("cpm", "group_source", &format!("dir:{}", groups.display()))
            .set("cpm", "group_uri", "sip:*@groups.example.com")
            .set("cpm", "deferred_codes", "480")
    });
    scene.callees.plan("carol", Plan::status(603));
    let upload = scene.upload(EXPLODER, &["bill", "carol"]);
    let _call = scene.begins(&upload);
    upload
        .session
        .send(&MsrpRequest::chunk("m", 0, &upload.content[..CHUNK], SIZE));
    expect_counter(&scene.proxy, "failed", 1);
    let silent = scene.bench.agent();
    silent.answers(Answer::Silent);
    let message = cpm_message(ANNE, EXPLODER).recipients([to(&silent.uri("dave"))]);
    exchange(&scene.anne, &message.request(), &scene.proxy, 202);
    // The header of the message arrives with its first chunk.
    let deadline = Instant::now() + PATIENCE;
    while values(&scene.proxy.rpc("cpm.messages"), "message_id").count() < 2 {
        assert!(
            Instant::now() < deadline,
            "{}",
            scene.proxy.rpc("cpm.messages")
        );
    }
    let sessions = scene.proxy.rpc("cpm.sessions");
    let id = values(&sessions, "id")
        .next()
        .expect("a session")
        .to_owned();

    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/manual.md");
    let manual = std::fs::read_to_string(manual).expect("there is a manual");
    let commands = scene.proxy.rpc("system.listMethods");
    let commands = commands
        .lines()
        .map(str::trim)
        .filter(|name| name.starts_with("cpm."));
    // Asked last, because it ends the session.
    let (ends, others): (Vec<&str>, Vec<&str>) = commands.partition(|name| *name == "cpm.end");
    assert_eq!(ends.len(), 1);
    for command in others.into_iter().chain(ends) {
        // The lane may be closed for all tests.
        if command == "cpm.express" && std::env::var("CPM_EXPRESS").is_ok() {
            continue;
        }
        let argument = match command {
            "cpm.session" | "cpm.message" | "cpm.end" | "cpm.retry" | "cpm.expire" => {
                format!(" {id}")
            }
            "cpm.available" => " sip:bill@example.com".to_owned(),
            "cpm.drain" => " off".to_owned(),
            "cpm.messages" => {
                " most=1 state=outstanding originator=sip:anne@example.com".to_owned()
            }
            _ => String::new(),
        };
        let answer = scene.proxy.rpc(&format!("{command}{argument}"));
        let shown = shown(&manual, command);
        let (shown, real) = (
            names(shown.iter().map(String::as_str)),
            names(answer.lines()),
        );
        let is_same = match shown.iter().position(|line| *line == "…") {
            Some(at) => {
                let rest = &shown[at + 1..];
                real.starts_with(&shown[..at]) && real.ends_with(rest)
            }
            None => shown == real,
        };
        assert!(
            is_same,
            "{command}: the manual shows {shown:?}, it is\n{answer}"
        );
    }
}

fn with_http(config: ProxyConfig) -> ProxyConfig {
    config
        .load("xhttp")
        .load("xhttp_prom")
        .load("jsonrpcs")
        .set("xhttp_prom", "xhttp_prom_stats", "cpm:")
        .set_number("jsonrpcs", "transport", 1)
}

/// The answer to a command over JSON-RPC.
#[track_caller]
fn json_rpc(port: u16, command: &str) -> String {
    let body = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{command}\",\"id\":1}}");
    http(
        port,
        &format!(
            "POST /rpc HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}
