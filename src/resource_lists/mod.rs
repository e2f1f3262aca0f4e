//! Resource lists (RFC 4826, RFC 5364): the URI list of a request.
