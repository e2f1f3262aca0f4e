//! Group Session Identities: the address of an ad-hoc group's session towards its recipients
//! (9.1.2-8k).

/// Prefix of the user part of a Group Session Identity (9.1.2-8k); random digits follow.
pub(super) const GROUP_SESSION_USER: &str = "cpm-group-";
pub(super) const GROUP_SESSION_DIGITS: usize = 32;

/// Whether a user part is that of a Group Session Identity.
pub(super) fn names_group_session(user: &str) -> bool {
    let digits = user.strip_prefix(GROUP_SESSION_USER);
    digits.is_some_and(|digits| {
        digits.len() == GROUP_SESSION_DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit())
    })
}
