//! To whom a message goes, and where a reply goes.

use crate::resource_lists::{CopyControl, Entry};

use super::stored::StoredMessage;

/// One recipient of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Address.
    pub uri: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// How the other recipients see him (RFC 5364).
    pub copy_control: Option<CopyControl>,
    /// Whether the other recipients learn only that there is somebody.
    pub anonymize: bool,
}

impl Recipient {
    /// A recipient whom everybody sees.
    pub fn to(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            display_name: None,
            copy_control: Some(CopyControl::To),
            anonymize: false,
        }
    }

    pub(super) fn entry(&self) -> Entry<'_> {
        Entry {
            uri: &self.uri,
            display_name: self.display_name.as_deref(),
            copy_control: self.copy_control,
            anonymize: self.anonymize,
        }
    }
}

/// To whom a message goes: the four kinds of 7.2.1.1-8 to -11.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// One CPM user or non-CPM principal.
    One(String),
    /// An ad-hoc group: the address of the Controlling Function, and the group.
    AdHoc {
        /// Provisioned address.
        controlling: String,
        /// The group.
        recipients: Vec<Recipient>,
    },
    /// A pre-defined group.
    Group(String),
    /// Several recipients who are no group: the EXPLODER-URI, and the recipients.
    ToMany {
        /// Provisioned address.
        exploder: String,
        /// The recipients.
        recipients: Vec<Recipient>,
    },
}

impl Destination {
    /// The Request-URI, which is also the To of the CPIM message (7.2.1.3-2).
    pub fn address(&self) -> &str {
        match self {
            Self::One(address) | Self::Group(address) => address,
            Self::AdHoc { controlling, .. } => controlling,
            Self::ToMany { exploder, .. } => exploder,
        }
    }

    /// The recipients that go into a list, if this kind has one.
    pub fn list(&self) -> Option<&[Recipient]> {
        match self {
            Self::One(_) | Self::Group(_) => None,
            Self::AdHoc { recipients, .. } | Self::ToMany { recipients, .. } => Some(recipients),
        }
    }

    /// Whether it is one recipient; all else is a group in P-Preferred-Service (spec-notes N27).
    pub fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }

    /// Adds the address to which a reply goes, unless the list has it.
    pub fn insert(&mut self, address: &str) {
        if let Self::AdHoc { recipients, .. } | Self::ToMany { recipients, .. } = self
            && recipients.iter().all(|recipient| recipient.uri != address)
        {
            recipients.insert(0, Recipient::to(address));
        }
    }
}

/// Which header field of the received item says where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplySource {
    /// Reply-To.
    ReplyTo,
    /// Referred-By: the item came through a group, whose temporary address leads nowhere once the session is over
    /// (spec-notes N31).
    ReferredBy,
    /// The authenticated originator's CPM Address.
    Originator,
}

impl ReplySource {
    /// The name of the header field.
    pub fn header(self) -> &'static str {
        match self {
            Self::ReplyTo => "Reply-To",
            Self::ReferredBy => "Referred-By",
            Self::Originator => "P-Asserted-Identity",
        }
    }
}

/// Where a reply to this item goes unless the user gives a new address (7.2.1.1-8b and -8c, -9c and -9d, -11c and -11d, and
/// the same of 7.2.1.2). `to_one`: the reply is for one party and not for a list.
pub fn reply_address(item: &StoredMessage, to_one: bool) -> Option<(ReplySource, String)> {
    let uri = |source: ReplySource| Some((source, item.uri(source.header())?.to_owned()));
    uri(ReplySource::ReplyTo)
        .or_else(|| to_one.then(|| uri(ReplySource::ReferredBy)).flatten())
        .or_else(|| uri(ReplySource::Originator))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn item(fields: &[(&str, &str)]) -> StoredMessage {
        let fields = fields
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        StoredMessage {
            fields: fields.collect(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn a_reply_prefers_reply_to() {
        let pai = (
            "P-Asserted-Identity",
            "\"Anne\" <sip:anne@example.com>, <tel:+1>",
        );
        let referred = ("Referred-By", "<sip:real@example.com>");
        let reply_to = ("Reply-To", "sip:office@example.com;x=y");
        let address = |fields: &[(&str, &str)], one| reply_address(&item(fields), one);
        let found = |source, uri: &str| Some((source, uri.to_owned()));
        let anne = found(ReplySource::Originator, "sip:anne@example.com");
        let office = found(ReplySource::ReplyTo, "sip:office@example.com");
        let real = found(ReplySource::ReferredBy, "sip:real@example.com");
        for one in [false, true] {
            assert_eq!(address(&[], one), None);
            assert_eq!(address(&[pai], one), anne);
            assert_eq!(address(&[pai, referred, reply_to], one), office);
        }
        assert_eq!(address(&[pai, referred], true), real);
        assert_eq!(address(&[pai, referred], false), anne);
    }

    #[test]
    fn the_reply_address_is_listed_once() {
        let mut destination = Destination::ToMany {
            exploder: "sip:x@example.com".into(),
            recipients: vec![Recipient::to("sip:a@example.com")],
        };
        destination.insert("sip:b@example.com");
        destination.insert("sip:a@example.com");
        let uris: Vec<&str> = destination
            .list()
            .unwrap()
            .iter()
            .map(|r| &*r.uri)
            .collect();
        assert_eq!(uris, ["sip:b@example.com", "sip:a@example.com"]);
    }
}
