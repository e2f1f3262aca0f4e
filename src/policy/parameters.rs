//! What is to be known of each parameter beside how its value gets in: its default, whether it can change while the
//! proxy runs, and what its value is now.

use std::fmt;

use super::settings::{ParameterError, Settings, SettingsError};
use super::state_dir::{self, SPOOL_DIR, STATE_DIR};

/// One parameter. How its value gets in stands in the tables of setters.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its default as an operator would write it. Empty: there is none, or it follows from something else.
    pub default: &'static str,
    /// What it says, in a few words, where it can change while the proxy runs.
    pub tunable: Option<&'static str>,
    /// Whether a further value adds to those before it.
    pub is_repeatable: bool,
    /// Whether nobody may see its value.
    pub is_secret: bool,
}

impl Parameter {
    const fn new(name: &'static str, default: &'static str) -> Self {
        Parameter {
            name,
            default,
            tunable: None,
            is_repeatable: false,
            is_secret: false,
        }
    }

    const fn tunable(self, help: &'static str) -> Self {
        Parameter {
            tunable: Some(help),
            ..self
        }
    }

    const fn repeatable(name: &'static str) -> Self {
        Parameter {
            is_repeatable: true,
            ..Self::new(name, "")
        }
    }

    const fn secret(name: &'static str) -> Self {
        Parameter {
            is_secret: true,
            ..Self::new(name, "")
        }
    }

    /// The parameter with this name.
    pub fn named(name: &str) -> Option<&'static Parameter> {
        ALL.iter().find(|parameter| parameter.name == name)
    }

    /// Which values it takes. The setter says so itself when it refuses one, so that a range stands in one place.
    pub fn domain(&self) -> Domain {
        match Settings::default().set(self.name, "?") {
            Err(ParameterError::NotYesOrNo) => Domain::YesOrNo,
            Err(ParameterError::OutOfRange { min, max }) => Domain::Number { min, max },
            Err(ParameterError::NotOneOf(words)) => {
                let numbers = || words.iter().map(|word| word.parse::<usize>().ok());
                match (numbers().min().flatten(), numbers().max().flatten()) {
                    (Some(min), Some(max)) => Domain::Numbers { min, max },
                    _ => Domain::Text,
                }
            }
            _ => Domain::Text,
        }
    }

    /// Whether a value can be refused although its domain has it.
    pub fn is_checked(&self) -> bool {
        self.name == INTERWORKING || matches!(self.domain(), Domain::Numbers { .. })
    }
}

/// Which values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// 1 or 0.
    YesOrNo,
    /// A number of this range.
    Number {
        /// Smallest value.
        min: usize,
        /// Largest value.
        max: usize,
    },
    /// Some of the numbers of this range.
    Numbers {
        /// Smallest value.
        min: usize,
        /// Largest value.
        max: usize,
    },
    /// Anything else.
    Text,
}

