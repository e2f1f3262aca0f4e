//! Answers about messages for an operator, from the table that all processes share: as lines of
//! fields, `name=value` separated by tabs; a recipient's line begins with `leg`.

use std::fmt::Write as _;

use crate::shared::{MessageCounts, MessageRecord, MessageTable, MessageText, RecipientRecord};

/// Number of messages in a list, unless the operator asks for another one.
const USUALLY_LISTED: usize = 100;
/// Maximum number of messages in a list.
const MAX_LISTED: usize = 1_000;

/// The texts of a message, with their names for the operator.
const TEXTS: &[(&str, MessageText)] = &[
    ("message_id", MessageText::MessageId),
    ("contribution_id", MessageText::ContributionId),
    ("conversation_id", MessageText::ConversationId),
    ("call_id", MessageText::CallId),
    ("session", MessageText::Session),
    ("icid", MessageText::Icid),
    ("originator", MessageText::Originator),
    ("kind", MessageText::Kind),
    ("mode", MessageText::Mode),
];

/// Which messages to list: words such as `originator=sip:anne@example.com`, `state=failed`,
/// `most=10`, `skip=100`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter<'a> {
    pub(super) originator: Option<&'a str>,
    /// Whom they wait for: only the store knows.
    pub(super) recipient: Option<&'a str>,
    pub(super) state: Option<&'a str>,
    pub(super) most: usize,
    /// Messages of these that are newer than the list.
    pub(super) skip: usize,
}

impl<'a> Filter<'a> {
    /// `None`: a word is not known.
    pub(super) fn parse(words: &'a str) -> Option<Self> {
        let mut filter = Filter {
            originator: None,
            recipient: None,
            state: None,
            most: USUALLY_LISTED,
            skip: 0,
        };
        for word in words.split_whitespace() {
            match word.split_once('=')? {
                ("originator", uri) => filter.originator = Some(uri),
                ("recipient", uri) => filter.recipient = Some(uri),
                ("state", state) => filter.state = Some(STATES.iter().find(|s| **s == state)?),
                ("most", most) => filter.most = most.parse().ok().filter(|n| *n <= MAX_LISTED)?,
                ("skip", skip) => filter.skip = skip.parse::<u32>().ok()? as usize,
                _ => return None,
            }
        }
        Some(filter)
    }

    fn takes(&self, message: &MessageRecord, counts: MessageCounts) -> bool {
        let originator = message.text(MessageText::Originator);
        self.originator
            .is_none_or(|uri| originator == Some(uri.as_bytes()))
            && self
                .state
                .is_none_or(|state| state == state_of(message, counts))
    }
}

const STATES: &[&str] = &["outstanding", "waiting", "delivered", "partly", "failed"];

/// The state of a message as a whole.
fn state_of(message: &MessageRecord, counts: MessageCounts) -> &'static str {
    let wanted = message.recipients.saturating_sub(counts.dropped);
    match (counts.delivered, counts.failed) {
        (delivered, failed) if delivered + failed + counts.waiting < wanted => "outstanding",
        _ if counts.waiting > 0 => "waiting",
        (0, _) => "failed",
        (_, 0) => "delivered",
        _ => "partly",
    }
}

/// Writes the messages that `filter` asks for, newest first. Returns how many there are, and how
/// many of them are written.
pub(super) fn list(
    messages: &MessageTable,
    filter: &Filter<'_>,
    out: &mut String,
) -> (usize, usize) {
    let now_ms = messages.now_ms();
    let known = messages
        .newest_first()
        .filter_map(|number| messages.message(number));
    let wanted = known.filter(|(message, counts)| filter.takes(message, *counts));
    let (mut found, mut listed) = (0, 0);
    for (message, counts) in wanted {
        if listed == filter.most {
            break;
        }
        found += 1;
        if found > filter.skip {
            write_message(out, &message, counts, now_ms);
            listed += 1;
        }
    }
    (found, listed)
}

/// The newest message with this Message-ID, Contribution-ID, Call-ID or session, and its
/// recipients.
pub(super) fn show(messages: &MessageTable, id: &str) -> Option<String> {
    let number = messages.find(id.as_bytes())?;
    let (message, counts) = messages.message(number)?;
    let mut out = String::new();
    write_message(&mut out, &message, counts, messages.now_ms());
    for recipient in messages.recipients(number) {
        write_recipient(&mut out, &recipient, message.received_ms);
    }
    Some(out)
}

