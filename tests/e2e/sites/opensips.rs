//! Starts a configuration of `opensips-config/`: its script has no definitions, so values of this
//! machine are replaced in the text.

use std::fs;

use cpm_testbed::{Product, ProxyConfig};

use super::folder;
use crate::common::module;

/// Values of an operator's own in the configurations: the name in those for Kamailio, and the text
/// in which a value replaces `@`.
const OWN: [(&str, &str, &str); 20] = [
    ("SCSCF_URI", "\"sip:scscf.example.com;lr\"", "@"),
    ("SCSCF_ADDRESS", "\"192.0.2.10\"", "@"),
    ("CORE_ADDRESS", "\"192.0.2.10\"", "@"),
    (
        "MSRP_LISTEN",
        "#modparam(\"cpm\", \"msrp_listen\", \"tcp:192.0.2.20:2855\")",
        "modparam(\"cpm\", \"msrp_listen\", @)",
    ),
    (
        "SPOOL",
        "#modparam(\"cpm\", \"msrp_spool_dir\", \"/var/lib/opensips/cpm\")",
        "modparam(\"cpm\", \"msrp_spool_dir\", @)",
    ),
    (
        "DEFERRED_CODES",
        "#modparam(\"cpm\", \"deferred_codes\", \"408 480\")",
        "modparam(\"cpm\", \"deferred_codes\", @)",
    ),
    (
        "DEFERRED_CODES_OF_SITE",
        "#modparam(\"cpm\", \"deferred_codes\", \"404 408 480\")",
        "modparam(\"cpm\", \"deferred_codes\", @)",
    ),
    (
        "STORE",
        "#modparam(\"cpm\", \"store\", \"redis://:PASSWORD@192.0.2.30:6379/0\")",
        "modparam(\"cpm\", \"store\", @)",
    ),
    (
        "ID_KEY",
        "#modparam(\"cpm\", \"id_key_file\", \"/etc/opensips/cpm-id-key\")",
        "modparam(\"cpm\", \"id_key_file\", @)",
    ),
    ("NODES", "\"sqlite:///var/lib/opensips/nodes.db\"", "@"),
    ("NODE_TIMEOUT", "$T_fr_timeout = 15;", "$T_fr_timeout = @;"),
    (
        "DATABASE",
        "\"sqlite:///var/lib/opensips/opensips.db\"",
        "@",
    ),
    ("DB_URL", "\"sqlite:///var/lib/opensips/cpm-acc.db\"", "@"),
    (
        "BUSY_TIMEOUT",
        "modparam(\"db_sqlite\", \"busy_timeout\", 10000)",
        "@",
    ),
    ("DB_MODULE", "\"db_sqlite.so\"", "@"),
    ("OPERATOR_PORT", "\"port\", 8880)", "\"port\", @)"),
    (
        "OPERATOR_PAGE",
        "\"opensips-config/operator-page.html\"",
        "@",
    ),
    ("THIS_PORT", "5066", "@"),
    (
        "REQUESTS_IN_TWO_SECONDS",
        "\"reqs_density_per_unit\", 60)",
        "\"reqs_density_per_unit\", @)",
    ),
    ("MESSAGES_A_MINUTE", "$var(sent) > 10)", "$var(sent) > @)"),
];

/// See [`super::shipped`].
pub(super) fn shipped(file: &str, definitions: &[(&str, String)]) -> ProxyConfig {
    let path = folder(Product::OpenSips).join(file);
    let mut text = fs::read_to_string(path).expect("it is part of the project");
    for (name, value) in definitions {
        let own = OWN.iter().find(|(known, ..)| known == name);
        let (_, from, to) = own.unwrap_or_else(|| panic!("{name} is unknown"));
        assert!(text.contains(from), "{file} does not say {from}");
        text = text.replace(from, &to.replace('@', value));
    }
    let loads_module = text.contains("\"cpm.so\"");
    let mut lines: Vec<String> = Vec::new();
    let mut begins = true;
    for line in text.lines() {
        if line.starts_with("mpath=") {
            continue;
        }
        if line.starts_with("loadmodule") && begins {
            begins = false;
            lines.extend([
                "@MPATH@".to_owned(),
                "loadmodule \"mi_datagram.so\"".to_owned(),
            ]);
            lines.push("modparam(\"mi_datagram\", \"socket_name\", \"@CTL@\")".to_owned());
        }
        if line.starts_with("route {") {
            if loads_module {
                lines.push("modparam(\"cpm\", \"state_dir\", \"@FOLDER@/state\")".to_owned());
            }
            lines.push("@MODPARAMS@".to_owned());
        }
        lines.push(
            line.replace(":5060", ":@PORT@")
                .replace("/tmp/opensips_fifo", "@FOLDER@/fifo")
                .replace("/var/lib/opensips/cpm/store", "@FOLDER@/state/store"),
        );
    }
    let template = format!(
        "stderror_enabled=yes\nsyslog_enabled=no\n{}\n",
        lines.join("\n")
    );
    let module = module();
    ProxyConfig::of(Product::OpenSips, "")
        .template(&template)
        .mpath(module.parent().expect("it lies in a folder"))
}
