//! Which of the recipients' answers the originator gets if none of them is a 2xx (RFC 3261 §16.7,
//! readings N20).

use crate::sip::{HeaderBlock, HeaderName, Message, StatusCode};

/// The best answer so far.
#[derive(Debug, Default)]
pub(super) struct BestResponse {
    best: Option<(Rank, StatusCode)>,
    headers: HeaderBlock,
}

/// In the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Global,
    /// 4xx that tell how to retry.
    Instructive,
    Request,
    Server,
}

impl BestResponse {
    /// A recipient has finally failed with this. `response` if there is a real one.
    pub(super) fn consider(&mut self, code: StatusCode, response: Option<&Message>) {
        let code = as_ours(code);
        let rank = rank_of(code);
        if self.best.is_some_and(|(best, _)| best <= rank) {
            return;
        }
        self.best = Some((rank, code));
        self.headers = HeaderBlock::new();
        for &name in headers_of(code) {
            for field in response.into_iter().flat_map(|response| response.all(name)) {
                self.headers.push_line(&field);
            }
        }
    }

    /// The code of the best answer, and its header fields. `None`: nobody has failed.
    pub(super) fn take(&mut self) -> Option<(StatusCode, HeaderBlock)> {
        let (_, code) = self.best.take()?;
        Some((code, std::mem::take(&mut self.headers)))
    }
}

/// The code for the originator's INVITE that corresponds to an answer to our own.
fn as_ours(code: StatusCode) -> StatusCode {
    match code {
        // Overload of one recipient's server does not mean that we are overloaded.
        StatusCode::SERVICE_UNAVAILABLE => StatusCode::SERVER_INTERNAL_ERROR,
        // The interval was ours.
        StatusCode::SESSION_INTERVAL_TOO_SMALL => StatusCode::TEMPORARILY_UNAVAILABLE,
        // It would lead the originator past us to one recipient's device (readings N41).
        code if code.as_u16() < 400 => StatusCode::TEMPORARILY_UNAVAILABLE,
        code => code,
    }
}

fn rank_of(code: StatusCode) -> Rank {
    match code.as_u16() {
        401 | 407 | 415 | 420 | 484 => Rank::Instructive,
        600.. => Rank::Global,
        500.. => Rank::Server,
        _ => Rank::Request,
    }
}

/// Header fields that an answer requires (RFC 3261 §20, table 2).
fn headers_of(code: StatusCode) -> &'static [HeaderName] {
    match code {
        StatusCode::UNAUTHORIZED => &[HeaderName::WwwAuthenticate],
        StatusCode::METHOD_NOT_ALLOWED => &[HeaderName::Allow],
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => &[HeaderName::ProxyAuthenticate],
        StatusCode::UNSUPPORTED_MEDIA_TYPE => &[
            HeaderName::Accept,
            HeaderName::AcceptEncoding,
            HeaderName::AcceptLanguage,
        ],
        StatusCode::BAD_EXTENSION => &[HeaderName::Unsupported],
        StatusCode::EXTENSION_REQUIRED => &[HeaderName::Require],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(codes: &[u16]) -> Option<u16> {
        let mut best = BestResponse::default();
        for &code in codes {
            best.consider(StatusCode::new(code).unwrap(), None);
        }
        best.take().map(|(code, _)| code.as_u16())
    }

    #[test]
    fn rfc_3261_16_7_chooses() {
        for (codes, chosen) in [
            (&[486, 404][..], 486),
            (&[500, 486, 603], 603),
            (&[604, 603], 604),
            (&[500, 408], 408),
            (&[404, 484, 415], 484),
            (&[401, 486], 401),
            (&[504, 503], 504),
            (&[503], 500),
            (&[302], 480),
            (&[422, 486], 480),
        ] {
            assert_eq!(best(codes), Some(chosen), "{codes:?}");
        }
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn an_answer_comes_with_what_belongs_to_it() {
        let response = |text: &str| Message::parse(text.to_owned().into()).unwrap();
        let unsupported = response(
            "SIP/2.0 420 x\r\nUnsupported: foo\r\nUnsupported: bar\r\nContact: <sip:secret@phone>\r\n\r\n",
        );
        let challenge =
            response("SIP/2.0 401 x\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\n\r\n");
        let mut best = BestResponse::default();
        best.consider(StatusCode::BUSY_HERE, Some(&challenge));
        best.consider(StatusCode::BAD_EXTENSION, Some(&unsupported));
        best.consider(StatusCode::UNAUTHORIZED, Some(&challenge));
        let (code, headers) = best.take().unwrap();
        assert_eq!(code, StatusCode::BAD_EXTENSION);
        assert_eq!(
            headers.into_bytes(),
            b"Unsupported: foo\r\nUnsupported: bar\r\n"
        );
        assert!(best.take().is_none());
    }
}
