use bytes::Bytes;

use super::{COPY_CONTROL_NAMESPACE, CopyControl, Entry, RESOURCE_LISTS_NAMESPACE};

/// Content-Type of a resource-lists document (RFC 4826 §8).
pub const CONTENT_TYPE: &str = "application/resource-lists+xml";

/// Content-Disposition of the list for recipients: it is informational, and they may ignore it (RFC
/// 5364 §5).
pub const HISTORY_DISPOSITION: &str = "recipient-list-history; handling=optional";

/// Represents recipients that do not want to be named (RFC 5364 §5, RFC 3323 §4.1.1.3).
pub const ANONYMOUS_URI: &str = "sip:anonymous@anonymous.invalid";

/// How to treat entries without copyControl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistoryUnqualified {
    /// They are neither "to" nor "cc", so they are not shown.
    #[default]
    Hide,
    /// They are shown as "to".
    To,
}

/// Writes the recipient-list-history document (RFC 5364 §5): the "to" and "cc" entries in the given
/// order, then one anonymous entry with its count for each of the two if an entry asked for it.
/// "bcc" entries leave no trace. `None` if nobody is to be shown.
///
/// The caller removes duplicates. All text is escaped, including line ends, so that each line of
/// the document starts with our own markup.
pub fn write_history<'a>(
    entries: impl IntoIterator<Item = Entry<'a>>,
    unqualified: HistoryUnqualified,
) -> Option<Bytes> {
    let mut document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <resource-lists xmlns=\"{RESOURCE_LISTS_NAMESPACE}\" xmlns:cp=\"{COPY_CONTROL_NAMESPACE}\">\r\n\
         <list>\r\n"
    );
    let head = document.len();
    let (mut anonymous_to, mut anonymous_cc) = (0usize, 0usize);
    for entry in entries {
        let (value, anonymous) = match (entry.copy_control, unqualified) {
            (Some(CopyControl::To), _) | (None, HistoryUnqualified::To) => {
                ("to", &mut anonymous_to)
            }
            (Some(CopyControl::Cc), _) => ("cc", &mut anonymous_cc),
            (Some(CopyControl::Bcc), _) | (None, HistoryUnqualified::Hide) => continue,
        };
        if entry.anonymize {
            *anonymous += 1;
            continue;
        }
        document.push_str("<entry uri=\"");
        escape(entry.uri, &mut document);
        document.push_str("\" cp:copyControl=\"");
        document.push_str(value);
        match entry.display_name {
            Some(name) => {
                document.push_str("\"><display-name>");
                escape(name, &mut document);
                document.push_str("</display-name></entry>\r\n");
            }
            None => document.push_str("\"/>\r\n"),
        }
    }
    for (value, count) in [("to", anonymous_to), ("cc", anonymous_cc)] {
        if count > 0 {
            document.push_str(&format!(
                "<entry uri=\"{ANONYMOUS_URI}\" cp:copyControl=\"{value}\" cp:count=\"{count}\"/>\r\n"
            ));
        }
    }
    if document.len() == head {
        return None;
    }
    document.push_str("</list>\r\n</resource-lists>\r\n");
    Some(Bytes::from(document))
}

/// Content-Disposition of a sender's list in a request (RFC 5363 §4).
pub const RECIPIENT_LIST_DISPOSITION: &str = "recipient-list";

/// Writes the list of recipients for a request (RFC 5365 §4, RFC 5364 §4): every entry in the given
/// order, unchanged. All text is escaped as by [`write_history`].
pub fn write_recipient_list<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Bytes {
    let mut document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <resource-lists xmlns=\"{RESOURCE_LISTS_NAMESPACE}\" xmlns:cp=\"{COPY_CONTROL_NAMESPACE}\">\r\n\
         <list>\r\n"
    );
    for entry in entries {
        document.push_str("<entry uri=\"");
        escape(entry.uri, &mut document);
        document.push('"');
        let copy_control = match entry.copy_control {
            Some(CopyControl::To) => " cp:copyControl=\"to\"",
            Some(CopyControl::Cc) => " cp:copyControl=\"cc\"",
            Some(CopyControl::Bcc) => " cp:copyControl=\"bcc\"",
            None => "",
        };
        document.push_str(copy_control);
        if entry.anonymize {
            document.push_str(" cp:anonymize=\"true\"");
        }
        match entry.display_name {
            Some(name) => {
                document.push_str("><display-name>");
                escape(name, &mut document);
                document.push_str("</display-name></entry>\r\n");
            }
            None => document.push_str("/>\r\n"),
        }
    }
    document.push_str("</list>\r\n</resource-lists>\r\n");
    Bytes::from(document)
}

