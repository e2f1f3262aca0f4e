//! The configurations of `kamailio-config/` and `opensips-config/`, unchanged: each starts and
//! works. Both proxies have the same sites, and therefore the same tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cpm_testbed::{
    Agent, Bench, Call, Callees, MsrpSession, Product, Proxy, ProxyConfig, Request, cpm_message, to,
};

use crate::common::{CONTROLLING, EXPLODER, exchange, expect_counter};
use crate::groups::recipients;

mod application_server;
mod kamailio;
mod opensips;
mod smallest;
mod stand_alone;
mod two_nodes;

pub(crate) const ANNE: &str = "sip:anne@example.com";

/// The folder of the configurations for this proxy.
pub(crate) fn folder(product: Product) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{}-config", product.name()))
}

/// The names of a proxy's configurations.
pub(crate) fn configurations(product: Product) -> BTreeSet<String> {
    fs::read_dir(folder(product))
        .expect("it is part of the project")
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".cfg"))
        .collect()
}

/// A configuration of the project, started on the bench's ports and with its control socket. Values
/// of this machine (addresses, files) are given by their names in the configurations for Kamailio,
/// as written in a script.
pub(crate) fn shipped(file: &str, definitions: &[(&str, String)]) -> ProxyConfig {
    match Product::under_test() {
        Product::Kamailio => kamailio::shipped(file, definitions),
        Product::OpenSips => opensips::shipped(file, definitions),
    }
}

/// An application server that takes large messages, whose S-CSCF is the user agents' host.
pub(crate) fn large_application_server(bench: &Bench, callees: &Callees) -> ProxyConfig {
    let spool = bench.folder().join("spool");
    fs::create_dir_all(&spool).expect("the folder of a test can be written to");
    let definitions = [
        ("SCSCF_URI", format!("{};lr", callees.uri("core"))),
        ("SCSCF_ADDRESS", "127.0.0.1".to_owned()),
        (
            "MSRP_LISTEN",
            format!("tcp:127.0.0.1:{}", bench.msrp_port()),
        ),
        ("SPOOL", spool.display().to_string()),
    ];
    shipped(
        "ims-application-server.cfg",
        &definitions.map(|(name, value)| (name, quoted(&value))),
    )
}

/// The smallest configuration.
pub(crate) fn smallest() -> ProxyConfig {
    shipped(&format!("{}.cfg", Product::under_test().name()), &[])
}

pub(crate) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// One message to each kind of service, and a request that is not for us.
pub(crate) fn serves_this_machine(bench: &Bench, proxy: &Proxy) {
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

/// The proxy's own scripts that create these parts of a database.
pub(crate) fn database_script(parts: &[&str]) -> String {
    let folder = match Product::under_test() {
        Product::Kamailio => PathBuf::from("/usr/share/kamailio/db_sqlite"),
        Product::OpenSips => {
            let tree = std::env::var_os("OPENSIPS_SRC").expect("OPENSIPS_SRC names its tree");
            Path::new(&tree).join("scripts/sqlite")
        }
    };
    let script = |part: &&str| {
        let file = folder.join(format!("{part}-create.sql"));
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    parts.iter().map(script).collect()
}

/// As sent by an S-CSCF: with a Route to the application server, and one back to itself.
pub(crate) fn through_core(request: &Request, proxy: &Proxy, core: &Agent) -> Request {
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

/// One large message from its INVITE to its BYE; the recipients get it byte for byte.
pub(crate) fn large_message_arrives(
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
