//! The authenticated originator's CPM Address (OMA CPM 6.1): the sender, and who authenticated it.

use super::received::Received;
use crate::policy::{IdentitySource, Settings};
use crate::sip::{HeaderName, Message, NameAddr, Uri, split_list};
use crate::sip_ua::texts;

/// The sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Originator {
    /// The address.
    uri: String,
    /// A second address of the same originator, if two were asserted.
    second: Option<String>,
    /// Values for the P-Asserted-Identity of outgoing requests: the accepted ones of those received
    /// from a trusted peer, or the address alone.
    asserted: String,
}

/// Schemes of a CPM Address; each originator has at most one address of each (RFC 3325 §9.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// sip and sips.
    Sip,
    Tel,
}

impl Scheme {
    /// `None`: not a URI, or one of another scheme.
    fn of(uri: &str) -> Option<Self> {
        match Uri::parse(uri).ok()? {
            Uri::Sip(_) => Some(Scheme::Sip),
            Uri::Tel(_) => Some(Scheme::Tel),
            Uri::Other(_) => None,
        }
    }
}

impl Originator {
    /// The originator named by the request itself, as far as `identity_source` allows. `None`:
    /// nobody.
    pub(super) fn of(
        settings: &Settings,
        received: &Received<'_>,
        message: &Message,
    ) -> Option<Self> {
        match settings.identity_source {
            IdentitySource::Script => None,
            IdentitySource::From => Originator::named(&message.uri_in(HeaderName::From)?),
            IdentitySource::PAssertedIdentity => {
                let source = received.source_address?;
                if !settings.trusted_peers.contains(source) {
                    return None;
                }
                Originator::asserted_in(message)
            }
        }
    }

    /// At most two values are accepted, one sip or sips URI and one tel URI (RFC 3325 §9.1). A
    /// second one of a kind, and anything else, is ignored (RFC 5876 §4.5) and not passed on.
    fn asserted_in(message: &Message) -> Option<Self> {
        let mut found: Vec<(Scheme, String, String)> = Vec::with_capacity(2);
        for value in texts(message, HeaderName::PAssertedIdentity)
            .iter()
            .flat_map(|value| split_list(value))
        {
            let Ok(address) = NameAddr::parse(value) else {
                continue;
            };
            let Some(scheme) = Scheme::of(address.uri()) else {
                continue;
            };
            if found.iter().all(|(known, ..)| *known != scheme) {
                found.push((
                    scheme,
                    address.uri().to_owned(),
                    address.without_parameters(),
                ));
            }
        }
        let asserted: Vec<&str> = found.iter().map(|(.., value)| value.as_str()).collect();
        let asserted = asserted.join(", ");
        let mut uris = found.into_iter().map(|(_, uri, _)| uri);
        Some(Originator {
            uri: uris.next()?,
            second: uris.next(),
            asserted,
        })
    }

    /// The address that the routing script has authenticated; `None`: not a sip, sips or tel URI.
    pub(super) fn named(uri: &str) -> Option<Self> {
        Scheme::of(uri)?;
        Some(Originator {
            uri: uri.to_owned(),
            second: None,
            asserted: format!("<{uri}>"),
        })
    }

    /// The address.
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// The address for requests to the originator: a routable one, or the first if `is_routed` by a
    /// proxy that accepts any.
    pub(super) fn reachable(&self, is_routed: bool) -> Option<&str> {
        let uris = [Some(&self.uri), self.second.as_ref()];
        let mut uris = uris.into_iter().flatten();
        let leads = |uri: &&String| match Uri::parse(uri) {
            // Neither may occur in a Request-URI (RFC 3261 §19.1.1).
            Ok(uri @ Uri::Sip(sip)) => !sip.has_headers() && uri.param("method").is_none(),
            _ => is_routed,
        };
        uris.find(leads).map(String::as_str)
    }

    /// All known addresses of the originator.
    pub(super) fn identities(&self) -> Vec<Uri<'_>> {
        let uris = [Some(&self.uri), self.second.as_ref()];
        uris.into_iter()
            .flatten()
            .filter_map(|uri| Uri::parse(uri).ok())
            .collect()
    }

    /// Value of P-Asserted-Identity towards the recipients.
    pub(super) fn asserted(&self) -> &str {
        &self.asserted
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn asserted(fields: &[&[u8]]) -> Option<(String, Vec<String>)> {
        let mut text = b"MESSAGE sip:a@b SIP/2.0\r\n".to_vec();
        for value in fields {
            text.extend_from_slice(&[b"P-Asserted-Identity: ", *value, b"\r\n"].concat());
        }
        text.extend_from_slice(b"\r\n");
        let message = Message::parse(Bytes::from(text)).unwrap();
        let originator = Originator::asserted_in(&message)?;
        let identities = originator.identities();
        let uris = identities.iter().map(|uri| uri.as_str().to_owned());
        Some((originator.asserted().to_owned(), uris.collect()))
    }

    #[test]
    fn one_sip_and_one_tel_uri_count_and_nothing_else_goes_on() {
        let (anne, tel) = ("<sip:anne@h>", "<tel:+1>");
        let cases: [(&[&[u8]], &str); _] = [
            (&[b"sip:anne@h"], anne),
            (&[b"\"A, B\" <sips:anne@h>;x=1"], "\"A, B\" <sips:anne@h>"),
            (&[b"<sip:anne@h>, <tel:+1>"], "<sip:anne@h>, <tel:+1>"),
            (&[b"<tel:+1>", b"<sip:anne@h>"], "<tel:+1>, <sip:anne@h>"),
            (&[b"<sip:anne@h>, garbage here"], anne),
            (&[b"garbage here", b"<sip:anne@h>"], anne),
            (&[b"<sip:anne@h>, <sips:bill@h>, <sip:carl@h>"], anne),
            (&[b"<tel:+1>, <tel:+2>"], tel),
            (&[b"<urn:service:sos>, <tel:+1>, <http://h>"], tel),
            (&[b"<sip:anne@h>, \"open <tel:+1>"], anne),
            (&[b"\"Jos\xe9\" <sip:anne@h>"], anne),
        ];
        for (fields, expected) in cases {
            let (value, uris) = asserted(fields).unwrap();
            assert_eq!(value, expected);
            for uri in &uris {
                assert!(value.contains(&format!("<{uri}>")), "{value}: {uri}");
            }
            assert_eq!(uris.len(), value.matches('<').count(), "{value}");
        }
        let nobody: [&[&[u8]]; _] = [
            &[],
            &[b""],
            &[b"nonsense"],
            &[b"<urn:service:sos>"],
            &[b"<sip:jos\xe9@h>"],
        ];
        for fields in nobody {
            assert_eq!(asserted(fields), None);
        }
        assert!(Originator::named("urn:service:sos").is_none());
    }
}
