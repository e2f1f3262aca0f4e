//! One parameter: its description, and how a value is applied to the settings.

use std::fmt;

use super::settings::Settings;
use super::value::{ParameterError, sip_uri, yes_or_no};

/// The values of a parameter, and the field that they set.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Yes or no, also written as 1 or 0.
    Flag(fn(&mut Settings, bool)),
    /// A number.
    Number {
        /// Its range.
        range: Range,
        /// Applies a number of this range.
        set: fn(&mut Settings, usize),
    },
    /// One of these words.
    Words(&'static [Word]),
    /// A sip: or sips: URI.
    Uri(Setter),
    /// Any other text. Its setter refuses invalid ones.
    Text(Setter),
    /// A text that is never shown.
    Secret(Setter),
}

/// Applies a text to the settings, or refuses it.
pub(super) type Setter = fn(&mut Settings, &str) -> Result<(), ParameterError>;

impl Kind {
    pub(super) const fn unit(self, unit: &'static str) -> Self {
        match self {
            Kind::Number { range, set } => {
                let range = Range { unit, ..range };
                Kind::Number { range, set }
            }
            other => other,
        }
    }

    pub(super) const fn zero(self, zero: &'static str) -> Self {
        match self {
            Kind::Number { range, set } => {
                let range = Range { zero, ..range };
                Kind::Number { range, set }
            }
            other => other,
        }
    }
}

/// The range of a numeric parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Smallest number.
    pub min: usize,
    /// Largest number. [`UNLIMITED`]: no practical limit.
    pub max: usize,
    /// The unit, such as seconds. Empty: obvious.
    pub unit: &'static str,
    /// The meaning of 0, if it is not a quantity. Then 0 is allowed even if `min` is above it.
    pub zero: &'static str,
}

/// The largest number of a parameter that has no upper limit of its own.
pub const UNLIMITED: usize = usize::MAX >> 1;

/// A word that a parameter accepts, and its effect.
#[derive(Clone, Copy)]
pub struct Word {
    /// The word.
    pub text: &'static str,
    pub(super) set: fn(&mut Settings),
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Word {}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Range {
    fn contains(&self, number: usize) -> bool {
        (self.min..=self.max).contains(&number) || self.is_gap_above_zero() && number == 0
    }

    fn is_gap_above_zero(&self) -> bool {
        !self.zero.is_empty() && self.min > 0
    }

    fn read(&self, text: &str) -> Result<usize, ParameterError> {
        let number = text.parse().ok().filter(|number| self.contains(*number));
        number.ok_or(ParameterError::OutOfRange {
            min: self.min,
            max: self.max,
            or_zero: self.is_gap_above_zero(),
        })
    }
}

/// As in `1 to 150 seconds` or `0 to 10000; 0: no limit`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.max == UNLIMITED {
            write!(f, "from {}", self.min)?;
        } else {
            write!(f, "{} to {}", self.min, self.max)?;
        }
        if !self.unit.is_empty() {
            write!(f, " {}", self.unit)?;
        }
        if !self.zero.is_empty() {
            write!(f, "; 0: {}", self.zero)?;
        }
        Ok(())
    }
}

/// The form of a value, for an operator.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Flag(_) => f.write_str("yes or no"),
            Kind::Number { range, .. } => write!(f, "number, {range}"),
            Kind::Words(words) => {
                for (n, word) in words.iter().enumerate() {
                    let before = match n {
                        0 => "",
                        n if n + 1 == words.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{before}{}", word.text)?;
                }
                Ok(())
            }
            Kind::Uri(_) => f.write_str("sip: or sips: URI"),
            Kind::Text(_) => f.write_str("string"),
            Kind::Secret(_) => f.write_str("string, never shown"),
        }
    }
}

