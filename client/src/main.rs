//! `cpm-client`: a CPM Client for the command line, and a thin face on `cpm::client`, which knows the protocol.
//! What is here: arguments, sockets, files, and words for people and scripts.

mod args;
mod compare;
mod content;
mod exit;
mod net;
mod notifications;
mod receive;
mod recipients;
mod report;
mod send;
mod store;
mod watch;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use args::{Arguments, Command, ProgressKind};
use clap::{CommandFactory as _, Parser as _};
use exit::Problem;
use report::Report;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let progress = match &arguments.command {
        Command::Send(send) => send.progress,
        Command::Receive(receive) => receive.progress,
        _ => ProgressKind::None,
    };
    let report = Report::new(arguments.json, progress);
    let result = match &arguments.command {
        Command::Send(send) => send::run(send, &report),
        Command::Receive(receive) => receive::run(receive, &report),
        Command::Match(compared) => compare::run(compared, &report),
        Command::Completion { shell } => {
            clap_complete::generate(
                *shell,
                &mut Arguments::command(),
                "cpm-client",
                &mut io::stdout(),
            );
            Ok(())
        }
        Command::Man { folder } => write_man_pages(folder),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            report.problem(&problem);
            ExitCode::from(problem.exit as u8)
        }
    }
}

fn write_man_pages(folder: &Path) -> Result<(), Problem> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Arguments::command(), folder)?;
    Ok(())
}

/// Random bytes from the system, for everything that nobody may guess.
pub(crate) fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        // Names that can be guessed would be worse than none.
        eprintln!("cpm-client: no random numbers from the system: {error}");
        std::process::exit(i32::from(exit::Exit::Local as u8));
    }
}
