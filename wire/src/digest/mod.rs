//! Digest authentication, client side (RFC 7616; RFC 3261 §22, RFC 8760): reads challenges, writes
//! answers. [`Algorithm`] lists the algorithms; qop is auth or auth-int, or none (RFC 2069).
//!
//! Among the crates, `http-auth` accepts names in one case only and no realm beyond ASCII, and
//! hashes the body itself for auth-int; the hash functions are those of `md-5` and `sha2`.

mod algorithm;
mod challenge;

pub use algorithm::Algorithm;
pub use challenge::{Challenge, Qop, offers_scheme};

/// The request that an answer is for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Request-URI.
    pub uri: &'a str,
    /// Body, empty for none.
    pub body: &'a [u8],
}

/// The answers to one challenge, each with its own count (RFC 7616 §3.4).
#[derive(Debug, Clone)]
pub struct Answers {
    challenge: Challenge,
    /// The same for all of them: a session key (`-sess`) is derived from the first.
    cnonce: String,
    count: u32,
}

impl Answers {
    /// Answers to this challenge. `cnonce`: unguessable characters, without quotes and backslashes.
    pub fn new(challenge: Challenge, cnonce: String) -> Self {
        Self {
            challenge,
            cnonce,
            count: 0,
        }
    }

    /// The challenge.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// The next value of Authorization or Proxy-Authorization. It does not contain the password.
    pub fn next(&mut self, user: &str, password: &str, request: Request<'_>) -> String {
        self.count = self.count.saturating_add(1);
        let Challenge {
            realm,
            nonce,
            opaque,
            algorithm,
            algorithm_text,
            is_session,
            qop,
            hashes_user,
            ..
        } = &self.challenge;
        let cnonce = &self.cnonce;
        let count = format!("{:08x}", self.count);
        let mut secret = algorithm.hash(&[user, ":", realm, ":", password]);
        if *is_session {
            secret = algorithm.hash(&[&secret, ":", nonce, ":", cnonce]);
        }
        let (method, uri) = (request.method, request.uri);
        let what = match qop {
            Some(Qop::AuthInt) => {
                let body = algorithm.hash_bytes(&[request.body]);
                algorithm.hash(&[method, ":", uri, ":", &body])
            }
            _ => algorithm.hash(&[method, ":", uri]),
        };
        let response = match qop {
            Some(qop) => algorithm.hash(&[
                &secret,
                ":",
                nonce,
                ":",
                &count,
                ":",
                cnonce,
                ":",
                qop.as_str(),
                ":",
                &what,
            ]),
            None => algorithm.hash(&[&secret, ":", nonce, ":", &what]),
        };
        let user = match hashes_user {
            true => algorithm.hash(&[user, ":", realm]),
            false => user.to_owned(),
        };
        let quoted = |name: &str, value: &str| format!("{name}={}", quoted(value));
        let mut fields = vec![
            quoted("username", &user),
            quoted("realm", realm),
            quoted("nonce", nonce),
            quoted("uri", uri),
            quoted("response", &response),
        ];
        // In the server's spelling: some compare exactly.
        fields.extend(algorithm_text.iter().map(|own| format!("algorithm={own}")));
        fields.extend(opaque.iter().map(|own| quoted("opaque", own)));
        if let Some(qop) = qop {
            fields.push(format!("qop={}", qop.as_str()));
            fields.push(format!("nc={count}"));
        }
        if qop.is_some() || *is_session {
            fields.push(quoted("cnonce", cnonce));
        }
        if *hashes_user {
            fields.push("userhash=true".to_owned());
        }
        format!("Digest {}", fields.join(", "))
    }
}

