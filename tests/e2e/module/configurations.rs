//! The configurations of `kamailio-config/`, as they are: each is accepted without a word, starts,
//! and serves. What is this machine's (ports, files) is given as the configurations say themselves,
//! by defining it before they do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use cpm::digest::{self, Answers, Challenge};
use cpm_testbed::{
    Agent, Bench, Call, Callees, MsrpSession, Plan, Proxy, ProxyConfig, Received, Reply, Request,
    cpm_message, large_message, sha256, to,
};

use crate::both_modes::imdn::receipt;
use crate::common::{
    CONTROLLING, EXPLODER, counter, counter_names, exchange, expect_counter, expect_log_lines,
    http_get, log_lines, module,
};
use crate::groups::recipients;

const ANNE: &str = "sip:anne@example.com";

/// Each is started by one of the tests below.
const CONFIGURATIONS: [&str; 6] = [
    "dispatcher.cfg",
    "ims-application-server.cfg",
    "kamailio.cfg",
    "lua.cfg",
    "prometheus.cfg",
    "stand-alone.cfg",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kamailio-config")
}

/// A configuration of the project, started on the bench's ports and with its control socket.
fn shipped(file: &str, definitions: &[(&str, String)]) -> ProxyConfig {
    let defined: String = definitions
        .iter()
        .map(|(name, value)| format!("#!define {name} {value}\n"))
        .collect();
    let file = folder().join(file);
    let text = fs::read_to_string(&file).expect("it is part of the project");
    // What the bench asks the proxy through, where the configuration has not loaded it.
    let loaded: String = ["kex", "ctl"]
        .iter()
        .filter(|module| !text.contains(&format!("loadmodule \"{module}.so\"")))
        .map(|module| format!("loadmodule \"{module}.so\"\n"))
        .collect();
    let state_dir = if text.contains("cpm.so") {
        "modparam(\"cpm\", \"state_dir\", \"@FOLDER@/state\")\n"
    } else {
        ""
    };
    // The default is the machine's own.
    let store = if text.contains("STORE") {
        "#!define STORE \"file:@FOLDER@/state/store\"\n"
    } else {
        ""
    };
    let template = format!(
        "#!KAMAILIO\n{defined}{store}log_stderror=yes\n@LISTEN@\n@MPATH@\ninclude_file \"{}\"\n\
         {loaded}modparam(\"ctl\", \"binrpc\", \"unix:@CTL@\")\n{state_dir}@MODPARAMS@\n",
        file.display()
    );
    let module = module();
    ProxyConfig::new("")
        .template(&template)
        .mpath(module.parent().expect("it lies in a folder"))
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[test]
fn every_configuration_is_accepted_without_a_word() {
    let listed: BTreeSet<String> = fs::read_dir(folder())
        .expect("it is part of the project")
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".cfg"))
        .collect();
    assert_eq!(
        listed,
        CONFIGURATIONS.map(str::to_owned).into(),
        "each has its test"
    );
    let binary = std::env::var_os("KAMAILIO").unwrap_or_else(|| "/usr/sbin/kamailio".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = Command::new(root.join("tools/kamailio"))
        .arg("modules")
        .output()
        .expect("a script of the project");
    let modules = String::from_utf8(modules.stdout).expect("a path");
    let module = module();
    let own = module.parent().expect("it lies in a folder");
    for file in CONFIGURATIONS {
        // RFC 3261 §18.1.1.
        let text = fs::read_to_string(folder().join(file)).expect("it can be read");
        assert!(
            text.contains("\nudp_mtu=1300\nudp_mtu_try_proto=TCP\n"),
            "{file}"
        );
        let output = Command::new(&binary)
            .arg("-c")
            .arg("-L")
            .arg(format!("{}:{}", own.display(), modules.trim()))
            .arg("-Y")
            .arg(std::env::temp_dir())
            .args(["-l", "udp:127.0.0.1:5060", "-l", "tcp:127.0.0.1:5060"])
            .arg("-f")
            .arg(folder().join(file))
            .output()
            .expect("Kamailio is installed");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{file}: {words}");
        // What it says of a good configuration, and of where it listens.
        let complaints: Vec<&str> = words
            .lines()
            .filter(|line| {
                ["ERROR", "WARNING", "CRITICAL", "NOTICE", "BUG"]
                    .iter()
                    .any(|level| line.contains(level))
            })
            .collect();
        assert!(complaints.is_empty(), "{file}: {complaints:?}");
    }
}

