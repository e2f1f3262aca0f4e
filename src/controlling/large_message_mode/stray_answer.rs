//! Answers to INVITEs of sessions that no longer exist.

use super::DialogNames;
use crate::sip::{HeaderName, Message, StatusCode};
use crate::sip_ua::{Dialog, InDialogRequest, OwnInvite, Peer, cseq};

/// ACK and BYE for a 2xx to an INVITE of ours whose session no longer exists, as after a restart or
/// for a very late answer: without them the callee would keep an unused session. `None`: not such a
/// response.
pub fn requests_for_stray_answer(
    names: &DialogNames,
    message: &Message,
) -> Option<[InDialogRequest; 2]> {
    if !message.status().is_some_and(StatusCode::is_success) {
        return None;
    }
    let call_id = message.first(HeaderName::CallId)?.text().ok()?;
    names.read(call_id)?;
    if !cseq(message)?.1.eq_ignore_ascii_case("INVITE") {
        return None;
    }
    let peer = Peer::of_response(message);
    let cseq = cseq(message)?.0;
    let mut dialog = Dialog::of_caller(&OwnInvite {
        call_id,
        from: &message.address_without_tag(HeaderName::From)?,
        from_tag: &message.tag_in(HeaderName::From).unwrap_or_default(),
        to: &message.address_without_tag(HeaderName::To)?,
        // Without Contact, the destination of the INVITE.
        target: &message.uri_in(HeaderName::To)?,
        cseq,
    });
    // Above every CSeq sent while the session existed.
    dialog.sent(cseq.checked_add(STRAY_CSEQ_DISTANCE)?);
    dialog.establish(&peer);
    let ack = dialog.ack();
    Some([ack, dialog.bye(StatusCode::TEMPORARILY_UNAVAILABLE)])
}

/// More requests than a session sends in one dialog.
const STRAY_CSEQ_DISTANCE: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{DialogName, LegNumber, SessionId, Side};
    use super::*;

    fn names() -> DialogNames {
        DialogNames::new(&[1; 32], &[2; 32])
    }

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
    }

    fn answer(name: &str) -> Message {
        message(&format!(
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP h\nCall-ID: {name}\nCSeq: 1 INVITE\n\
             From: <sip:cf@h>;tag={name}\nTo: <sip:bob@h>;tag=b9\nContact: <sip:bob@phone>\n\n"
        ))
    }

    #[test]
    fn stray_answers_get_ack_and_bye() {
        let name = names().write(DialogName {
            session: SessionId::from_bytes([1; 16]),
            side: Side::Leg(LegNumber(0)),
        });
        let stray = answer(&name);
        let [ack, bye] = requests_for_stray_answer(&names(), &stray).unwrap();
        assert_eq!(
            (ack.cseq, ack.to_tag.as_str(), ack.from_tag.as_str()),
            (1, "b9", &*name)
        );
        let other = DialogNames::new(&[3; 32], &[4; 32]);
        assert!(requests_for_stray_answer(&other, &stray).is_none());
        assert!(bye.cseq > 2 && bye.method == "BYE");
        // If its Contact is unusable, they go to the destination of the INVITE.
        let text = String::from_utf8(stray.buffer().to_vec()).unwrap();
        let odd = message(
            &text
                .replace("\r\n", "\n")
                .replace("<sip:bob@phone>", "<tel:+1>"),
        );
        assert_eq!(
            requests_for_stray_answer(&names(), &odd).unwrap()[0].target,
            "sip:bob@h"
        );
        let foreign = message(
            "SIP/2.0 200 OK\nCall-ID: x\nCSeq: 1 INVITE\nFrom: <sip:a@h>;tag=1\nTo: <sip:b@h>;tag=2\n\
             Contact: <sip:b@p>\n\n",
        );
        assert!(requests_for_stray_answer(&names(), &foreign).is_none());
    }
}
