//! Both shims carry out the whole contract, as far as their text shows it: no proxy is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const SHIMS: [&str; 2] = ["kamailio", "opensips"];

#[test]
fn both_shims_fill_every_member_of_the_host_table() {
    let members = host_members();
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

/// The members of `struct cpm_host`.
fn host_members() -> BTreeSet<String> {
    let header = read("c_api/cpm.h");
    let (_, rest) = header.split_once("\nstruct cpm_host {\n").unwrap();
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

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
