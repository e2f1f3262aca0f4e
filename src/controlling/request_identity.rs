//! When two received requests are the same (RFC 3261 §8.2.2.2, §17.2.3).

use bytes::{Buf as _, BufMut as _, Bytes};

use super::handed_over::{put, take};
use crate::shared::{RequestName, RequestTable};
use crate::sip::{HeaderName, Message, Parameters, split_list};

/// Prefix of a branch that is unique by itself (RFC 3261 §8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";

/// Data by which a repeated request is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestIdentity {
    /// The same in everything that upstream forked or repeated, over any branch. Inside a dialog
    /// there is no merging (§8.2.2.2): there the branch is part of it.
    pub(super) request: Vec<Vec<u8>>,
    /// The same in repetitions over this branch.
    pub(super) branch: Vec<Vec<u8>>,
}

impl RequestIdentity {
    /// For a request received with this Request-URI.
    pub(super) fn of(message: &Message) -> Self {
        let branch = branch(message);
        let call_id = message.first(HeaderName::CallId);
        let call_id = call_id.map_or(Vec::new(), |field| field.value().to_vec());
        let tag = |name| message.tag_in(name).unwrap_or_default().into_bytes();
        let mut request = vec![tag(HeaderName::From), call_id, cseq(message)];
        let to_tag = tag(HeaderName::To);
        if !to_tag.is_empty() {
            request.push(to_tag);
            request.extend_from_slice(&branch);
        }
        RequestIdentity { request, branch }
    }
}

impl RequestIdentity {
    /// By what the table of requests knows it.
    pub(super) fn name(&self, requests: &RequestTable, is_invite: bool) -> RequestName {
        let [request, branch] = [&self.request, &self.branch]
            .map(|parts| parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        requests.name(&request, &branch, is_invite)
    }

    /// As bytes, for the next process.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        for parts in [&self.request, &self.branch] {
            bytes.put_u8(parts.len() as u8);
            for part in parts {
                put(&mut bytes, part);
            }
        }
        bytes
    }

    /// The inverse. `None`: it is torn.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes::copy_from_slice(bytes);
        let mut parts = || {
            let count = bytes.try_get_u8().ok()?;
            let parts = (0..count).map(|_| Some(take(&mut bytes)?.to_vec()));
            parts.collect::<Option<Vec<_>>>()
        };
        let (request, branch) = (parts()?, parts()?);
        Some(RequestIdentity { request, branch })
    }
}

/// Number and method, regardless of spacing.
fn cseq(message: &Message) -> Vec<u8> {
    let field = message.first(HeaderName::CSeq);
    let text = field
        .as_ref()
        .map(|field| field.unfolded_text())
        .unwrap_or_default();
    let mut words = text.split_whitespace();
    let number = words.next().map(|number| number.trim_start_matches('0'));
    format!(
        "{} {}",
        number.unwrap_or_default(),
        words.next().unwrap_or_default()
    )
    .into_bytes()
}

