//! Destinations of messages and replies.

use cpm_wire::cpim::CpimMessage;
use cpm_wire::resource_lists::{CopyControl, Entry};
use cpm_wire::sip::{NameAddr, Uri, split_list};

use super::stored::StoredMessage;

/// One recipient of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Address.
    pub uri: String,
    /// Name to display.
    pub display_name: Option<String>,
    /// Visibility to the other recipients (RFC 5364).
    pub copy_control: Option<CopyControl>,
    /// Whether the other recipients see only an anonymous entry.
    pub anonymize: bool,
}

impl Recipient {
    /// A recipient visible to all.
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

/// The destination of a message: the four kinds of 7.2.1.1-8 to -11.
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
    /// Several recipients that are not a group: the EXPLODER-URI, and the recipients.
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

    /// The recipients for a list, if this kind has one.
    pub fn list(&self) -> Option<&[Recipient]> {
        match self {
            Self::One(_) | Self::Group(_) => None,
            Self::AdHoc { recipients, .. } | Self::ToMany { recipients, .. } => Some(recipients),
        }
    }

    /// Whether it is one recipient; everything else is a group in P-Preferred-Service (readings
    /// N27).
    pub fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }

    /// Adds the address of the reply, unless the list has it.
    pub fn insert(&mut self, address: &str) {
        if let Self::AdHoc { recipients, .. } | Self::ToMany { recipients, .. } = self
            && recipients.iter().all(|recipient| recipient.uri != address)
        {
            recipients.insert(0, Recipient::to(address));
        }
    }
}

/// The header field of the received item that gives the address for a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplySource {
    /// Reply-To.
    ReplyTo,
    /// Referred-By: the originator is a temporary Group Session Identity, which is unreachable once
    /// the session has ended (9.1.2-8k; readings N31).
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

/// The address for a reply to this item unless the user gives another one (7.2.1.1-8b and -8c, -9c
/// and -9d, -11c and -11d, and the same of 7.2.1.2): Reply-To, else the authenticated originator.
/// `to_one`: the reply is for one party and not for a list; then Referred-By replaces an originator
/// that no longer exists.
pub fn reply_address(item: &StoredMessage, to_one: bool) -> Option<(ReplySource, String)> {
    let uri = |source: ReplySource| Some((source, item.uri(source.header())?.to_owned()));
    let referred = || {
        uri(ReplySource::ReferredBy)
            .filter(|(_, referred)| to_one && is_temporary_group(item) && !is_anonymous(referred))
    };
    uri(ReplySource::ReplyTo)
        .or_else(referred)
        .or_else(|| uri(ReplySource::Originator))
}

/// Whether the originator is the identity of an ad-hoc group's session: the item came through a
/// focus (RFC 5366), and is not addressed to its originator, as it would be for a pre-defined group
/// (7.2.1.3-2).
fn is_temporary_group(item: &StoredMessage) -> bool {
    let contact = item
        .field("Contact")
        .and_then(|value| split_list(value).next());
    let is_focus = contact
        .and_then(|value| NameAddr::parse(value).ok())
        .is_some_and(|address| address.parameter("isfocus").is_some());
    let cpim = CpimMessage::parse(&item.body).ok();
    let addressed = cpim.as_ref().and_then(|cpim| cpim.address("To"));
    let same = |one: &str, other: &str| match (Uri::parse(one), Uri::parse(other)) {
        (Ok(one), Ok(other)) => one.equivalent(&other),
        _ => one == other,
    };
    let originator = item.uri(ReplySource::Originator.header());
    is_focus
        && match (originator, addressed) {
            (Some(originator), Some(addressed)) => !same(originator, addressed),
            _ => true,
        }
}

/// Whether a URI is anonymous (RFC 3323 §4.1.1.3).
fn is_anonymous(uri: &str) -> bool {
    let host = Uri::parse(uri)
        .ok()
        .and_then(|uri| uri.host().map(str::to_owned));
    host.is_some_and(|host| host.to_ascii_lowercase().ends_with("anonymous.invalid"))
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
    fn whatever_is_not_one_recipient_is_a_group() {
        let address = || "sip:somebody@example.com".to_owned();
        assert!(Destination::One(address()).is_one());
        assert!(!Destination::Group(address()).is_one());
    }

    #[test]
    fn a_reply_goes_where_8b_and_8c_say() {
        let pai = (
            "P-Asserted-Identity",
            "\"Anne\" <sip:anne@example.com>, <tel:+1>",
        );
        let referred = ("Referred-By", "<sip:real@example.com>");
        let reply_to = ("Reply-To", "sip:office@example.com;x=y");
        let focus = ("Contact", "<sip:cf@192.0.2.1>;isfocus");
        let found = |source, uri: &str| Some((source, uri.to_owned()));
        let anne = found(ReplySource::Originator, "sip:anne@example.com");
        let office = found(ReplySource::ReplyTo, "sip:office@example.com");
        let real = found(ReplySource::ReferredBy, "sip:real@example.com");
        let hidden = ("Referred-By", "<sip:anonymous@anonymous.invalid>");
        let (cf, group) = ("<sip:cf@example.com>", "<SIP:anne@EXAMPLE.com>");
        for (fields, to, one, many) in [
            (&[][..], cf, None, None),
            (&[pai], cf, anne.clone(), anne.clone()),
            (
                &[pai, referred, focus, reply_to],
                cf,
                office.clone(),
                office,
            ),
            // The temporary identity of an ad-hoc group's session.
            (&[pai, referred, focus], cf, real, anne.clone()),
            // A pre-defined group stays; its message is addressed to it.
            (&[pai, referred, focus], group, anne.clone(), anne.clone()),
            // No group at all.
            (&[pai, referred], cf, anne.clone(), anne.clone()),
            (&[pai, hidden, focus], cf, anne.clone(), anne.clone()),
        ] {
            let mut item = item(fields);
            item.body = format!("To: {to}\r\n\r\nContent-Type: text/plain\r\n\r\nHi").into();
            assert_eq!(reply_address(&item, true), one, "{fields:?} {to}");
            assert_eq!(reply_address(&item, false), many, "{fields:?} {to}");
        }
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
