//! Datagrams of the bench itself.

/// Prefix of the bench's own datagrams: blank lines to a SIP element, and known to the checks of a
/// capture.
pub(crate) const MARKER: &[u8] = b"\r\n\r\ncpm-testbed marker ";
