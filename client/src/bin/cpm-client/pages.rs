//! Help, man pages and completion scripts: what clap makes of the arguments, with what it cannot
//! know (examples, exit status) beside it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::args::Arguments;
use crate::exit::Exit;

/// A command line, and what it is for.
type Example = (&'static str, &'static str);

const PROGRAM: &str = "cpm-client";

/// Examples by subcommand. Lines end before column 80, so that no terminal breaks them: what is
/// copied from the screen runs.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "send",
        &[
            (
                "A text to one recipient",
                "cpm-client send --server sip.example.com --from sip:anne@example.com \\
    --to sip:bill@example.com 'Lunch?'",
            ),
            (
                "To many, who do not learn of each other",
                "cpm-client send --server sip.example.com --from sip:anne@example.com \\
    --via exploder sip:exploder@example.com \\
    --to sip:bill@example.com --to sip:carol@example.com 'Lunch?'",
            ),
            (
                "A picture to an ad-hoc group, with a bar for each recipient",
                "cpm-client send --server sip.example.com --from sip:anne@example.com \\
    --via adhoc sip:cpm@example.com --to sip:bill@example.com \\
    --cc sip:carol@example.com --file picture.png \\
    --watch http://sip.example.com:5060/RPC",
            ),
            (
                "Registered for a minute, to learn who has it and who has read it",
                "cpm-client send --server sip.example.com --from sip:anne@example.com \\
    --user anne --password-file secret --register sip:example.com \\
    --notify delivered,displayed --wait-notifications 60 \\
    --via exploder sip:exploder@example.com --list all.txt 'Lunch?'",
            ),
            (
                "To a pre-defined group",
                "cpm-client send --server sip.example.com --from sip:anne@example.com \\
    --via group sip:friends@groups.example.com 'Lunch?'",
            ),
            (
                "From standard input, to the addresses in a file",
                "cpm-client send --server sip.example.com --from sip:anne@example.com \\
    --via exploder sip:exploder@example.com --list all.txt < news.txt",
            ),
            (
                "A reply to a message that was kept",
                "cpm-client send --server sip.example.com --from sip:anne@example.com \\
    --reply inbox/20261124-1.cpm 'Yes!'",
            ),
            (
                "With the settings and names of a configuration file",
                "cpm-client --profile work send --to bill --to team 'Lunch?'",
            ),
            (
                "A record of what went over the wire, for Wireshark",
                "cpm-client --pcap lunch.pcap send --server sip.example.com \\
    --from sip:anne@example.com --to sip:bill@example.com 'Lunch?'",
            ),
        ],
    ),
    (
        "receive",
        &[
            (
                "Listen, and keep what comes in a folder",
                "cpm-client receive --address sip:bill@example.com \\
    --listen 192.0.2.7:5062 --store inbox",
            ),
            (
                "The same over UDP, TCP and TLS",
                "cpm-client receive --address sip:bill@example.com \\
    --listen 192.0.2.7:5062 --listen tls:192.0.2.7:5063 \\
    --tls-certificate bill.pem --tls-private-key bill.key",
            ),
            (
                "Register first, and end after one message",
                "cpm-client receive --address sip:bill@example.com \\
    --listen 192.0.2.7:5062 --register sip:example.com \\
    --server sip.example.com --user bill --count 1",
            ),
            (
                "Play a recipient that is busy",
                "cpm-client receive --address sip:bill@example.com \\
    --listen 192.0.2.7:5062 --reject 486",
            ),
        ],
    ),
    (
        "chat",
        &[
            (
                "Talk to one person",
                "cpm-client chat --server sip.example.com --from sip:anne@example.com \\
    --listen 192.0.2.7:5062 --to sip:bill@example.com",
            ),
            (
                "Talk to several at once, registered",
                "cpm-client chat --server sip.example.com --from sip:anne@example.com \\
    --register sip:example.com --user anne --password-file secret \\
    --via adhoc sip:cpm@example.com \\
    --to sip:bill@example.com --to sip:carol@example.com",
            ),
        ],
    ),
    (
        "match",
        &[(
            "Compare a message that was sent with its copy in the message store",
            "cpm-client match --sip sent/1.cpm --stored imap/42.eml \\
    --folder sip:bill@example.com",
        )],
    ),
    (
        "completion",
        &[
            (
                "For bash",
                "cpm-client completion bash > /etc/bash_completion.d/cpm-client",
            ),
            (
                "For zsh, in a folder of $fpath",
                "cpm-client completion zsh > ~/.zfunc/_cpm-client",
            ),
            (
                "For fish",
                "cpm-client completion fish > ~/.config/fish/completions/cpm-client.fish",
            ),
        ],
    ),
    (
        "man",
        &[(
            "Install the man pages",
            "cpm-client man /usr/local/share/man/man1",
        )],
    ),
];

