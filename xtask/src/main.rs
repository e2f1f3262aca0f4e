//! `cargo run --package xtask -- TASK`: carries out one task.

#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use xtask::{conformance, diagrams, page, readme};

fn main() -> ExitCode {
    let task = env::args().nth(1).unwrap_or_default();
    let done: Result<bool, Box<dyn Error>> = match task.as_str() {
        "conformance" => judge(env::args().skip(2)),
        "diagrams" => diagrams::run().map(|()| true),
        "page" => page::run().map(|()| true).map_err(Into::into),
        "readme" => readme::run().map(|()| true),
        _ => Err("the tasks are conformance, diagrams, page and readme".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{task}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `[--brief] FOLDER PROXY`.
fn judge(arguments: impl Iterator<Item = String>) -> Result<bool, Box<dyn Error>> {
    let mut arguments = arguments.peekable();
    let is_brief = arguments.next_if(|one| one == "--brief").is_some();
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(folder), Some(proxy), None) => {
            Ok(conformance::run(Path::new(&folder), &proxy, is_brief)?)
        }
        _ => Err("conformance [--brief] FOLDER PROXY".into()),
    }
}
