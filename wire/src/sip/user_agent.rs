//! Product tokens of User-Agent and Server (RFC 3261 §20.35, §20.41).

use super::grammar::{is_lws_byte, is_token_byte, quoted_string_end};

/// One `product` such as `CPM-client/OMA2.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product<'a> {
    /// The part before the slash.
    pub name: &'a str,
    /// The part after the slash, if present.
    pub version: Option<&'a str>,
}

/// Iterates over the products of a User-Agent or Server value.
///
/// Comments are skipped, and so is other text: real values contain both.
pub fn products(value: &str) -> Products<'_> {
    Products { rest: value }
}

/// Iterator of [`products`].
#[derive(Debug, Clone)]
pub struct Products<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Products<'a> {
    type Item = Product<'a>;

    fn next(&mut self) -> Option<Product<'a>> {
        loop {
            let bytes = self.rest.as_bytes();
            let skipped = match bytes.first()? {
                b'(' => comment_end(bytes),
                b'"' => quoted_string_end(bytes, 0).unwrap_or(bytes.len()),
                &byte if is_lws_byte(byte) => 1,
                _ => {
                    let is_end = |byte: u8| is_lws_byte(byte) || byte == b'(';
                    let end = bytes
                        .iter()
                        .position(|&byte| is_end(byte))
                        .unwrap_or(bytes.len());
                    let (word, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    match parse_product(word) {
                        Some(product) => return Some(product),
                        None => continue,
                    }
                }
            };
            // Each of the three ends after an ASCII byte or at the end, thus between characters.
            self.rest = self.rest.get(skipped..).unwrap_or("");
        }
    }
}

fn parse_product(word: &str) -> Option<Product<'_>> {
    let (name, version) = match word.split_once('/') {
        Some((name, version)) => (name, Some(version)),
        None => (word, None),
    };
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
    (is_token(name) && version.is_none_or(is_token)).then_some(Product { name, version })
}

/// The index after a comment, which may nest; the length if it never closes.
fn comment_end(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += if *byte == b'\\' { 2 } else { 1 };
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return at,
            b')' => depth -= 1,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::test_random::mutate_text;

    fn list(value: &str) -> Vec<(&str, Option<&str>)> {
        products(value)
            .map(|product| (product.name, product.version))
            .collect()
    }

    #[test]
    fn products_and_comments() {
        assert_eq!(
            list("Softphone Beta1.5"),
            [("Softphone", None), ("Beta1.5", None)]
        );
        assert_eq!(
            list("CPM-client/OMA2.2 (x (y\\) z) w)IM-client/OMA1.0\r\n Acme/1.0(a)"),
            [
                ("CPM-client", Some("OMA2.2")),
                ("IM-client", Some("OMA1.0")),
                ("Acme", Some("1.0"))
            ]
        );
        assert_eq!(list("HomeServer v2"), [("HomeServer", None), ("v2", None)]);
    }

    #[test]
    fn other_text_is_skipped() {
        assert_eq!(list(""), []);
        assert_eq!(list("/1 a/ b/c/d \u{e9} [x] ok/1"), [("ok", Some("1"))]);
        assert_eq!(list("(CPM-client/OMA2.2"), []);
        assert_eq!(list("\"CPM-client/OMA2.2 x\" y"), [("y", None)]);
        assert_eq!(list(") a"), [("a", None)]);
    }

    #[test]
    fn mutated_values_never_panic() {
        let mut random = Rng::with_seed(0x77);
        for _ in 0..10_000 {
            let text = mutate_text(&mut random, "A/1 (b (c) \\) d) \"e\" F", b"()\\/\" \r\n");
            for product in products(&text) {
                assert!(!product.name.is_empty() && !product.name.contains(['/', ' ', '(']));
            }
        }
    }
}
