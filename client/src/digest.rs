//! Challenges of servers and proxies, and the answers (RFC 3261 §22, RFC 8760).

use cpm_wire::digest::{Answers, Challenge, Request};
use cpm_wire::sip::{HeaderName, Message, Uri};
use cpm_wire::sip_ua::texts;

use super::identifiers::{Random, token};
use super::request::OutRequest;

/// The user's credentials for a challenge.
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

/// Maximum number of realms whose challenges are remembered.
const MAX_REALMS: usize = 8;

/// Answers challenges, and remembers them: a later request includes its answer, with an increasing
/// nonce count (RFC 3261 §22.3, RFC 7616 §3.4).
#[derive(Debug)]
pub(super) struct Authenticator {
    credentials: Credentials,
    random: Random,
    spaces: Vec<Space>,
}

/// The scope of one challenge.
#[derive(Debug)]
struct Space {
    kind: Kind,
    answers: Answers,
    /// For a 401: the host of the Request-URI whose server asks. A proxy protects all requests that
    /// pass through it.
    host: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server,
    Proxy,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Server, Self::Proxy];

    fn challenge(self) -> HeaderName {
        match self {
            Self::Server => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    fn answer(self) -> &'static str {
        match self {
            Self::Server => "Authorization",
            Self::Proxy => "Proxy-Authorization",
        }
    }
}

/// The servers that have challenged one request; the realm by kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Vec<(&'static str, String)>);

impl Authenticator {
    pub(super) fn new(credentials: Credentials, random: Random) -> Self {
        Self {
            credentials,
            random,
            spaces: Vec::new(),
        }
    }

    /// Adds the answers to all known challenges to the request, replacing earlier ones: credentials
    /// for several realms are independent (RFC 3261 §22.3).
    pub(super) fn authorize(&mut self, request: &mut OutRequest) {
        let is_answer = |name: &str| Kind::ALL.iter().any(|kind| kind.answer() == name);
        request.headers.retain(|(name, _)| !is_answer(name));
        let host = host_of(request);
        let body = request.body.as_ref().map_or(&[][..], |(_, body)| &body[..]);
        let about = Request {
            method: request.method,
            uri: &request.uri,
            body,
        };
        let Credentials { user, password } = &self.credentials;
        for space in &mut self.spaces {
            if space.kind == Kind::Proxy || space.host == host {
                let value = space.answers.next(user, password, about);
                request.headers.push((space.kind.answer(), value));
            }
        }
    }

    /// Handles the challenges of a 401 or 407 to a request. `asked`: the earlier challenges of this
    /// request. False if sending it again is useless: no challenge can be answered, or a server
    /// asks twice, and not because the nonce is stale: then the password is wrong. A nonce from an
    /// earlier request may be refused once without `stale`. A password is never sent in clear text,
    /// so Basic is not answered.
    pub(super) fn take(
        &mut self,
        request: &OutRequest,
        response: &Message,
        asked: &mut Asked,
    ) -> bool {
        let mut is_answered = false;
        for kind in Kind::ALL {
            // One answer for each realm, to the challenge that the server prefers (RFC 8760 §2.4).
            let mut realms: Vec<String> = Vec::new();
            for value in texts(response, kind.challenge()) {
                for challenge in Challenge::read(&value) {
                    let realm = challenge.realm.clone();
                    if realms.contains(&realm) {
                        continue;
                    }
                    realms.push(realm.clone());
                    let who = (kind.answer(), realm);
                    if asked.0.contains(&who) && !challenge.is_stale {
                        return false;
                    }
                    self.remember(kind, host_of(request), challenge);
                    asked.0.push(who);
                    is_answered = true;
                }
            }
        }
        is_answered
    }

    fn remember(&mut self, kind: Kind, host: String, challenge: Challenge) {
        let is_old = |one: &Space| {
            one.kind == kind
                && one.answers.challenge().realm == challenge.realm
                && (kind == Kind::Proxy || one.host == host)
        };
        self.spaces.retain(|one| !is_old(one));
        if self.spaces.len() == MAX_REALMS {
            self.spaces.remove(0);
        }
        let answers = Answers::new(challenge, token(self.random));
        self.spaces.push(Space {
            kind,
            answers,
            host,
        });
    }
}

