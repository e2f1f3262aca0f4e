//! Names of SIP header fields: the table of known ones, with their compact forms.

macro_rules! header_names {
    ($($variant:ident = $name:literal $(, $compact:literal)?;)+) => {
        /// The name of a header field, recognised without regard to case and in its compact form.
        ///
        /// The known names are those of RFC 3261 §20 and of the extensions that a CPM Controlling
        /// Function reads, writes or must not copy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
            /// Any other name; the field keeps its text.
            Other,
        }

        /// Names with the same first letter are adjacent; [`HeaderName::parse`] relies on this.
        const KNOWN: &[(&str, HeaderName)] = &[$(($name, HeaderName::$variant),)+];

        const fn from_compact(letter: u8) -> HeaderName {
            match letter {
                $($($compact => HeaderName::$variant,)?)+
                _ => HeaderName::Other,
            }
        }
    };
}

// Sorted case-insensitively, which a test checks. The letter is the registered compact form.
header_names! {
    Accept = "Accept";
    AcceptContact = "Accept-Contact", b'a';
    AcceptEncoding = "Accept-Encoding";
    AcceptLanguage = "Accept-Language";
    AlertInfo = "Alert-Info";
    Allow = "Allow";
    AllowEvents = "Allow-Events", b'u';
    AuthenticationInfo = "Authentication-Info";
    Authorization = "Authorization";
    CallId = "Call-ID", b'i';
    CallInfo = "Call-Info";
    Contact = "Contact", b'm';
    ContentDisposition = "Content-Disposition";
    ContentEncoding = "Content-Encoding", b'e';
    ContentLanguage = "Content-Language";
    ContentLength = "Content-Length", b'l';
    ContentTransferEncoding = "Content-Transfer-Encoding";
    ContentType = "Content-Type", b'c';
    ContributionId = "Contribution-ID";
    ConversationId = "Conversation-ID";
    CSeq = "CSeq";
    Date = "Date";
    ErrorInfo = "Error-Info";
    Event = "Event", b'o';
    Expires = "Expires";
    From = "From", b'f';
    Geolocation = "Geolocation";
    HistoryInfo = "History-Info";
    Identity = "Identity", b'y';
    IdentityInfo = "Identity-Info", b'n';
    InReplyTo = "In-Reply-To";
    InReplyToContributionId = "InReplyTo-Contribution-ID";
    MaxBreadth = "Max-Breadth";
    MaxForwards = "Max-Forwards";
    MessageExpires = "Message-Expires";
    MessageUid = "Message-UID";
    MimeVersion = "MIME-Version";
    MinExpires = "Min-Expires";
    MinSe = "Min-SE";
    Organization = "Organization";
    PAccessNetworkInfo = "P-Access-Network-Info";
    PAssertedIdentity = "P-Asserted-Identity";
    PAssertedService = "P-Asserted-Service";
    PChargingFunctionAddresses = "P-Charging-Function-Addresses";
    PChargingVector = "P-Charging-Vector";
    PPreferredIdentity = "P-Preferred-Identity";
    PPreferredService = "P-Preferred-Service";
    PVisitedNetworkId = "P-Visited-Network-ID";
    Path = "Path";
    Priority = "Priority";
    Privacy = "Privacy";
    ProxyAuthenticate = "Proxy-Authenticate";
    ProxyAuthorization = "Proxy-Authorization";
    ProxyRequire = "Proxy-Require";
    RAck = "RAck";
    Reason = "Reason";
    RecordRoute = "Record-Route";
    ReferTo = "Refer-To", b'r';
    ReferredBy = "Referred-By", b'b';
    RejectContact = "Reject-Contact", b'j';
    ReplyTo = "Reply-To";
    RequestDisposition = "Request-Disposition", b'd';
    Require = "Require";
    RetryAfter = "Retry-After";
    Route = "Route";
    RSeq = "RSeq";
    SecurityClient = "Security-Client";
    SecurityServer = "Security-Server";
    SecurityVerify = "Security-Verify";
    Server = "Server";
    ServiceRoute = "Service-Route";
    SessionExpires = "Session-Expires", b'x';
    Subject = "Subject", b's';
    Supported = "Supported", b'k';
    Timestamp = "Timestamp";
    To = "To", b't';
    Unsupported = "Unsupported";
    UserAgent = "User-Agent";
    Via = "Via", b'v';
    Warning = "Warning";
    WwwAuthenticate = "WWW-Authenticate";
}

