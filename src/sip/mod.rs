//! SIP wire formats (RFC 3261): URIs, header fields, messages.
