//! Registration of a receiver (RFC 3261 §10, RFC 3608).

use std::time::{Duration, Instant};

use cpm_wire::sip::{HeaderName, Message, NameAddr, StatusCode, Uri, split_list};
use cpm_wire::sip_ua::{text, texts};

use super::identifiers::{Random, number};
use super::message::percent_encoded;
use super::request::{OutRequest, SipNames};

/// How soon a binding is renewed whose connection was lost.
const RENEWAL: Duration = Duration::from_secs(5);
/// Limits of the time until the next attempt after a failure (RFC 5626 §4.5).
const RETRY: Duration = Duration::from_secs(30);
const MAX_RETRY: Duration = Duration::from_secs(1800);
/// How often in a row a registrar may require a longer lifetime.
const MAX_TOO_BRIEF: u8 = 3;

/// Where a receiver registers.
#[derive(Debug, Clone)]
pub struct RegistrationConfig {
    /// Request-URI, such as `sip:example.com`.
    pub registrar: String,
    /// Requested lifetime in seconds.
    pub expires: u32,
}

/// Result of a response to REGISTER.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Registered {
    /// For this many seconds, with these routes for our requests.
    For(u32, Vec<String>),
    /// The registrar requires this minimum lifetime: send again.
    Again(OutRequest),
    Refused(StatusCode),
}

/// The binding of one Contact.
#[derive(Debug)]
pub(super) struct Registration {
    config: RegistrationConfig,
    address: String,
    names: SipNames,
    /// The URI of the last Contact.
    contact: String,
    /// When to renew it.
    refresh_at: Option<Instant>,
    /// Whether it has ever succeeded: then a failure is temporary.
    pub(super) has_succeeded: bool,
    /// Failures since the last success, each after all servers have been tried.
    failures: u32,
    /// Servers tried in vain since then, or since the last failure.
    pub(super) servers_tried: usize,
    too_brief: u8,
}

impl Registration {
    pub(super) fn new(config: RegistrationConfig, address: &str, names: SipNames) -> Self {
        Self {
            config,
            address: address.to_owned(),
            names,
            contact: String::new(),
            refresh_at: None,
            has_succeeded: false,
            failures: 0,
            servers_tried: 0,
            too_brief: 0,
        }
    }

    /// The next REGISTER for this Contact; `expires` of 0 removes the binding.
    pub(super) fn request(&mut self, contact: &str, expires: u32, user_agent: &str) -> OutRequest {
        self.refresh_at = None;
        contact.clone_into(&mut self.contact);
        let services = ["msg", "largemsg", "msg.group", "largemsg.group"].map(|service| {
            percent_encoded(&format!(
                "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.{service}"
            ))
        });
        let contact = format!("<{contact}>;+g.3gpp.icsi-ref=\"{}\"", services.join(","));
        let request = OutRequest {
            method: "REGISTER",
            uri: self.config.registrar.clone(),
            call_id: self.names.call_id.clone(),
            from: format!("<{}>;tag={}", self.address, self.names.tag),
            to: format!("<{}>", self.address),
            cseq: self.names.cseq,
            routes: Vec::new(),
            headers: vec![
                ("Contact", contact),
                ("Expires", expires.to_string()),
                ("Supported", "path".to_owned()),
                ("Allow", super::ALLOW.to_owned()),
                ("User-Agent", user_agent.to_owned()),
            ],
            body: None,
        };
        self.names.cseq += 1;
        request
    }

    pub(super) fn expires(&self) -> u32 {
        self.config.expires
    }

