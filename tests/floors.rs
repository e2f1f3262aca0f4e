//! The floors hold: a folder imports only floors below its own, no two files of a folder import
//! each other, code without IO stays so, and files and comments keep within their limits.

#[path = "floors/proofs.rs"]
mod proofs;
#[path = "floors/source.rs"]
mod source;
#[path = "floors/supply_chain.rs"]
mod supply_chain;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use source::{Crate, Modules, files, is_test_file};

const CRATES: [Crate; 5] = [
    Crate {
        name: "cpm_wire",
        folder: "wire/src",
    },
    Crate {
        name: "cpm",
        folder: "src",
    },
    Crate {
        name: "cpm_client",
        folder: "client/src",
    },
    Crate {
        name: "cpm_client_program",
        folder: "client/src/bin/cpm-client",
    },
    Crate {
        name: "cpm_testbed",
        folder: "testbed/src",
    },
];

/// The tables of src/lib.rs and wire/src/lib.rs.
const FLOORS: &[(u8, &[&str])] = &[
    (6, &["src/ffi"]),
    (5, &["src/sessions", "src/processes"]),
    (4, &["src/relay"]),
    (3, &["src/controlling"]),
    (
        2,
        &[
            "src/policy",
            "src/operator.rs",
            "src/group",
            "src/names",
            "src/shared",
            "src/store",
            "src/msrp_control",
        ],
    ),
    (
        1,
        &[
            "wire/src/msrp_session",
            "wire/src/sip_ua",
            "wire/src/locating",
            "src/trust.rs",
            "src/threads.rs",
            "src/random.rs",
            "src/sync.rs",
            "src/log.rs",
        ],
    ),
    (
        0,
        &[
            "wire/src/sip",
            "wire/src/digest",
            "wire/src/mime",
            "wire/src/xml",
            "wire/src/resource_lists",
            "wire/src/cpim",
            "wire/src/imdn",
            "wire/src/msrp",
            "wire/src/sdp",
            "wire/src/dns",
        ],
    ),
];

/// Machines that are tested in virtual time: no socket, no thread, no clock.
const WITHOUT_IO: [&str; 4] = ["wire/src", "src/controlling", "src/sessions", "client/src"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn modules() -> &'static Modules {
    static MODULES: LazyLock<Modules> = LazyLock::new(|| Modules::read(root(), &CRATES));
    &MODULES
}