/// The command line with its examples, which are not wrapped: a broken line could not be copied.
pub(crate) fn command() -> Command {
    const BEGINNING: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}\n";
    let mut command = Arguments::command();
    for (name, examples) in EXAMPLES {
        let mut template = format!("{BEGINNING}\nExamples:\n");
        for (what, line) in *examples {
            let line = line.replace('\n', "\n    ");
            template += &format!("  {what}:\n    {line}\n");
        }
        command = command.mut_subcommand(name, |command| command.help_template(template));
    }
    let mut template = format!("{BEGINNING}\nExit status:\n");
    for exit in Exit::ALL {
        template += &format!("  {:4} {}\n", exit as u8, exit.meaning());
    }
    command.help_template(template)
}

/// Writes a completion script to standard output.
pub(crate) fn completion(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), PROGRAM, &mut script);
    let script = String::from_utf8_lossy(&script);
    // clap_complete spells the name of a program with a hyphen in two ways in its bash script, so
    // that nothing behind a subcommand would be completed.
    let script = script.replace("cpm__subcmd__client", "cpm__client");
    io::stdout().write_all(script.as_bytes())
}

/// Writes the man pages, one for the program and one for each subcommand, into a folder.
pub(crate) fn man_pages(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut command = command().disable_help_subcommand(true);
    command.build();
    write_page(folder, &command)?;
    for subcommand in command.get_subcommands() {
        write_page(folder, subcommand)?;
    }
    Ok(())
}

fn write_page(folder: &Path, command: &Command) -> io::Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let man = Man::new(command.clone()).manual("CPM Client");
    let mut page = File::create(folder.join(format!("{name}.1")))?;
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    exit_status().to_writer(&mut page)?;
    environment(command).to_writer(&mut page)?;
    let examples = EXAMPLES.iter().find(|(one, _)| *one == command.get_name());
    let examples = examples.map_or_else(Vec::new, |(_, examples)| examples.to_vec());
    // The page of the program shows the first example of each subcommand.
    let first = EXAMPLES.iter().filter_map(|(_, examples)| examples.first());
    let examples = if command.has_subcommands() {
        first.copied().collect()
    } else {
        examples
    };
    examples_section(&examples).to_writer(&mut page)?;
    if command.get_version().is_some() {
        man.render_version_section(&mut page)?;
    }
    Ok(())
}

fn exit_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        roff.control("TP", []);
        roff.text([bold((exit as u8).to_string())]);
        roff.text([roman(exit.meaning())]);
    }
    roff
}

fn environment(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    for argument in command.get_arguments() {
        let Some((variable, long)) = argument.get_env().zip(argument.get_long()) else {
            continue;
        };
        roff.control("TP", []);
        roff.text([bold(variable.to_string_lossy())]);
        roff.text([
            roman("The value of "),
            bold(format!("--{long}")),
            roman(" where it is not given."),
        ]);
    }
    roff.control("TP", []);
    roff.text([bold("CPM_CLIENT_PASSWORD")]);
    roff.text([
        roman("The password, where "),
        bold("--password-file"),
        roman(" is not given."),
    ]);
    roff
}

fn examples_section(examples: &[Example]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (what, line) in examples {
        roff.control("TP", []);
        roff.text([italic(*what)]);
        roff.control("nf", []);
        for line in line.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn no_example_is_wider_than_a_terminal() {
        for (_, examples) in EXAMPLES {
            for (_, line) in *examples {
                assert!(line.lines().all(|line| line.len() < 76), "{line}");
            }
        }
    }
}