impl HeaderName {
    /// Recognises a name or a compact form; anything else is [`HeaderName::Other`].
    pub fn parse(name: &[u8]) -> Self {
        if let [letter] = name {
            return from_compact(letter.to_ascii_lowercase());
        }
        let candidates = name
            .first()
            .and_then(|first| BY_LETTER.get(letter_index(*first)))
            .map_or(&KNOWN[..0], |&(start, end)| &KNOWN[start..end]);
        candidates
            .iter()
            .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .map_or(HeaderName::Other, |(_, header)| *header)
    }

    /// The full name as the RFCs spell it; `None` for [`HeaderName::Other`].
    pub fn as_str(self) -> Option<&'static str> {
        KNOWN.get(self as usize).map(|(name, _)| *name)
    }
}

/// For each letter, the range in [`KNOWN`] of the names that begin with it.
const BY_LETTER: [(usize, usize); 26] = {
    let mut ranges = [(0, 0); 26];
    let mut index = 0;
    while index < KNOWN.len() {
        let range = &mut ranges[letter_index(KNOWN[index].0.as_bytes()[0])];
        if range.1 == 0 {
            range.0 = index;
        }
        index += 1;
        range.1 = index;
    }
    ranges
};

/// The index of a letter in the alphabet, in either case; 26 or more for any other byte.
const fn letter_index(byte: u8) -> usize {
    byte.to_ascii_lowercase().wrapping_sub(b'a') as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_indexed_by_the_name() {
        for pair in KNOWN.windows(2) {
            let [first, second] = [pair[0], pair[1]].map(|(name, _)| name.to_ascii_lowercase());
            assert!(first < second, "{pair:?}");
        }
        for (index, (name, header)) in KNOWN.iter().enumerate() {
            assert_eq!(*header as usize, index, "{name}");
        }
        assert_eq!(HeaderName::Other as usize, KNOWN.len());
        assert_eq!(HeaderName::Other.as_str(), None);
    }

    #[test]
    fn every_name_is_found_in_any_case() {
        for (name, header) in KNOWN {
            for spelling in [name.to_string(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(
                    HeaderName::parse(spelling.as_bytes()),
                    *header,
                    "{spelling}"
                );
            }
            assert_eq!(header.as_str(), Some(*name));
        }
    }

    #[test]
    fn rfc3261_20_names_are_known() {
        for name in [
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Alert-Info",
            "Allow",
            "Authentication-Info",
            "Authorization",
            "Call-ID",
            "Call-Info",
            "Contact",
            "Content-Disposition",
            "Content-Encoding",
            "Content-Language",
            "Content-Length",
            "Content-Type",
            "CSeq",
            "Date",
            "Error-Info",
            "Expires",
            "From",
            "In-Reply-To",
            "Max-Forwards",
            "Min-Expires",
            "MIME-Version",
            "Organization",
            "Priority",
            "Proxy-Authenticate",
            "Proxy-Authorization",
            "Proxy-Require",
            "Record-Route",
            "Reply-To",
            "Require",
            "Retry-After",
            "Route",
            "Server",
            "Subject",
            "Supported",
            "Timestamp",
            "To",
            "Unsupported",
            "User-Agent",
            "Via",
            "Warning",
            "WWW-Authenticate",
        ] {
            assert_ne!(
                HeaderName::parse(name.as_bytes()),
                HeaderName::Other,
                "{name}"
            );
        }
    }

    #[test]
    fn registered_compact_forms() {
        for (letter, name) in [
            ("a", "Accept-Contact"),
            ("u", "Allow-Events"),
            ("i", "Call-ID"),
            ("m", "Contact"),
            ("e", "Content-Encoding"),
            ("l", "Content-Length"),
            ("c", "Content-Type"),
            ("o", "Event"),
            ("f", "From"),
            ("y", "Identity"),
            ("n", "Identity-Info"),
            ("j", "Reject-Contact"),
            ("r", "Refer-To"),
            ("b", "Referred-By"),
            ("d", "Request-Disposition"),
            ("x", "Session-Expires"),
            ("s", "Subject"),
            ("k", "Supported"),
            ("t", "To"),
            ("v", "Via"),
        ] {
            for spelling in [letter.to_string(), letter.to_uppercase()] {
                let header = HeaderName::parse(spelling.as_bytes());
                assert_eq!(header.as_str(), Some(name));
            }
        }
    }

    #[test]
    fn other_names() {
        for name in ["", "z", "X-Custom", "Content", "Content-Length-", "T\u{f6}"] {
            assert_eq!(
                HeaderName::parse(name.as_bytes()),
                HeaderName::Other,
                "{name}"
            );
        }
    }
}
