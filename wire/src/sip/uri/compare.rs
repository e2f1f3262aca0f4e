//! Equivalence of URIs: RFC 3261 §19.1.4 for sip and sips, RFC 3966 §4 for tel; and the keys by
//! which equivalent ones are found among many.

use std::hash::{DefaultHasher, Hasher};

use super::components::{Case, components_match, find_parameter, headers, names_match, parameters};
use super::host::{hosts_match, ipv6_address};
use super::tel::{PHONE_CONTEXT, is_visual_separator};
use super::{MAX_URI_HEADERS, SipUri, TelUri, Uri};
use crate::sip::grammar::unescape;

/// Parameters of a sip URI that make two URIs differ if only one has them (§19.1.4: the first four
/// by rule, `transport` by example, since the URIs can resolve to different transports).
const COUNTS_WHEN_ABSENT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

/// Markers in the hashed data, distinct from every character of a component.
const END: u16 = 0xFF00;
const USER: u16 = 0xFF01;
const PASSWORD: u16 = 0xFF02;
const PARAMETER: u16 = 0xFF03;
const HEADER: u16 = 0xFF04;

/// Hashes for comparing URIs, made with a seed. With a random seed unknown to peers, they cannot
/// cause collisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComparisonKeys {
    /// The same for all [equivalent](Uri::equivalent) URIs: it covers everything that must match.
    pub address: u64,
    /// The same for URIs that are equivalent and have the same parameters. It equals `address` if
    /// the URI has no optional parameter.
    pub whole: u64,
}

impl Uri<'_> {
    /// Whether both denote the same resource: RFC 3261 §19.1.4 for sip and sips, RFC 3966 §4 for
    /// tel; for others the scheme case-insensitively and the rest byte by byte.
    ///
    /// The relation of §19.1.4 is not transitive: parameters that it ignores if one side lacks them
    /// must still match if both have them.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        match (self, other) {
            (Uri::Sip(a), Uri::Sip(b)) => a.equivalent(b),
            (Uri::Tel(a), Uri::Tel(b)) => a.equivalent(b),
            (Uri::Other(a), Uri::Other(b)) => {
                a.scheme.eq_ignore_ascii_case(b.scheme) && a.rest == b.rest
            }
            _ => false,
        }
    }

    /// A hash that is the same for [equivalent](Self::equivalent) URIs under the same seed.
    pub fn comparison_key(&self, seed: u64) -> u64 {
        self.comparison_keys(seed).address
    }

    /// The keys of this URI. Takes linear time.
    pub fn comparison_keys(&self, seed: u64) -> ComparisonKeys {
        let mut hasher = KeyHasher::new(seed);
        let mut optional = 0;
        match self {
            Uri::Sip(uri) => optional = uri.hash(seed, &mut hasher),
            Uri::Tel(uri) => uri.hash(seed, &mut hasher),
            Uri::Other(uri) => {
                hasher.push(b'o');
                hasher.push_lower(uri.scheme);
                hasher.push(b':');
                hasher.push_all(uri.rest.as_bytes());
            }
        }
        let address = hasher.finish();
        let whole = match optional {
            0 => address,
            parameters => {
                let mut hasher = KeyHasher::new(seed);
                hasher.push_all(&address.to_ne_bytes());
                hasher.push_all(&parameters.to_ne_bytes());
                hasher.finish()
            }
        };
        ComparisonKeys { address, whole }
    }
}

