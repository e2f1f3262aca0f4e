//! `make bench`. Arguments name the benchmarks to run; none means all. `QUICK=1` in the environment takes few
//! samples and leaves what is in `benches/results/` alone.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use cpm_benches::parsing::{self, Contestant};
use cpm_benches::report::Report;
use cpm_benches::{fan_out, machine, xml};

fn main() -> ExitCode {
    // Two steps up rather than "..", which would show in what is printed.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    let quick = env::var_os("QUICK").is_some_and(|value| !value.is_empty() && value != "0");
    let benchmarks: [(&str, fn(&Path, bool) -> Report); 2] =
        [("parsing", run_parsing), ("fan_out", run_fan_out)];
    let wanted: Vec<String> = env::args().skip(1).collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|&name| benchmarks.iter().all(|(known, _)| known != name))
    {
        eprintln!("no benchmark {unknown}; there are: parsing fan_out");
        return ExitCode::FAILURE;
    }
    let folder = root.join(if quick {
        "target/bench"
    } else {
        "benches/results"
    });
    for (name, run) in benchmarks {
        if !wanted.is_empty() && wanted.iter().all(|other| other != name) {
            continue;
        }
        let report = run(root, quick);
        println!("{}", report.text);
        match report.save(&folder) {
            Ok(picture) => println!(
                "kept in {}\n",
                picture.with_extension("{txt,csv,svg}").display()
            ),
            Err(error) => {
                eprintln!("{}: {error}", folder.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
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
            name: "expat SAX",
            parse: xml::parse_by_expat,
        },
    ];
    parsing::run(
        &contestants,
        if quick { 7 } else { 41 },
        &machine::describe(&xml::versions()),
    )
}

fn run_fan_out(root: &Path, quick: bool) -> Report {
    let (rounds, messages) = if quick { (5, 6_000) } else { (25, 20_000) };
    let about = machine::describe(&[machine::kamailio_version()]);
    fan_out::run(
        &root.join("target/kamailio/cpm.so"),
        Path::new(env!("BARE_TM")),
        rounds,
        messages,
        &about,
    )
}
