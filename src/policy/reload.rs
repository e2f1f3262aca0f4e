//! The file of parameters: what it sets takes the place of what the configuration sets, at the
//! start and each time it is read again.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use super::parameter::Parameter;
use super::settings::{Settings, SettingsError};
use super::value::ParameterError;

/// Maximum size of the file in bytes: 64 addresses of each kind, and some hundred peers.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why new values cannot be used: one line for the operator. Nothing has changed.
#[derive(Debug)]
pub enum ReloadError {
    /// The file cannot be read.
    File(String, io::Error),
    /// It is larger than the limit, or is not text.
    NotText(String),
    /// A line is no `name = value`; its number, from 1.
    Line(usize),
    /// A line has a name or a value that is refused.
    Parameter(usize, String, ParameterError),
    /// A line has a parameter that only takes effect at a restart.
    NotReloadable(usize, &'static str),
    /// The parameters conflict.
    Settings(SettingsError),
    /// Another part of the service refuses them.
    Other(String),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReloadError::File(file, error) => write!(f, "{file} cannot be read: {error}"),
            ReloadError::NotText(file) => {
                write!(f, "{file} is no text of at most {MAX_FILE_BYTES} bytes")
            }
            ReloadError::Line(line) => write!(f, "line {line} is not `name = value`"),
            ReloadError::Parameter(line, name, error) => write!(f, "line {line}: {name} {error}"),
            ReloadError::NotReloadable(line, name) => {
                write!(f, "line {line}: {name} cannot be set in this file")
            }
            ReloadError::Settings(error) => error.fmt(f),
            ReloadError::Other(line) => f.write_str(line),
        }
    }
}

impl std::error::Error for ReloadError {}

impl From<SettingsError> for ReloadError {
    fn from(error: SettingsError) -> Self {
        ReloadError::Settings(error)
    }
}

impl Settings {
    /// The settings in force after the file has been read (again). `self`: as configured, without
    /// the file. `tuned`: those in force, whose tunable parameters stay.
    ///
    /// # Errors
    ///
    /// [`ReloadError`]
    pub fn reloaded(&self, tuned: &Settings) -> Result<Self, ReloadError> {
        let lines = match &self.parameter_file {
            Some(file) => read(file)?,
            None => String::new(),
        };
        let lines = lines_of(&lines)?;
        let is_in_file = |name: &str| lines.iter().any(|(_, line)| line.parameter.name == name);
        let is_tunable = |name: &str| Parameter::named(name).is_some_and(|it| it.is_tunable);
        let configured = self.given.iter();
        let configured = configured.filter(|(name, _)| !is_in_file(name) && !is_tunable(name));
        let tuned = tuned.given.iter().filter(|(name, _)| is_tunable(name));
        let mut settings = Settings::default();
        for (name, value) in configured.chain(tuned) {
            // Each has been accepted before.
            let set = settings.set(name, value);
            set.map_err(|error| ReloadError::Parameter(0, name.to_owned(), error))?;
        }
        for (number, Line { parameter, value }) in &lines {
            let set = settings.set(parameter.name, value);
            set.map_err(|error| ReloadError::Parameter(*number, parameter.name.to_owned(), error))?;
        }
        settings.check()?;
        Ok(settings)
    }
}

/// A line that sets something.
struct Line<'a> {
    parameter: &'static Parameter,
    value: &'a str,
}

fn lines_of(text: &str) -> Result<Vec<(usize, Line<'_>)>, ReloadError> {
    let numbered = text
        .lines()
        .map(str::trim)
        .zip(1..)
        .map(|(line, n)| (n, line));
    let set = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parsed = set.map(|(number, line)| {
        let (name, value) = line.split_once('=').ok_or(ReloadError::Line(number))?;
        let (name, value) = (name.trim(), value.trim());
        let value = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(value);
        let parameter = Parameter::named(name).ok_or_else(|| {
            ReloadError::Parameter(number, name.to_owned(), ParameterError::Unknown)
        })?;
        if !parameter.is_reloadable {
            return Err(ReloadError::NotReloadable(number, parameter.name));
        }
        Ok((number, Line { parameter, value }))
    });
    parsed.collect()
}