/// One message to both kinds of service, and what is not ours.
fn serves_this_machine(bench: &Bench, proxy: &Proxy) {
    let (anne, bill) = (bench.agent(), bench.agent());
    for service in [EXPLODER, CONTROLLING] {
        let message = cpm_message(ANNE, service).recipients([to(&bill.uri("bill"))]);
        exchange(&anne, &message.request(), proxy, 202);
        assert_eq!(recipients(&bill, 1), [bill.uri("bill")]);
        let other = message.request().with_uri("sip:bill@example.com");
        exchange(&anne, &other, proxy, 404);
    }
    expect_counter(proxy, "delivered", 2);
}

#[test]
fn the_smallest_serves_this_machine() {
    let bench = Bench::new("the_smallest_serves_this_machine");
    let proxy = bench.proxy(&shipped("kamailio.cfg", &[]));
    serves_this_machine(&bench, &proxy);
    proxy.stop();
}

/// No parameter but the listener: there is a spool, so that a recipient who rings keeps nobody
/// waiting.
#[test]
fn the_smallest_with_an_msrp_listener_has_a_spool() {
    let bench = Bench::new("the_smallest_with_an_msrp_listener");
    let (anne, sender, callees) = (bench.agent(), bench.msrp_peer(), bench.callees());
    let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let config = shipped("kamailio.cfg", &[]).set("cpm", "msrp_listen", &listen);
    let proxy = bench.proxy(&config);
    callees.plan("carol", Plan::no_answer().ringing());
    let mut took = Vec::new();
    // On a busy machine one may take longer.
    for round in 0..3 {
        let session = sender.session();
        let message = large_message(ANNE, EXPLODER)
            .recipients(["bill", "carol"].map(|user| to(&callees.uri(user))));
        let content = message.content(9_000_000);
        let invite = message.request(&anne, &session, content.len());
        let mut call = anne.invites(&invite, proxy.udp());
        session.sends_to(call.sdp().path());
        call.ack();
        session.connect_and_bind();
        let begun = Instant::now();
        session.deliver(&content, content.len());
        let bill = callees.expect_nth_call("bill", round);
        let message = bill.session.expect_message();
        took.push(begun.elapsed());
        assert_eq!(message.sha256(), sha256(&content));
        assert_eq!(callees.calls_of("carol"), round + 1);
        call.bye(200);
    }
    assert!(took.iter().any(|took| took.as_secs() < 1), "{took:?}");
    proxy.stop();
}

#[test]
fn the_one_in_lua_serves_this_machine() {
    let bench = Bench::new("the_one_in_lua_serves_this_machine");
    let script = folder().join("cpm.lua").display().to_string();
    let proxy = bench.proxy(&shipped("lua.cfg", &[("LUA_SCRIPT", quoted(&script))]));
    serves_this_machine(&bench, &proxy);
    let mallory = cpm_message("sip:mallory@example.com", EXPLODER)
        .recipients([to("sip:bill@nowhere.invalid")])
        .request();
    let anne = bench.agent();
    exchange(&anne, &mallory, &proxy, 403);
    let unreachable = mallory
        .again()
        .with("P-Asserted-Identity", "<sip:anne@example.com>");
    exchange(&anne, &unreachable, &proxy, 202);
    proxy.expect_log("a recipient failed: 503 Not Sendable");
    proxy.stop();
}

