//! `make bench`. Arguments name the benchmarks to run; none means all. `QUICK=1` in the environment
//! takes few samples and does not change `benches/results/`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cpm_benches::parsing::{self, Contestant};
use cpm_benches::report::{Report, Samples};
use cpm_benches::{fan_out, machine, relay, set_up, xml};

/// A benchmark, by the name of its files. It gets the project's folder and whether to be quick.
struct Benchmark {
    name: &'static str,
    run: fn(&Path, bool) -> Report,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "parsing",
        run: run_parsing,
    },
    Benchmark {
        name: fan_out::SETTINGS[0].name,
        run: run_fan_out::<0>,
    },
    Benchmark {
        name: fan_out::SETTINGS[1].name,
        run: run_fan_out::<1>,
    },
    Benchmark {
        name: fan_out::SETTINGS[2].name,
        run: run_fan_out::<2>,
    },
    Benchmark {
        name: fan_out::SETTINGS[3].name,
        run: run_fan_out::<3>,
    },
    Benchmark {
        name: fan_out::SETTINGS[4].name,
        run: run_fan_out::<4>,
    },
    Benchmark {
        name: fan_out::opensips::NAME,
        run: run_opensips,
    },
    Benchmark {
        name: "crowd",
        run: run_crowd,
    },
    Benchmark {
        name: fan_out::stored::NAME,
        run: run_stored,
    },
    Benchmark {
        name: "hanging_xdms",
        run: run_hanging_xdms,
    },
    Benchmark {
        name: "dead_names",
        run: run_dead_names,
    },
    Benchmark {
        name: "set_up",
        run: run_set_up,
    },
    Benchmark {
        name: "relay",
        run: run_relay,
    },
    Benchmark {
        name: "handshakes",
        run: run_handshakes,
    },
];

fn main() -> ExitCode {
    let quick = env::var_os("QUICK").is_some_and(|value| !value.is_empty() && value != "0");
    let wanted: Vec<String> = env::args().skip(1).collect();
    let is_known = |name: &String| BENCHMARKS.iter().any(|benchmark| benchmark.name == name);
    if let Some(unknown) = wanted.iter().find(|name| !is_known(name)) {
        eprintln!(
            "no benchmark {unknown}; there are: {}",
            BENCHMARKS
                .iter()
                .map(|b| b.name)
                .collect::<Vec<_>>()
                .join(" ")
        );
        return ExitCode::FAILURE;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is a folder of the project");
    let folder = folder_of(root, quick);
    let is_wanted = |benchmark: &&Benchmark| {
        wanted.is_empty() || wanted.iter().any(|name| name == benchmark.name)
    };
    for benchmark in BENCHMARKS.iter().filter(is_wanted) {
        if benchmark.name == fan_out::opensips::NAME && !fan_out::opensips::is_here() {
            println!(
                "{}: left out: no OpenSIPS here (OPENSIPS, OPENSIPS_SRC)\n",
                benchmark.name
            );
            continue;
        }
        let report = (benchmark.run)(root, quick);
        println!("{}", report.text);
        if let Err(error) = report.save(&folder) {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
        let folder = folder.strip_prefix(root).unwrap_or(&folder).display();
        println!("kept in {folder}/{}.txt, .csv and .svg\n", report.name);
    }
    ExitCode::SUCCESS
}

/// Where the results are.
fn folder_of(root: &Path, quick: bool) -> PathBuf {
    root.join(if quick {
        "target/bench"
    } else {
        "benches/results"
    })
}

fn run_parsing(_root: &Path, quick: bool) -> Report {
    let contestants = [
        Contestant {
            name: "cpm",
            parse: parsing::parse_by_cpm,
        },
        Contestant {
            name: "libxml2 DOM",
            parse: xml::parse_by_libxml2,
        },
        Contestant {
            name: "libxml2 SAX2",
            parse: xml::parse_by_libxml2_sax,
        },
        Contestant {
            name: "expat SAX",
            parse: xml::parse_by_expat,
        },
    ];
    let rounds = if quick { 7 } else { 41 };
    parsing::run(&contestants, rounds, &machine::describe(&xml::versions()))
}

/// In the setting of this number.
fn run_fan_out<const SETTING: usize>(root: &Path, quick: bool) -> Report {
    let size = match (quick, SETTING) {
        (true, _) => (5, 6_000),
        (false, 0) => (25, 20_000),
        (false, _) => (11, 20_000),
    };
    let about = machine::describe(&[machine::kamailio_version()]);
    let cpm = root.join("target/kamailio/cpm.so");
    let bare_tm = Path::new(env!("BARE_TM"));
    fan_out::run(&fan_out::SETTINGS[SETTING], &cpm, bare_tm, size, &about)
}

fn run_opensips(root: &Path, quick: bool) -> Report {
    let turns = if quick { (5, 3_000) } else { (11, 10_000) };
    let about = machine::describe(&[machine::opensips_version()]);
    fan_out::opensips::run(&root.join("target/opensips/cpm.so"), turns, &about)
}

fn run_crowd(root: &Path, quick: bool) -> Report {
    let rounds = if quick { 3 } else { 11 };
    let about = machine::describe(&[machine::kamailio_version()]);
    fan_out::crowd::run(&root.join("target/kamailio/cpm.so"), rounds, &about)
}

fn run_stored(root: &Path, quick: bool) -> Report {
    let turns = if quick { (3, 2_000) } else { (5, 16_000) };
    let about = machine::describe(&[machine::kamailio_version()]);
    let earlier = folder_of(root, quick).join(fan_out::stored::NAME);
    let earlier = fs::read_to_string(earlier.with_extension("csv")).unwrap_or_default();
    let cpm = root.join("target/kamailio/cpm.so");
    fan_out::stored::run(&cpm, turns, Samples::read_csv(&earlier), &about)
}

fn run_hanging_xdms(root: &Path, quick: bool) -> Report {
    let (rounds, messages) = if quick { (5, 6_000) } else { (25, 20_000) };
    let about = machine::describe(&[machine::kamailio_version()]);
    let cpm = root.join("target/kamailio/cpm.so");
    fan_out::hanging_xdms::run(&cpm, rounds, messages, &about)
}

fn run_dead_names(root: &Path, quick: bool) -> Report {
    let rounds = if quick { 2 } else { 10 };
    let about = machine::describe(&[machine::kamailio_version()]);
    fan_out::dead_names::run(&root.join("target/kamailio/cpm.so"), rounds, &about)
}

fn run_set_up(root: &Path, quick: bool) -> Report {
    let rounds = if quick { 3 } else { 15 };
    let about = machine::describe(&[machine::kamailio_version()]);
    set_up::run(&root.join("target/kamailio/cpm.so"), rounds, &about)
}

fn run_relay(_root: &Path, quick: bool) -> Report {
    let rounds = if quick { 3 } else { 15 };
    let about = machine::describe(&[machine::kamailio_version()]);
    relay::run(rounds, &about)
}

fn run_handshakes(root: &Path, quick: bool) -> Report {
    let rounds = if quick { 3 } else { 15 };
    relay::handshakes::run(root, rounds, &machine::describe(&[]))
}
