//! The authenticated originator's CPM Address (OMA CPM 6.1): who sent the request, and who says so.

use super::header_fields::texts;
use super::service::Received;
use crate::policy::{IdentitySource, Settings};
use crate::sip::{HeaderName, Message, NameAddr, Uri, split_list};

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Originator {
    /// The address.
    uri: String,
    /// Another one of the same originator, where two were asserted.
    second: Option<String>,
    /// Values for the P-Asserted-Identity of the outgoing requests: those received from a trusted
    /// peer (a SIP and a tel URI may stand side by side, RFC 3325 §9.1), or the address alone.
    asserted: String,
}

impl Originator {
    /// What the request itself says, as far as `identity_source` believes it. Nobody is `None`.
    pub(super) fn of(
        settings: &Settings,
        received: &Received<'_>,
        message: &Message,
    ) -> Option<Self> {
        match settings.identity_source {
            IdentitySource::Script => None,
            IdentitySource::From => {
                let from = message.first(HeaderName::From)?.unfolded_text().ok()?;
                Originator::named(NameAddr::parse(&from).ok()?.uri())
            }
            IdentitySource::PAssertedIdentity => {
                let source = received.source_address?;
                if !settings.trusted_peers.contains(source) {
                    return None;
                }
                let asserted = texts(message, HeaderName::PAssertedIdentity);
                let mut uris = asserted
                    .iter()
                    .flat_map(|value| split_list(value))
                    .map(|value| {
                        let uri = NameAddr::parse(value).ok()?.uri();
                        Uri::parse(uri).ok().map(|_| uri.to_owned())
                    });
                Some(Originator {
                    uri: uris.next()??,
                    second: uris.next().flatten(),
                    asserted: asserted.join(", "),
                })
            }
        }
    }

    /// The address that the routing script found by its own authentication; `None`: not a URI.
    pub(super) fn named(uri: &str) -> Option<Self> {
        Uri::parse(uri).ok()?;
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

    /// The address at which a request reaches him: one that leads somewhere by itself, or, where `is_routed` to a proxy that
    /// knows what to do with any, the first.
    pub(super) fn reachable(&self, is_routed: bool) -> Option<&str> {
        let uris = [Some(&self.uri), self.second.as_ref()];
        let mut uris = uris.into_iter().flatten();
        let leads = |uri: &&String| match Uri::parse(uri) {
            // Neither can stand in a Request-URI (RFC 3261 §19.1.1).
            Ok(uri @ Uri::Sip(sip)) => !sip.has_headers() && uri.param("method").is_none(),
            _ => is_routed,
        };
        uris.find(leads).map(String::as_str)
    }

    /// Every address of the originator that is known.
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
