//! Sets of failures, such as those that lead to interworking (OMA CPM 9.1.1 and 9.1.2, last lists).

use std::fmt;

/// A small set of final SIP status codes. Initially empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusCodes {
    codes: Vec<u16>,
}

/// A word is not a status code from 300 to 699.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFailureCode;

impl fmt::Display for NotAFailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not a list of status codes from 300 to 699")
    }
}

impl std::error::Error for NotAFailureCode {}

impl StatusCodes {
    /// Reads codes separated by spaces or commas.
    pub fn parse(text: &str) -> Result<Self, NotAFailureCode> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let codes = words
            .map(|word| word.parse().ok().filter(|code| (300..700).contains(code)))
            .collect::<Option<Vec<u16>>>()
            .ok_or(NotAFailureCode)?;
        Ok(StatusCodes { codes })
    }

    /// Whether the set has no code.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Whether the set has this code.
    pub fn contains(&self, code: u16) -> bool {
        self.codes.contains(&code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specified_codes_are_the_default() {
        let default = crate::policy::Settings::default().isf_codes;
        for code in [404, 405, 410, 414, 415, 416, 488, 606] {
            assert!(default.contains(code), "{code}");
        }
        assert!(!default.contains(480));
    }

    #[test]
    fn a_list_may_be_empty_but_not_wrong() {
        assert!(!StatusCodes::parse("").unwrap().contains(404));
        assert!(StatusCodes::parse("404,480").unwrap().contains(480));
        assert_eq!(StatusCodes::parse("404 200"), Err(NotAFailureCode));
        assert_eq!(StatusCodes::parse("4O4"), Err(NotAFailureCode));
    }
}