/// Branch and sent-by of the topmost Via; for a sender of RFC 2543, whose branch is not unique,
/// that Via as a whole and the Request-URI. The method is in CSeq.
fn branch(message: &Message) -> Vec<Vec<u8>> {
    let field = message.first(HeaderName::Via);
    let text = field
        .as_ref()
        .map(|field| field.unfolded_text())
        .unwrap_or_default();
    let via = split_list(&text).next().unwrap_or_default();
    let (sent, parameters) = via.split_at(via.find(';').unwrap_or(via.len()));
    let branch = Parameters::new(parameters)
        .map_while(Result::ok)
        .find(|parameter| parameter.name.eq_ignore_ascii_case("branch"))
        .and_then(|parameter| parameter.raw_value)
        .filter(|branch| {
            let cookie = branch.get(..MAGIC_COOKIE.len());
            cookie.is_some_and(|cookie| cookie.eq_ignore_ascii_case(MAGIC_COOKIE))
        });
    match branch {
        Some(branch) => {
            let sent_by = sent.split_whitespace().last().unwrap_or_default();
            vec![
                branch.as_bytes().to_vec(),
                sent_by.to_ascii_lowercase().into_bytes(),
            ]
        }
        None => {
            let uri = message.request_uri().unwrap_or_default();
            vec![via.as_bytes().to_vec(), uri.as_bytes().to_vec()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &str = "From: <sip:anne@example.com>;tag=1\r\nTo: <sip:exploder@example.com>\r\n\
        Call-ID: abc\r\nCSeq: 1 MESSAGE\r\n";

    fn identity(via: &str, fields: &str) -> RequestIdentity {
        let text =
            format!("MESSAGE sip:exploder@example.com SIP/2.0\r\nVia: {via}\r\n{fields}\r\n");
        RequestIdentity::of(&Message::parse(text.into_bytes().into()).unwrap())
    }

    const VIA: &str = "SIP/2.0/UDP a.example.com:5060;branch=z9hG4bKx";

    #[test]
    fn a_branch_is_told_by_itself_and_who_sent_it() {
        let one = identity(VIA, FIELDS);
        for same in [
            "SIP/2.0/UDP A.example.com:5060 ; rport;branch=z9hG4bKx",
            "SIP/2.0/TCP a.example.com:5060;branch=z9hG4bKx;received=192.0.2.1",
            "SIP/2.0/UDP a.example.com:5060;branch=z9hG4bKx, SIP/2.0/UDP b;branch=z9hG4bKy",
        ] {
            assert_eq!(identity(same, FIELDS), one, "{same}");
        }
        for other in [
            "SIP/2.0/UDP a.example.com:5060;branch=z9hG4bKX",
            "SIP/2.0/UDP b.example.com:5060;branch=z9hG4bKx",
            "SIP/2.0/UDP a.example.com:5061;branch=z9hG4bKx",
        ] {
            let other = identity(other, FIELDS);
            assert_eq!(other.request, one.request);
            assert_ne!(other.branch, one.branch);
        }
    }

    #[test]
    fn without_the_cookie_the_whole_via_counts() {
        let of = |via| identity(via, FIELDS).branch;
        let one = of("SIP/2.0/UDP a.example.com;branch=1");
        assert_eq!(of("SIP/2.0/UDP a.example.com;branch=1"), one);
        assert_ne!(of("SIP/2.0/UDP a.example.com;branch=1;rport"), one);
        assert_ne!(of("SIP/2.0/UDP a.example.com"), one);
    }

    #[test]
    fn a_request_is_told_by_from_tag_call_id_and_cseq() {
        let one = identity(VIA, FIELDS);
        for (is_same, fields) in [
            (true, FIELDS.replace("<sip:anne", "Anne <sip:anne")),
            (true, FIELDS.replace("1 MESSAGE", "01  MESSAGE")),
            (false, FIELDS.replace("tag=1", "tag=2")),
            (false, FIELDS.replace(";tag=1", "")),
            (false, FIELDS.replace("abc", "abd")),
            (false, FIELDS.replace("1 MESSAGE", "2 MESSAGE")),
            (false, FIELDS.replace("1 MESSAGE", "1 INVITE")),
            (
                false,
                FIELDS.replace("exploder@example.com>", "exploder@example.com>;tag=3"),
            ),
        ] {
            let same = identity(VIA, &fields).request == one.request;
            assert_eq!(same, is_same, "{fields}");
        }
    }

    #[test]
    fn inside_a_dialog_nothing_is_merged() {
        let fields = FIELDS.replace("exploder@example.com>", "exploder@example.com>;tag=3");
        let one = identity(VIA, &fields);
        assert_eq!(identity(VIA, &fields), one);
        let other = identity(&VIA.replace("bKx", "bKy"), &fields);
        assert_ne!(other.request, one.request);
        assert_eq!(RequestIdentity::read(&one.write()), Some(one));
        assert_eq!(RequestIdentity::read(b"\x01"), None);
    }
}
