//! `make demo`: the main job on real traffic. A stock Kamailio with `kamailio-config/kamailio.cfg` and this
//! module, one sender, three recipients (one of them on TCP), and what each of them got.

use std::fs;
use std::path::Path;

use cpm_testbed::{Bench, Message, ProxyConfig, bcc, cc, cpm_message, to};

const TEXT: &str = "Lunch at noon, the usual place?";

/// What the bench needs of a configuration beyond what an operator writes: where to listen, where the module
/// lies, how to be asked whether the proxy is up.
const BENCH_LINES: &str = "@LISTEN@\n@MPATH@\nloadmodule \"kex.so\"\nloadmodule \"ctl.so\"\n\
                           modparam(\"ctl\", \"binrpc\", \"unix:@CTL@\")\n";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("kamailio-config/kamailio.cfg");
    let config = fs::read_to_string(&file).expect("the configuration is part of the project");
    let bench = Bench::new("demo");
    let proxy = bench.proxy(
        &ProxyConfig::new("")
            .template(&config.replacen('\n', &format!("\n{BENCH_LINES}"), 1))
            .mpath(root.join("target/kamailio")),
    );
    let anne = bench.agent();
    let recipients = [
        ("Bill", bench.agent()),
        ("Carol", bench.agent()),
        ("Dave", bench.agent()),
    ];
    let [(_, bill), (_, carol), (_, dave)] = &recipients;

    println!(
        "Kamailio runs with kamailio-config/kamailio.cfg on 127.0.0.1:{}, UDP and TCP.\n",
        proxy.port()
    );
    let uris = [bill.uri("bill"), carol.tcp_uri("carol"), dave.uri("dave")];
    let message = cpm_message("sip:anne@example.com", "sip:exploder@example.com")
        .recipients([to(&uris[0]), cc(&uris[1]), bcc(&uris[2])])
        .text(TEXT)
        .request();
    println!(
        "Anne sends ONE request, MESSAGE sip:exploder@example.com, with a resource list of three:"
    );
    for (uri, role) in uris.iter().zip(["to", "cc", "bcc"]) {
        println!("    {role:4}{uri}");
    }
    anne.send(&message, proxy.udp());
    let answer = anne.expect_response(&message, 202);
    println!("\nAnne got: {}", answer.start_line());

    for (name, agent) in &recipients {
        let received = agent.expect_request("MESSAGE");
        println!("\n{name} got over {}:", received.way().transport());
        print(&received);
        assert!(text(&received).contains(TEXT), "{name} got another text");
    }
    proxy.stop();
    println!("\nThree recipients, three requests of their own; nobody saw the list.");
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

fn print(message: &Message) {
    println!("    {}", message.start_line());
    for name in [
        "From",
        "P-Asserted-Identity",
        "To",
        "Call-ID",
        "Contribution-ID",
        "User-Agent",
        "Content-Type",
    ] {
        if let Some(value) = message.header(name) {
            println!("    {name}: {value}");
        }
    }
    println!();
    for line in text(message).lines() {
        println!("    | {line}");
    }
}
