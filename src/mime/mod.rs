//! MIME wire formats (RFC 2045, 2046, 2183, 5621): content types and multipart bodies.