    /// Handles the final response to `request`.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        status: StatusCode,
        request: &OutRequest,
        response: &Message,
    ) -> Registered {
        self.names.cseq = self.names.cseq.max(request.cseq + 1);
        if status == StatusCode::INTERVAL_TOO_BRIEF && self.too_brief < MAX_TOO_BRIEF {
            let wanted = text(response, HeaderName::MinExpires).and_then(|v| v.parse().ok());
            if let Some(wanted) = wanted.filter(|wanted| *wanted > self.config.expires) {
                self.too_brief += 1;
                self.config.expires = wanted;
                let mut again = request.clone();
                again.cseq = self.names.cseq;
                self.names.cseq += 1;
                for (name, value) in &mut again.headers {
                    if *name == "Expires" {
                        *value = wanted.to_string();
                    }
                }
                return Registered::Again(again);
            }
        }
        if !status.is_success() {
            return Registered::Refused(status);
        }
        let granted = self.granted(response).unwrap_or(self.config.expires);
        // Half of it leaves time for a second attempt, and is never longer than the granted time.
        self.refresh_at = Some(now + Duration::from_secs(granted.max(1).into()) / 2);
        self.has_succeeded = true;
        self.failures = 0;
        self.servers_tried = 0;
        self.too_brief = 0;
        let routes = response.routes(HeaderName::ServiceRoute);
        Registered::For(granted, routes.unwrap_or_default())
    }

    /// The time granted to our own Contact (§10.2.4: found by comparing URIs), else to all, else
    /// the shortest.
    fn granted(&self, response: &Message) -> Option<u32> {
        let own = Uri::parse(&self.contact).ok()?;
        let contacts = texts(response, HeaderName::Contact);
        let (mut of_own, mut of_any) = (None, None);
        for value in contacts.iter().flat_map(|value| split_list(value)) {
            let Ok(address) = NameAddr::parse(value) else {
                continue;
            };
            let expires = address
                .parameter("expires")
                .and_then(|parameter| parameter.raw_value?.parse::<u32>().ok());
            let is_own = Uri::parse(address.uri()).is_ok_and(|uri| uri.equivalent(&own));
            let shortest = if is_own { &mut of_own } else { &mut of_any };
            *shortest = [*shortest, expires].into_iter().flatten().min();
        }
        of_own
            .or_else(|| text(response, HeaderName::Expires)?.parse().ok())
            .or(of_any)
    }

    /// Retries later: when the server says, else after a time that doubles with each failure and is
    /// partly random, so that not all clients of a server return at once (RFC 5626 §4.5). Returns
    /// how much later.
    pub(super) fn retry(
        &mut self,
        now: Instant,
        retry_after: Option<u32>,
        random: Random,
    ) -> Duration {
        let longest = RETRY
            .saturating_mul(1 << self.failures.min(16))
            .min(MAX_RETRY);
        let lot = f64::from(number(random) % 1000) / 1000.0;
        let later = match retry_after {
            Some(seconds) => Duration::from_secs(seconds.max(1).into()),
            None => longest.mul_f64(0.5 + lot / 2.0),
        };
        self.failures += 1;
        self.servers_tried = 0;
        self.too_brief = 0;
        self.refresh_at = Some(now + later);
        later
    }

    /// The binding may be unreachable: registers soon, unless a REGISTER is pending, or has failed
    /// and will be retried.
    pub(super) fn renew(&mut self, now: Instant) {
        if self.failures == 0 {
            self.refresh_at = self.refresh_at.map(|at| at.min(now + RENEWAL));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.refresh_at
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::fill;
    use bytes::Bytes;

    use super::*;

    const CONTACT: &str = "sip:b@192.0.2.2:5060";

    fn registration() -> Registration {
        let config = RegistrationConfig {
            registrar: "sip:example.com".into(),
            expires: 600,
        };
        let names = SipNames {
            call_id: "c".into(),
            tag: "t".into(),
            cseq: 1,
        };
        Registration::new(config, "sip:b@example.com", names)
    }

    fn answer(text: &str) -> Message {
        Message::parse(Bytes::from(format!("{text}\r\n\r\n"))).unwrap()
    }

    #[test]
    fn a_binding_is_kept_and_taken_back() {
        let (mut registration, now) = (registration(), Instant::now());
        let request = registration.request(CONTACT, 600, "ua");
        let ok = answer(
            "SIP/2.0 200 OK\r\nContact: <sip:other>;expires=9, <sip:b@192.0.2.2:5060>;expires=120\r\n\
             Service-Route: <sip:scscf;lr>",
        );
        let done = registration.handle_response(now, StatusCode::OK, &request, &ok);
        assert_eq!(
            done,
            Registered::For(120, vec!["<sip:scscf;lr>".to_owned()])
        );
        assert_eq!(
            registration.poll_timeout(),
            Some(now + Duration::from_secs(60))
        );
        assert_eq!(registration.request(CONTACT, 0, "ua").cseq, 2);
    }

    #[test]
    fn it_is_refreshed_before_what_was_granted_is_over() {
        for (headers, granted) in [
            // The same URI in another spelling.
            (
                "Contact: <SIP:b@192.0.2.2:5060;ob>;expires=3, <sip:x>;expires=900",
                3,
            ),
            (
                "Contact: <sip:%62@192.0.2.2:5060>;EXPIRES=40\r\nExpires: 70",
                40,
            ),
            ("Contact: <sip:b@192.0.2.2>;expires=40\r\nExpires: 70", 70),
            (
                "Contact: \"a, b\" <sip:b@192.0.2.2:5060>\r\nExpires: 70",
                70,
            ),
            (
                "Contact: <sip:b@198.51.100.9:1024>;expires=50, <sip:x>;expires=900",
                50,
            ),
            ("Contact: <sip:b@192.0.2.2:5060>;expires=1", 1),
            ("Contact: <sip:b@192.0.2.2:5060>;expires=7200", 7200),
            ("X: y", 600),
        ] {
            let (mut registration, now) = (registration(), Instant::now());
            let request = registration.request(CONTACT, 600, "ua");
            let ok = answer(&format!("SIP/2.0 200 OK\r\n{headers}"));
            let done = registration.handle_response(now, StatusCode::OK, &request, &ok);
            assert_eq!(done, Registered::For(granted, Vec::new()), "{headers}");
            let refresh = registration.poll_timeout().unwrap() - now;
            assert!(refresh < Duration::from_secs(granted.into()), "{headers}");
        }
    }

    #[test]
    fn a_lifetime_that_grows_for_ever_is_refused() {
        let (mut registration, now) = (registration(), Instant::now());
        let status = StatusCode::INTERVAL_TOO_BRIEF;
        let mut request = registration.request(CONTACT, 600, "ua");
        for round in 1_u32.. {
            let wanted = 600 + round;
            let brief = answer(&format!("SIP/2.0 423 Brief\r\nMin-Expires: {wanted}"));
            match registration.handle_response(now, status, &request, &brief) {
                Registered::Again(again) => {
                    assert!(again.headers.contains(&("Expires", wanted.to_string())));
                    assert_eq!(again.cseq, request.cseq + 1);
                    request = again;
                }
                other => {
                    assert_eq!((other, round), (Registered::Refused(status), 4));
                    break;
                }
            }
        }
        // A value that is not longer is refused at once.
        let brief = answer("SIP/2.0 423 Brief\r\nMin-Expires: 600");
        let done = self::registration().handle_response(now, status, &request, &brief);
        assert_eq!(done, Registered::Refused(status));
    }

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let (mut registration, now) = (registration(), Instant::now());
        for longest in [30, 60, 120, 240, 480, 960, 1800, 1800] {
            let later = registration.retry(now, None, fill);
            let longest = Duration::from_secs(longest);
            assert!((longest / 2..=longest).contains(&later), "{later:?}");
            assert_eq!(registration.poll_timeout(), Some(now + later));
            registration.renew(now);
            assert_eq!(registration.poll_timeout(), Some(now + later));
        }
        let later = registration.retry(now, Some(3000), fill);
        assert_eq!(later, Duration::from_secs(3000), "as the server says");
        assert_eq!(
            registration.retry(now, Some(0), fill),
            Duration::from_secs(1)
        );
    }
}