/// Every parameter, in the order of the manual.
pub const ALL: &[Parameter] = &[
    Parameter::repeatable("exploder_uri"),
    Parameter::repeatable("controlling_uri"),
    Parameter::new("outbound_proxy", ""),
    Parameter::repeatable("dns_server"),
    Parameter::new("isf_uri", ""),
    Parameter::new("identity_source", "pai"),
    Parameter::repeatable("trusted_peer"),
    Parameter::new("required_user_agent", ""),
    Parameter::new("allow_anonymity", "1").tunable("whether originators may ask for anonymity"),
    Parameter::new("max_recipients", "100").tunable("most distinct recipients of one message"),
    Parameter::new("max_outstanding_per_sender", "2000")
        .tunable("most recipients of one originator that are awaited; 0: no limit"),
    Parameter::new("max_outstanding_per_source", "2000")
        .tunable("the same of one address that is no trusted_peer; 0: no limit"),
    Parameter::new("max_outstanding_per_destination", "3000")
        .tunable("most recipients with one host in their addresses that are awaited; 0: no limit"),
    Parameter::new("require_ids", "0")
        .tunable("whether Conversation-ID and Contribution-ID have to be there"),
    Parameter::new("missing_list_code", "403")
        .tunable("answer to a request without a resource list: 403 or 400"),
    Parameter::new("history_unqualified", "hide"),
    Parameter::new("exploder_service", "copy"),
    Parameter::repeatable("drop_headers"),
    Parameter::new(INTERWORKING, "").tunable("whether interworking is allowed; needs isf_uri"),
    Parameter::new("isf_codes", "404 405 410 414 415 416 488 606"),
    Parameter::repeatable("group_source"),
    Parameter::repeatable("group_uri"),
    Parameter::new("group_timeout", "5000")
        .tunable("how long an XDMS may take for a group, in milliseconds"),
    Parameter::new("group_lifetime", "60")
        .tunable("how long a group is taken from the cache, in seconds"),
    Parameter::new("xcap_user", ""),
    Parameter::secret("xcap_password"),
    Parameter::new("xcap_ca_file", ""),
    Parameter::new("unknown_group_code", "404")
        .tunable("answer to a request for a group that does not exist: 404 or 403"),
    Parameter::new("max_group_members", "10000")
        .tunable("most distinct members that a message to a group goes to"),
    Parameter::new("group_nesting", "0")
        .tunable("through how many groups a message may come that a group sends on"),
    Parameter::new("copy_to_sender", "0")
        .tunable("whether a member who sends to the group gets a copy"),
    Parameter::repeatable("msrp_listen"),
    Parameter::repeatable("msrp_advertise"),
    Parameter::new("msrp_transport", "tcp"),
    Parameter::new("msrp_tls_certificate", ""),
    Parameter::new("msrp_tls_private_key", ""),
    Parameter::new("msrp_tls_ca_file", ""),
    Parameter::new("msrp_max_message", "104857600"),
    Parameter::new("msrp_chunk_size", "0"),
    Parameter::new("msrp_memory", "268435456"),
    Parameter::new("msrp_session_memory", "8388608"),
    Parameter::new("msrp_spool_dir", ""),
    Parameter::new("msrp_spool", "4294967296"),
    Parameter::new("msrp_stall_timeout", "60"),
    Parameter::new("spool_ttl", "14400")
        .tunable("how long a complete message is kept for a recipient, in seconds; 0: no limit"),
    Parameter::new("msrp_max_connections", "10000"),
    Parameter::new("msrp_max_unbound", "1024"),
    Parameter::new("msrp_max_unbound_per_source", "256"),
    Parameter::new("max_sessions", "1000").tunable("most large message sessions at once"),
    Parameter::new("max_sessions_per_sender", "250")
        .tunable("most large message sessions of one originator at once; 0: no limit"),
    Parameter::new("contact_uri", ""),
    Parameter::new("require_session_timer", "lenient"),
    Parameter::new("session_expires", "1800")
        .tunable("session interval towards originators who name none, in seconds"),
    Parameter::new("leg_session_expires", "1800"),
    Parameter::new("leg_timeout", "60").tunable("how long a recipient may ring, in seconds"),
    Parameter::new("max_parallel_legs", "0")
        .tunable("most INVITEs of a session that wait for a final answer; 0: no limit"),
    Parameter::new("legs_per_second", "0")
        .tunable("INVITEs that a session sends in a second; 0: no limit"),
    Parameter::new("all_failed_response", "480"),
    Parameter::new("leg_ack", "on_sender_ack"),
    Parameter::new("ack_wait", "10")
        .tunable("how long recipients who answered wait for the originator's ACK, in seconds"),
    Parameter::new("large_no_destinations_text", "numbered"),
    Parameter::new("large_group_no_cpm_code", "404")
        .tunable("answer to an INVITE for a group without CPM: 404 or 488"),
    Parameter::new("imdn", "forward"),
    Parameter::new("group_receipts", "nameless"),
    Parameter::new("imdn_ttl", "86400")
        .tunable("how long notifications about a message are forwarded, in seconds"),
    Parameter::new("imdn_records", "10000"),
    Parameter::new("failure_imdn", "0"),
    Parameter::new("trigger", "accept_contact"),
    Parameter::new("request_records", "200000"),
    Parameter::new(STATE_DIR, state_dir::DEFAULT),
    Parameter::new("id_key_file", ""),
    Parameter::new("warning_agent", ""),
    Parameter::new("oma_release", "2.2"),
];

/// The parameter that depends on another.
const INTERWORKING: &str = "interworking";

/// What is shown in place of a secret.
const SECRET: &str = "(set)";

/// The values that the operator gave, as he wrote them.
#[derive(Clone, Debug, Default)]
pub(super) struct Given(Vec<(&'static str, String)>);

impl Given {
    /// Keeps a value that has got in.
    pub(super) fn keep(&mut self, name: &'static str, value: &str) {
        let parameter = Parameter::named(name);
        if !parameter.is_some_and(|parameter| parameter.is_repeatable) {
            self.0.retain(|(known, _)| *known != name);
        }
        // Both spellings of a yes are one value.
        let value = match value {
            "yes" => "1",
            "no" => "0",
            other => other,
        };
        self.0.push((name, value.to_owned()));
    }

    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_name = self.0.iter().filter(move |(known, _)| *known == name);
        of_name.map(|(_, value)| value.as_str())
    }
}

impl Settings {
    /// The values in force of one parameter: none, one, or for a repeatable one several. A secret is not told.
    pub fn values(&self, parameter: &Parameter) -> Vec<&str> {
        let mut values: Vec<&str> = self.given.values(parameter.name).collect();
        if parameter.name == INTERWORKING {
            values = vec![if self.interworking_to().is_some() {
                "1"
            } else {
                "0"
            }];
        }
        if parameter.name == STATE_DIR && self.state_dir.is_none() {
            values = vec![state_dir::NONE];
        }
        if parameter.name == SPOOL_DIR && values.is_empty() {
            let dir = self.spool_dir().map(|dir| dir.to_str().unwrap_or_default());
            values = vec![dir.unwrap_or(state_dir::NONE)];
        }
        if values.is_empty() && !parameter.default.is_empty() {
            values.push(parameter.default);
        }
        if parameter.is_secret {
            values.fill(SECRET);
        }
        values
    }

    /// Changes a parameter of a service that runs.
    pub fn tune(&mut self, name: &str, value: &str) -> Result<(), TuneError> {
        let parameter = Parameter::named(name).ok_or(ParameterError::Unknown)?;
        if parameter.tunable.is_none() {
            return Err(TuneError::NotTunable);
        }
        self.set(name, value)?;
        Ok(self.check()?)
    }
}

/// Why a parameter cannot change while the proxy runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TuneError {
    /// It is read when the proxy starts, only then.
    NotTunable,
    /// It cannot have this value.
    Parameter(ParameterError),
    /// The value does not fit the other parameters.
    Settings(SettingsError),
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
            TuneError::Settings(error) => write!(f, "does not fit: {error}"),
        }
    }
}