#[test]
fn prometheus_scrapes_what_the_dashboard_shows() {
    let bench = Bench::new("prometheus_scrapes");
    let proxy = bench.proxy(&shipped("prometheus.cfg", &[]));
    serves_this_machine(&bench, &proxy);
    let scraped = http_get(proxy.port(), "/metrics");
    let metrics: BTreeSet<&str> = scraped
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split([' ', '{']).next())
        .collect();
    for name in counter_names() {
        assert!(
            metrics.contains(&*format!("kamailio_cpm_{name}")),
            "{name} is not in {scraped}"
        );
    }
    let dashboard = fs::read_to_string(folder().join("grafana-dashboard.json"))
        .expect("it is part of the project");
    let shown: BTreeSet<&str> = dashboard
        .match_indices("kamailio_")
        .map(|(at, _)| {
            let end = dashboard[at..]
                .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .expect("a name ends");
            &dashboard[at..at + end]
        })
        .collect();
    assert!(shown.len() >= counter_names().count(), "{shown:?}");
    assert!(
        shown.is_subset(&metrics),
        "{:?}",
        shown.difference(&metrics)
    );
    proxy.stop();
    // Others may not look.
    let elsewhere = shipped("prometheus.cfg", &[("SCRAPER", quoted("192.0.2.1"))]);
    let proxy = bench.proxy(&elsewhere);
    let refused = std::panic::catch_unwind(|| http_get(proxy.port(), "/metrics"));
    assert!(refused.is_err(), "{refused:?}");
    proxy.stop();
}

/// As an S-CSCF sends it: with a Route to the application server, and one back to itself.
fn through_core(request: &Request, proxy: &Proxy, core: &Agent) -> Request {
    request
        .again()
        .with(
            "Route",
            &format!(
                "<sip:127.0.0.1:{};lr>, <{};lr>",
                proxy.port(),
                core.uri("orig")
            ),
        )
        .with("P-Charging-Vector", "icid-value=1")
}

#[test]
fn an_application_server_takes_and_sends_through_the_core() {
    let bench = Bench::new("an_application_server");
    let core = bench.agent();
    let proxy = bench.proxy(&shipped(
        "ims-application-server.cfg",
        &[
            ("SCSCF_URI", quoted(&format!("{};lr", core.uri("core")))),
            ("SCSCF_ADDRESS", quoted("127.0.0.1")),
        ],
    ));
    let capture = bench.capture();
    let message = cpm_message(ANNE, EXPLODER)
        .recipients([to("sip:bill@example.com"), to("tel:+12015550123")]);
    let request = through_core(&message.request(), &proxy, &core);
    core.send(&request, proxy.udp());
    core.expect_response(&request, 202);
    let copies = core.expect_requests("MESSAGE", 2);
    for copy in &copies {
        assert_eq!(
            copy.headers("Route"),
            [format!("<{};lr>", core.uri("core"))]
        );
        assert_eq!(
            copy.header("P-Asserted-Identity"),
            Some("<sip:anne@example.com>")
        );
        assert_eq!(copy.header("P-Charging-Vector"), None);
    }
    assert_eq!(
        copies
            .iter()
            .map(|copy| copy.uri())
            .collect::<BTreeSet<_>>(),
        BTreeSet::from([Some("sip:bill@example.com"), Some("tel:+12015550123")])
    );
    // What is not ours goes back to the core as it came.
    let other = through_core(&message.request(), &proxy, &core).with_uri("sip:bill@example.com");
    core.send(&other, proxy.udp());
    let back = core.expect_request("MESSAGE");
    assert_eq!(back.uri(), Some("sip:bill@example.com"));
    assert_eq!(back.body(), other.body());
    core.expect_response(&other, 200);
    let ping = Request::new("OPTIONS", &core.uri("core"), "sip:cpm-as.example.com");
    exchange(&core, &ping, &proxy, 200);
    capture.stop().assert_clean();
    proxy.stop();
}

/// One large message from its INVITE to its BYE; the recipients have it, byte for byte.
fn large_message_arrives(
    call: &mut Call<'_>,
    session: &MsrpSession,
    callees: &Callees,
    content: &[u8],
) {
    call.ack();
    session.sends_to(call.sdp().path());
    session.connect_and_bind();
    session.deliver(content, 65_536);
    for user in ["bob", "carol"] {
        let invited = callees.expect_call(user);
        assert_eq!(invited.session.expect_message().bytes, content, "{user}");
    }
    call.bye(200);
    for user in ["bob", "carol"] {
        callees.expect_in(&callees.expect_call(user), "BYE");
    }
}