fn host_of(request: &OutRequest) -> String {
    let uri = Uri::parse(&request.uri).ok();
    let host = uri.and_then(|uri| uri.host().map(str::to_ascii_lowercase));
    host.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::tests::fill;
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
            headers: vec![("Subject", "Lunch".to_owned())],
            body: None,
        }
    }

    fn authenticator() -> Authenticator {
        let credentials = Credentials {
            user: "anne".into(),
            password: "secret".into(),
        };
        Authenticator::new(credentials, fill)
    }

    /// Name and value of each answer in a request.
    fn answers(request: &OutRequest) -> Vec<(&'static str, &str)> {
        let headers = request.headers.iter();
        headers
            .filter(|(name, _)| name.ends_with("Authorization"))
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }

    #[test]
    fn challenges_of_several_realms_are_answered_side_by_side() {
        let response = challenge(
            "WWW-Authenticate: Digest realm=\"a\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256\r\n\
             WWW-Authenticate: Digest realm=\"a\", nonce=\"n\", qop=\"auth\"\r\n\
             Proxy-Authenticate: Digest realm=\"b\", nonce=\"m\", qop=\"auth\"",
        );
        let (mut authenticator, mut request) = (authenticator(), request());
        let mut asked = Asked::default();
        assert!(authenticator.take(&request, &response, &mut asked));
        authenticator.authorize(&mut request);
        // Another proxy after the first one.
        let other = "Proxy-Authenticate: Digest realm=\"c\", nonce=\"k\"";
        assert!(authenticator.take(&request, &challenge(other), &mut asked));
        for count in 2..5 {
            authenticator.authorize(&mut request);
            let [(one, a), (two, b), (three, c)] = answers(&request)[..] else {
                panic!("{:?}", request.headers)
            };
            let proxy = "Proxy-Authorization";
            assert_eq!((one, two, three), ("Authorization", proxy, proxy));
            assert!(a.contains("SHA-256") && a.contains("qop=auth"), "{a}");
            assert!(a.contains("uri=\"sip:bill@example.com\"") && !a.contains("secret"));
            let nc = format!("nc={count:08x}");
            assert!(a.contains(&nc) && b.contains(&nc), "{a} {b}");
            assert!(b.contains("realm=\"b\"") && c.contains("realm=\"c\""));
            assert!(!c.contains("qop"), "{c}");
        }
        // Another server does not get the answers for this one.
        request.uri = "sip:bill@example.org".into();
        authenticator.authorize(&mut request);
        let names: Vec<_> = answers(&request)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["Proxy-Authorization", "Proxy-Authorization"]);
    }

    #[test]
    fn who_asks_twice_does_not_know_the_password() {
        let fresh = |nonce: &str, more: &str| {
            challenge(&format!(
                "WWW-Authenticate: Digest realm=\"a\", nonce=\"{nonce}\"{more}"
            ))
        };
        let (mut authenticator, request) = (authenticator(), request());
        let mut asked = Asked::default();
        assert!(authenticator.take(&request, &fresh("1", ""), &mut asked));
        assert!(authenticator.take(&request, &fresh("2", ", stale=TRUE"), &mut asked));
        assert!(!authenticator.take(&request, &fresh("3", ""), &mut asked));
        assert!(!authenticator.take(&request, &fresh("3", ", stale=false"), &mut asked));
        // The next request uses a nonce that the server may have forgotten: allowed once.
        let mut asked = Asked::default();
        assert!(authenticator.take(&request, &fresh("4", ""), &mut asked));
        assert!(!authenticator.take(&request, &fresh("5", ""), &mut asked));
    }

    #[test]
    fn realms_are_remembered_up_to_a_bound() {
        let (mut authenticator, mut request) = (authenticator(), request());
        for realm in 0..100 {
            let text = format!("Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"n\"");
            authenticator.take(&request, &challenge(&text), &mut Asked::default());
        }
        authenticator.authorize(&mut request);
        assert_eq!(answers(&request).len(), MAX_REALMS);
    }

    #[test]
    fn no_password_goes_out_in_the_clear() {
        let response = challenge("WWW-Authenticate: Basic realm=\"a\"");
        let mut authenticator = authenticator();
        assert!(!authenticator.take(&request(), &response, &mut Asked::default()));
        assert!(!format!("{authenticator:?}").contains("secret"));
    }
}
