//! Disposition notifications (RFC 5438; OMA CPM 9.2.15). Recipients send them to the originator
//! they saw, which may be an address of the service. A notification is never fanned out: it is
//! forwarded to the sender of the message it is about (readings N37).

use bytes::Bytes;

use super::nameless_receipt::NamelessReceipt;
use crate::controlling::body::{cpim_of, entity};
use crate::controlling::checks::single_fields;
use crate::controlling::group_session_identity::names_group_session;
use crate::controlling::header_fields::put;
use crate::controlling::hops::{hops_left, hops_of};
use crate::controlling::host::{Counter, Journal};
use crate::controlling::received::{Kind, Received};
use crate::controlling::refusal::{Refusal, Reply};
use crate::controlling::request::{Correlation, Request};
use crate::controlling::service::ControllingFunction;
use crate::cpim::{self, CpimMessage};
use crate::imdn;
use crate::log::at;
use crate::mime::{ContentType, TransferEncoding};
use crate::policy::{GroupReceipts, IdentitySource, Imdn};
use crate::shared::Noted;
use crate::sip::{HeaderBlock, Message, Uri};
use crate::store::SenderName;

/// How to forward a notification: as a proxy does; everything not named here stays as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// The sender.
    pub request_uri: String,
    /// URI of the next hop, if it is not determined by the Request-URI.
    pub next_hop: Option<String>,
    /// Names of the header fields that are not passed on, separated by commas.
    pub dropped: &'static str,
    /// Header lines to add, each ended by CRLF.
    pub headers: Vec<u8>,
    /// Identifies it in log lines.
    pub correlation: String,
}

/// Decision on a MESSAGE that may be a notification.
#[derive(Debug)]
pub enum Forwarded {
    /// It is not one for us, or its destination is unknown. Nothing has changed.
    NotOurs,
    /// It is forwarded.
    Forward(Forwarding),
    /// The group sends its own in place of the member's, see
    /// [`send_nameless`](ControllingFunction::send_nameless).
    Nameless(Box<NamelessReceipt>),
    /// Its message is unknown here: another node may have told the store who sent it.
    Elsewhere(Box<Inquiry>),
    /// It must not be forwarded.
    Refused(Reply),
}

/// What is to be asked about a notification, and how it goes on then.
#[derive(Debug)]
pub struct Inquiry {
    /// What its message is known by.
    pub name: SenderName,
    /// How to forward it, without the Request-URI; `None`: the group sends its own, see
    /// [`forward_found`](ControllingFunction::forward_found).
    pub forwarding: Option<Forwarding>,
}

/// A received notification to an address of the service.
struct Told {
    message: Message,
    document: Bytes,
    /// The Message-ID of the message that it is about.
    id: String,
    /// Whether it is to a group, which sends its own in its place.
    is_nameless: bool,
    correlation: String,
}

impl Request {
    /// The address for notifications about this message. `None`: there is none, or it is our own.
    pub(in crate::controlling) fn notifications_to(&self) -> Option<&str> {
        let is_routed = self.service.settings().outbound_proxy.is_some();
        let uri = self.originator.as_ref()?.reachable(is_routed)?;
        let parsed = Uri::parse(uri).ok()?;
        (!self.service.takes_notifications_to(&parsed)).then_some(uri)
    }

    /// Records the sender of a pager mode message that asks for notifications. Done before sending:
    /// a recipient's notification can arrive before the last recipient has its copy.
    pub(in crate::controlling) fn note_sender(&self) -> Option<Noted> {
        let senders = self.service.senders()?;
        let head = self.message_head()?;
        let wanted = head.wanted?;
        let settings = self.service.settings();
        let counted = match settings.failure_imdn && wanted.failed {
            true => self.recipients().len(),
            false => 0,
        };
        let ttl_s = settings.imdn_ttl_s as u64;
        senders.note_counted(&head.message_id, self.notifications_to()?, ttl_s, counted)
    }
}