fn read(file: &str) -> Result<String, ReloadError> {
    let unreadable = |error| ReloadError::File(file.to_owned(), error);
    let opened = File::open(file).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let mut limited = opened.take(MAX_FILE_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(unreadable)?;
    let is_short = bytes.len() as u64 <= MAX_FILE_BYTES;
    let text = String::from_utf8(bytes).ok().filter(|_| is_short);
    text.ok_or_else(|| ReloadError::NotText(file.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ALL_PARAMETERS;

    /// A configuration, with this content of its file.
    fn configured(name: &str, content: &[u8]) -> Settings {
        let file = std::env::temp_dir().join(format!("cpm-reload-{}-{name}", std::process::id()));
        std::fs::write(&file, content).unwrap();
        let mut settings = Settings::default();
        settings.set("exploder_uri", "sip:e@example.com").unwrap();
        settings.set("trusted_peer", "192.0.2.1").unwrap();
        settings.set("trusted_peer", "192.0.2.2").unwrap();
        settings.set("max_recipients", "7").unwrap();
        settings
            .set("parameter_file", file.to_str().unwrap())
            .unwrap();
        settings
    }

    fn given<'a>(settings: &'a Settings, name: &str) -> Vec<&'a str> {
        settings.values(Parameter::named(name).unwrap())
    }

    #[test]
    fn what_the_file_sets_takes_the_place_of_the_configuration() {
        let text = "# peers\n\ntrusted_peer = 192.0.2.9\n controlling_uri=\"sip:c@example.com\"\n";
        let settings = configured("sets", text.as_bytes());
        let tuned = settings.tuned("max_recipients", "9").unwrap().unwrap();
        let reloaded = settings.reloaded(&tuned).unwrap();
        assert_eq!(given(&reloaded, "trusted_peer"), ["192.0.2.9"]);
        assert_eq!(given(&reloaded, "exploder_uri"), ["sip:e@example.com"]);
        assert_eq!(given(&reloaded, "controlling_uri"), ["sip:c@example.com"]);
        assert_eq!(reloaded.max_recipients, 9, "what was tuned stays");
        // What is no longer in the file is as configured.
        let without = configured("sets", b"");
        let back = without.reloaded(&reloaded).unwrap();
        assert_eq!(given(&back, "trusted_peer"), ["192.0.2.1", "192.0.2.2"]);
        assert!(back.controlling_uris.is_empty());
        assert_eq!(back.max_recipients, 9);
    }

    #[test]
    fn a_broken_file_is_refused_by_its_line() {
        for (name, content, words) in [
            (
                "line",
                &b"\ntrusted_peer\n"[..],
                "line 2 is not `name = value`",
            ),
            ("value", b"trusted_peer = nobody", "line 1: trusted_peer "),
            ("unknown", b"trusted = 192.0.2.1", "line 1: trusted "),
            (
                "restart",
                b"state_dir = /tmp",
                "line 1: state_dir cannot be set",
            ),
            (
                "tuned",
                b"max_recipients = 5",
                "line 1: max_recipients cannot be set",
            ),
            (
                "conflict",
                b"controlling_uri = sip:e@example.com",
                "the same address",
            ),
            ("bytes", b"\xff", "is no text"),
            ("large", &[b'#'; 65_537], "is no text"),
        ] {
            let settings = configured(name, content);
            let error = settings.reloaded(&settings).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
            assert_eq!(error.lines().count(), 1);
        }
        let mut missing = Settings::default();
        missing.set("exploder_uri", "sip:e@example.com").unwrap();
        missing.set("parameter_file", "/nowhere/at-all").unwrap();
        let error = missing.reloaded(&missing).unwrap_err().to_string();
        assert!(
            error.starts_with("/nowhere/at-all cannot be read: "),
            "{error}"
        );
    }

    /// One of both: the cfg framework would not know of the other's value.
    #[test]
    fn nothing_is_both_tunable_and_reloadable() {
        let rows = ALL_PARAMETERS.iter();
        assert!(
            rows.clone()
                .all(|row| !(row.is_tunable && row.is_reloadable))
        );
        assert!(rows.filter(|row| row.is_reloadable).count() >= 10);
    }
}
