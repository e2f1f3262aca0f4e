//! `cpm-client`: a CPM Client for the command line, a thin layer over `cpm_client`, which
//! implements the protocol. It has arguments, sockets, files, and output for people and scripts.

#![forbid(unsafe_code)]

mod args;
mod chat;
mod compare;
mod content;
mod exit;
mod incoming;
mod login;
mod net;
mod notifications;
mod pages;
mod profile;
mod random;
mod receive;
mod recipients;
mod report;
mod send;
mod store;
mod watch;

use std::process::ExitCode;

use clap::FromArgMatches as _;

use args::{Arguments, Command, ProgressKind};
use exit::Problem;
use net::Tap;
use profile::Contacts;
use report::Report;

fn main() -> ExitCode {
    let (arguments, contacts) = match profile::apply(std::env::args_os().collect()) {
        Ok(applied) => applied,
        Err(problem) => {
            Report::new(false, ProgressKind::None).problem(&problem);
            return ExitCode::from(problem.exit as u8);
        }
    };
    let matches = pages::command().get_matches_from(arguments);
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let progress = match &arguments.command {
        Command::Send(send) => send.progress,
        Command::Receive(receive) => receive.progress,
        _ => ProgressKind::None,
    };
    let report = Report::new(arguments.json, progress);
    match run(arguments, &contacts, &report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            report.problem(&problem);
            ExitCode::from(problem.exit as u8)
        }
    }
}

fn run(arguments: Arguments, contacts: &Contacts, report: &Report) -> Result<(), Problem> {
    let pcap = arguments.pcap.as_deref();
    let tap = || {
        Tap::new(arguments.trace, pcap).map_err(|error| {
            let file = pcap.map(|file| file.display().to_string());
            Problem::local(format!("--pcap {}: {error}", file.unwrap_or_default()))
        })
    };
    match arguments.command {
        Command::Send(mut send) => {
            for list in [&mut send.to, &mut send.cc, &mut send.bcc] {
                contacts.expand(list)?;
            }
            if let Some([_, address]) = send.via.as_deref_mut() {
                contacts.expand_one(address)?;
            }
            send::run(&send, tap()?, report)
        }
        Command::Receive(receive) => receive::run(&receive, tap()?, report),
        Command::Chat(mut chat) => {
            contacts.expand(&mut chat.to)?;
            if let Some([_, address]) = chat.via.as_deref_mut() {
                contacts.expand_one(address)?;
            }
            chat::run(&chat, contacts, tap()?)
        }
        Command::Match(compared) => compare::run(&compared, report),
        Command::Completion { shell } => Ok(pages::completion(shell)?),
        Command::Man { folder } => Ok(pages::man_pages(&folder)?),
    }
}
