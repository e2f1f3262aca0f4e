//! Disposition notifications (RFC 5438): the addressee for a recipient, the MESSAGE that carries
//! one, and its content for a sender.

use std::time::SystemTime;

use bytes::Bytes;
use cpm_wire::cpim::{CpimField, CpimMessage};
use cpm_wire::imdn::{self, Disposition, Notification, Notifications};
use cpm_wire::resource_lists::ANONYMOUS_URI;
use cpm_wire::sip::Uri;

use super::CPIM_TYPE;
use super::date_time::rfc3339;
use super::identifiers::{Random, token};
use super::message::{ICSI, percent_encoded};
use super::request::{OutRequest, SipNames};
use super::stored::StoredMessage;

/// A notification that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owed {
    /// Request-URI.
    pub(super) to: String,
    /// Addressee of the CPIM message: the sender of the message, as its CPIM wrapper names it.
    cpim_to: String,
    /// Hosts that want to be on its path (RFC 5438 §6.5), first hop first.
    routes: Vec<String>,
    original_recipient: Option<String>,
    message_id: String,
    /// Conversation-ID and Contribution-ID of the message.
    identifiers: Vec<(&'static str, String)>,
}

impl Owed {
    /// The notification that a received message requests. `None`: none of this kind, or there is no
    /// addressee.
    ///
    /// It goes to the sender of the message as far as the recipient can know: the authenticated
    /// originator, which is the group if there is one (readings N37), else From. For an anonymous
    /// sender, only the service that the CPIM message is addressed to is known (readings N38).
    pub(super) fn of(object: &StoredMessage, disposition: Disposition, own: &str) -> Option<Self> {
        if !object.is_cpim() {
            return None;
        }
        let cpim = CpimMessage::parse(&object.body).ok()?;
        let wanted = cpim.field_of(imdn::NAMESPACE, imdn::DISPOSITION_NOTIFICATION)?;
        let wanted = Notifications::parse(wanted);
        let is_wanted = match disposition {
            Disposition::Delivered => wanted.delivered,
            Disposition::Failed => wanted.failed,
            Disposition::Displayed | Disposition::NotDisplayed => wanted.displayed,
            Disposition::Interworked => wanted.interworked,
            Disposition::Processed => false,
        };
        if !is_wanted || is_notification(&cpim) {
            return None;
        }
        let message_id = cpim.field_of(imdn::NAMESPACE, imdn::MESSAGE_ID)?;
        let named = |uri: &&str| !uri.eq_ignore_ascii_case(ANONYMOUS_URI);
        let asserted = object.uri("P-Asserted-Identity").filter(named);
        let from = object.uri("From").filter(named);
        let service = cpim.address("To").filter(|uri| *uri != own);
        let to = asserted.or(from).or(service)?;
        let routes = cpim.fields_of(imdn::NAMESPACE, imdn::RECORD_ROUTE);
        let routes: Vec<String> = routes.into_iter().map(str::to_owned).collect();
        let first = routes.first().and_then(|route| bracketed(route));
        let to_uri = first.unwrap_or(to);
        // It becomes a Request-URI, and a CPIM header may contain anything.
        if Uri::parse(to_uri).is_err() || !to_uri.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let identifiers = ["Conversation-ID", "Contribution-ID"];
        let identifiers = identifiers
            .into_iter()
            .filter_map(|name| Some((name, object.field(name)?.to_owned())));
        let original = cpim.field_of(imdn::NAMESPACE, imdn::ORIGINAL_TO);
        Some(Self {
            to: to_uri.to_owned(),
            cpim_to: cpim.address("From").filter(named).unwrap_or(to).to_owned(),
            original_recipient: original.and_then(bracketed).map(str::to_owned),
            message_id: message_id.to_owned(),
            identifiers: identifiers.collect(),
            routes,
        })
    }

