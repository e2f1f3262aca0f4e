//! Option-tags in Require, Proxy-Require, Supported and Unsupported (RFC 3261 §19.2).
//!
//! Each function takes the values of all header fields of one name.

use super::list::split_list;

/// All option-tags, in the order received.
pub fn tags<'a>(values: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    values.into_iter().flat_map(split_list)
}

/// Whether an option-tag is listed, case-insensitively.
pub fn contains<'a>(values: impl IntoIterator<Item = &'a str>, tag: &str) -> bool {
    tags(values).any(|listed| listed.eq_ignore_ascii_case(tag))
}

/// The list without the `unwanted` option-tags; `None` if nothing is left, since the header field
/// must then be omitted.
pub fn without<'a>(values: impl IntoIterator<Item = &'a str>, unwanted: &[&str]) -> Option<String> {
    let is_wanted = |tag: &&str| !unwanted.iter().any(|other| other.eq_ignore_ascii_case(tag));
    let kept = join(tags(values).filter(is_wanted));
    (!kept.is_empty()).then_some(kept)
}

/// The list of received option-tags and `tag`, without repeating it.
///
/// To move a tag from Require to Supported, use [`without`] on one and [`with`] on the other.
pub fn with<'a>(
    values: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
    tag: &'a str,
) -> String {
    let values = values.into_iter();
    let missing = (!contains(values.clone(), tag)).then_some(tag);
    join(tags(values).chain(missing))
}

fn join<'a>(tags: impl Iterator<Item = &'a str>) -> String {
    let mut value = String::new();
    for tag in tags {
        if !value.is_empty() {
            value.push_str(", ");
        }
        value.push_str(tag);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST_MESSAGE: &str = "recipient-list-message";
    const LIST_INVITE: &str = "recipient-list-invite";

    #[test]
    fn several_fields_and_several_tags() {
        let values = ["timer , 100rel", "", "Path"];
        assert_eq!(
            tags(values).collect::<Vec<_>>(),
            ["timer", "100rel", "Path"]
        );
        assert!(contains(values, "PATH"));
        assert!(!contains(values, "pat"));
        assert!(!contains([], "path"));
    }

    #[test]
    fn a_tag_moves_from_require_to_supported() {
        let require = ["Recipient-List-Message, timer"];
        assert_eq!(without(require, &[LIST_MESSAGE]).as_deref(), Some("timer"));
        assert_eq!(with(["path"], LIST_MESSAGE), "path, recipient-list-message");
    }

    #[test]
    fn nothing_left_and_nothing_there() {
        assert_eq!(
            without([LIST_MESSAGE, LIST_INVITE], &[LIST_MESSAGE, LIST_INVITE]),
            None
        );
        assert_eq!(without([], &[LIST_MESSAGE]), None);
        assert_eq!(with([], LIST_MESSAGE), LIST_MESSAGE);
        assert_eq!(
            with(["a, RECIPIENT-list-message"], LIST_MESSAGE),
            "a, RECIPIENT-list-message"
        );
    }
}
