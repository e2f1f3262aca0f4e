//! Reading and writing header fields, as this floor needs it.

use crate::policy::ServiceUri;
use crate::sip::{FieldLine, HeaderBlock, HeaderName};

/// Adds a field whose value is ours or has passed a parser of ours. One that could not stand on a
/// line of its own, which such a value never is, is left out rather than sent.
pub(super) fn put(headers: &mut HeaderBlock, name: &str, value: impl AsRef<[u8]>) {
    let written = headers.push(name, value);
    debug_assert!(written.is_ok(), "{name}: {written:?}");
}

/// Whether a field has this name, whichever of a full and a compact form either uses.
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
