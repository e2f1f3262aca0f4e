//! Recipients that a message waits for, and how it is known that they have arrived.
//!
//! A registrar names whom it knows now by an address of record, which may be a user part only, in
//! another spelling than the message's. What tells a recipient is therefore a hash of its user
//! part, and one of user part and host.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher as _};

use super::service::ControllingFunction;
use crate::shared::{MessageNumber, RecipientState};
use crate::sip::{HeaderName, Message, StatusCode, Uri};
use crate::store::RecipientKey;

impl ControllingFunction {
    /// Whether a message waits for a recipient whose final code is this one.
    pub fn defers(&self, code: u16) -> bool {
        self.settings().deferral.codes.contains(code)
    }

    /// What the recipient of a request is known by, as the message names it.
    pub fn recipient_of(&self, request: &Message) -> RecipientKey {
        let uri = request.uri_in(HeaderName::To);
        uri.map_or_else(RecipientKey::default, |uri| self.recipient_key(&uri))
    }

    /// What the recipient with this URI is known by.
    pub fn recipient_key(&self, uri: &str) -> RecipientKey {
        let (user, host) = address_of(uri);
        RecipientKey {
            user: self.hash(&user, None),
            address: self.hash(&user, Some(host.unwrap_or_default())),
        }
    }

    /// A recipient is available: what waits for it is due soon. `address`: a URI, or an address of
    /// record without scheme, or only its user part. Takes constant time. False: nothing waits for
    /// anybody here.
    pub fn note_available(&self, address: &str) -> bool {
        let Some(arrivals) = self.arrivals() else {
            return false;
        };
        let (user, host) = address_of(address);
        arrivals.note(self.hash(&user, host));
        true
    }

    /// A recipient that the message with this mark has waited for has it after all.
    pub fn handle_late(&self, mark: [u64; 2], recipient: RecipientKey) {
        let Some(messages) = self.messages() else {
            return;
        };
        let [number, _] = mark;
        let recipients = messages.recipients(number).into_iter();
        let mut waiting = recipients.filter(|known| known.state == RecipientState::Waiting);
        if let Some(known) = waiting.find(|known| self.recipient_key(&known.uri) == recipient) {
            let link = MessageNumber::of_words(mark).recipient(known.leg);
            messages.set(link, RecipientState::Delivered, StatusCode::OK.as_u16());
        }
    }

    /// A keyed hash of an address without its spelling.
    fn hash(&self, user: &str, host: Option<&str>) -> u32 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.recipient_seed());
        for byte in unescaped(user).iter() {
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        if let Some(host) = host {
            hasher.write_u8(b'@');
            for byte in host.bytes() {
                hasher.write_u8(byte.to_ascii_lowercase());
            }
        }
        hasher.finish() as u32
    }
}

/// User part and host; a telephone number has no host, and no visual separators (RFC 3966).
fn address_of(address: &str) -> (Cow<'_, str>, Option<&str>) {
    match Uri::parse(address) {
        Ok(Uri::Tel(uri)) => (uri.number().replace(['-', '.', '(', ')'], "").into(), None),
        Ok(uri) if uri.host().is_some() => (uri.user().unwrap_or_default().into(), uri.host()),
        _ => match address.rsplit_once('@') {
            Some((user, host)) => (user.into(), Some(host)),
            None => (address.into(), None),
        },
    }
}

/// With each %XX as the byte that it stands for.
fn unescaped(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok());
        let escaped = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match escaped.filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::policy::Settings;
    use crate::shared::Arrivals;

    fn service() -> ControllingFunction {
        let mut settings = Settings::default();
        settings.set("exploder_uri", "sip:all@example.com").unwrap();
        let words: Vec<_> = (0..Arrivals::WORDS).map(|_| AtomicU64::new(0)).collect();
        let arrivals = Arrivals::new(words.leak());
        arrivals.listen(true);
        let service = ControllingFunction::new(settings, 7).unwrap();
        service.with_arrivals(arrivals)
    }

    #[test]
    fn a_recipient_is_known_by_each_of_its_spellings_and_no_other_is() {
        let service = service();
        let waits = |uri: &str, arrived: &str| {
            let RecipientKey { user, address } = service.recipient_key(uri);
            assert!(service.note_available(arrived));
            let mut is_it = false;
            let arrivals = service.arrivals().unwrap();
            arrivals.take(|range| is_it |= range.contains(&user) || range.contains(&address));
            is_it
        };
        let bill = "sip:Bill@Example.com;user=x";
        for arrived in [
            "sip:bill@example.com",
            "sips:bil%6C@example.com:5061;transport=tcp",
            "bill@example.com",
            "bill",
            "BILL",
        ] {
            assert!(waits(bill, arrived), "{arrived}");
        }
        for other in ["sip:bill@example.org", "billy", "sip:example.com", "", "%"] {
            assert!(!waits(bill, other), "{other}");
        }
        assert!(waits("tel:+1-555-0100", "tel:+15550100"));
        assert!(waits("sip:+15550100@ims.example.com", "tel:+15550100"));
        assert!(!waits("tel:+15550100", "tel:+15550101"));
    }
}