/// One message as a line.
pub(super) fn write_message(
    out: &mut String,
    message: &MessageRecord,
    counts: MessageCounts,
    now_ms: u64,
) {
    let _ = write!(out, "state={}", state_of(message, counts));
    for (name, text) in TEXTS {
        if let Some(value) = message.text(*text) {
            let _ = write!(
                out,
                "\t{name}={}",
                one_line(&String::from_utf8_lossy(value))
            );
        }
    }
    let MessageCounts {
        delivered,
        failed,
        dropped,
        waiting,
        last_end_ms,
    } = counts;
    let _ = write!(
        out,
        "\trecipients={}\tdelivered={delivered}\tfailed={failed}\tdropped={dropped}\twaiting={waiting}\tbytes={}\tage={}",
        message.recipients,
        message.bytes,
        seconds(now_ms, message.received_ms),
    );
    if last_end_ms > 0 {
        let _ = write!(
            out,
            "\tseconds={}",
            seconds(last_end_ms, message.received_ms)
        );
    }
    out.push('\n');
}

/// One recipient as a line.
pub(super) fn write_recipient(out: &mut String, recipient: &RecipientRecord, received_ms: u64) {
    let _ = write!(
        out,
        "leg={}\turi={}\tstate={}",
        recipient.leg,
        one_line(&recipient.uri),
        recipient.state.as_str(),
    );
    if recipient.code > 0 {
        let _ = write!(out, "\tcode={}", recipient.code);
    }
    if recipient.end_ms > 0 {
        let _ = write!(out, "\tseconds={}", seconds(recipient.end_ms, received_ms));
    }
    out.push('\n');
}

/// From one time to a later one, in seconds with three decimals.
fn seconds(later_ms: u64, earlier_ms: u64) -> String {
    let ms = later_ms.saturating_sub(earlier_ms);
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

/// A peer's text cannot add fields or lines.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '.' } else { c };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_words_that_are_known() {
        let filter = Filter::parse("state=failed originator=sip:a@b  most=7 skip=14").unwrap();
        assert_eq!(
            (filter.state, filter.originator, filter.most, filter.skip),
            (Some("failed"), Some("sip:a@b"), 7, 14)
        );
        assert_eq!(Filter::parse("").unwrap().most, USUALLY_LISTED);
        for wrong in [
            "failed",
            "state=lost",
            "most=x",
            "most=1001",
            "skip=-1",
            "skip=4294967296",
            "sender=sip:a@b",
        ] {
            assert_eq!(Filter::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_state_of_a_message_is_that_of_its_recipients() {
        for (recipients, delivered, failed, dropped, waiting, state) in [
            (3, 1, 1, 0, 0, "outstanding"),
            (3, 1, 0, 0, 1, "outstanding"),
            (3, 1, 0, 1, 1, "waiting"),
            (3, 2, 0, 1, 0, "delivered"),
            (3, 0, 3, 0, 0, "failed"),
            (3, 1, 1, 1, 0, "partly"),
            (1, 0, 0, 1, 0, "failed"),
        ] {
            let message = MessageRecord {
                recipients,
                ..MessageRecord::default()
            };
            let counts = MessageCounts {
                delivered,
                failed,
                dropped,
                waiting,
                last_end_ms: 0,
            };
            assert_eq!(state_of(&message, counts), state);
        }
    }

    #[test]
    fn a_text_adds_no_fields() {
        let message = MessageRecord::default()
            .with(MessageText::CallId, Some("1\tstate=delivered\nleg=0"))
            .with(MessageText::Icid, Some(vec![0xff]));
        let mut out = String::new();
        write_message(&mut out, &message, MessageCounts::default(), 1_500);
        assert_eq!(
            out,
            "state=failed\tcall_id=1.state=delivered.leg=0\ticid=\u{fffd}\trecipients=0\tdelivered=0\t\
             failed=0\tdropped=0\twaiting=0\tbytes=0\tage=1.500\n"
        );
    }
}
