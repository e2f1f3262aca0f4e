//! The values given by the operator, as written: the source of all settings, and the form in which
//! they go from one process to the others.

/// Names and values, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given(Vec<(String, String)>);

impl Given {
    /// Stores an accepted value; it replaces the previous one or, for a repeatable parameter, is
    /// added.
    pub(super) fn keep(&mut self, name: &str, value: &str, is_repeatable: bool) {
        if !is_repeatable {
            self.0.retain(|(known, _)| known != name);
        }
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// The values of one parameter.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let of_name = self.0.iter().filter(move |(known, _)| known == name);
        of_name.map(|(_, value)| value.as_str())
    }

    /// All names with their values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// For [`read`](Self::read), in any process: each text preceded by its length.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(&(text.len() as u64).to_ne_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// Reads the output of [`write`](Self::write). `None`: it is something else.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut text = || {
            let (len, rest) = bytes.split_first_chunk()?;
            let len = usize::try_from(u64::from_ne_bytes(*len)).ok()?;
            let (text, rest) = rest.split_at_checked(len)?;
            let text = String::from_utf8(text.to_vec()).ok()?;
            bytes = rest;
            Some(text)
        };
        let mut given = Vec::new();
        while let Some(name) = text() {
            given.push((name, text()?));
        }
        bytes.is_empty().then_some(Given(given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut given = Given::default();
        assert_eq!(Given::read(&given.write()), Some(given.clone()));
        given.keep("group_uri", "sip:*@a.example.com", true);
        given.keep("group_uri", "sip:*@b.example.com", true);
        given.keep("xcap_password", "", false);
        let written = given.write();
        assert_eq!(Given::read(&written), Some(given));
        for cut in 1..written.len() {
            let read = Given::read(&written[..cut]);
            assert!(read.is_none_or(|given| given.write().len() == cut), "{cut}");
        }
    }

    #[test]
    fn a_value_takes_the_place_of_the_one_before_unless_it_adds_to_it() {
        let mut given = Given::default();
        for value in ["1", "2"] {
            given.keep("once", value, false);
            given.keep("often", value, true);
        }
        assert_eq!(given.values("once").collect::<Vec<_>>(), ["2"]);
        assert_eq!(given.values("often").collect::<Vec<_>>(), ["1", "2"]);
    }
}
