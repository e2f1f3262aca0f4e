//! Values of parameters: defaults, setting, changes while the proxy runs, and the values in force.

use std::fmt;

use super::given::Given;
use super::parameter::Parameter;
use super::parameters::ALL;
use super::settings::{Settings, SettingsError};
use super::value::ParameterError;

/// Shown in place of a secret.
const SECRET: &str = "(set)";

impl Default for Settings {
    /// Every parameter at its default.
    fn default() -> Self {
        let mut settings = Settings::unset();
        for parameter in ALL {
            if !parameter.default.is_empty() {
                let read = parameter.read(&mut settings, parameter.default);
                // A test covers all of them.
                debug_assert!(read.is_ok(), "{}", parameter.name);
            }
        }
        settings
    }
}

impl Parameter {
    /// The parameter with this name.
    pub fn named(name: &str) -> Option<&'static Parameter> {
        ALL.iter().find(|parameter| parameter.name == name)
    }
}

impl Settings {
    /// Sets one parameter from its text, or adds a value to a repeatable one.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ParameterError> {
        let parameter = Parameter::named(name).ok_or(ParameterError::Unknown)?;
        let most = parameter.most_values;
        if parameter.is_repeatable() && self.given.values(name).count() >= most {
            return Err(ParameterError::TooMany(most));
        }
        let value = parameter.read(self, value.trim())?;
        self.given.keep(name, value, parameter.is_repeatable());
        Ok(())
    }

    /// Whether the operator has set this parameter.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.given.values(name).next().is_some()
    }

    /// How many values of this parameter the operator has given.
    pub fn given_values(&self, name: &str) -> usize {
        self.given.values(name).count()
    }

    /// The values in force of one parameter: none, one, or for a repeatable one several. Secrets
    /// are not shown.
    pub fn values(&self, parameter: &Parameter) -> Vec<&str> {
        if let Some(in_force) = parameter.in_force {
            return vec![in_force(self)];
        }
        let mut values: Vec<&str> = self.given.values(parameter.name).collect();
        if values.is_empty() && !parameter.default.is_empty() {
            values.push(parameter.default);
        }
        if parameter.is_secret() {
            values.fill(SECRET);
        }
        values
    }

    /// The settings with another value for a tunable parameter. `None`: it already has that value.
    pub fn tuned(&self, name: &str, value: &str) -> Result<Option<Self>, TuneError> {
        let parameter = Parameter::named(name).ok_or(ParameterError::Unknown)?;
        if !parameter.is_tunable {
            return Err(TuneError::NotTunable);
        }
        let mut tuned = self.clone();
        tuned.set(name, value)?;
        tuned.check()?;
        let is_other = tuned.values(parameter) != self.values(parameter);
        Ok(is_other.then_some(tuned))
    }

    /// Everything given by the operator, for [`read`](Self::read) in any process.
    pub fn write(&self) -> Vec<u8> {
        self.given.write()
    }

    /// The settings written by [`write`](Self::write). `None`: the bytes are something else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut settings = Settings::default();
        for (name, value) in Given::read(bytes)?.iter() {
            settings.set(name, value).ok()?;
        }
        Some(settings)
    }
}

/// Why a parameter cannot change while the proxy runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TuneError {
    /// It is read only when the proxy starts.
    NotTunable,
    /// It cannot have this value.
    Parameter(ParameterError),
    /// The value conflicts with other parameters.
    Settings(SettingsError),
    /// Another process has not finished its change.
    Busy,
    /// All settings together have become too long.
    TooLong,
}

impl From<ParameterError> for TuneError {
    fn from(error: ParameterError) -> Self {
        TuneError::Parameter(error)
    }
}

impl From<SettingsError> for TuneError {
    fn from(error: SettingsError) -> Self {
        TuneError::Settings(error)
    }
}

impl fmt::Display for TuneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TuneError::NotTunable => f.write_str("takes effect at a restart only"),
            TuneError::Parameter(error) => error.fmt(f),
            TuneError::Settings(error) => write!(f, "is not possible: {error}"),
            TuneError::Busy => f.write_str("cannot be set: another change is under way"),
            TuneError::TooLong => f.write_str("is too long together with all other settings"),
        }
    }
}

