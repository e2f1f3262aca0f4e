//! The configuration file: profiles, whose settings replace options, and contacts, whose names
//! replace addresses.
//!
//! ```toml
//! profile = "work"                     # where no --profile is given
//!
//! [profiles.work]
//! server = "sip.example.com"
//! from = "sip:anne@example.com"
//! password-file = "/home/anne/.sip"
//! receive.listen = ["192.0.2.7:5062"]  # for one subcommand alone
//!
//! [contacts]
//! bill = "sip:bill@example.com"
//! team = ["bill", "sip:carol@example.com"]
//! ```

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use toml::{Table, Value};

use crate::exit::{Exit, Problem};
use crate::pages;

/// Maximum number of addresses of one contact: that of the longest list.
const MAX_ADDRESSES: usize = 10_000;
/// Options with a value that may precede the subcommand.
const OPTIONS_BEFORE: [&str; 3] = ["--profile", "--config", "--pcap"];

/// Names of addresses.
#[derive(Debug, Default)]
pub(crate) struct Contacts {
    file: PathBuf,
    names: Table,
}

/// The command line with the settings of the profile, and the contacts.
///
/// An option that is set on the command line or in the environment is not taken from the profile.
pub(crate) fn apply(arguments: Vec<OsString>) -> Result<(Vec<OsString>, Contacts), Problem> {
    let command = pages::command();
    let lenient = command.clone().ignore_errors(true);
    let Ok(matches) = lenient.try_get_matches_from(&arguments) else {
        return Ok((arguments, Contacts::default()));
    };
    let Some((name, given)) = matches.subcommand() else {
        return Ok((arguments, Contacts::default()));
    };
    let Some((file, table)) = read(given.get_one::<PathBuf>("config"))? else {
        return match given.get_one::<String>("profile") {
            None => Ok((arguments, Contacts::default())),
            Some(profile) => Err(usage(format!(
                "--profile {profile}: there is no configuration file"
            ))
            .advise("name it with --config")),
        };
    };
    let config = Config { file, table };
    let options = match config.profile(given.get_one::<String>("profile"))? {
        Some(profile) => config.options(&command, name, given, profile)?,
        None => Vec::new(),
    };
    let contacts = config.contacts()?;
    Ok((insert(arguments, name, options), contacts))
}

/// Reads the named file, or the user's own if there is one.
fn read(named: Option<&PathBuf>) -> Result<Option<(PathBuf, Table)>, Problem> {
    let Some(file) = named.cloned().or_else(own_file) else {
        return Ok(None);
    };
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(error) => return Err(Problem::local(format!("{}: {error}", file.display()))),
    };
    match text.parse::<Table>() {
        Ok(table) => Ok(Some((file, table))),
        Err(error) => Err(usage(format!("{}: {}", file.display(), error.message()))),
    }
}

/// The user's configuration file (XDG Base Directory Specification).
fn own_file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".config")))?;
    Some(folder.join("cpm-client/config.toml"))
}

fn usage(words: String) -> Problem {
    Problem::local(words).with(Exit::Usage)
}

struct Config {
    file: PathBuf,
    table: Table,
}

impl Config {
    fn problem(&self, words: &str) -> Problem {
        usage(format!("{}: {words}", self.file.display()))
    }

    /// The requested profile, else the one named in the file.
    fn profile(&self, asked: Option<&String>) -> Result<Option<&Table>, Problem> {
        let named = match self.table.get("profile") {
            None => None,
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(self.problem("`profile` is the name of a profile")),
        };
        let Some(name) = asked.or(named) else {
            return Ok(None);
        };
        let profiles = self.table.get("profiles").and_then(Value::as_table);
        match profiles.and_then(|profiles| profiles.get(name)) {
            Some(Value::Table(profile)) => Ok(Some(profile)),
            _ => Err(self.problem(&format!("there is no profile {name}"))),
        }
    }

    fn contacts(&self) -> Result<Contacts, Problem> {
        let names = match self.table.get("contacts") {
            None => Table::new(),
            Some(Value::Table(names)) => names.clone(),
            Some(_) => return Err(self.problem("`contacts` is a table of names and addresses")),
        };
        Ok(Contacts {
            file: self.file.clone(),
            names,
        })
    }

    /// The settings of a profile as arguments of a subcommand.
    fn options(
        &self,
        command: &Command,
        subcommand: &str,
        given: &ArgMatches,
        profile: &Table,
    ) -> Result<Vec<OsString>, Problem> {
        let mut options = Vec::new();
        for (key, value) in profile {
            if let Value::Table(own) = value {
                if command.find_subcommand(key).is_none() {
                    return Err(self.problem(&format!("there is no subcommand {key}")));
                }
                if key == subcommand {
                    for (key, value) in own {
                        let argument = argument(command, subcommand, key).ok_or_else(|| {
                            self.problem(&format!("{subcommand} has no option --{key}"))
                        })?;
                        self.push(&mut options, argument, given, key, value)?;
                    }
                }
                continue;
            }
            let mut all = command.get_subcommands();
            if let Some(argument) = argument(command, subcommand, key) {
                self.push(&mut options, argument, given, key, value)?;
            } else if !all.any(|other| argument(command, other.get_name(), key).is_some()) {
                return Err(self.problem(&format!("there is no option --{key}")));
            }
        }
        Ok(options)
    }

