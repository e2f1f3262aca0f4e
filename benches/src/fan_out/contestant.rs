//! The contestants and how their proxies are configured.

use std::fs;
use std::path::Path;

use cpm_testbed::{Bench, CpmMessage, ProxyConfig, Request, to};

/// The service that all requests are sent to.
pub(super) const EXPLODER: &str = "sip:exploder@example.com";

const LUA: &str = include_str!("../../kamailio/fan_out.lua");
const NATIVE: &str = include_str!("../../kamailio/native.cfg");

/// The same for all: a list of ten thousand fits, and no second User-Agent is written. A connection
/// takes all copies of a thousand: who does not look how much it holds would lose it.
const CORE: &str =
    "tcp_rd_buf_size=1048576\ntcp_conn_wq_max=4194304\ntcp_wq_max=67108864\nserver_signature=no\n";

/// MiB; a thousand transactions take ten.
const SHARED_MEMORY: &str = "512";

/// The manager of shared memory. The default, `qm`, searches up to a thousand empty lists for each
/// piece: half or more of all CPU time, depending on which pieces happen to exist, which would hide
/// the measured effect. `fm` finds them by a bitmap.
pub(super) const ALLOCATOR: &str = "fm";

/// A share that nobody uses up: on a busy machine answers come later than the next request.
const PLENTY: i64 = 100_000;

/// What a user would write.
pub(super) const SCRIPTS: [&str; 2] = ["Lua script", "native script"];

/// A contestant, and the configuration of its proxy.
#[derive(Debug)]
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) config: ProxyConfig,
}

/// Ours first. `message` is what will be sent; the bare loop gets its outgoing half ready-made.
pub(super) fn all(
    bench: &Bench,
    cpm: &Path,
    bare_tm: &Path,
    message: &CpmMessage,
) -> Vec<Contestant> {
    let file = |name: &str, bytes: &[u8]| {
        let path = bench.folder().join(name);
        fs::write(&path, bytes).expect("the bench's folder can be written to");
        path.display().to_string()
    };
    let lua = config("cfgengine \"lua\"")
        .load("pv")
        .load("uac")
        .set("uac", "restore_mode", "none")
        .load("app_lua")
        .set("app_lua", "load", &file("fan_out.lua", LUA.as_bytes()));
    let native =
        config(NATIVE)
            .load("pv")
            .load("textops")
            .load("uac")
            .set("uac", "restore_mode", "none");
    let bare = config("request_route {\n\tbare_fanout();\n}")
        .load(&bare_tm.display().to_string())
        .set("bare_tm", "from", &format!("<{}>", super::SENDER))
        .set(
            "bare_tm",
            "headers_file",
            &file("headers", outgoing_headers(message).as_bytes()),
        )
        .set("bare_tm", "body_file", &file("body", &message.cpim()));
    [
        ("cpm", ours(cpm)),
        ("cpm through tm", ours(cpm).set("cpm", "express", "no")),
        (SCRIPTS[0], lua),
        (SCRIPTS[1], native),
        ("bare tm loop", bare),
    ]
    .map(|(name, config)| Contestant { name, config })
    .into()
}

/// The module as an operator configures it.
pub(super) fn ours(cpm: &Path) -> ProxyConfig {
    ours_with(cpm, "request_route {\n\tcpm_handle();\n}")
}

/// The same with these routes.
pub(super) fn ours_with(cpm: &Path, routes: &str) -> ProxyConfig {
    ours_on(config(routes), cpm)
}

/// The module on what is common to all contestants.
pub(super) fn ours_on(config: ProxyConfig, cpm: &Path) -> ProxyConfig {
    config
        .load(&cpm.display().to_string())
        .set("cpm", "exploder_uri", EXPLODER)
        .set("cpm", "trusted_peer", "127.0.0.1")
        .set_number("cpm", "max_recipients", 1000)
        // One sender to one destination is all the traffic there is.
        .set_number("cpm", "max_outstanding_per_sender", PLENTY)
        .set_number("cpm", "max_outstanding_per_destination", PLENTY)
}

fn config(routes: &str) -> ProxyConfig {
    ProxyConfig::new(&format!("{CORE}{routes}"))
        .argument("-m")
        .argument(SHARED_MEMORY)
        .argument("-x")
        .argument(ALLOCATOR)
        .load("tm")
        .set_number("tm", "wt_timer", super::SHORT_WAIT_MS)
}

/// The header lines that cpm writes in addition to tm's, as seen on the wire.
pub(super) fn outgoing_headers(message: &CpmMessage) -> String {
    let request: Request = message
        .clone()
        .recipients([to("sip:nobody@example.com")])
        .request();
    let received = |name: &str| request.header(name).unwrap_or_default().to_owned();
    [
        ("Max-Forwards", "69".into()),
        ("Max-Breadth", "45".into()),
        ("P-Asserted-Identity", received("P-Asserted-Identity")),
        ("User-Agent", "CPM-serv/OMA2.2".into()),
        ("Supported", "recipient-list-message".into()),
        ("Accept-Contact", received("Accept-Contact")),
        (
            "P-Asserted-Service",
            "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg".into(),
        ),
        ("Conversation-ID", received("Conversation-ID")),
        ("Contribution-ID", received("Contribution-ID")),
        ("Content-Type", "message/cpim".into()),
    ]
    .map(|(name, value): (&str, String)| format!("{name}: {value}\r\n"))
    .concat()
}