impl ControllingFunction {
    /// Decides on a MESSAGE that [`classify`](Self::classify) has not taken. `is_asked`: the
    /// routing script wants it forwarded, regardless of the parameter `imdn`.
    pub fn forward_notification(
        &self,
        received: &Received<'_>,
        is_asked: bool,
        host: &dyn Journal,
    ) -> Forwarded {
        let is_wanted = is_asked || self.settings().imdn == Imdn::Forward;
        let Some(senders) = self.senders().filter(|_| is_wanted) else {
            return Forwarded::NotOurs;
        };
        let Some(told) = self.read_notification(received, host) else {
            return Forwarded::NotOurs;
        };
        match senders.find(&told.id) {
            Some(sender) => self.go_on(received, &told, sender, host),
            None if self.shares_store() => {
                let passes = single_fields(&told.message).and_then(|()| hops_left(&told.message));
                if let Err(refusal) = passes {
                    return self.not_forwarded(&refusal, &told, host);
                }
                // The Request-URI follows.
                let forwarding = || self.forwarding(received, &told.message, String::new());
                Forwarded::Elsewhere(Box::new(Inquiry {
                    name: SenderName(senders.name_of(&told.id)),
                    forwarding: (!told.is_nameless).then(forwarding),
                }))
            }
            None => {
                host.count(Counter::ImdnUnknown, 1);
                let line = format_args!(
                    "a disposition notification about an unknown message, {}",
                    told.correlation
                );
                host.log(at!(Debug), line);
                Forwarded::NotOurs
            }
        }
    }

    /// The decision on a notification about a message of this sender, as another node has it.
    pub fn forward_found(
        &self,
        received: &Received<'_>,
        sender: String,
        host: &dyn Journal,
    ) -> Forwarded {
        match self.read_notification(received, host) {
            Some(told) => self.go_on(received, &told, sender, host),
            None => Forwarded::NotOurs,
        }
    }

    /// `None`: it is none, or not to an address of the service.
    fn read_notification(&self, received: &Received<'_>, host: &dyn Journal) -> Option<Told> {
        // The Request-URI first: it excludes nearly all other traffic of a proxy.
        let own = Uri::parse(received.request_uri)
            .ok()
            .filter(|uri| self.takes_notifications_to(uri))?;
        let message = Message::parse(Bytes::copy_from_slice(received.message)).ok()?;
        let document = document(&message).filter(|_| message.method() == Some("MESSAGE"))?;
        let correlation = Correlation::of(&message).to_string();
        let id = imdn::notified_message_id(&document)
            .inspect_err(|error| {
                let line = format_args!(
                    "a disposition notification cannot be read: {error}, {correlation}"
                );
                host.log(at!(Debug), line);
            })
            .ok()?;
        let is_nameless = self.settings().group_receipts == GroupReceipts::Nameless
            && self.is_group_address(&own);
        Some(Told {
            message,
            document,
            id,
            is_nameless,
            correlation,
        })
    }

    fn go_on(
        &self,
        received: &Received<'_>,
        told: &Told,
        sender: String,
        host: &dyn Journal,
    ) -> Forwarded {
        let passes = single_fields(&told.message).and_then(|()| hops_left(&told.message));
        let goes_on = passes.and_then(|()| match Uri::parse(received.request_uri) {
            Ok(own) if told.is_nameless => {
                let receipt = self.nameless(&told.message, &own, &told.document, sender)?;
                Ok(Forwarded::Nameless(Box::new(receipt)))
            }
            _ => {
                let forwarding = self.forwarding(received, &told.message, sender);
                Ok(Forwarded::Forward(forwarding))
            }
        });
        goes_on.unwrap_or_else(|refusal| self.not_forwarded(&refusal, told, host))
    }

    fn not_forwarded(&self, refusal: &Refusal, told: &Told, host: &dyn Journal) -> Forwarded {
        let line = format_args!(
            "a disposition notification is not forwarded: {}, {}",
            refusal.cause(),
            told.correlation
        );
        host.log(at!(Notice), line);
        // It has no Warning, and so names no agent.
        Forwarded::Refused(refusal.reply(&self.product(), ""))
    }

