//! Both shims carry out the whole contract, as far as their text shows it: no proxy is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const SHIMS: [&str; 2] = ["kamailio", "opensips"];

#[test]
fn both_shims_fill_every_member_of_the_host_table() {
    let members = members_of("cpm_host");
    assert!(members.contains("keep_open") && members.contains("transaction_bytes"));
    // Both fill the same table; the linker finds the functions that one of them lacks.
    let table = read("c_api/common/cpm_host.c");
    let filled: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.trim().strip_prefix('.'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(member, _)| member.to_owned())
        .collect();
    assert_eq!(filled, members);
}

/// What the script calls, each shim offers, and OpenSIPS offers each RPC command of Kamailio's as a
/// command of its management interface.
#[test]
fn both_shims_have_the_same_functions_and_commands() {
    let [of_kamailio, of_opensips] = SHIMS.map(|shim| {
        quoted(
            &read(&format!("c_api/{shim}/cpm_mod.c")),
            "{\"cpm_",
            "(\"cpm_",
        )
    });
    assert!(of_kamailio.contains("handle"), "{of_kamailio:?}");
    assert_eq!(of_kamailio, of_opensips);

    let of_kamailio = quoted(&read("c_api/kamailio/cpm_rpc.c"), "{\"cpm.", "{\"cpm.");
    let mut of_opensips = quoted(&read("c_api/opensips/cpm_mi.c"), "(\"cpm_", "(\"cpm_");
    assert!(of_kamailio.contains("sessions"), "{of_kamailio:?}");
    // What Kamailio's cfg framework does by itself.
    assert!(of_opensips.remove("get") && of_opensips.remove("set"));
    assert_eq!(of_kamailio, of_opensips);
}

/// Limits, intervals and thresholds are the core's: each reaches a shim by the contract.
#[test]
fn every_limit_of_the_core_is_applied_by_a_shim() {
    let sources = sources();
    for limit in members_of("cpm_limits") {
        let applied = format!("limits.{limit}");
        assert!(
            sources.iter().any(|(_, text)| text.contains(&applied)),
            "no shim applies {limit}"
        );
    }
}

/// Numbers with a name in the shims: facts of the proxy, the kernel, C or a protocol, each with its
/// comment. A new one that decides something belongs in `struct cpm_limits`.
const FACTS: [&str; 11] = [
    "CPM_EXPRESS_TEXT_BYTES",
    "CPM_MAX_DATAGRAM_BYTES",
    "CPM_MAX_VIA_BYTES",
    "CPM_NUMBER_BYTES",
    "CPM_TRANSACTION_BYTES",
    "LONG_LABEL",
    "MAX_OWN_PARAMETERS",
    "MAX_PARAMETERS",
    "TICK_MS",
    "UDP_MAX_SEGMENTS",
    "UDP_SEGMENT",
];

#[test]
fn no_shim_has_a_number_that_decides_something() {
    let mut named = BTreeSet::new();
    for (path, text) in sources() {
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["#define", name, value, ..] = words[..]
                && !name.contains('(')
                && value
                    .trim_start_matches('(')
                    .starts_with(|c: char| c.is_ascii_digit())
            {
                named.insert(name.to_owned());
            }
            // An array of so many elements, unless it has one for each of a few cases.
            let lengths = line
                .split('[')
                .skip(1)
                .filter_map(|rest| rest.split_once(']'));
            for (length, _) in lengths {
                let is_large = length.parse::<usize>().is_ok_and(|length| length > 3);
                assert!(!is_large, "{path}: {line}");
            }
        }
    }
    assert_eq!(named, BTreeSet::from(FACTS.map(str::to_owned)));
}

/// The members of a struct of the contract.
fn members_of(name: &str) -> BTreeSet<String> {
    let header = read("c_api/cpm.h");
    let (_, rest) = header.split_once(&format!("\nstruct {name} {{\n")).unwrap();
    let (body, _) = rest.split_once("\n};").unwrap();
    let mut code = String::new();
    let mut rest = body;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").unwrap().1;
    }
    code.push_str(rest);
    code.split(';')
        .map(str::trim)
        .filter(|declaration| !declaration.is_empty())
        .map(|declaration| match declaration.split_once("(*") {
            Some((_, function)) => function.split_once(')').unwrap().0,
            None => declaration.rsplit_once(' ').unwrap().1,
        })
        .map(str::to_owned)
        .collect()
}

/// What stands between one of the openings and the next quotation mark.
fn quoted(source: &str, opening: &str, other: &str) -> BTreeSet<String> {
    [opening, other]
        .iter()
        .flat_map(|opening| source.split(opening).skip(1))
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The files of the shims, each with its path.
fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    for folder in ["common", "kamailio", "opensips"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("c_api")
            .join(folder);
        for entry in fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".c") || name.ends_with(".h") {
                let path = format!("c_api/{folder}/{name}");
                sources.push((path.clone(), read(&path)));
            }
        }
    }
    sources
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