impl std::error::Error for TuneError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parameter_names;

    #[test]
    fn each_parameter_stands_in_both_tables() {
        let mut known: Vec<_> = parameter_names().collect();
        let mut described: Vec<_> = ALL.iter().map(|parameter| parameter.name).collect();
        known.sort_unstable();
        described.sort_unstable();
        assert_eq!(known, described);
    }

    #[test]
    fn the_defaults_are_those_of_the_settings() {
        let defaults = format!("{:?}", Settings::default());
        for parameter in ALL {
            if parameter.default.is_empty() {
                continue;
            }
            let mut settings = Settings::default();
            settings.set(parameter.name, parameter.default).unwrap();
            assert_eq!(settings.values(parameter), [parameter.default]);
            settings.given = Given::default();
            assert_eq!(format!("{settings:?}"), defaults, "{}", parameter.name);
        }
    }

    #[test]
    fn only_repeatable_parameters_add_up() {
        for parameter in ALL {
            let value = match parameter.name {
                "exploder_uri" | "controlling_uri" => "sip:a@example.com",
                "group_uri" => "sip:*@example.com",
                "group_source" => "dir:/groups",
                "trusted_peer" => "192.0.2.1",
                "drop_headers" => "X-A",
                _ => continue,
            };
            let mut settings = Settings::default();
            settings.set(parameter.name, value).unwrap();
            settings.set(parameter.name, value).unwrap();
            assert_eq!(settings.values(parameter), [value, value]);
        }
        let mut settings = Settings::default();
        for value in ["7", "8"] {
            settings.set("max_recipients", value).unwrap();
        }
        let parameter = Parameter::named("max_recipients").unwrap();
        assert_eq!(settings.values(parameter), ["8"]);
    }

    #[test]
    fn a_secret_is_not_told() {
        let mut settings = Settings::default();
        let password = Parameter::named("xcap_password").unwrap();
        assert!(settings.values(password).is_empty());
        settings.set("xcap_password", "open sesame").unwrap();
        assert_eq!(settings.values(password), ["(set)"]);
    }

    #[test]
    fn a_domain_is_what_the_setter_takes() {
        let domain = |name| Parameter::named(name).unwrap().domain();
        assert_eq!(domain("allow_anonymity"), Domain::YesOrNo);
        assert_eq!(
            domain("max_recipients"),
            Domain::Number {
                min: 1,
                max: 10_000
            }
        );
        assert_eq!(
            domain("missing_list_code"),
            Domain::Numbers { min: 400, max: 403 }
        );
        assert_eq!(domain("trigger"), Domain::Text);
        assert_eq!(domain("xcap_user"), Domain::Text);
        for parameter in ALL.iter().filter(|parameter| parameter.tunable.is_some()) {
            assert_ne!(parameter.domain(), Domain::Text, "{}", parameter.name);
        }
    }

    #[test]
    fn what_cannot_change_while_running_is_refused() {
        let mut settings = Settings::default();
        settings.set("exploder_uri", "sip:e@example.com").unwrap();
        let refused = |settings: &mut Settings, name, value| {
            settings.tune(name, value).unwrap_err().to_string()
        };
        settings.tune("max_recipients", "7").unwrap();
        assert_eq!(settings.max_recipients, 7);
        assert_eq!(
            refused(&mut settings, "trigger", "accept_contact"),
            "takes effect at a restart only"
        );
        assert_eq!(refused(&mut settings, "nothing", "1"), "is not a parameter");
        assert_eq!(
            refused(&mut settings, "missing_list_code", "401"),
            "is none of: 403, 400"
        );
        assert_eq!(
            refused(&mut settings, "interworking", "1"),
            "does not fit: interworking is on, but isf_uri is not set"
        );
    }
}