    fn forwarding(&self, received: &Received<'_>, message: &Message, sender: String) -> Forwarding {
        let settings = self.settings();
        let proxy = settings.outbound_proxy.as_ref();
        let mut headers = HeaderBlock::new();
        put(
            &mut headers,
            "Max-Forwards",
            hops_of(message).saturating_sub(1).to_string(),
        );
        if let Some(proxy) = proxy.filter(|proxy| proxy.loose_routing()) {
            put(&mut headers, "Route", format!("<{}>", proxy.as_str()));
        }
        // RFC 3325 §5: an asserted identity from an untrusted peer is not passed on.
        let is_trusted = settings.identity_source != IdentitySource::PAssertedIdentity
            || received
                .source_address
                .is_some_and(|source| settings.trusted_peers.contains(source));
        Forwarding {
            request_uri: sender,
            next_hop: proxy.map(|proxy| proxy.as_str().to_owned()),
            // The received Route led to us.
            dropped: match is_trusted {
                true => "Max-Forwards,Route",
                false => "Max-Forwards,Route,P-Asserted-Identity",
            },
            headers: headers.into_bytes(),
            correlation: Correlation::of(message).to_string(),
        }
    }

    /// Whether notifications may be addressed to `uri`: an address shown to recipients as the
    /// originator.
    pub(in crate::controlling) fn takes_notifications_to(&self, uri: &Uri<'_>) -> bool {
        self.own_kind(uri, self.keys(uri).address).is_some()
            || self.settings().group_uris.contains(uri)
            || uri.user().is_some_and(names_group_session)
                && uri
                    .host()
                    .is_some_and(|host| self.is_own_host(host, Kind::AdHoc))
    }
}

/// Whether the content is a notification, wrapped in CPIM as required (RFC 5438 §7), alone or as
/// one of several parts.
pub(in crate::controlling) fn is_notification(message: &Message) -> bool {
    may_be_notification(&message.body())
        && entity(message).is_ok_and(|entity| {
            cpim_of(&entity)
                .is_some_and(|cpim| cpim::wrapped_content_type(&cpim).is_some_and(is_imdn))
        })
}

/// The document of a MESSAGE that consists only of a notification.
fn document(message: &Message) -> Option<Bytes> {
    if !may_be_notification(&message.body()) {
        return None;
    }
    let entity = entity(message).ok()?;
    let cpim = cpim_of(&entity).filter(|_| !entity.is_multipart())?;
    let cpim = CpimMessage::parse(&cpim).ok()?;
    cpim.content_field("Content-Type")
        .filter(|value| is_imdn(value))?;
    let encoding = match cpim.content_field("Content-Transfer-Encoding") {
        Some(value) => TransferEncoding::parse(value.as_bytes()).ok()?,
        None => TransferEncoding::Identity,
    };
    encoding.decode(&cpim.content).ok()
}

fn is_imdn(content_type: &str) -> bool {
    let (media_type, subtype) = imdn::CONTENT_TYPE;
    ContentType::parse(Bytes::copy_from_slice(content_type.as_bytes()))
        .is_ok_and(|content_type| content_type.is(media_type, subtype))
}

