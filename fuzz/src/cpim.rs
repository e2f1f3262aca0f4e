//! CPIM messages and disposition notifications.

use bytes::Bytes;
use cpm_wire::cpim::{CpimHead, CpimHeadState, CpimMessage, MAX_HEAD_BYTES, wrapped_content_type};
use cpm_wire::imdn::{MessageHead, NAMESPACE, Notification, notified_message_id};

/// A CPIM message that parses is written as one that parses to the same; the result of the
/// incremental parser does not depend on where the input is split.
pub fn cpim(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = wrapped_content_type(data);
    let _ = MessageHead::of(&bytes);
    let whole = |step: usize| {
        let mut head = CpimHead::default();
        for piece in data.chunks(step.max(1)) {
            match head.push(piece) {
                CpimHeadState::Open => {}
                other => return Some(other),
            }
        }
        None
    };
    let one = whole(usize::MAX);
    for step in [1, 2, 7] {
        assert_eq!(whole(step), one, "step {step}");
    }
    let Ok(message) = CpimMessage::parse(&bytes) else {
        return;
    };
    let _ = (
        message.address("From"),
        message.field("Subject"),
        message.content_field("Content-Type"),
    );
    let _ = message.fields_of(NAMESPACE, "Message-ID");
    if let Ok(written) = message.write() {
        // Escaping can make a head longer than its limit.
        if written.len() - message.content.len() < MAX_HEAD_BYTES - 16 {
            let again = CpimMessage::parse(&written)
                .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&written)));
            assert_eq!(
                again.fields,
                message.fields,
                "{:?}",
                String::from_utf8_lossy(&written)
            );
            assert_eq!(again.content_fields, message.content_fields);
            assert_eq!(again.content, message.content);
        }
    }
}

/// A notification is written as one that parses to the same.
pub fn imdn(data: &[u8]) {
    let id = notified_message_id(data);
    let Ok(notification) = Notification::parse(data) else {
        return;
    };
    assert_eq!(id.as_deref(), Ok(notification.message_id.as_str()));
    let written = notification.write();
    let again =
        Notification::parse(written.as_bytes()).unwrap_or_else(|e| panic!("{e}: {written}"));
    assert_eq!(again.disposition, notification.disposition);
    if !notification.message_id.chars().any(char::is_control) {
        assert_eq!(
            again.message_id.split_whitespace().collect::<Vec<_>>(),
            notification
                .message_id
                .split_whitespace()
                .collect::<Vec<_>>()
        );
    }
}