impl SipUri<'_> {
    fn equivalent(&self, other: &SipUri<'_>) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && optional_components_match(self.user, other.user, Case::Sensitive)
            && optional_components_match(self.password, other.password, Case::Sensitive)
            && hosts_match(self.host, other.host)
            && self.parameters_match(other)
            && self.headers_match(other)
    }

    fn parameters_match(&self, other: &SipUri<'_>) -> bool {
        let agree = |(name, value): (&str, &str), there: &str| {
            let is = |known| names_match(name, known);
            match find_parameter(there, name) {
                // Method names are case-sensitive (RFC 3261 §7.1).
                Some(theirs) if is("method") => components_match(value, theirs, Case::Sensitive),
                Some(theirs) if is("maddr") => hosts_match(value, theirs),
                Some(theirs) => components_match(value, theirs, Case::Insensitive),
                None => !COUNTS_WHEN_ABSENT.into_iter().any(is),
            }
        };
        parameters(self.parameters).all(|parameter| agree(parameter, other.parameters))
            && parameters(other.parameters).all(|parameter| agree(parameter, self.parameters))
    }

    /// Header components match one to one in any order. Values are compared case-sensitively: which
    /// of their characters are not depends on the header field. A missed match is harmless, whereas
    /// a false one would lose a recipient.
    fn headers_match(&self, other: &SipUri<'_>) -> bool {
        const _: () = assert!(MAX_URI_HEADERS <= u32::BITS as usize);
        let mut taken = 0_u32;
        let all_found = headers(self.headers).all(|(name, value)| {
            let partner = headers(other.headers)
                .enumerate()
                .position(|(index, theirs)| {
                    taken & (1 << index) == 0
                        && names_match(name, theirs.0)
                        && components_match(value, theirs.1, Case::Sensitive)
                });
            partner.inspect(|index| taken |= 1 << index).is_some()
        });
        all_found && headers(other.headers).count() == taken.count_ones() as usize
    }

    /// Hashes everything that must match. Returns a hash of the optional parameters; 0: there are
    /// none.
    ///
    /// Parameters and header components may be in any order, so their hashes are added.
    fn hash(&self, seed: u64, hasher: &mut KeyHasher) -> u64 {
        hasher.push(if self.secure { b'S' } else { b's' });
        for (mark, component) in [(USER, self.user), (PASSWORD, self.password)] {
            if let Some(component) = component {
                hasher.push_mark(mark);
                hasher.push_component(component, Case::Sensitive);
            }
        }
        hasher.push_host(self.host);
        hasher.push_all(&self.port.map_or(u32::MAX, u32::from).to_ne_bytes());
        let (mut required, mut optional) = (0_u64, 0_u64);
        for (name, value) in parameters(self.parameters) {
            let is = |known| names_match(name, known);
            let mut of_parameter = KeyHasher::new(seed);
            of_parameter.push_mark(PARAMETER);
            of_parameter.push_component(name, Case::Insensitive);
            if is("maddr") {
                of_parameter.push_host(value);
            } else if is("method") {
                of_parameter.push_component(value, Case::Sensitive);
            } else {
                of_parameter.push_component(value, Case::Insensitive);
            }
            let sum = match COUNTS_WHEN_ABSENT.into_iter().any(is) {
                true => &mut required,
                false => &mut optional,
            };
            *sum = sum.wrapping_add(of_parameter.finish());
        }
        for (name, value) in headers(self.headers) {
            let mut of_header = KeyHasher::new(seed);
            of_header.push_mark(HEADER);
            of_header.push_component(name, Case::Insensitive);
            of_header.push_component(value, Case::Sensitive);
            required = required.wrapping_add(of_header.finish());
        }
        hasher.push_all(&required.to_ne_bytes());
        optional
    }
}

impl TelUri<'_> {
    fn equivalent(&self, other: &TelUri<'_>) -> bool {
        let same_value = |name: &str, ours: &str, theirs: &str| match is_number(name, ours) {
            true => number_digits(ours).eq(number_digits(theirs)),
            false => components_match(ours, theirs, Case::Insensitive),
        };
        number_digits(self.number).eq(number_digits(other.number))
            && parameters(self.parameters).count() == parameters(other.parameters).count()
            && parameters(self.parameters).all(|(name, ours)| {
                find_parameter(other.parameters, name)
                    .is_some_and(|theirs| same_value(name, ours, theirs))
            })
    }

    /// All of it must match.
    fn hash(&self, seed: u64, hasher: &mut KeyHasher) {
        hasher.push(b't');
        hasher.push_digits(self.number);
        let mut sum = 0_u64;
        for (name, value) in parameters(self.parameters) {
            let mut of_parameter = KeyHasher::new(seed);
            of_parameter.push_component(name, Case::Insensitive);
            match is_number(name, value) {
                true => of_parameter.push_digits(value),
                false => of_parameter.push_component(value, Case::Insensitive),
            }
            sum = sum.wrapping_add(of_parameter.finish());
        }
        hasher.push_all(&sum.to_ne_bytes());
    }
}

/// SipHash over single bytes. They are passed to it in blocks, since it is slow on single bytes.
struct KeyHasher {
    hasher: DefaultHasher,
    block: [u8; 64],
    used: usize,
}

impl KeyHasher {
    fn new(seed: u64) -> Self {
        // The key of this SipHash is public; the secret seed as its first block makes the state
        // unknown.
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        Self {
            hasher,
            block: [0; 64],
            used: 0,
        }
    }

    fn push(&mut self, byte: u8) {
        if self.used == self.block.len() {
            self.hasher.write(&self.block);
            self.used = 0;
        }
        self.block[self.used] = byte;
        self.used += 1;
    }