    fn push(
        &self,
        options: &mut Vec<OsString>,
        argument: &Arg,
        given: &ArgMatches,
        key: &str,
        value: &Value,
    ) -> Result<(), Problem> {
        let source = given.value_source(argument.get_id().as_str());
        if matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) {
            return Ok(());
        }
        let text = |value: &Value| match value {
            Value::String(text) => Ok(text.clone()),
            Value::Integer(number) => Ok(number.to_string()),
            _ => Err(self.problem(&format!("`{key}` is a text or a number"))),
        };
        let option = OsString::from(format!("--{key}"));
        let takes_values = argument.get_action().takes_values();
        match value {
            Value::Boolean(wanted) if !takes_values => {
                options.extend(wanted.then_some(option));
            }
            _ if !takes_values => {
                return Err(self.problem(&format!("`{key}` is true or false")));
            }
            Value::Array(values) => {
                let together = argument.get_num_args().is_some_and(|n| n.max_values() > 1);
                for (place, value) in values.iter().enumerate() {
                    if place == 0 || !together {
                        options.push(option.clone());
                    }
                    options.push(text(value)?.into());
                }
            }
            value => options.extend([option, text(value)?.into()]),
        }
        Ok(())
    }
}

/// A subcommand's option with this name.
fn argument<'a>(command: &'a Command, subcommand: &str, long: &str) -> Option<&'a Arg> {
    let subcommand = command.find_subcommand(subcommand)?;
    let mut arguments = subcommand.get_arguments();
    arguments.find(|argument| argument.get_long() == Some(long))
}

/// Inserts options after the subcommand.
fn insert(mut arguments: Vec<OsString>, subcommand: &str, options: Vec<OsString>) -> Vec<OsString> {
    let mut place = 1;
    while let Some(argument) = arguments.get(place) {
        place += 1;
        if argument == subcommand {
            arguments.splice(place..place, options);
            break;
        }
        if OPTIONS_BEFORE.iter().any(|option| argument == option) {
            place += 1;
        }
    }
    arguments
}

impl Contacts {
    /// Replaces names by their addresses; addresses stay.
    pub(crate) fn expand(&self, addresses: &mut Vec<String>) -> Result<(), Problem> {
        let mut expanded = Vec::with_capacity(addresses.len());
        for address in addresses.iter() {
            self.follow(address, &mut BTreeSet::new(), &mut expanded)?;
        }
        *addresses = expanded;
        Ok(())
    }

    /// The same where one address is needed.
    pub(crate) fn expand_one(&self, address: &mut String) -> Result<(), Problem> {
        let mut addresses = vec![std::mem::take(address)];
        let name = addresses[0].clone();
        self.expand(&mut addresses)?;
        match <[String; 1]>::try_from(addresses) {
            Ok([one]) => *address = one,
            Err(_) => return Err(usage(format!("{name} stands for several addresses"))),
        }
        Ok(())
    }

    /// The name of an address, if it has one; else its user part.
    pub(crate) fn name<'a>(&'a self, address: &'a str) -> &'a str {
        let mut names = self.names.iter();
        let known = names.find(|(_, value)| value.as_str() == Some(address));
        let user = || Some(address.split_once(':')?.1.split_once('@')?.0);
        let named = known.map(|(name, _)| name.as_str());
        named.or_else(user).unwrap_or(address)
    }

    fn follow<'a>(
        &'a self,
        name: &'a str,
        seen: &mut BTreeSet<&'a str>,
        addresses: &mut Vec<String>,
    ) -> Result<(), Problem> {
        if name.contains(':') {
            if addresses.len() == MAX_ADDRESSES {
                return Err(usage(format!(
                    "contacts: more than {MAX_ADDRESSES} addresses"
                )));
            }
            addresses.push(name.to_owned());
            return Ok(());
        }
        let problem = |words: &str| {
            let place = match self.file.as_os_str().is_empty() {
                true => String::new(),
                false => format!(" in {}", self.file.display()),
            };
            usage(format!("{name}: {words}{place}"))
        };
        // A name that refers to itself adds nobody.
        if !seen.insert(name) {
            return Ok(());
        }
        match self.names.get(name) {
            Some(Value::String(address)) => self.follow(address, seen, addresses),
            Some(Value::Array(several)) => {
                for one in several {
                    let one = one.as_str();
                    let one = one.ok_or_else(|| problem("a contact is made of texts"))?;
                    self.follow(one, seen, addresses)?;
                }
                Ok(())
            }
            Some(_) => Err(problem("a contact is an address or a list of them")),
            None => Err(problem("no address, and no contact")
                .with(Exit::Local)
                .advise(
                    "write an address, such as sip:bill@example.com, or name it in [contacts]",
                )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(text: &str) -> Contacts {
        Contacts {
            file: PathBuf::new(),
            names: text.parse().unwrap(),
        }
    }

    #[test]
    fn names_lead_to_addresses() {
        let contacts = contacts(
            "bill = 'sip:bill@example.com'\nteam = ['bill', 'team', 'sip:carol@example.com']",
        );
        let mut addresses = vec!["sip:dave@example.com".to_owned(), "team".to_owned()];
        contacts.expand(&mut addresses).unwrap();
        assert_eq!(
            addresses,
            [
                "sip:dave@example.com",
                "sip:bill@example.com",
                "sip:carol@example.com"
            ]
        );
        let mut one = "bill".to_owned();
        contacts.expand_one(&mut one).unwrap();
        assert_eq!(one, "sip:bill@example.com");
        assert!(contacts.expand_one(&mut "team".to_owned()).is_err());
        assert!(contacts.expand(&mut vec!["nobody".to_owned()]).is_err());
    }

    #[test]
    fn options_go_behind_the_subcommand() {
        let argv = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let options = || argv("--server a");
        assert_eq!(
            insert(
                argv("p --json --profile send send --to send"),
                "send",
                options()
            ),
            argv("p --json --profile send send --server a --to send")
        );
    }
}