#[test]
fn an_application_server_takes_large_messages() {
    let bench = Bench::new("an_application_server_takes_large");
    let (anne, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let msrp = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let spool = bench.folder().join("spool");
    fs::create_dir(&spool).expect("the folder of a test can be written to");
    let proxy = bench.proxy(&shipped(
        "ims-application-server.cfg",
        &[
            ("SCSCF_URI", quoted(&format!("{};lr", callees.uri("core")))),
            ("SCSCF_ADDRESS", quoted("127.0.0.1")),
            ("MSRP_LISTEN", quoted(&msrp)),
            ("SPOOL", quoted(&spool.display().to_string())),
        ],
    ));
    let capture = bench.capture();
    let message = large_message(ANNE, EXPLODER)
        .recipients([to("sip:bob@example.com"), to("sip:carol@example.com")]);
    let content = message.content(200_000);
    let session = peer.session();
    let invite = message
        .request(&anne, &session, content.len())
        .with("Route", &format!("<sip:127.0.0.1:{};lr>", proxy.port()));
    let mut call = anne.invites(&invite, proxy.udp());
    large_message_arrives(&mut call, &session, &callees, &content);
    expect_counter(&proxy, "delivered", 2);
    capture.stop().assert_clean();
    proxy.stop();
}

/// The front of these nodes.
fn front(bench: &Bench, nodes: [&Proxy; 2]) -> Proxy {
    let list = bench.folder().join("dispatcher.list");
    let mut text =
        fs::read_to_string(folder().join("dispatcher.list")).expect("it is part of the project");
    for (node, shipped) in nodes.iter().zip(["192.0.2.21:5060", "192.0.2.22:5060"]) {
        assert!(text.contains(shipped), "{text}");
        text = text.replace(shipped, &format!("127.0.0.1:{}", node.port()));
    }
    fs::write(&list, text).expect("the folder of a test can be written to");
    bench.proxy(&shipped(
        "dispatcher.cfg",
        &[
            ("NODES", quoted(&list.display().to_string())),
            ("CORE_ADDRESS", quoted("127.0.0.1")),
            ("NODE_TIMEOUT", "3000".to_owned()),
            ("PING_TIMEOUT", "500".to_owned()),
        ],
    ))
}

#[test]
fn large_messages_pass_the_front_of_two_nodes() {
    let bench = Bench::new("large_messages_pass_the_front");
    let (anne, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let node = || {
        bench.proxy(&shipped(
            "ims-application-server.cfg",
            &[
                ("SCSCF_URI", quoted(&format!("{};lr", callees.uri("core")))),
                ("SCSCF_ADDRESS", quoted("127.0.0.1")),
                (
                    "MSRP_LISTEN",
                    quoted(&format!("tcp:127.0.0.1:{}", bench.msrp_port())),
                ),
                (
                    "SPOOL",
                    quoted(&bench.folder().join("spool").display().to_string()),
                ),
            ],
        ))
    };
    let (first, second) = (node(), node());
    let front = front(&bench, [&first, &second]);
    let capture = bench.capture();
    let message = large_message(ANNE, EXPLODER)
        .recipients([to("sip:bob@example.com"), to("sip:carol@example.com")]);
    let content = message.content(200_000);
    let session = peer.session();
    let invite = message
        .request(&anne, &session, content.len())
        .with("Route", &format!("<sip:127.0.0.1:{};lr>", front.port()));
    let mut call = anne.invites(&invite, front.udp());
    assert_eq!(call.answer().headers("Record-Route").len(), 1);
    large_message_arrives(&mut call, &session, &callees, &content);
    let accepted = [&first, &second].map(|node| counter(node, "accepted"));
    assert_eq!(accepted.iter().sum::<u64>(), 1);
    capture.stop().assert_clean();
    for proxy in [front, first, second] {
        proxy.stop();
    }
}

#[test]
fn a_dead_nodes_traffic_goes_to_the_other() {
    let bench = Bench::new("a_dead_nodes_traffic");
    let core = bench.agent();
    let node = || {
        bench.proxy(&shipped(
            "ims-application-server.cfg",
            &[
                ("SCSCF_URI", quoted(&format!("{};lr", core.uri("core")))),
                ("SCSCF_ADDRESS", quoted("127.0.0.1")),
            ],
        ))
    };
    let (first, second) = (node(), node());
    let front = front(&bench, [&first, &second]);
    let message = cpm_message(ANNE, EXPLODER).recipients([to("sip:bill@example.com")]);
    const MESSAGES: usize = 24;
    let send = || {
        let requests: Vec<_> = (0..MESSAGES)
            .map(|_| through_core(&message.request(), &front, &core))
            .collect();
        for request in &requests {
            core.send(request, front.udp());
        }
        for request in &requests {
            core.expect_response(request, 202);
        }
        core.expect_requests("MESSAGE", MESSAGES);
    };
    send();
    let shares = [&first, &second].map(|node| counter(node, "accepted"));
    assert_eq!(shares.iter().sum::<u64>(), MESSAGES as u64);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");

    let port = first.port();
    first.kill();
    send();
    let dead = format!("node sip:127.0.0.1:{port} is dead");
    front.expect_log(&dead);
    assert_eq!(counter(&second, "accepted"), shares[1] + MESSAGES as u64);
    // Now it is known, and nobody waits.
    send();
    expect_log_lines(&front, &dead, 1);
    let rescued = log_lines(&front, "the other takes its request");
    assert!(
        (1..=MESSAGES).contains(&rescued),
        "{rescued} of those that were sent before it was known"
    );
    second.stop();
    front.stop();
}

/// A request once more, with credentials for what its response asks.
fn with_credentials(request: &Request, challenge: &Received, uri: &str, password: &str) -> Request {
    let (asked, answered) = match challenge.status() {
        Some(401) => ("WWW-Authenticate", "Authorization"),
        _ => ("Proxy-Authenticate", "Proxy-Authorization"),
    };
    let challenge = challenge.header(asked).expect("it challenges");
    let challenge = Challenge::read(challenge).pop().expect("it is a challenge");
    let mut answers = Answers::new(challenge, "0a4f113b".to_owned());
    let user = request.header("From").expect("it has one");
    let user = user.split(['@', ':']).nth(1).expect("a user");
    let asked = digest::Request {
        method: request.method(),
        uri,
        body: &[],
    };
    let credentials = answers.next(user, password, asked);
    request.again().with(answered, &credentials)
}

/// Sends a request that is challenged, then with the password; expects this final response.
#[track_caller]
fn authenticate(agent: &Agent, request: &Request, uri: &str, proxy: &Proxy, code: u16) -> Received {
    let first = if request.method() == "REGISTER" {
        401
    } else {
        407
    };
    let challenge = exchange(agent, request, proxy, first);
    exchange(
        agent,
        &with_credentials(request, &challenge, uri, "secret"),
        proxy,
        code,
    )
}

/// A database with two subscribers, made as the configuration says.
fn subscribers(bench: &Bench) -> PathBuf {
    let file = bench.folder().join("kamailio.db");
    let mut script = String::new();
    for name in ["standard", "auth_db", "permissions"] {
        let part = format!("/usr/share/kamailio/db_sqlite/{name}-create.sql");
        script += &fs::read_to_string(part).expect("kamailio-sqlite-modules has it");
    }
    for user in ["anne", "bill", "bob", "carol"] {
        let ha1 = md5(&format!("{user}:example.com:secret"));
        script += &format!(
            "INSERT INTO subscriber (username, domain, password, ha1, ha1b) \
             VALUES ('{user}', 'example.com', '', '{ha1}', '');\n"
        );
    }
    let status = Command::new("sqlite3")
        .arg(&file)
        .arg(script)
        .status()
        .expect("sqlite3 is installed");
    assert!(status.success());
    file
}

fn md5(text: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", "printf %s \"$1\" | md5sum", "sh", text])
        .output()
        .expect("md5sum is installed");
    String::from_utf8_lossy(&output.stdout[..32]).into_owned()
}