    fn push_all(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        match self.block.get_mut(self.used..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.used = end;
            }
            None => bytes.iter().for_each(|&byte| self.push(byte)),
        }
    }

    fn push_lower(&mut self, text: &str) {
        let end = self.used + text.len();
        match self.block.get_mut(self.used..end) {
            Some(room) => {
                room.copy_from_slice(text.as_bytes());
                room.make_ascii_lowercase();
                self.used = end;
            }
            None => text
                .bytes()
                .for_each(|byte| self.push(byte.to_ascii_lowercase())),
        }
    }

    fn push_mark(&mut self, mark: u16) {
        self.push_all(&mark.to_ne_bytes());
    }

    /// A component with its escapes decoded, and an end marker.
    fn push_component(&mut self, text: &str, case: Case) {
        let end = self.used + 2 * text.len();
        match self.block.get_mut(self.used..end) {
            // As below, for nearly every component.
            Some(room) if memchr::memchr(b'%', text.as_bytes()).is_none() => {
                for (mark, byte) in room.as_chunks_mut().0.iter_mut().zip(text.bytes()) {
                    *mark = case.of(u16::from(byte)).to_ne_bytes();
                }
                self.used = end;
            }
            _ => {
                for character in unescape(text.bytes()) {
                    self.push_mark(case.of(character));
                }
            }
        }
        self.push_mark(END);
    }

    fn push_host(&mut self, host: &str) {
        match ipv6_address(host) {
            Some(address) => self.push_all(&address.octets()),
            None => self.push_lower(host),
        }
        self.push_mark(END);
    }

    fn push_digits(&mut self, number: &str) {
        for digit in number_digits(number) {
            self.push(digit);
        }
        self.push_mark(END);
    }

    fn finish(mut self) -> u64 {
        self.hasher.write(&self.block[..self.used]);
        self.hasher.finish()
    }
}

fn optional_components_match(a: Option<&str>, b: Option<&str>, case: Case) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => components_match(a, b, case),
        _ => false,
    }
}

/// Whether the value of a tel URI's parameter is compared like a number.
fn is_number(name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case("ext")
        || (name.eq_ignore_ascii_case(PHONE_CONTEXT) && value.starts_with('+'))
}

