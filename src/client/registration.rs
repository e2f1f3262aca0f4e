//! Registration of a receiver (RFC 3261 §10, RFC 3608).

use std::time::{Duration, Instant};

use crate::sip::{HeaderName, Message, NameAddr, StatusCode, split_list};

use super::Way;
use super::message::percent_encoded;
use super::request::{OutRequest, SipNames, text};

/// Shortest time between two registrations.
const MIN_REFRESH: Duration = Duration::from_secs(5);

/// Where a receiver registers.
#[derive(Debug, Clone)]
pub struct RegistrationConfig {
    /// Request-URI, such as `sip:example.com`.
    pub registrar: String,
    /// The way to it.
    pub way: Way,
    /// Lifetime in seconds that is asked for.
    pub expires: u32,
}

/// What a response to REGISTER comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Registered {
    /// For so many seconds, with these routes for requests of ours.
    For(u32, Vec<String>),
    /// The registrar wants this lifetime at least: to be sent again.
    Again(OutRequest),
    Refused(StatusCode),
}

/// The binding of one Contact.
#[derive(Debug)]
pub(super) struct Registration {
    config: RegistrationConfig,
    address: String,
    contact: String,
    names: SipNames,
    /// When it has to be done anew.
    refresh_at: Option<Instant>,
}

impl Registration {
    pub(super) fn new(
        config: RegistrationConfig,
        address: &str,
        contact: &str,
        names: SipNames,
    ) -> Self {
        Self {
            config,
            address: address.to_owned(),
            contact: contact.to_owned(),
            names,
            refresh_at: None,
        }
    }

    pub(super) fn way(&self) -> Way {
        self.config.way
    }

    /// The next REGISTER; `expires` of 0 takes the binding back.
    pub(super) fn request(&mut self, expires: u32, user_agent: &str) -> OutRequest {
        self.refresh_at = None;
        let services = ["msg", "largemsg", "msg.group", "largemsg.group"].map(|service| {
            percent_encoded(&format!(
                "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.{service}"
            ))
        });
        let contact = format!(
            "<{}>;+g.3gpp.icsi-ref=\"{}\"",
            self.contact,
            services.join(",")
        );
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

    /// Takes the final response to `request`.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        status: StatusCode,
        request: &OutRequest,
        response: &Message,
    ) -> Registered {
        self.names.cseq = self.names.cseq.max(request.cseq + 1);
        if status == StatusCode::INTERVAL_TOO_BRIEF {
            let wanted = text(response, HeaderName::MinExpires).and_then(|v| v.parse().ok());
            if let Some(wanted) = wanted.filter(|wanted| *wanted > self.config.expires) {
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
        let lifetime = Duration::from_secs(granted.into());
        if granted > 0 {
            self.refresh_at = Some(now + (lifetime / 2).max(MIN_REFRESH));
        }
        let routes = response.routes(HeaderName::ServiceRoute);
        Registered::For(granted, routes.unwrap_or_default())
    }

    /// What the registrar says of our own Contact, else of all.
    fn granted(&self, response: &Message) -> Option<u32> {
        let own = response.all(HeaderName::Contact).find_map(|field| {
            split_list(&field.unfolded_text()).find_map(|value| {
                let address = NameAddr::parse(value).ok()?;
                let is_own = address.uri() == self.contact;
                is_own.then_some(address.parameter("expires")?.raw_value?.parse().ok())
            })
        });
        own.flatten()
            .or_else(|| text(response, HeaderName::Expires)?.parse().ok())
    }

    /// The binding may lead nowhere any more: registers soon, unless a REGISTER is on its way.
    pub(super) fn renew(&mut self, now: Instant) {
        self.refresh_at = self.refresh_at.map(|at| at.min(now + MIN_REFRESH));
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.refresh_at
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::SipTransport;
    use super::*;

    fn registration() -> Registration {
        let config = RegistrationConfig {
            registrar: "sip:example.com".into(),
            way: Way {
                transport: SipTransport::Udp,
                address: "192.0.2.1:5060".parse().unwrap(),
            },
            expires: 600,
        };
        let names = SipNames {
            call_id: "c".into(),
            tag: "t".into(),
            cseq: 1,
        };
        Registration::new(config, "sip:b@example.com", "sip:b@192.0.2.2:5060", names)
    }

    #[test]
    fn a_binding_is_kept_and_taken_back() {
        let (mut registration, now) = (registration(), Instant::now());
        let request = registration.request(600, "ua");
        let answer = |text: &str| Message::parse(Bytes::from(text.to_owned())).unwrap();
        let ok = answer(
            "SIP/2.0 200 OK\r\nContact: <sip:other>;expires=9, <sip:b@192.0.2.2:5060>;expires=120\r\n\
             Service-Route: <sip:scscf;lr>\r\n\r\n",
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

        let brief = answer("SIP/2.0 423 Interval Too Brief\r\nMin-Expires: 900\r\n\r\n");
        let status = StatusCode::INTERVAL_TOO_BRIEF;
        let Registered::Again(again) = registration.handle_response(now, status, &request, &brief)
        else {
            panic!()
        };
        assert!(again.headers.contains(&("Expires", "900".to_owned())) && again.cseq == 2);
        assert_eq!(
            registration.handle_response(now, status, &again, &brief),
            Registered::Refused(status),
            "not for ever"
        );
        assert_eq!(registration.request(0, "ua").cseq, 3);
    }
}
