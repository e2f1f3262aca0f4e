//! The Privacy header field (RFC 3323 §4.2, RFC 3325 §9.3).

use super::grammar::trim_lws;

/// Whether the Privacy values ask that the sender's identity be withheld: one of them is `id`,
/// `user` or `header`, and none is `none`, which asks for no privacy at all.
///
/// `values` are the values of all Privacy header fields. Their members are separated by semicolons;
/// commas, which some senders use, count too.
pub fn requests_anonymity<'a>(values: impl IntoIterator<Item = &'a str>) -> bool {
    let mut is_requested = false;
    for priv_value in values
        .into_iter()
        .flat_map(|value| value.split([';', ',']))
        .map(trim_lws)
    {
        let is = |name: &str| priv_value.eq_ignore_ascii_case(name);
        if is("none") {
            return false;
        }
        is_requested |= is("id") || is("user") || is("header");
    }
    is_requested
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_withhold_the_identity() {
        for value in [
            "id",
            "user",
            "header",
            "ID",
            "session; id ;critical",
            "history,id",
        ] {
            assert!(requests_anonymity([value]), "{value}");
        }
        assert!(
            requests_anonymity(["session", "user"]),
            "several header fields"
        );
    }

    #[test]
    fn values_that_do_not() {
        for value in [
            "", "none", "session", "critical", "history", "idx", "none;id", "id;NONE",
        ] {
            assert!(!requests_anonymity([value]), "{value}");
        }
        assert!(!requests_anonymity(["id", "none"]), "several header fields");
        assert!(!requests_anonymity([]));
    }
}
