//! Whether a message sent or received by SIP and an object of the message store are the same
//! message: Table 2 of 7.2.1.1, which 7.2.1.2 uses too (readings N62).

use std::fmt;

use super::stored::StoredMessage;

/// The header fields that Table 2 compares, of either copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderSet {
    /// Conversation-ID.
    pub conversation_id: Option<String>,
    /// Contribution-ID.
    pub contribution_id: Option<String>,
    /// InReplyTo-Contribution-ID.
    pub in_reply_to: Option<String>,
    /// imdn.Message-ID inside of the CPIM message, or IMDN-Message-ID of the object.
    pub imdn_message_id: Option<String>,
    /// cpm.Payload-Type, or Payload-Type of the object.
    pub payload_types: Option<String>,
}

/// A row of Table 2 that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Conversation-ID.
    ConversationId,
    /// Contribution-ID.
    ContributionId,
    /// InReplyTo-Contribution-ID.
    InReplyToContributionId,
    /// The IMDN Message-ID.
    ImdnMessageId,
}

/// Result of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The same message. `payload_types_differ`: another device supports other types, which does
    /// not prevent a match.
    Same {
        /// Whether Payload-Type differs.
        payload_types_differ: bool,
    },
    /// Not the same message: the first row that differs.
    Differs(Row),
}

/// The conversation of an object's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder<'a> {
    /// A 1-to-1 message: the identity of the other party.
    OneToOne(&'a str),
    /// A message to several recipients: the Conversation-ID, also for 1-to-many messages (readings
    /// N28).
    Group(&'a str),
}

impl HeaderSet {
    /// The fields of an object, whether it came from the message server or was made from a SIP
    /// message.
    pub fn of(object: &StoredMessage) -> Self {
        let field = |name| object.field(name).map(str::to_owned);
        Self {
            conversation_id: field("Conversation-ID"),
            contribution_id: field("Contribution-ID"),
            in_reply_to: field("InReplyTo-Contribution-ID"),
            imdn_message_id: field("IMDN-Message-ID"),
            payload_types: field("Payload-Type"),
        }
    }

    /// Compares the SIP copy with an object of the message store, row by row.
    ///
    /// The identifiers are opaque and compared byte by byte (spec-notes part 6, Appendix C). A copy
    /// without one of the first two matches nothing: they are in every CPM message. The IMDN
    /// Message-ID is compared if the CPIM message has one (readings N70).
    pub fn compare(&self, stored: &HeaderSet) -> Comparison {
        let rows = [
            (
                Row::ConversationId,
                &self.conversation_id,
                &stored.conversation_id,
                true,
            ),
            (
                Row::ContributionId,
                &self.contribution_id,
                &stored.contribution_id,
                true,
            ),
            (
                Row::InReplyToContributionId,
                &self.in_reply_to,
                &stored.in_reply_to,
                false,
            ),
        ];
        for (row, own, other, required) in rows {
            if own != other || required && own.is_none() {
                return Comparison::Differs(row);
            }
        }
        if self.imdn_message_id.is_some() && self.imdn_message_id != stored.imdn_message_id {
            return Comparison::Differs(Row::ImdnMessageId);
        }
        Comparison::Same {
            payload_types_differ: self.payload_types != stored.payload_types,
        }
    }
}

impl Folder<'_> {
    /// Whether an object in the folder of this name can be the message (7.2.1.1-19a). Identities
    /// are compared as in SIP.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Group(conversation_id) => name == *conversation_id,
            Self::OneToOne(identity) => {
                let uris = (
                    cpm_wire::sip::Uri::parse(identity),
                    cpm_wire::sip::Uri::parse(name),
                );
                match uris {
                    (Ok(own), Ok(other)) => own.equivalent(&other),
                    _ => name == *identity,
                }
            }
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConversationId => "Conversation-ID",
            Self::ContributionId => "Contribution-ID",
            Self::InReplyToContributionId => "InReplyTo-Contribution-ID",
            Self::ImdnMessageId => "IMDN Message-ID",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> HeaderSet {
        HeaderSet {
            conversation_id: Some("c1".into()),
            contribution_id: Some("m1".into()),
            in_reply_to: Some("m0".into()),
            imdn_message_id: Some("i1".into()),
            payload_types: Some("text/plain".into()),
        }
    }

    #[test]
    fn table_2_row_by_row() {
        let same = |payload_types_differ| Comparison::Same {
            payload_types_differ,
        };
        assert_eq!(set().compare(&set()), same(false));
        let other = Some("other".to_owned());
        let changed = |change: fn(&mut HeaderSet) -> &mut Option<String>, to: Option<String>| {
            let mut stored = set();
            *change(&mut stored) = to;
            set().compare(&stored)
        };
        type Place = fn(&mut HeaderSet) -> &mut Option<String>;
        let rows: [(Place, Row); 4] = [
            (|s| &mut s.conversation_id, Row::ConversationId),
            (|s| &mut s.contribution_id, Row::ContributionId),
            (|s| &mut s.in_reply_to, Row::InReplyToContributionId),
            (|s| &mut s.imdn_message_id, Row::ImdnMessageId),
        ];
        for (place, row) in rows {
            assert_eq!(changed(place, other.clone()), Comparison::Differs(row));
            assert_eq!(changed(place, None), Comparison::Differs(row));
            assert_eq!(
                changed(
                    place,
                    Some(place(&mut set()).clone().unwrap().to_uppercase())
                ),
                Comparison::Differs(row),
                "opaque, thus with case"
            );
        }
        assert_eq!(changed(|s| &mut s.payload_types, other), same(true));
    }

    #[test]
    fn each_row_is_the_field_of_its_name() {
        let object = b"Conversation-ID: c1\r\nContribution-ID: m1\r\n\
            InReplyTo-Contribution-ID: m0\r\nIMDN-Message-ID: i1\r\nPayload-Type: text/plain\r\n\
            Content-Type: message/cpim\r\n\r\n";
        let object = StoredMessage::parse(&object[..].into()).unwrap();
        assert_eq!(HeaderSet::of(&object), set());
        assert_eq!(Row::ImdnMessageId.to_string(), "IMDN Message-ID");
    }

    #[test]
    fn what_is_missing() {
        let mut sip = set();
        sip.imdn_message_id = None;
        assert!(matches!(sip.compare(&set()), Comparison::Same { .. }));
        sip.in_reply_to = None;
        let differs = Comparison::Differs(Row::InReplyToContributionId);
        assert_eq!(sip.compare(&set()), differs);
        let nothing = HeaderSet::default();
        let differs = Comparison::Differs(Row::ConversationId);
        assert_eq!(nothing.compare(&nothing), differs);
    }

    #[test]
    fn folders() {
        assert!(Folder::OneToOne("sip:Bill@Example.com").matches("sip:Bill@example.COM"));
        assert!(!Folder::OneToOne("sip:bill@example.com").matches("sip:ben@example.com"));
        assert!(Folder::OneToOne("tel:+1-201-555-0123").matches("tel:+12015550123"));
        // What is no URI is compared as it is.
        assert!(Folder::OneToOne("Bill").matches("Bill"));
        assert!(!Folder::OneToOne("Bill").matches("Ben"));
        assert!(Folder::Group("c1").matches("c1"));
        assert!(!Folder::Group("c1").matches("C1"));
    }
}