fn stand_alone(bench: &Bench, limits: &[(&str, &str)]) -> Proxy {
    let database = subscribers(bench);
    // The port is known only to the bench, which writes it into the text.
    let mut definitions = vec![
        (
            "DATABASE",
            quoted(&format!("sqlite:///{}", database.display())),
        ),
        ("THIS_PROXY", quoted("sip:127.0.0.1:@PORT@")),
        ("THIS_PORT", "@PORT@".to_owned()),
    ];
    definitions.extend(
        limits
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    bench.proxy(&shipped("stand-alone.cfg", &definitions))
}

#[test]
fn a_site_of_its_own_registers_authenticates_and_delivers() {
    let bench = Bench::new("a_site_of_its_own");
    let proxy = stand_alone(&bench, &[("REQUESTS_IN_TWO_SECONDS", "1000")]);
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let register = Request::new("REGISTER", "sip:bill@example.com", "sip:bill@example.com")
        .with_uri("sip:example.com")
        .with("Contact", &format!("<{}>", bill.uri("bill")));
    authenticate(&bill, &register, "sip:example.com", &proxy, 200);

    let message = cpm_message(ANNE, EXPLODER)
        .recipients([to("sip:bill@example.com"), to("sip:carol@example.com")]);
    // What he asserts of himself counts for nothing.
    let request = message
        .request()
        .with("P-Asserted-Identity", "<sip:ceo@example.com>");
    authenticate(&anne, &request, EXPLODER, &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    assert_eq!(copy.uri(), Some(&*bill.uri("bill")));
    assert_eq!(
        copy.header("P-Asserted-Identity"),
        Some("<sip:anne@example.com>")
    );
    assert_eq!(copy.header("Proxy-Authorization"), None);
    assert_eq!(copy.body(), message.cpim());
    proxy.expect_log("a recipient failed: 404 Not Found");

    let private = message.request().with("Privacy", "id");
    authenticate(&anne, &private, EXPLODER, &proxy, 202);
    assert_eq!(
        bill.expect_request("MESSAGE").header("P-Asserted-Identity"),
        None
    );

    // His receipt, to the address that she has sent to, comes back to her.
    let register = Request::new("REGISTER", ANNE, ANNE)
        .with_uri("sip:example.com")
        .with("Contact", &format!("<{}>", anne.uri("anne")));
    authenticate(&anne, &register, "sip:example.com", &proxy, 200);
    let told = receipt("sip:bill@example.com", EXPLODER, &request).request();
    authenticate(&bill, &told, EXPLODER, &proxy, 200);
    let received = anne.expect_request("MESSAGE");
    assert_eq!(received.uri(), Some(&*anne.uri("anne")));
    assert_eq!(received.body(), told.body());

    // One to one, and to somebody else's name.
    let plain = Request::new("MESSAGE", ANNE, "sip:bill@example.com").with_body("text/plain", "Hi");
    authenticate(&anne, &plain, "sip:bill@example.com", &proxy, 200);
    bill.expect_request("MESSAGE");
    let forged = message
        .request()
        .with("From", "<sip:bill@example.com>;tag=1");
    let challenge = exchange(&anne, &forged, &proxy, 407);
    let guessed = with_credentials(&forged, &challenge, EXPLODER, "guessed");
    exchange(&anne, &guessed, &proxy, 407);
    bill.expect_nothing_until(|| proxy.rpc("core.uptime"));
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_site_of_its_own_takes_large_messages() {
    let bench = Bench::new("a_site_of_its_own_takes_large");
    let (anne, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let msrp = quoted(&format!("tcp:127.0.0.1:{}", bench.msrp_port()));
    let spool = quoted(&bench.folder().join("spool").display().to_string());
    let proxy = stand_alone(
        &bench,
        &[
            ("REQUESTS_IN_TWO_SECONDS", "1000"),
            ("MSRP_LISTEN", &msrp),
            ("SPOOL", &spool),
        ],
    );
    for user in ["bob", "carol"] {
        let address = format!("sip:{user}@example.com");
        let register = Request::new("REGISTER", &address, &address)
            .with_uri("sip:example.com")
            .with("Contact", &format!("<{}>", callees.uri(user)));
        authenticate(callees.agent(), &register, "sip:example.com", &proxy, 200);
    }
    let capture = bench.capture();
    let message = large_message(ANNE, EXPLODER)
        .recipients([to("sip:bob@example.com"), to("sip:carol@example.com")]);
    let content = message.content(200_000);
    let session = peer.session();
    let invite = message.request(&anne, &session, content.len());
    let challenge = anne.is_refused(&invite, proxy.udp(), 407);
    let invite = with_credentials(&invite, &challenge, EXPLODER, "secret");
    let mut call = anne.invites(&invite, proxy.udp());
    large_message_arrives(&mut call, &session, &callees, &content);
    expect_counter(&proxy, "delivered", 2);

    // One is busy, the other rings until she gives up: ACK and CANCEL of our own pass the script
    // too.
    callees.plan("bob", Plan::status(486));
    callees.plan("carol", Plan::no_answer().ringing());
    let invite = message.request(&anne, &peer.session(), content.len());
    let challenge = anne.is_refused(&invite, proxy.udp(), 407);
    let invite = with_credentials(&invite, &challenge, EXPLODER, "secret");
    anne.send(&invite, proxy.udp());
    let bob = callees.expect_nth_call("bob", 1);
    callees.expect_in(&bob, "ACK");
    let carol = callees.expect_nth_call("carol", 1);
    expect_counter(&proxy, "failed", 1);
    let cancel = invite.cancel();
    anne.send(&cancel, proxy.udp());
    anne.expect_response(&cancel, 200);
    callees.expect_in(&carol, "CANCEL");
    callees.agent().reply(&carol.invite, &Reply::new(487));
    callees.expect_in(&carol, "ACK");
    anne.expect_refused(&invite, proxy.udp(), 487);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_site_of_its_own_bears_only_so_much() {
    let bench = Bench::new("a_site_of_its_own_bears");
    let limits = [
        ("MESSAGES_A_MINUTE", "2"),
        ("REQUESTS_IN_TWO_SECONDS", "40"),
    ];
    let proxy = stand_alone(&bench, &limits);
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = cpm_message(ANNE, EXPLODER).recipients([to("sip:bill@example.com")]);
    for code in [202, 202, 503, 503] {
        let answer = authenticate(&anne, &message.request(), EXPLODER, &proxy, code);
        let told = (code == 503).then_some("60");
        assert_eq!(answer.header("Retry-After"), told);
    }
    assert_eq!(counter(&proxy, "accepted"), 2);
    // A flood from one address is not answered at all.
    for _ in 0..200 {
        bill.send(&message.request(), proxy.udp());
    }
    proxy.expect_log("too many requests from 127.0.0.1");
    proxy.stop();
}

#[test]
fn the_unit_of_systemd_takes_the_drop_in() {
    let drop_in = folder().join("kamailio.service.d/cpm.conf");
    let text = fs::read_to_string(&drop_in).expect("it is part of the project");
    let start = text
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="))
        .find(|command| !command.is_empty())
        .expect("it starts something");
    // What the unit adds by its environment, and no process that stays.
    let arguments: Vec<String> = start
        .split_ascii_whitespace()
        .skip(1)
        .map(|word| match word {
            "$CFGFILE" => folder().join("kamailio.cfg").display().to_string(),
            "$SHM_MEMORY" => "64".to_owned(),
            "$PKG_MEMORY" => "8".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    let module = module();
    let binary = std::env::var_os("KAMAILIO").unwrap_or_else(|| "/usr/sbin/kamailio".into());
    let modules = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/kamailio"))
        .arg("modules")
        .output()
        .expect("a script of the project");
    let output = Command::new(binary)
        .args(arguments)
        .arg("-c")
        .arg("-L")
        .arg(format!(
            "{}:{}",
            module.parent().expect("it lies in a folder").display(),
            String::from_utf8_lossy(&modules.stdout).trim()
        ))
        .args(["-Y", "/tmp"])
        .output()
        .expect("Kamailio is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