/// A quoted-string (RFC 3261 §25.1).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str) -> Challenge {
        let mut all = Challenge::read(value);
        assert_eq!(all.len(), 1, "{value}");
        all.remove(0)
    }

    /// The value of a field of an answer, without quotes.
    fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
        let fields = answer.strip_prefix("Digest ").unwrap().split(", ");
        let mut found = fields.filter_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        found.next().map(|value| value.trim_matches('"'))
    }

    #[test]
    fn the_examples_of_the_rfcs() {
        let mufasa = |challenge: &str, cnonce: &str, user: &str, password: &str, uri| {
            let request = Request {
                method: "GET",
                uri,
                body: b"",
            };
            let answer =
                Answers::new(one(challenge), cnonce.to_owned()).next(user, password, request);
            field(&answer, "response").unwrap().to_owned()
        };
        // RFC 7616 §3.9.1.
        let realm = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
            nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let (user, password, uri) = ("Mufasa", "Circle of Life", "/dir/index.html");
        assert_eq!(
            mufasa(
                &format!("{realm}, algorithm=MD5"),
                cnonce,
                user,
                password,
                uri
            ),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
        assert_eq!(
            mufasa(
                &format!("{realm}, algorithm=SHA-256"),
                cnonce,
                user,
                password,
                uri
            ),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        // RFC 2617 §3.5.
        assert_eq!(
            mufasa(
                "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
                 nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"",
                "0a4f113b",
                user,
                "Circle Of Life",
                uri
            ),
            "6629fae49393a05397450978507c4ef1"
        );
    }

    #[test]
    fn a_body_is_hashed_for_auth_int() {
        let answer = |challenge: &str, body: &[u8]| {
            let request = Request {
                method: "MESSAGE",
                uri: "sip:b@example.com",
                body,
            };
            Answers::new(one(challenge), "c".to_owned()).next("anne", "secret", request)
        };
        let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"";
        let first = answer(challenge, b"one");
        assert_eq!(field(&first, "qop"), Some("auth-int"));
        assert_ne!(
            field(&first, "response"),
            field(&answer(challenge, b"two"), "response")
        );
        // By hand: MD5 of "anne:r:secret", "n:00000001:c:auth-int" and "MESSAGE:sip:b@example.com:"
        // with the MD5 of "one".
        let md5 = Algorithm::Md5;
        let what = md5.hash(&["MESSAGE:sip:b@example.com:", &md5.hash(&["one"])]);
        let secret = md5.hash(&["anne:r:secret"]);
        let expected = md5.hash(&[&secret, ":n:00000001:c:auth-int:", &what]);
        assert_eq!(field(&first, "response"), Some(expected.as_str()));
        assert_eq!(md5.hash(&["one"]), "f97c5d29941bfb1b2fdab0874906ab82");
        // With auth, the body is ignored.
        let both = answer(
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int,auth\"",
            b"one",
        );
        assert_eq!(field(&both, "qop"), Some("auth"));
    }

    #[test]
    fn answers_are_counted_and_say_what_was_asked() {
        let challenge = "Digest realm=\"a\\\"b ü\", nonce=\"n\", opaque=\"o\", qop=\"auth\", algorithm=sha-256-SESS";
        let request = Request {
            method: "REGISTER",
            uri: "sip:example.com",
            body: b"",
        };
        let mut answers = Answers::new(one(challenge), "c".to_owned());
        let first = answers.next("anne", "secret", request);
        let second = answers.next("anne", "secret", request);
        assert!(first.contains("realm=\"a\\\"b ü\""), "{first}");
        assert!(first.contains("algorithm=sha-256-SESS"), "{first}");
        assert_eq!(field(&first, "opaque"), Some("o"));
        assert_eq!(
            (field(&first, "nc"), field(&second, "nc")),
            (Some("00000001"), Some("00000002"))
        );
        assert_eq!(
            field(&first, "cnonce"),
            field(&second, "cnonce"),
            "one session key"
        );
        assert_ne!(field(&first, "response"), field(&second, "response"));
        assert!(!first.contains("secret"));
        let old = Answers::new(one("Digest realm=\"r\", nonce=\"n\""), "c".to_owned())
            .next("anne", "secret", request);
        assert!(!old.contains("nc=") && !old.contains("cnonce") && !old.contains("algorithm"));
        let hashed = "Digest realm=\"r\", nonce=\"n\", qop=auth, userhash=TRUE";
        let hashed = Answers::new(one(hashed), "c".to_owned()).next("anne", "secret", request);
        assert_eq!(field(&hashed, "userhash"), Some("true"));
        assert!(!hashed.contains("anne"), "{hashed}");
    }
}