#[test]
fn a_folder_imports_only_lower_floors() {
    let floor = |file: &Path| {
        let mut all = FLOORS.iter();
        let found = all.find(|(_, folders)| folders.iter().any(|folder| file.starts_with(folder)));
        found.map(|(floor, _)| *floor)
    };
    let modules = modules();
    let mut wrong = Vec::new();
    let mut imports = 0;
    for source in &modules.sources {
        let Some(own) = floor(&source.file) else {
            continue;
        };
        for used in modules.dependencies(source) {
            imports += 1;
            if floor(used).is_some_and(|floor| floor > own) {
                wrong.push(format!("{} -> {}", source.file.display(), used.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(imports > 300, "{imports}");
}

#[test]
fn every_folder_has_its_floor() {
    let with_floors: BTreeSet<&str> = FLOORS.iter().flat_map(|(_, all)| *all).copied().collect();
    for folder in ["src", "wire/src"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().display());
            let is_listed = with_floors.contains(name.as_str());
            assert!(
                is_listed || name.ends_with("/lib.rs") || is_test_file(Path::new(&name)),
                "{name}"
            );
        }
    }
}

#[test]
fn files_of_a_folder_do_not_import_each_other() {
    let modules = modules();
    // For each folder, which of its entries uses which other.
    let mut folders: BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<PathBuf>>> = BTreeMap::new();
    for source in &modules.sources {
        for used in modules.dependencies(source) {
            let Some((folder, from, to)) = entries(&source.file, used) else {
                continue;
            };
            let uses = folders.entry(folder).or_default();
            uses.entry(from).or_default().insert(to);
        }
    }
    let mut found: Vec<_> = folders.values().flat_map(circles).collect();
    found.retain(|circle| {
        let mut known = CIRCLES.iter();
        !known.any(|(folder, names, _)| {
            let mut entries = circle.iter();
            entries.all(|entry| {
                names
                    .iter()
                    .any(|name| *entry == Path::new(folder).join(name))
            })
        })
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// The folder that both files are in, and each one's entry in it.
fn entries(from: &Path, to: &Path) -> Option<(PathBuf, PathBuf, PathBuf)> {
    let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let up_to = |path: &Path, parts: usize| path.iter().take(parts).collect::<PathBuf>();
    Some((
        up_to(from, common),
        up_to(from, common + 1),
        up_to(to, common + 1),
    ))
}

/// Groups of entries that use each other.
fn circles(uses: &BTreeMap<PathBuf, BTreeSet<PathBuf>>) -> BTreeSet<Vec<PathBuf>> {
    let reachable = |from: &PathBuf| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(next) = open.pop() {
            for to in uses.get(next).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    open.push(to);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<_, _> = uses.keys().map(|from| (from, reachable(from))).collect();
    let mut found = BTreeSet::new();
    for (from, seen) in &reach {
        if seen.contains(*from) {
            let back = |to: &&PathBuf| reach.get(to).is_some_and(|there| there.contains(*from));
            found.insert(seen.iter().filter(back).cloned().collect());
        }
    }
    found
}

#[test]
fn what_is_without_io_names_no_socket_thread_or_clock() {
    const FORBIDDEN: [&[&str]; 13] = [
        &["TcpStream"],
        &["TcpListener"],
        &["UdpSocket"],
        &["UnixStream"],
        &["UnixDatagram"],
        &["mio"],
        &["socket2"],
        &["std", "::", "thread"],
        &["thread", "::", "spawn"],
        &["thread", "::", "sleep"],
        &["Instant", "::", "now"],
        &["SystemTime", "::", "now"],
        &["clock_gettime"],
    ];
    let mut wrong = BTreeSet::new();
    for source in &modules().sources {
        let is_meant = WITHOUT_IO
            .iter()
            .any(|folder| source.file.starts_with(folder));
        if !is_meant || source.file.starts_with("client/src/bin") {
            continue;
        }
        for words in FORBIDDEN {
            if source
                .tokens
                .windows(words.len())
                .any(|found| found == words)
            {
                wrong.insert(format!("{}: {}", source.file.display(), words.concat()));
            }
        }
    }
    let allowed = IO.iter().map(|(place, _)| place.to_string());
    let new: Vec<_> = wrong.difference(&allowed.collect()).cloned().collect();
    assert!(new.is_empty(), "{new:#?}");
}

/// A source and its header count as one.
#[test]
fn headers_do_not_include_each_other() {
    let unit = |file: &str| Path::new(file).file_stem().map(PathBuf::from).unwrap();
    let folder = root().join("c_api");
    let mut uses: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for file in [files(&folder, "c"), files(&folder, "h")].concat() {
        let from = unit(&file.to_string_lossy());
        for line in fs::read_to_string(&file).unwrap().lines() {
            let Some(name) = line.strip_prefix("#include \"") else {
                continue;
            };
            let to = unit(name.trim_end_matches('"'));
            if to != from {
                uses.entry(from.clone()).or_default().insert(to);
            }
        }
    }
    let found = circles(&uses);
    assert!(found.is_empty(), "{found:#?}");
    assert!(!uses.is_empty());
}

/// A larger file says in its first lines why it is one, with these words.
#[test]
fn files_have_at_most_600_lines_of_code() {
    const REASON: &str = "One file, since";
    let mut large = Vec::new();
    for source in &modules().sources {
        let text = fs::read_to_string(root().join(&source.file)).unwrap();
        let head = text.lines().take_while(|line| line.starts_with("//!"));
        if source.code_lines > 600 && !head.into_iter().any(|line| line.contains(REASON)) {
            large.push((source.code_lines, &source.file));
        }
    }
    assert!(large.is_empty(), "{large:#?}");
}

/// So that a file shows what it does, not its tests.
#[test]
fn tests_of_more_than_250_lines_have_a_file_of_their_own() {
    let mut long = Vec::new();
    for source in &modules().sources {
        let text = fs::read_to_string(root().join(&source.file)).unwrap();
        let tests = text
            .lines()
            .skip_while(|line| !line.starts_with("mod tests {"));
        let lines = tests.count();
        if lines > 250 {
            long.push((lines, &source.file));
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn comments_have_at_most_100_columns() {
    let mut wide = BTreeMap::new();
    for folder in [
        "src", "wire", "client", "testbed", "benches", "tests", "examples", "c_api", "build",
        "loom",
    ] {
        let folder = root().join(folder);
        for extension in ["rs", "c", "h"] {
            for file in files(&folder, extension) {
                let text = fs::read_to_string(&file).unwrap();
                let is_wide = |line: &&str| {
                    let begin = line.trim_start();
                    (begin.starts_with("//") || begin.starts_with('*') || begin.starts_with("/*"))
                        && line.chars().count() > 100
                };
                let count = text.lines().filter(is_wide).count();
                if count > 0 {
                    let file = file.strip_prefix(root()).unwrap().display().to_string();
                    wide.insert(file, count);
                }
            }
        }
    }
    assert!(wide.is_empty(), "{wide:#?}");
}

/// `make conformance` counts a requirement as proven when `proves!` was reached with its id: what
/// stands in it has to be something that fails.
#[test]
fn what_proves_a_requirement_is_an_assertion() {
    let (claims, asserting) = proofs::claims(root());
    let is_wrong = |claim: &&proofs::Claim| !asserting.contains(&claim.made_by);
    let wrong = claims.iter().filter(is_wrong);
    let wrong: Vec<_> = wrong.map(|claim| (&claim.place, &claim.made_by)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What takes a value and cannot fail proves nothing.
    for harmless in [
        "header", "uri", "body", "clone", "len", "contains", "Some", "",
    ] {
        assert!(!asserting.contains(harmless), "{harmless}");
    }
    assert!(!claims.is_empty());
}

/// Accepted circles: the folder, its entries and the reason.
const CIRCLES: &[(&str, &[&str], &str)] = &[];

/// What a floor without IO names nevertheless, and why.
const IO: &[(&str, &str)] = &[];
