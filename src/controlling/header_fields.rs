//! Reading and writing header fields, as needed on this floor.

use crate::policy::ServiceUri;
use crate::sip::{FieldLine, HeaderBlock, HeaderName};

/// Adds a field whose value is our own or has passed one of our parsers. A value that could not be
/// on a line of its own, which never occurs, is omitted rather than sent.
pub(super) fn put(headers: &mut HeaderBlock, name: &str, value: impl AsRef<[u8]>) {
    let written = headers.push(name, value);
    debug_assert!(written.is_ok(), "{name}: {written:?}");
}

/// Whether a field has this name, in full or compact form.
pub(super) fn has_name(field: &FieldLine<'_>, name: &str) -> bool {
    match HeaderName::parse(name.as_bytes()) {
        HeaderName::Other => name.eq_ignore_ascii_case(field.raw_name()),
        known => known == field.name(),
    }
}

/// Value of the Route header field that leads to the ISF.
pub(super) fn route_to_isf(isf: &ServiceUri) -> String {
    if isf.loose_routing() {
        format!("<{}>", isf.as_str())
    } else {
        format!("<{};lr>", isf.as_str())
    }
}
