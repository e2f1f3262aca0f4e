use crate::sip::split_list;

use super::Algorithm;

/// Maximum number of challenges read from one header field.
const MAX_CHALLENGES: usize = 16;

/// Quality of protection (RFC 7616 §3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qop {
    /// Method and URI.
    Auth,
    /// The body, too.
    AuthInt,
}

impl Qop {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// A Digest challenge that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The realm of the password.
    pub realm: String,
    /// The server's nonce, which proves that the answer is fresh.
    pub nonce: String,
    /// Returned unchanged.
    pub(super) opaque: Option<String>,
    pub(super) algorithm: Algorithm,
    /// In the server's spelling.
    pub(super) algorithm_text: Option<String>,
    pub(super) is_session: bool,
    /// auth if offered, else auth-int. `None`: a server of RFC 2069.
    pub qop: Option<Qop>,
    /// Whether only the nonce was refused, not the password.
    pub is_stale: bool,
    pub(super) hashes_user: bool,
}

impl Challenge {
    /// The Digest challenges in a value of WWW-Authenticate or Proxy-Authenticate, in order,
    /// without those that cannot be answered: other schemes, unknown algorithms, only unknown qop.
    /// Names are case-insensitive, values may be quoted.
    pub fn read(value: &str) -> Vec<Self> {
        let digest = parse(value)
            .into_iter()
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Digest"));
        digest.filter_map(|(_, own)| Self::of(&own)).collect()
    }

    fn of(parameters: &[(&str, String)]) -> Option<Self> {
        let value = |name: &str| {
            let mut own = parameters.iter();
            let found = own.find(|(own, _)| own.eq_ignore_ascii_case(name))?;
            Some(found.1.clone())
        };
        let is_true = |name| value(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let algorithm_text = value("algorithm");
        let named = algorithm_text.as_deref().unwrap_or("MD5");
        let (algorithm, is_session) = Algorithm::named(named)?;
        let offered = value("qop").unwrap_or_default();
        let offers = |qop: Qop| {
            let mut words = offered.split(',').map(str::trim);
            words.any(|word| word.eq_ignore_ascii_case(qop.as_str()))
        };
        let qop = [Qop::Auth, Qop::AuthInt]
            .into_iter()
            .find(|one| offers(*one));
        if qop.is_none() && !offered.trim().is_empty() {
            return None;
        }
        Some(Self {
            realm: value("realm")?,
            nonce: value("nonce")?,
            opaque: value("opaque"),
            algorithm,
            algorithm_text,
            is_session,
            qop,
            is_stale: is_true("stale"),
            hashes_user: is_true("userhash"),
        })
    }
}

/// Whether a value of WWW-Authenticate or Proxy-Authenticate has a challenge of this scheme.
pub fn offers_scheme(value: &str, scheme: &str) -> bool {
    let challenges = parse(value);
    challenges
        .iter()
        .any(|(own, _)| own.eq_ignore_ascii_case(scheme))
}

/// A scheme, and its parameters.
type Parsed<'a> = (&'a str, Vec<(&'a str, String)>);

fn parse(value: &str) -> Vec<Parsed<'_>> {
    let mut challenges: Vec<Parsed<'_>> = Vec::new();
    for element in split_list(value) {
        let (name, parameter) = element.split_once('=').unwrap_or((element, ""));
        // A scheme precedes the first parameter of each challenge.
        let mut words = name.split_ascii_whitespace().rev();
        let name = words.next().unwrap_or_default();
        if let Some(scheme) = words.next_back() {
            if challenges.len() == MAX_CHALLENGES {
                break;
            }
            challenges.push((scheme, Vec::new()));
        }
        if let Some((_, parameters)) = challenges.last_mut() {
            parameters.push((name, unquoted(parameter.trim())));
        }
    }
    challenges
}

/// The text of a quoted-string, or of a token.
fn unquoted(value: &str) -> String {
    let Some(inside) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_in_each_spelling() {
        let read = |value: &str| {
            let all = Challenge::read(value).into_iter();
            all.map(|one| (one.realm, one.nonce, one.algorithm, one.is_session, one.qop))
                .collect::<Vec<_>>()
        };
        let of = |realm: &str, algorithm, is_session, qop| {
            (realm.to_owned(), "n".to_owned(), algorithm, is_session, qop)
        };
        let (md5, sha) = (Algorithm::Md5, Algorithm::Sha256);
        for (value, expected) in [
            (
                "Digest realm=\"r\", nonce=\"n\"",
                vec![of("r", md5, false, None)],
            ),
            (
                "DIGEST REALM=\"r\",NONCE = n ,Qop=AUTH,ALGORITHM=md5",
                vec![of("r", md5, false, Some(Qop::Auth))],
            ),
            (
                "digest nonce=\"n\",realm=\"Zürich, \\\"Süd\\\"\",qop=\"auth-int\", algorithm=\"sha-256\"",
                vec![of("Zürich, \"Süd\"", sha, false, Some(Qop::AuthInt))],
            ),
            (
                "Digest realm=\"r\", nonce=\"n\", qop=\" auth-int , auth \", algorithm=MD5-Sess",
                vec![of("r", md5, true, Some(Qop::Auth))],
            ),
            (
                "Digest realm=r, nonce=n, qop=\"token, auth\", algorithm=Sha-512-256-SESS",
                vec![of("r", Algorithm::Sha512Trunc256, true, Some(Qop::Auth))],
            ),
            // Several in one field; unknown ones are skipped.
            (
                "Basic realm=\"x\", Digest realm=\"a\", nonce=\"n\", Bearer, Digest realm=\"b\", nonce=\"n\"",
                vec![of("a", md5, false, None), of("b", md5, false, None)],
            ),
            (
                "Digest realm=\"r\", nonce=\"n\", qop=\"\"",
                vec![of("r", md5, false, None)],
            ),
            ("Digest realm=\"r\", nonce=\"n\", qop=\"token\"", vec![]),
            ("Digest realm=\"r\", nonce=\"n\", algorithm=SHA-1", vec![]),
            ("Digest realm=\"r\"", vec![]),
            ("Digest", vec![]),
            ("", vec![]),
            ("realm=\"r\", nonce=\"n\"", vec![]),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
        let stale = Challenge::read("Digest realm=r, nonce=n, stale=TRUE, opaque=\"\"");
        assert!(stale[0].is_stale && stale[0].opaque.as_deref() == Some(""));
        let many = "Digest realm=r, nonce=n, ".repeat(1000);
        assert_eq!(Challenge::read(&many).len(), MAX_CHALLENGES);
    }
}
