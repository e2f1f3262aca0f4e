//! Reading header fields that contain addresses: From, To, Contact, P-Asserted-Identity,
//! Record-Route and the like.
//!
//! Readers need their URI, tag or parameters, never the display name alone. So bytes that are not
//! UTF-8, as in a display name in Latin-1, affect only that name.
//! UTF-8, as a display name in Latin-1 has, cost nothing but that name.

use super::{HeaderName, Message, NameAddr, NameAddrError, split_list};

/// Maximum number of routes of a dialog: each hop of a request also adds a Via line of some hundred
/// bytes.
pub const MAX_ROUTES: usize = 32;
/// Maximum total length of a route set, in bytes: it is kept as long as the dialog lives.
pub const MAX_ROUTE_SET_BYTES: usize = 4096;

/// A Record-Route or Service-Route that is not a list of addresses, or exceeds [`MAX_ROUTES`] or
/// [`MAX_ROUTE_SET_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteSetError;

impl Message {
    /// The result of `read` for the first address of the first field of that name. `None`: there is
    /// no such field.
    pub fn address<T>(
        &self,
        name: HeaderName,
        read: impl FnOnce(&NameAddr<'_>) -> T,
    ) -> Option<Result<T, NameAddrError>> {
        let text = self.first(name)?.unfolded_text();
        let value = match holds_several(name) {
            true => split_list(&text).next().unwrap_or(""),
            false => &text,
        };
        Some(NameAddr::parse(value).map(|address| read(&address)))
    }

    /// The URI in the first address of the first field of that name. `None`: there is none.
    pub fn uri_in(&self, name: HeaderName) -> Option<String> {
        self.address(name, |address| address.uri().to_owned())?.ok()
    }

    /// The tag of From or To. `None`: there is none.
    pub fn tag_in(&self, name: HeaderName) -> Option<String> {
        let tag = |address: &NameAddr<'_>| Some(address.parameter("tag")?.raw_value?.to_owned());
        self.address(name, tag)?.ok()?
    }

    /// From or To without its tag, on one line. `None`: there is none, or it is malformed.
    pub fn address_without_tag(&self, name: HeaderName) -> Option<String> {
        self.address(name, |address| address.without("tag"))?.ok()
    }

    /// The values of all fields of a name, Record-Route or Service-Route, in the order of the
    /// message, each suitable for a Route of its own (RFC 3261 §12.1).
    ///
    /// A value without angle brackets, which violates the grammar, gets them: its parameters, such
    /// as `lr`, can only be meant for the URI.
    pub fn routes(&self, name: HeaderName) -> Result<Vec<String>, RouteSetError> {
        let mut routes = Vec::new();
        let mut bytes = 0;
        for field in self.all(name) {
            for value in split_list(&field.unfolded_text()) {
                let address = NameAddr::parse(value).map_err(|_| RouteSetError)?;
                let route = match address.is_bracketed() {
                    true => address.to_string(),
                    false => format!("<{value}>"),
                };
                bytes += route.len();
                if routes.len() == MAX_ROUTES || bytes > MAX_ROUTE_SET_BYTES {
                    return Err(RouteSetError);
                }
                routes.push(route);
            }
        }
        Ok(routes)
    }
}

/// Whether a field of that name may contain several addresses separated by commas.
fn holds_several(name: HeaderName) -> bool {
    !matches!(
        name,
        HeaderName::From
            | HeaderName::To
            | HeaderName::ReplyTo
            | HeaderName::ReferTo
            | HeaderName::ReferredBy
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(fields: &[u8]) -> Message {
        let start = b"SIP/2.0 200 OK\r\n";
        Message::parse(Bytes::from([start, fields, b"\r\n"].concat())).unwrap()
    }

    #[test]
    fn an_undecodable_display_name_costs_itself_only() {
        let message = message(
            b"From: \"Jos\xe9\" <sip:jose@h>;tag=1\r\nTo: Andr\xe9\r\n <sip:andre@h>;x;TAG=2\r\n\
              Contact: \"\xe9, \xff\" <sip:jose@phone>;+x, <sip:b@h>\r\nReply-To: a, <sip:b@h>\r\n\
              Refer-To: <sip:jos\xe9@h>\r\n",
        );
        for (name, uri, tag, without_tag) in [
            (
                HeaderName::From,
                Some("sip:jose@h"),
                Some("1"),
                Some("<sip:jose@h>"),
            ),
            (
                HeaderName::To,
                Some("sip:andre@h"),
                Some("2"),
                Some("<sip:andre@h>;x"),
            ),
            (
                HeaderName::Contact,
                Some("sip:jose@phone"),
                None,
                Some("<sip:jose@phone>;+x"),
            ),
            // Neither a list nor an address.
            (HeaderName::ReplyTo, None, None, None),
            (HeaderName::ReferTo, None, None, None),
            (HeaderName::ReferredBy, None, None, None),
        ] {
            assert_eq!(message.uri_in(name).as_deref(), uri, "{name:?}");
            assert_eq!(message.tag_in(name).as_deref(), tag, "{name:?}");
            let without = message.address_without_tag(name);
            assert_eq!(without.as_deref(), without_tag, "{name:?}");
        }
        assert!(
            message
                .address(HeaderName::ReferTo, |_| ())
                .unwrap()
                .is_err()
        );
    }

    #[test]
    fn names_are_quoted_again() {
        let message = message("From: \"A \\\\ \\\"B\\\" \u{e9}\" <sip:a@h>\r\n".as_bytes());
        assert_eq!(
            message.address_without_tag(HeaderName::From).unwrap(),
            "\"A \\\\ \\\"B\\\" \u{e9}\" <sip:a@h>"
        );
    }

    #[test]
    fn routes_come_in_order_and_in_brackets() {
        let routes = |fields: &[u8]| message(fields).routes(HeaderName::RecordRoute);
        assert_eq!(
            routes(
                b"Record-Route: <sip:p3;lr>;x=\"\\\"\", sip:p2;lr\r\nVia: h\r\n\
                  Record-Route: \"Jos\xe9\" <sip:p1;lr>, <sip:p0;lr>\r\n"
            )
            .unwrap(),
            [
                "<sip:p3;lr>;x=\"\\\"\"",
                "<sip:p2;lr>",
                "<sip:p1;lr>",
                "<sip:p0;lr>"
            ]
        );
        assert_eq!(routes(b"").unwrap(), [""; 0]);
        assert_eq!(routes(b"Record-Route: <sip:p\r\n"), Err(RouteSetError));
        let many = |count: usize, uri: &str| {
            routes(
                format!("Record-Route: <{uri}>\r\n")
                    .repeat(count)
                    .as_bytes(),
            )
        };
        assert_eq!(many(MAX_ROUTES, "sip:p;lr").unwrap().len(), MAX_ROUTES);
        assert_eq!(many(MAX_ROUTES + 1, "sip:p;lr"), Err(RouteSetError));
        let long = format!("sip:{}", "p".repeat(MAX_ROUTE_SET_BYTES / 2));
        assert!(many(1, &long).is_ok());
        assert_eq!(many(2, &long), Err(RouteSetError));
    }
}