/// The number as compared: without visual separators, hexadecimal digits in lower case.
fn number_digits(number: &str) -> impl Iterator<Item = u8> {
    number
        .bytes()
        .filter(|&byte| !is_visual_separator(byte))
        .map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Checks both directions, and that equivalent URIs have the same key.
    fn equivalent(a: &str, b: &str) -> bool {
        let (a, b) = (uri(a), uri(b));
        let verdict = a.equivalent(&b);
        assert_eq!(verdict, b.equivalent(&a), "{a:?} {b:?}");
        assert!(a.equivalent(&a) && b.equivalent(&b));
        if verdict {
            assert_eq!(a.comparison_key(7), b.comparison_key(7), "{a:?} {b:?}");
        }
        verdict
    }

    #[test]
    fn rfc3261_19_1_4_equivalent_examples() {
        for set in [
            &[
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtLanTa.CoM;Transport=tcp",
            ][..],
            &["sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"],
            &["sip:carol@chicago.com", "sip:carol@chicago.com;security=on"],
            &[
                "sip:carol@chicago.com;newparam=5",
                "sip:carol@chicago.com;security=on",
            ],
            &[
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ],
            &[
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ],
        ] {
            assert!(equivalent(set[0], set[1]), "{set:?}");
        }
    }

    #[test]
    fn rfc3261_19_1_4_different_examples() {
        for (a, b) in [
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            // Equality is not transitive: both equal sip:carol@chicago.com.
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
            ),
        ] {
            assert!(!equivalent(a, b), "{a} {b}");
        }
    }

    #[test]
    fn further_rules_of_19_1_4() {
        assert!(equivalent("sip:a%2db@h", "sip:a-b@h"));
        assert!(equivalent("sip:a%2Db@h", "sip:a%2db@h"));
        assert!(
            !equivalent("sip:a%3Bb@h", "sip:a;b@h"),
            "reserved differs from its escape"
        );
        assert!(!equivalent("sip:a%2Bb@h", "sip:a+b@h"));
        assert!(equivalent("sip:a@h:5060", "sip:a@h:05060"));
        assert!(
            equivalent("sip:a@[2001:DB8::1]", "sip:a@[2001:db8:0::1]"),
            "RFC 5954 §4.2"
        );
        assert!(equivalent("sip:a@h;x=%41", "sip:a@h;X=a"));
        assert!(equivalent("sip:a@h;maddr=[::1]", "sip:a@h;MADDR=[0::1]"));
        for (a, b) in [
            ("sip:a@h", "sips:a@h"),
            ("sip:h", "sip:a@h"),
            ("sip:a@h", "sip:a:@h"),
            ("sip:a:b@h", "sip:a:B@h"),
            ("sip:a@h;user=phone", "sip:a@h"),
            ("sip:a@h;ttl=1", "sip:a@h"),
            ("sip:a@h;maddr=1.2.3.4", "sip:a@h"),
            ("sip:a@h;%75ser=ip", "sip:a@h"),
            ("sip:a@h;method=INVITE", "sip:a@h;method=invite"),
            ("sip:a@h;m%65thod=INVITE", "sip:a@h;method=invite"),
            ("sip:a@h;lr", "sip:a@h;lr=on"),
            ("sip:h?a=b&a=b", "sip:h?a=b"),
            ("sip:h?a=b&a=c", "sip:h?a=b&a=b"),
            ("sip:+123@h;user=phone", "tel:+123"),
        ] {
            assert!(!equivalent(a, b), "{a} {b}");
        }
    }

    #[test]
    fn rfc3966_4_comparison() {
        assert!(equivalent("tel:+1-201-555-0123", "TEL:+1(201)555.0123"));
        assert!(equivalent("tel:+1;a=x;b=y", "tel:+1;B=Y;A=X"));
        assert!(equivalent(
            "tel:aB;phone-context=X.com",
            "tel:Ab;phone-context=x.COM"
        ));
        assert!(equivalent(
            "tel:7;phone-context=+1-914",
            "tel:7;phone-context=+1914"
        ));
        assert!(equivalent("tel:+1;ext=1-2", "tel:+1;ext=12"));
        for (a, b) in [
            ("tel:+1201", "tel:1201;phone-context=+1"),
            ("tel:+1", "tel:+1;a"),
            ("tel:+1;a", "tel:+1;b"),
            ("tel:+1;a=x-y", "tel:+1;a=xy"),
            ("tel:7;phone-context=a-b.com", "tel:7;phone-context=ab.com"),
            ("tel:7;phone-context=a.com", "tel:7;phone-context=b.com"),
        ] {
            assert!(!equivalent(a, b), "{a} {b}");
        }
    }

    #[test]
    fn other_schemes_are_compared_byte_by_byte() {
        assert!(equivalent("im:bob@example.com", "IM:bob@example.com"));
        assert!(!equivalent("im:bob@example.com", "im:bob@EXAMPLE.com"));
    }

    #[test]
    fn keys_depend_on_seed_and_on_what_they_cover() {
        let key = |text, seed| uri(text).comparison_key(seed);
        assert_ne!(key("sip:a@h", 1), key("sip:a@h", 2));
        let texts = [
            "sip:a@h",
            "sips:a@h",
            "sip:b@h",
            "sip:a@i",
            "sip:a@h:5060",
            "sip:h",
            "sip:a%40h@h",
            "tel:+1",
            "tel:+2",
            "im:a@h",
            "im:b@h",
            "pres:a@h",
        ];
        for (index, a) in texts.iter().enumerate() {
            for b in &texts[index + 1..] {
                assert_ne!(key(a, 1), key(b, 1), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_whole_key_takes_the_parameters_in_that_may_be_missing() {
        let keys = |text| uri(text).comparison_keys(1);
        for bare in [
            "sip:a@h",
            "sip:a@h;transport=tcp;user=phone",
            "sip:a@h?x=1",
            "tel:+1;ext=2",
            "im:a@h",
        ] {
            assert_eq!(keys(bare).whole, keys(bare).address, "{bare}");
        }
        let (one, other) = (keys("sip:a@h;x=1;y"), keys("sip:a@h;x=2;y"));
        assert_eq!(one.address, other.address);
        assert_eq!(one.address, keys("sip:a@h").address);
        assert_ne!(one.whole, other.whole);
        assert_ne!(one.whole, one.address);
        assert_eq!(one, keys("sip:a@H;Y;%78=1"));
        // The parts that must match are in both.
        for (a, b) in [
            ("sip:a@h;transport=tcp", "sip:a@h"),
            ("sip:a@h;user=phone", "sip:a@h;user=ip"),
            ("sip:a@h;method=INVITE", "sip:a@h;method=invite"),
            ("sip:a@h;maddr=[::1]", "sip:a@h;maddr=[::2]"),
            ("sip:a:b@h", "sip:a@h"),
            ("sip:ab@h", "sip:a:b@h"),
            ("sip:h?a=b", "sip:h?a=c"),
            ("sip:h?a=b&a=b", "sip:h?a=b"),
            ("tel:+1;ext=1", "tel:+1;ext=2"),
            ("tel:7;phone-context=a.com", "tel:7;phone-context=b.com"),
        ] {
            assert_ne!(keys(a).address, keys(b).address, "{a} {b}");
        }
    }
}
