//! `cargo run --package xtask -- TASK`: carries out one task.

#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::process::ExitCode;

use xtask::{conformance, diagrams, readme};

fn main() -> ExitCode {
    let task = env::args().nth(1).unwrap_or_default();
    let done: Result<bool, Box<dyn Error>> = match task.as_str() {
        "conformance" => conformance::run().map_err(Into::into),
        "diagrams" => diagrams::run().map(|()| true),
        "readme" => readme::run().map(|()| true),
        _ => Err("the tasks are conformance, diagrams and readme".into()),
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
