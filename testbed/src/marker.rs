//! Datagrams of the bench itself.

/// The bench's own datagrams begin so. They are blank lines to a SIP element, and the judge knows
/// them.
pub(crate) const MARKER: &[u8] = b"\r\n\r\ncpm-testbed marker ";