/// Escapes for attribute values and text alike. Characters that XML cannot contain become the
/// replacement character.
fn escape(text: &str, to: &mut String) {
    for c in text.chars() {
        match c {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&apos;"),
            '\t' => to.push_str("&#9;"),
            '\n' => to.push_str("&#10;"),
            '\r' => to.push_str("&#13;"),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => to.push('\u{fffd}'),
            _ => to.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ResourceLists;
    use super::*;

    fn entry(uri: &str, copy_control: Option<CopyControl>) -> Entry<'_> {
        Entry {
            uri,
            display_name: None,
            copy_control,
            anonymize: false,
        }
    }

    #[test]
    fn to_and_cc_are_shown_and_bcc_never() {
        let joe = Entry {
            display_name: Some("Joe"),
            ..entry("sip:joe@example.org", Some(CopyControl::Cc))
        };
        let entries = [
            entry("sip:bill@example.com", Some(CopyControl::To)),
            entry("sip:ted@example.net", Some(CopyControl::Bcc)),
            joe,
            entry("sip:unqualified@example.net", None),
        ];
        let document = write_history(entries, HistoryUnqualified::Hide).unwrap();
        assert_eq!(
            document,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
             <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
             xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\">\r\n\
             <list>\r\n\
             <entry uri=\"sip:bill@example.com\" cp:copyControl=\"to\"/>\r\n\
             <entry uri=\"sip:joe@example.org\" cp:copyControl=\"cc\"><display-name>Joe</display-name></entry>\r\n\
             </list>\r\n\
             </resource-lists>\r\n"
        );
        let document = write_history(entries, HistoryUnqualified::To).unwrap();
        let lists = ResourceLists::parse(&document).unwrap();
        let shown: Vec<_> = lists.entries().collect();
        assert_eq!(shown[..2], [entries[0], joe]);
        assert_eq!(
            shown[2],
            entry("sip:unqualified@example.net", Some(CopyControl::To))
        );
        assert_eq!(shown.len(), 3);
    }

    #[test]
    fn a_recipient_list_is_read_back_as_it_was() {
        let entries = [
            entry("sip:bill@example.com", Some(CopyControl::To)),
            entry("tel:+1-201-555-0123", Some(CopyControl::Bcc)),
            Entry {
                display_name: Some("Joe <&> \"J\""),
                anonymize: true,
                ..entry("sip:joe@example.org;user=phone", Some(CopyControl::Cc))
            },
            entry("sip:plain@example.net", None),
        ];
        let document = write_recipient_list(entries);
        let lists = ResourceLists::parse(&document).unwrap();
        assert_eq!(lists.entries().collect::<Vec<_>>(), entries);
        let none = write_recipient_list([]);
        assert!(ResourceLists::parse(&none).unwrap().is_empty());
    }

    #[test]
    fn the_anonymous_are_counted() {
        let hidden = |uri, copy_control| Entry {
            display_name: Some("Secret"),
            anonymize: true,
            ..entry(uri, copy_control)
        };
        let entries = [
            hidden("sip:a@secret", Some(CopyControl::Cc)),
            hidden("sip:b@secret", None),
            hidden("sip:c@secret", Some(CopyControl::Cc)),
            hidden("sip:d@secret", Some(CopyControl::Bcc)),
            hidden("sip:e@secret", Some(CopyControl::To)),
        ];
        for (unqualified, to) in [(HistoryUnqualified::Hide, 1), (HistoryUnqualified::To, 2)] {
            let document = write_history(entries, unqualified).unwrap();
            let text = std::str::from_utf8(&document).unwrap();
            assert!(!text.to_ascii_lowercase().contains("secret"));
            let anonymous = |value: &str, count: usize| {
                format!(
                    "<entry uri=\"{ANONYMOUS_URI}\" cp:copyControl=\"{value}\" cp:count=\"{count}\"/>\r\n"
                )
            };
            assert!(
                text.contains(&(anonymous("to", to) + &anonymous("cc", 2))),
                "{text}"
            );
            assert_eq!(ResourceLists::parse(&document).unwrap().len(), 2);
        }
    }

    #[test]
    fn nobody_to_show() {
        assert_eq!(write_history([], HistoryUnqualified::To), None);
        let hidden = [entry("a:b", None), entry("a:c", Some(CopyControl::Bcc))];
        assert_eq!(write_history(hidden, HistoryUnqualified::Hide), None);
    }

    #[test]
    fn hostile_texts_survive_as_texts() {
        let text = "\"/><entry uri='x'>&amp;\r\n--boundary\t<!-- ]]> \u{e9}";
        let hostile = Entry {
            display_name: Some(text),
            ..entry(text, Some(CopyControl::To))
        };
        let document = write_history([hostile], HistoryUnqualified::Hide).unwrap();
        assert!(
            document
                .split(|&b| b == b'\n')
                .all(|line| line.is_empty() || line[0] == b'<')
        );
        let lists = ResourceLists::parse(&document).unwrap();
        assert_eq!(lists.entries().collect::<Vec<_>>(), [hostile]);
        let control = entry("a\0\u{1f}\u{ffff}", Some(CopyControl::To));
        let document = write_history([control], HistoryUnqualified::Hide).unwrap();
        let lists = ResourceLists::parse(&document).unwrap();
        assert_eq!(
            lists.entries().next().unwrap().uri,
            "a\u{fffd}\u{fffd}\u{fffd}"
        );
    }
}
