//! Digest authentication.

use cpm_wire::digest::{Answers, Challenge, Request, offers_scheme};

use crate::text;

/// Challenges, and two answers to each: an answer is one line that says which challenge it is for,
/// and is itself read as one with the same realm and nonce. First line: the challenges; the rest is
/// the request's body.
pub fn digest(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (first, body) = data.split_at(at);
    let Some(value) = text(first) else { return };
    let challenges = Challenge::read(value);
    assert!(challenges.is_empty() || offers_scheme(value, "digest"));
    let request = Request {
        method: "MESSAGE",
        uri: "sip:exploder@example.com",
        body,
    };
    for challenge in challenges {
        let mut answers = Answers::new(challenge.clone(), "cnonce".to_owned());
        let [one, two] = [0, 1].map(|_| answers.next("anne", "correct horse", request));
        assert!(!one.contains("correct horse") || value.contains("correct horse"));
        assert_eq!(one != two, challenge.qop.is_some(), "{one}\n{two}");
        let again = Challenge::read(&one);
        let [again] = &again[..] else {
            panic!("{} challenges in {one}", again.len())
        };
        assert_eq!(
            (&again.realm, &again.nonce),
            (&challenge.realm, &challenge.nonce)
        );
    }
}