    /// The MESSAGE, without User-Agent: from this address, through these routes. `None` if a text
    /// of the sender's does not fit into it.
    pub(super) fn request(
        &self,
        disposition: Disposition,
        own: &str,
        routes: &[String],
        time: SystemTime,
        random: Random,
    ) -> Option<OutRequest> {
        let date_time = rfc3339(time);
        let document = Notification {
            message_id: self.message_id.clone(),
            date_time: date_time.clone(),
            recipient: Some(own.to_owned()),
            original_recipient: self.original_recipient.clone(),
            disposition,
        };
        let field = |name: &str| format!("imdn.{name}");
        let mut fields = vec![
            CpimField::new("From", format!("<{own}>")),
            CpimField::new("To", format!("<{}>", self.cpim_to)),
            CpimField::new("DateTime", date_time),
            CpimField::new("NS", format!("imdn <{}>", imdn::NAMESPACE)),
            CpimField::new(field(imdn::MESSAGE_ID), token(random)),
        ];
        let on_its_way = self.routes.iter();
        fields.extend(on_its_way.map(|route| CpimField::new(field(imdn::ROUTE), route)));
        let (kind, subtype) = imdn::CONTENT_TYPE;
        let content_fields = [
            ("Content-Type", format!("{kind}/{subtype}")),
            ("Content-Disposition", "notification".to_owned()),
        ];
        let cpim = CpimMessage {
            fields,
            content_fields: content_fields
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            content: document.write().into(),
        };
        let names = SipNames {
            call_id: token(random),
            tag: token(random),
            cseq: 1,
        };
        let mut request = OutRequest {
            method: "MESSAGE",
            uri: self.to.clone(),
            call_id: names.call_id,
            from: format!("<{own}>;tag={}", names.tag),
            to: format!("<{}>", self.to),
            cseq: names.cseq,
            routes: routes.to_vec(),
            headers: Vec::new(),
            body: Some((CPIM_TYPE.to_owned(), cpim.write().ok()?)),
        };
        let icsi = percent_encoded(&format!("{ICSI}msg"));
        request.push("Accept-Contact", format!("*;+g.3gpp.icsi-ref=\"{icsi}\""));
        request.push("P-Preferred-Service", format!("{ICSI}msg"));
        request.push("P-Preferred-Identity", format!("<{own}>"));
        for (name, value) in &self.identifiers {
            request.push(name, value.clone());
        }
        Some(request)
    }
}

/// The notification in a CPIM message, if it is one. If its document does not name the recipient,
/// the CPIM message does.
pub(super) fn notification_of(cpim: &Bytes) -> Option<Notification> {
    let cpim = CpimMessage::parse(cpim).ok()?;
    if !is_notification(&cpim) {
        return None;
    }
    let mut notification = Notification::parse(&cpim.content).ok()?;
    if notification.recipient.is_none() {
        notification.recipient = cpim.address("From").map(str::to_owned);
    }
    Some(notification)
}

fn is_notification(cpim: &CpimMessage) -> bool {
    let content_type = cpim.content_field("Content-Type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let (kind, subtype) = imdn::CONTENT_TYPE;
    let own = media_type.split_once('/');
    own.is_some_and(|(k, s)| k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype))
}

/// The URI in `Name <uri>`.
fn bracketed(value: &str) -> Option<&str> {
    let (_, rest) = value.rsplit_once('<')?;
    rest.strip_suffix('>')
}

#[cfg(test)]
mod tests {
    use crate::tests::fill;
    use std::time::UNIX_EPOCH;

    use super::*;

    const OWN: &str = "sip:bill@example.com";

    /// A stored message: header fields of the request, and its CPIM message.
    fn message(fields: &[(&str, &str)], cpim: &str) -> StoredMessage {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let cpim = format!(
            "NS: i <urn:ietf:params:imdn>\r\ni.Message-ID: 42\r\n{cpim}\r\n\r\nContent-Type: text/plain\r\n\r\nHi"
        );
        StoredMessage {
            fields: fields.collect(),
            body: cpim.into(),
        }
    }

    fn goes_to(fields: &[(&str, &str)], cpim: &str) -> Option<String> {
        let wanted = format!("i.Disposition-Notification: positive-delivery\r\n{cpim}");
        let owed = Owed::of(&message(fields, &wanted), Disposition::Delivered, OWN);
        owed.map(|owed| owed.to)
    }

