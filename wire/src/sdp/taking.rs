use super::MsrpMedia;

/// The type of a CPM message on MSRP (OMA CPM 7.2.1.2).
const CPIM: &[u8] = b"message/cpim";

/// Why the author of an answer does not accept the message of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// The author receives nothing (`a=sendonly`, `a=inactive`).
    Direction,
    /// The message is longer than `a=max-size`.
    Size,
    /// `a=accept-types` or `a=accept-wrapped-types` lacks a type of the message.
    Type,
}

impl MsrpMedia<'_> {
    /// Whether the author of this answer accepts the announced message of `offer`, `size` bytes
    /// long if known.
    ///
    /// The message is a message/cpim if the offer has that among its `accept-types`; its
    /// `accept-wrapped-types` are the wrapped types (7.2.1.2-19). A `*` in an offer names no type,
    /// and a message of unknown size has at least one byte.
    ///
    /// # Errors
    ///
    /// [`NotTaken`]: the obstacle.
    pub fn takes(&self, offer: &MsrpMedia<'_>, size: Option<u64>) -> Result<(), NotTaken> {
        if !self.direction.receives() {
            return Err(NotTaken::Direction);
        }
        if self.max_size.is_some_and(|most| size.unwrap_or(1) > most) {
            return Err(NotTaken::Size);
        }
        let is_cpim = accepts_type(offer.accept_types, CPIM);
        let takes_type = match is_cpim {
            true => accepts_type(self.accept_types, CPIM),
            // It is unknown which of them will be used.
            false => types(offer.accept_types).any(|one| accepts_type(self.accept_types, one)),
        };
        // RFC 4975 §8.6: a type accepted by itself is accepted in a wrapper. Without
        // accept-wrapped-types, nothing is specified.
        let takes_wrapped = |one: &[u8]| {
            let wrapped = self.accept_wrapped_types.unwrap_or("*");
            one.ends_with(b"*")
                || accepts_type(wrapped, one)
                || accepts_type(self.accept_types, one)
        };
        let wrapped = offer.accept_wrapped_types.filter(|_| is_cpim).unwrap_or("");
        match takes_type && types(wrapped).all(takes_wrapped) {
            true => Ok(()),
            false => Err(NotTaken::Type),
        }
    }
}

/// Whether a value of `a=accept-types` (RFC 4975 §8.6) includes a Content-Type; parameters are
/// ignored.
pub fn accepts_type(accepted: &str, content_type: &[u8]) -> bool {
    let actual = without_parameters(content_type);
    types(accepted).any(|accepted| match accepted.strip_suffix(b"*") {
        Some(prefix) => {
            actual.len() >= prefix.len() && actual[..prefix.len()].eq_ignore_ascii_case(prefix)
        }
        None => without_parameters(accepted).eq_ignore_ascii_case(actual),
    })
}

fn types(list: &str) -> impl Iterator<Item = &[u8]> {
    list.split_ascii_whitespace().map(str::as_bytes)
}

fn without_parameters(content_type: &[u8]) -> &[u8] {
    let end = content_type.iter().position(|&b| b == b';');
    content_type[..end.unwrap_or(content_type.len())].trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::super::{SessionDescription, Transport};
    use super::*;

    /// The result for `answer`, lines of attributes, to an offer of these types.
    fn says(offered: &str, size: Option<u64>, answer: &str) -> Result<(), NotTaken> {
        let frame =
            "v=0\nc=IN IP4 192.0.2.1\nm=message 1 TCP/MSRP *\na=path:msrp://192.0.2.1:1/a;tcp\n";
        let [offer, answer] = [offered, answer]
            .map(|lines| SessionDescription::parse(format!("{frame}{lines}").as_bytes()).unwrap());
        let of = |description| MsrpMedia::of(description, &[Transport::Tcp]).unwrap();
        of(&answer).takes(&of(&offer), size)
    }

    #[test]
    fn size() {
        let offer = "a=accept-types:message/cpim\n";
        let takes = |size, most: &str| {
            says(
                offer,
                size,
                &format!("a=accept-types:message/cpim\na=max-size:{most}\n"),
            )
        };
        assert_eq!(takes(Some(1000), "1000"), Ok(()));
        assert_eq!(takes(Some(1001), "1000"), Err(NotTaken::Size));
        assert_eq!(takes(Some(0), "0"), Ok(()));
        // Whatever the size is, it is more than 0.
        assert_eq!(takes(None, "0"), Err(NotTaken::Size));
        assert_eq!(takes(None, "1"), Ok(()));
        for endless in [
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999",
        ] {
            assert_eq!(takes(Some(u64::MAX), endless), Ok(()), "{endless}");
        }
        assert_eq!(says(offer, Some(u64::MAX), "a=accept-types:*\n"), Ok(()));
    }

    #[test]
    fn types_of_the_message() {
        let cpim = "a=accept-types:message/cpim\n";
        let of_two = "a=accept-types:message/cpim\na=accept-wrapped-types:text/plain image/png\n";
        let star = "a=accept-types:message/cpim\na=accept-wrapped-types:*\n";
        for (offer, answer, taken) in [
            (cpim, "a=accept-types:*", true),
            (cpim, "a=accept-types:message/*", true),
            (
                cpim,
                "a=accept-types:text/html Message/CPIM;charset=x",
                true,
            ),
            (cpim, "a=accept-types:text/plain", false),
            (cpim, "a=accept-types:message/cpim2 message/cpi", false),
            (of_two, "a=accept-types:message/cpim", true),
            (
                of_two,
                "a=accept-types:message/cpim\na=accept-wrapped-types:image/* text/plain",
                true,
            ),
            (
                of_two,
                "a=accept-types:message/cpim image/png\na=accept-wrapped-types:text/plain",
                true,
            ),
            (
                of_two,
                "a=accept-types:message/cpim\na=accept-wrapped-types:text/plain",
                false,
            ),
            (
                of_two,
                "a=accept-types:message/cpim\na=accept-wrapped-types:",
                false,
            ),
            (of_two, "a=accept-types:text/plain image/png", false),
            (
                star,
                "a=accept-types:message/cpim\na=accept-wrapped-types:text/plain",
                true,
            ),
            // The content is a message/cpim, by 7.2.1.2.
            ("a=accept-types:*", "a=accept-types:text/plain", false),
            // It is not: it is one of these.
            (
                "a=accept-types:text/plain image/png\na=accept-wrapped-types:a/b",
                "a=accept-types:text/plain",
                true,
            ),
            (
                "a=accept-types:text/plain image/png",
                "a=accept-types:message/cpim",
                false,
            ),
        ] {
            let expected = if taken { Ok(()) } else { Err(NotTaken::Type) };
            assert_eq!(
                says(&format!("{offer}\n"), None, &format!("{answer}\n")),
                expected,
                "{offer} {answer}"
            );
        }
    }

    #[test]
    fn directions() {
        let offer = "a=accept-types:*\na=sendonly\n";
        for (answer, taken) in [
            ("", true),
            ("a=sendrecv", true),
            ("a=recvonly", true),
            ("a=sendonly", false),
            ("a=inactive", false),
        ] {
            let expected = if taken {
                Ok(())
            } else {
                Err(NotTaken::Direction)
            };
            assert_eq!(
                says(offer, Some(1), &format!("a=accept-types:*\n{answer}\n")),
                expected,
                "{answer}"
            );
        }
    }
}
