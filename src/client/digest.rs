//! Digest authentication (RFC 3261 §22, RFC 8760).

use http_auth::{DigestClient, PasswordParams, parse_challenges};

use crate::sip::{HeaderName, Message};

use super::request::{OutRequest, texts};

/// Who the user is to a server that asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Adds the answers to the challenges of a 401 or 407 to the request, in the place of earlier ones. False if there is
/// no Digest challenge that can be answered. A password is never sent in the clear, so Basic is not answered.
pub(super) fn authorize(
    request: &mut OutRequest,
    response: &Message,
    credentials: &Credentials,
) -> bool {
    let mut answered = false;
    for (challenge, answer) in [
        (HeaderName::WwwAuthenticate, "Authorization"),
        (HeaderName::ProxyAuthenticate, "Proxy-Authorization"),
    ] {
        let values = texts(response, challenge);
        if values.is_empty() {
            continue;
        }
        request.headers.retain(|(name, _)| *name != answer);
        // One answer for each realm, to the challenge that the server likes best (RFC 8760 §2.4).
        let mut realms: Vec<String> = Vec::new();
        for value in &values {
            let Ok(challenges) = parse_challenges(value) else {
                continue;
            };
            for mut client in challenges
                .iter()
                .filter_map(|one| DigestClient::try_from(one).ok())
            {
                if realms.iter().any(|realm| realm == client.realm()) {
                    continue;
                }
                let body = request.body.as_ref().map_or(&[][..], |(_, body)| &body[..]);
                let parameters = PasswordParams {
                    username: &credentials.user,
                    password: &credentials.password,
                    uri: &request.uri,
                    method: request.method,
                    body: Some(body),
                };
                if let Ok(value) = client.respond(&parameters) {
                    realms.push(client.realm().to_owned());
                    request.headers.push((answer, value));
                    answered = true;
                }
            }
        }
    }
    answered
}

/// Whether the server refuses only the nonce, not the password.
pub(super) fn is_stale(response: &Message) -> bool {
    [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate]
        .into_iter()
        .flat_map(|name| texts(response, name))
        .any(|value| {
            let challenges = parse_challenges(&value).unwrap_or_default();
            let mut clients = challenges
                .iter()
                .filter_map(|one| DigestClient::try_from(one).ok());
            clients.any(|client| client.stale())
        })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn challenge(header: &str) -> Message {
        let text = format!("SIP/2.0 401 Unauthorized\r\n{header}\r\n\r\n");
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn request() -> OutRequest {
        OutRequest {
            method: "MESSAGE",
            uri: "sip:bill@example.com".into(),
            call_id: "c".into(),
            from: "<sip:anne@example.com>;tag=1".into(),
            to: "<sip:bill@example.com>".into(),
            cseq: 1,
            routes: Vec::new(),
            headers: Vec::new(),
            body: None,
        }
    }

    fn anne() -> Credentials {
        Credentials {
            user: "anne".into(),
            password: "secret".into(),
        }
    }

    #[test]
    fn challenges_of_each_kind_are_answered() {
        let response = challenge(
            "WWW-Authenticate: Digest realm=\"a\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256\r\n\
             WWW-Authenticate: Digest realm=\"a\", nonce=\"n\", qop=\"auth\"\r\n\
             Proxy-Authenticate: Digest realm=\"b\", nonce=\"m\"",
        );
        let mut request = request();
        assert!(authorize(&mut request, &response, &anne()));
        assert!(
            authorize(&mut request, &response, &anne()),
            "the old ones go"
        );
        let [(one, first), (other, second)] = &request.headers[..] else {
            panic!("{:?}", request.headers)
        };
        assert_eq!((*one, *other), ("Authorization", "Proxy-Authorization"));
        assert!(
            first.contains("SHA-256") && first.contains("qop=auth"),
            "{first}"
        );
        assert!(first.contains("uri=\"sip:bill@example.com\"") && !first.contains("secret"));
        assert!(
            second.contains("realm=\"b\"") && !second.contains("qop"),
            "{second}"
        );
    }

    #[test]
    fn no_password_goes_out_in_the_clear() {
        let response = challenge("WWW-Authenticate: Basic realm=\"a\"");
        assert!(!authorize(&mut request(), &response, &anne()));
        assert!(!format!("{:?}", anne()).contains("secret"));
    }

    #[test]
    fn a_stale_nonce_is_told_from_a_wrong_password() {
        let text = "WWW-Authenticate: Digest realm=\"a\", nonce=\"n\"";
        assert!(!is_stale(&challenge(text)));
        assert!(is_stale(&challenge(&format!("{text}, stale=TRUE"))));
    }
}