    #[test]
    fn it_goes_to_who_has_sent_the_message() {
        let asserted = ("P-Asserted-Identity", "<sip:friends@groups.example.com>");
        let anne = ("From", "\"Anne\" <sip:anne@example.com>;tag=1");
        let nobody = ("From", "<sip:anonymous@anonymous.invalid>;tag=1");
        let to = |uri: &str| Some(uri.to_owned());
        let service = "To: <sip:exploder@example.com>";
        assert_eq!(
            goes_to(&[anne, asserted], service),
            to("sip:friends@groups.example.com")
        );
        assert_eq!(goes_to(&[anne], service), to("sip:anne@example.com"));
        assert_eq!(goes_to(&[nobody], service), to("sip:exploder@example.com"));
        assert_eq!(goes_to(&[nobody], &format!("To: <{OWN}>")), None);
        let smuggled = "To: <sip:a@example.com\\r\\nRoute: sip:b@example.com>";
        assert_eq!(goes_to(&[nobody], smuggled), None);
        let routes = "i.IMDN-Record-Route: One <sip:one.example.com>\r\ni.IMDN-Record-Route: <sip:two.example.com>";
        assert_eq!(goes_to(&[anne], routes), to("sip:one.example.com"));
    }

    #[test]
    fn only_a_document_of_its_type_is_a_notification() {
        for (content_type, is) in [
            ("message/imdn+xml", true),
            ("Message/IMDN+xml ; charset=UTF-8", true),
            ("message/cpim", false),
            ("application/imdn+xml", false),
            ("message", false),
            ("", false),
        ] {
            let cpim =
                format!("From: <sip:a@b>\r\n\r\nContent-Type: {content_type}\r\n\r\n<imdn/>");
            let cpim = CpimMessage::parse(&Bytes::from(cpim)).unwrap();
            assert_eq!(is_notification(&cpim), is, "{content_type}");
        }
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        use Disposition::*;
        let anne = [("From", "<sip:anne@example.com>")];
        for (wanted, told) in [
            ("positive-delivery, display", vec![Delivered, Displayed]),
            ("display", vec![Displayed]),
            ("negative-delivery, processing", vec![]),
        ] {
            let message = message(&anne, &format!("i.Disposition-Notification: {wanted}"));
            let owed = [Delivered, Displayed]
                .into_iter()
                .filter(|one| Owed::of(&message, *one, OWN).is_some());
            assert_eq!(owed.collect::<Vec<_>>(), told, "{wanted}");
        }
        assert_eq!(
            Owed::of(&message(&anne, "Subject: x"), Delivered, OWN),
            None
        );
    }

    #[test]
    fn what_is_told_is_read() {
        let anne = [("From", "<sip:anne@example.com>"), ("Conversation-ID", "c")];
        let cpim = "From: Anne <sip:anne@example.com>\r\ni.Disposition-Notification: display\r\n\
            i.IMDN-Record-Route: <sip:one.example.com>\r\ni.Original-To: <sip:all@example.com>";
        let owed = Owed::of(&message(&anne, cpim), Disposition::Displayed, OWN).unwrap();
        let routes = ["<sip:scscf.example.com;lr>".to_owned()];
        let request = owed.request(Disposition::Displayed, OWN, &routes, UNIX_EPOCH, fill);
        let request = request.unwrap();
        assert_eq!(
            (request.uri.as_str(), &request.routes[..]),
            ("sip:one.example.com", &routes[..])
        );
        assert!(
            request
                .headers
                .contains(&("Conversation-ID", "c".to_owned()))
        );
        let (kind, body) = request.body.unwrap();
        assert_eq!(kind, "message/cpim");
        let read = CpimMessage::parse(&body).unwrap();
        assert_eq!(read.address("To"), Some("sip:anne@example.com"));
        assert_eq!(
            read.content_field("Content-Disposition"),
            Some("notification")
        );
        assert_eq!(
            read.field_of(imdn::NAMESPACE, imdn::ROUTE),
            Some("<sip:one.example.com>")
        );
        assert_eq!(
            read.field_of(imdn::NAMESPACE, imdn::DISPOSITION_NOTIFICATION),
            None
        );
        let told = Notification {
            message_id: "42".into(),
            date_time: "1970-01-01T00:00:00Z".into(),
            recipient: Some(OWN.into()),
            original_recipient: Some("sip:all@example.com".into()),
            disposition: Disposition::Displayed,
        };
        assert_eq!(notification_of(&body), Some(told));
    }
}
