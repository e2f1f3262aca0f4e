//! The last messages that were received: one that comes again is not shown again. A Controlling
//! Function that was restarted, or has tried before, sends a copy once more, since it cannot know
//! whether the first one arrived.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hasher as _};

use cpm_wire::sip::{HeaderName, Message};
use cpm_wire::sip_ua::text;

use super::session::sender_of;
use crate::identifiers::Random;
use crate::stored::StoredMessage;

/// How many messages are remembered.
const MAX_KNOWN: usize = 1024;

/// Keyed hashes of the identities of the last messages.
#[derive(Debug)]
pub(super) struct Known {
    key: [u8; 16],
    hashes: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Known {
    /// Of no message. The key is random, so that nobody can aim at another's message.
    pub(super) fn new(random: Random) -> Self {
        let mut key = [0; 16];
        random(&mut key);
        Known {
            key,
            hashes: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Whether the message of this request was received before; from now on it was. A message with
    /// a Message-ID is the same if that and its sender are (RFC 5438 §6.3); one without if its
    /// request is (RFC 3261 §8.2.2.2).
    pub(super) fn has(&mut self, request: &Message, object: &StoredMessage) -> bool {
        let field = |name| text(request, name).unwrap_or_default();
        let call_id = field(HeaderName::CallId);
        let cseq = field(HeaderName::CSeq);
        let tag = request.tag_in(HeaderName::From).unwrap_or_default();
        let (sender, contribution) = (sender_of(request), field(HeaderName::ContributionId));
        let hash = match object.field("IMDN-Message-ID") {
            Some(id) => self.hash(&[id, &sender, &contribution]),
            None => self.hash(&[&call_id, &cseq, &tag]),
        };
        if !self.hashes.insert(hash) {
            return true;
        }
        self.order.push_back(hash);
        if self.order.len() > MAX_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.hashes.remove(&oldest);
        }
        false
    }

    fn hash(&self, parts: &[&str]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.key);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part.as_bytes());
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(call_id: usize, cseq: u32) -> Message {
        let text = format!(
            "MESSAGE sip:bill@example.com SIP/2.0\r\nFrom: <sip:anne@example.com>;tag=1\r\n\
             To: <sip:bill@example.com>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} MESSAGE\r\n\r\n"
        );
        Message::parse(text.into_bytes().into()).unwrap()
    }

    fn object(id: Option<&str>) -> StoredMessage {
        let id = id.map(|id| ("IMDN-Message-ID".to_owned(), id.to_owned()));
        StoredMessage {
            fields: id.into_iter().collect(),
            body: bytes::Bytes::new(),
        }
    }

    #[test]
    fn a_message_is_known_by_its_id_or_else_by_its_request() {
        let mut known = Known::new(crate::tests::fill);
        assert!(!known.has(&request(1, 1), &object(Some("m"))));
        assert!(known.has(&request(2, 7), &object(Some("m"))), "once more");
        assert!(!known.has(&request(1, 1), &object(Some("n"))));
        let of_other = Message::parse(
            "MESSAGE sip:bill@example.com SIP/2.0\r\nFrom: <sip:mallory@example.com>;tag=1\r\n\r\n"
                .into(),
        );
        assert!(
            !known.has(&of_other.unwrap(), &object(Some("m"))),
            "another sender"
        );
        assert!(!known.has(&request(1, 1), &object(None)));
        assert!(known.has(&request(1, 1), &object(None)));
        assert!(!known.has(&request(1, 2), &object(None)));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut known = Known::new(crate::tests::fill);
        for call_id in 0..=MAX_KNOWN {
            assert!(!known.has(&request(call_id, 1), &object(None)));
        }
        assert_eq!(
            (known.hashes.len(), known.order.len()),
            (MAX_KNOWN, MAX_KNOWN)
        );
        assert!(known.has(&request(MAX_KNOWN, 1), &object(None)));
        assert!(
            !known.has(&request(0, 1), &object(None)),
            "the oldest is forgotten"
        );
    }
}