impl std::error::Error for TuneError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Kind, Range};

    fn parameter(name: &str) -> &'static Parameter {
        Parameter::named(name).unwrap()
    }

    #[test]
    fn each_row_has_a_name_of_its_own_and_says_what_it_is() {
        for (n, row) in ALL.iter().enumerate() {
            assert!(
                ALL[..n].iter().all(|other| other.name != row.name),
                "{}",
                row.name
            );
            assert!(!row.help.is_empty(), "{}", row.name);
        }
    }

    /// The initial value of a field, before the rows have been applied, is never visible.
    #[test]
    fn every_value_that_has_to_be_something_has_a_default() {
        for row in ALL {
            let text = match row.kind {
                Kind::Flag(_) | Kind::Number { .. } | Kind::Words(_) => row.default,
                _ => continue,
            };
            assert!(!text.is_empty() || row.in_force.is_some(), "{}", row.name);
        }
    }

    #[test]
    fn a_default_is_what_its_row_says() {
        let defaults = format!("{:?}", Settings::default());
        for row in ALL.iter().filter(|row| !row.default.is_empty()) {
            assert_eq!(Settings::default().values(row), [row.default]);
            let mut settings = Settings::default();
            settings.set(row.name, row.default).unwrap();
            assert_eq!(settings.values(row), [row.default]);
            settings.given = Given::default();
            assert_eq!(format!("{settings:?}"), defaults, "{}", row.name);
        }
    }

    #[test]
    fn numbers_keep_to_their_range() {
        for row in ALL {
            let Kind::Number { range, .. } = row.kind else {
                continue;
            };
            let Range { min, max, zero, .. } = range;
            let takes = |value: usize| Settings::default().set(row.name, &value.to_string());
            assert_eq!(takes(min), Ok(()), "{}", row.name);
            assert_eq!(takes(max), Ok(()), "{}", row.name);
            assert!(takes(max + 1).is_err(), "{}", row.name);
            assert_eq!(
                takes(0).is_ok(),
                min == 0 || !zero.is_empty(),
                "{}",
                row.name
            );
            if min > 1 {
                assert!(takes(min - 1).is_err(), "{}", row.name);
            }
        }
    }

    #[test]
    fn only_repeatable_parameters_add_up() {
        for row in ALL {
            let value = match row.name {
                "exploder_uri" | "controlling_uri" => "sip:a@example.com",
                "group_uri" => "sip:*@example.com",
                "group_source" => "dir:/groups",
                "trusted_peer" | "dns_server" => "192.0.2.1",
                "drop_headers" => "X-A",
                "msrp_listen" | "msrp_advertise" => "tcp:192.0.2.1:2855",
                _ if row.is_repeatable() => panic!("{} is not tested", row.name),
                _ => continue,
            };
            let mut settings = Settings::default();
            for _ in 0..row.most_values.min(100) {
                settings.set(row.name, value).unwrap();
            }
            assert_eq!(settings.values(row), vec![value; row.most_values.min(100)]);
            if row.most_values <= 100 {
                let limit = ParameterError::TooMany(row.most_values);
                assert_eq!(settings.set(row.name, value), Err(limit));
            }
        }
        let mut settings = Settings::default();
        for value in ["7", "8"] {
            settings.set("max_recipients", value).unwrap();
        }
        assert_eq!(settings.values(parameter("max_recipients")), ["8"]);
    }

    #[test]
    fn a_secret_is_not_told() {
        let mut settings = Settings::default();
        let password = parameter("xcap_password");
        assert!(settings.values(password).is_empty());
        settings.set("xcap_password", "open sesame").unwrap();
        assert_eq!(settings.values(password), ["(set)"]);
    }

    #[test]
    fn only_a_yes_is_shown_as_1() {
        let mut settings = Settings::default();
        for name in ["require_ids", "xcap_user"] {
            settings.set(name, "yes").unwrap();
        }
        assert_eq!(settings.values(parameter("require_ids")), ["1"]);
        assert_eq!(settings.values(parameter("xcap_user")), ["yes"]);
    }

    #[test]
    fn what_an_operator_is_told_of_values() {
        let told = |name| parameter(name).kind.to_string();
        assert_eq!(told("allow_anonymity"), "yes or no");
        assert_eq!(told("max_recipients"), "number, 1 to 10000");
        assert_eq!(told("group_timeout"), "number, 100 to 20000 milliseconds");
        assert_eq!(
            told("leg_session_expires"),
            "number, 90 to 86400 seconds; 0: none is asked for"
        );
        assert_eq!(told("msrp_memory"), "number, from 1048576 bytes");
        assert_eq!(told("missing_list_code"), "403 or 400");
        assert_eq!(told("identity_source"), "pai, script or from");
        assert_eq!(told("isf_uri"), "sip: or sips: URI");
    }

    #[test]
    fn what_can_change_while_running_is_a_number() {
        assert_eq!(parameter("allow_anonymity").numbers(), Some((0, 1)));
        assert_eq!(parameter("missing_list_code").numbers(), Some((400, 403)));
        assert_eq!(
            parameter("leg_session_expires").numbers(),
            Some((0, 86_400))
        );
        assert_eq!(parameter("trigger").numbers(), None);
        for row in ALL.iter().filter(|row| row.is_tunable) {
            assert!(row.numbers().is_some(), "{}", row.name);
        }
    }

    #[test]
    fn what_cannot_change_while_running_is_refused() {
        let mut settings = Settings::default();
        settings.set("exploder_uri", "sip:e@example.com").unwrap();
        let tuned = settings.tuned("max_recipients", "7").unwrap().unwrap();
        assert_eq!(tuned.max_recipients, 7);
        assert!(tuned.tuned("max_recipients", "7").unwrap().is_none());
        for (name, value, why) in [
            (
                "trigger",
                "accept_contact",
                "takes effect at a restart only",
            ),
            ("nothing", "1", "is not a parameter"),
            ("missing_list_code", "401", "is none of: 403, 400"),
            (
                "interworking",
                "1",
                "is not possible: interworking is on, but isf_uri is not set",
            ),
        ] {
            let error = settings.tuned(name, value).unwrap_err();
            assert_eq!(error.to_string(), why);
        }
    }

    #[test]
    fn settings_go_to_other_processes_whole() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("exploder_uri", "sip:a@example.com"),
            ("exploder_uri", "sip:b@example.com"),
            ("max_recipients", "7"),
            ("require_ids", "yes"),
            ("state_dir", "none"),
            ("xcap_password", "open sesame"),
        ] {
            settings.set(name, value).unwrap();
        }
        let there = Settings::read(&settings.write()).unwrap();
        assert_eq!(format!("{there:?}"), format!("{settings:?}"));
        assert!(Settings::read(b"something else").is_none());
    }
}