/// One parameter: its row in the table of [all](super::ALL_PARAMETERS).
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub kind: Kind,
    /// Its default as an operator would write it. Empty: none, or derived from other parameters.
    pub default: &'static str,
    /// A short description.
    pub help: &'static str,
    /// Whether it can change while the proxy runs.
    pub is_tunable: bool,
    /// Whether the file of parameters can set it, and so change it while the proxy runs.
    pub is_reloadable: bool,
    /// Maximum number of values; if more than 1, each further value is added to the previous ones.
    pub most_values: usize,
    /// Its value in force, if that is neither the given value nor the default.
    pub(super) in_force: Option<fn(&Settings) -> &str>,
}

impl Parameter {
    pub(super) const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Parameter {
            name,
            kind,
            default: "",
            help,
            is_tunable: false,
            is_reloadable: false,
            most_values: 1,
            in_force: None,
        }
    }

    pub(super) const fn default(self, default: &'static str) -> Self {
        Parameter { default, ..self }
    }

    pub(super) const fn tunable(self) -> Self {
        Parameter {
            is_tunable: true,
            ..self
        }
    }

    pub(super) const fn reloadable(self) -> Self {
        Parameter {
            is_reloadable: true,
            ..self
        }
    }

    pub(super) const fn repeatable(self, most_values: usize) -> Self {
        Parameter {
            most_values,
            ..self
        }
    }

    pub(super) const fn in_force(self, in_force: fn(&Settings) -> &str) -> Self {
        Parameter {
            in_force: Some(in_force),
            ..self
        }
    }

    /// Whether further values are added to the previous ones.
    pub fn is_repeatable(&self) -> bool {
        self.most_values > 1
    }

    /// Whether its value is never shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret(_))
    }

    /// The smallest and the largest value of a numeric parameter. A yes or no is 1 or 0.
    pub fn numbers(&self) -> Option<(usize, usize)> {
        match self.kind {
            Kind::Flag(_) => Some((0, 1)),
            Kind::Number { range, .. } if range.is_gap_above_zero() => Some((0, range.max)),
            Kind::Number { range, .. } => Some((range.min, range.max)),
            Kind::Words(words) => {
                let numbers = words.iter().map(|word| word.text.parse().ok());
                let numbers: Vec<usize> = numbers.collect::<Option<_>>()?;
                Some((*numbers.iter().min()?, *numbers.iter().max()?))
            }
            Kind::Uri(_) | Kind::Text(_) | Kind::Secret(_) => None,
        }
    }

    /// Whether a number in the range can be refused.
    pub fn is_checked(&self) -> bool {
        let has_gaps = match self.kind {
            Kind::Number { range, .. } => range.is_gap_above_zero(),
            Kind::Words(_) => true,
            _ => false,
        };
        // A parameter that depends on others may conflict with them.
        has_gaps || self.in_force.is_some()
    }

    /// Reads a value of a numeric parameter; a yes is 1.
    ///
    /// # Errors
    ///
    /// It is none of its values, or the parameter is not numeric.
    pub fn number_of(&self, text: &str) -> Result<usize, ParameterError> {
        match self.kind {
            Kind::Flag(_) => yes_or_no(text).map(usize::from),
            Kind::Number { range, .. } => range.read(text),
            _ => Err(ParameterError::Unknown),
        }
    }

    /// Applies a value to the settings; it replaces the present value or is added to it. Returns
    /// the canonical spelling of the value.
    pub(super) fn read<'a>(
        &self,
        settings: &mut Settings,
        text: &'a str,
    ) -> Result<&'a str, ParameterError> {
        match self.kind {
            Kind::Flag(set) => {
                let is_on = yes_or_no(text)?;
                set(settings, is_on);
                return Ok(if is_on { "1" } else { "0" });
            }
            Kind::Number { range, set } => set(settings, range.read(text)?),
            Kind::Words(words) => {
                let word = words.iter().find(|word| word.text == text);
                let not_one_of =
                    || ParameterError::NotOneOf(words.iter().map(|word| word.text).collect());
                (word.ok_or_else(not_one_of)?.set)(settings);
            }
            Kind::Uri(set) => {
                sip_uri(text)?;
                set(settings, text)?;
            }
            Kind::Text(set) | Kind::Secret(set) => set(settings, text)?,
        }
        Ok(text)
    }
}