/// Whether the subtype of a notification occurs anywhere in a body: most messages need no further
/// check.
fn may_be_notification(body: &[u8]) -> bool {
    let (_, subtype) = imdn::CONTENT_TYPE;
    let (before, _) = subtype.split_once('+').unwrap_or_default();
    memchr::memchr_iter(b'+', body).any(|plus| {
        let start = plus.checked_sub(before.len());
        start
            .and_then(|start| body.get(start..start + subtype.len()))
            .is_some_and(|found| found.eq_ignore_ascii_case(subtype.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::rc::Rc;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::controlling::{SenderTable, fill_random};
    use crate::log::LogAt;
    use crate::policy::Settings;
    use fastrand::Rng;

    /// A host that is not called.
    struct Quiet;

    impl Journal for Quiet {
        fn log(&self, _: LogAt, _: fmt::Arguments<'_>) {}

        fn count(&self, _: Counter, _: u32) {}
    }

    fn service() -> Rc<ControllingFunction> {
        let mut settings = Settings::default();
        for (name, value) in [
            ("exploder_uri", "sip:many@example.com"),
            ("controlling_uri", "sip:cpm@example.org:5070"),
            ("group_uri", "sip:*@groups.example.com"),
            ("group_source", "dir:/groups"),
        ] {
            settings.set(name, value).unwrap();
        }
        let words = (0..SenderTable::words(4)).map(|_| AtomicU64::new(0));
        let words: Vec<AtomicU64> = words.collect();
        let senders = SenderTable::new(words.leak(), fill_random, || 0);
        senders.note("1", "sip:anne@example.com", 60);
        let service = ControllingFunction::new(settings, 1).unwrap();
        Rc::new(service.with_senders(senders))
    }

    const DOCUMENT: &str = "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>1</message-id>\
        <datetime>2026-01-02T03:04:05Z</datetime><recipient-uri>sip:bill@example.com</recipient-uri>\
        <display-notification><status><displayed/></status></display-notification></imdn>";

    fn cpim(fields: &str, content: &str) -> String {
        format!("From: <sip:bill@example.com>\r\n\r\n{fields}\r\n\r\n{content}")
    }

    fn request(method: &str, content_type: &str, body: &str) -> String {
        format!(
            "{method} sip:x SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:b@a>;tag=1\r\n\
             To: <sip:x>\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\n\
             Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn received<'a>(message: &'a str, request_uri: &'a str) -> Received<'a> {
        Received {
            message: message.as_bytes(),
            request_uri,
            source_address: None,
        }
    }

    /// Whether it is forwarded, and whether it is a message to be fanned out.
    fn taken(message: &str, request_uri: &str) -> (bool, bool) {
        let service = service();
        let received = received(message, request_uri);
        let notification = service.forward_notification(&received, false, &Quiet);
        (
            matches!(notification, Forwarded::Forward(_) | Forwarded::Nameless(_)),
            service.classify(&received).is_some(),
        )
    }

    #[test]
    fn what_is_addressed_to_us() {
        let body = cpim("Content-Type: message/imdn+xml", DOCUMENT);
        let told = request("MESSAGE", "message/cpim", &body);
        let digits = "0123456789abcdef".repeat(2);
        for (uri, is_ours) in [
            ("sip:many@example.com", true),
            ("sip:cpm@example.org:5070", true),
            ("sip:lunch@groups.example.com", true),
            // A Group Session Identity is at the host of a controlling_uri.
            (&*format!("sip:cpm-group-{digits}@EXAMPLE.org"), true),
            (&*format!("sip:cpm-group-{digits}@example.com"), false),
            (
                &*format!("sip:cpm-group-{}@example.org", &digits[1..]),
                false,
            ),
            (
                &*format!("sip:cpm-group-{}g@example.org", &digits[1..]),
                false,
            ),
            ("sip:bill@example.com", false),
            ("tel:+1", false),
            ("nonsense", false),
        ] {
            assert_eq!(taken(&told, uri), (is_ours, false), "{uri}");
        }
        let told = request("INFO", "message/cpim", &body);
        assert_eq!(taken(&told, "sip:many@example.com"), (false, false));
    }

    /// A pattern for groups may be wide enough to match addresses of other kinds.
    #[test]
    fn only_a_pre_defined_group_has_a_groups_address() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("exploder_uri", "sip:many@example.com"),
            ("group_uri", "sip:*@example.com"),
            ("group_source", "dir:/groups"),
        ] {
            settings.set(name, value).unwrap();
        }
        let service = ControllingFunction::new(settings, 1).unwrap();
        let is_group = |uri: &str| service.is_group_address(&Uri::parse(uri).unwrap());
        assert!(is_group("sip:lunch@example.com"));
        assert!(!is_group("sip:many@example.com"));
        assert!(!is_group("sip:lunch@example.org"));
        let digits = "0123456789abcdef".repeat(2);
        assert!(!is_group(&format!("sip:cpm-group-{digits}@example.com")));
    }

    #[test]
    fn a_member_stays_nameless() {
        let body = cpim("Content-Type: message/imdn+xml", DOCUMENT);
        let told = |body: &str| request("MESSAGE", "message/cpim", body);
        let result =
            |told: &str, uri| service().forward_notification(&received(told, uri), false, &Quiet);
        let digits = "0123456789abcdef".repeat(2);
        let session = format!("sip:cpm-group-{digits}@example.org");
        for uri in ["sip:many@example.com", "sip:cpm@example.org:5070", &session] {
            let result = result(&told(&body), uri);
            assert!(matches!(result, Forwarded::Forward(_)), "{uri}");
        }
        for (group, own) in [
            (
                "sip:lunch@groups.example.com",
                "sip:lunch@groups.example.com",
            ),
            (
                "sip:lunch:bill@groups.example.com:5070;x=bill?y=bill",
                "sip:lunch@groups.example.com:5070",
            ),
        ] {
            let Forwarded::Nameless(receipt) = result(&told(&body), group) else {
                panic!("{group}")
            };
            let written = format!("{receipt:?}");
            assert!(!written.contains("bill"), "{written}");
            assert!(
                written.contains(&format!("recipient: Some({own:?})")),
                "{written}"
            );
            assert!(written.contains("disposition: Displayed"), "{written}");
        }
        // Data that cannot be given without naming the member is omitted.
        for broken in [
            body.replace("2026-01-02", "bill-01-02"),
            body.replace("2026-01-02", &"2".repeat(40)),
            body.replace("display-notification", "bill-notification"),
        ] {
            let result = result(&told(&broken), "sip:lunch@groups.example.com");
            let Forwarded::Refused(reply) = result else {
                panic!("{broken}")
            };
            assert_eq!(reply.code.as_u16(), 400);
        }
    }

    #[test]
    fn what_is_a_notification() {
        let plain = cpim("Content-Type: message/imdn+xml", DOCUMENT);
        let capitals = cpim("content-type: Message/IMDN+XML; charset=utf-8", DOCUMENT);
        let encoded = cpim(
            "Content-Type: message/imdn+xml\r\nContent-Transfer-Encoding: base64",
            "PGltZG4geG1sbnM9InVybjppZXRmOnBhcmFtczp4bWw6bnM6aW1kbiI+PG1lc3NhZ2UtaWQ+MTwvbWVzc2FnZS1pZD48L2ltZG4+",
        );
        let text = cpim("Content-Type: text/plain", "imdn+xml");
        let parts = format!(
            "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b\r\nContent-Type: message/cpim\r\n\r\n{plain}\r\n--b--\r\n"
        );
        for (content_type, body, expected) in [
            ("message/cpim", &plain, (true, false)),
            ("Message/CPIM;x=y", &capitals, (true, false)),
            ("message/cpim", &encoded, (true, false)),
            // It is never fanned out, and with other parts not forwarded either.
            ("multipart/mixed;boundary=b", &parts, (false, false)),
            ("message/cpim", &text, (false, true)),
            ("text/plain", &plain, (false, true)),
            ("message/imdn+xml", &DOCUMENT.to_owned(), (false, true)),
        ] {
            let told = request("MESSAGE", content_type, body);
            assert_eq!(taken(&told, "sip:many@example.com"), expected, "{told}");
        }
    }

    #[test]
    fn mutated_notifications_never_panic() {
        let service = service();
        let body = cpim("Content-Type: message/imdn+xml", DOCUMENT);
        let told = request("MESSAGE", "message/cpim", &body).into_bytes();
        let mut random = Rng::with_seed(37);
        let mut forwarded = 0;
        for _ in 0..5_000 {
            let mut bytes = told.clone();
            for _ in 0..random.usize(..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = b"\r\n:;<>/\"+ \xff\0"[random.usize(..12)];
            }
            bytes.truncate(bytes.len() - random.usize(..2) * random.usize(..bytes.len()));
            let received = Received {
                message: &bytes,
                ..received("", "sip:many@example.com")
            };
            let notification = service.forward_notification(&received, true, &Quiet);
            forwarded += u32::from(matches!(notification, Forwarded::Forward(_)));
        }
        assert!(forwarded > 100, "{forwarded}");
    }
}
