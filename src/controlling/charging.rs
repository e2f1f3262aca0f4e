//! P-Charging-Vector (RFC 7315 §4.6, §5.6): the charging identity of a received request, and what
//! its copies carry on.

use super::header_fields::{has_name, put};
use crate::policy::{ChargingVector, Settings};
use crate::sip::{HeaderBlock, HeaderName, Message};

/// Parameters that copies carry on: the identity and the node that generated it. The operators
/// (`orig-ioi`, `term-ioi`, `transit-ioi`) and access networks between sender and Controlling
/// Function are not those between it and a recipient (3GPP TS 24.229 §4.5; readings N25).
const CARRIED_ON: &[&str] = &["icid-value", "icid-generated-at"];

/// The name of the field.
const NAME: &str = "P-Charging-Vector";

/// The parameters of a value: names and raw values.
fn parameters(vector: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let parameters = vector.split(move |c| {
        let is_quote = c == '"' && !is_escaped;
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        is_quoted ^= is_quote;
        c == ';' && !is_quoted
    });
    parameters
        .filter_map(|parameter| parameter.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
}

/// The text of a quoted string; anything else is left as it is.
fn unquoted(value: &str) -> &str {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(value)
}

/// The value of `icid-value`: a token, or a quoted string. `None`: there is none.
pub(super) fn icid_of(message: &Message) -> Option<String> {
    let vector = message.first(HeaderName::PChargingVector)?.unfolded_text();
    let mut parameters = parameters(&vector);
    let (_, value) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("icid-value"))?;
    Some(unquoted(value).to_owned()).filter(|value| !value.is_empty())
}

/// Adds the P-Charging-Vector of the copies of a message, if the operator wants one and the message
/// has an ICID.
pub(super) fn put_charging(headers: &mut HeaderBlock, message: &Message, settings: &Settings) {
    if settings.charging_vector == ChargingVector::None {
        return;
    }
    let Some(field) = message.first(HeaderName::PChargingVector) else {
        return;
    };
    if settings
        .drop_headers
        .iter()
        .any(|name| has_name(&field, name))
    {
        return;
    }
    let vector = field.unfolded_text();
    let value = |wanted: &str| {
        let (_, value) = parameters(&vector).find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(format!("{wanted}={value}")).filter(|_| !unquoted(value).is_empty())
    };
    // Without an identity the rest identifies nothing (RFC 7315 §5.6: icid-value is mandatory).
    if value(CARRIED_ON[0]).is_some() {
        let carried_on: Vec<String> = CARRIED_ON.iter().copied().filter_map(value).collect();
        put(headers, NAME, carried_on.join(";"));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(vector: &str) -> Message {
        let text = format!(
            "MESSAGE sip:a SIP/2.0\r\nP-Charging-Vector: {vector}\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn the_icid_is_read_however_it_is_written() {
        for (vector, icid) in [
            ("icid-value=abc;orig-ioi=home", Some("abc")),
            (
                "orig-ioi=\"a;icid-value=no\"; ICID-Value = \"x;y=1\" ",
                Some("x;y=1"),
            ),
            (
                "orig-ioi=\"a\\\";icid-value=no\";icid-value=yes",
                Some("yes"),
            ),
            ("icid-value=", None),
            ("icid-value=\"\"", None),
            ("orig-ioi=home", None),
        ] {
            assert_eq!(icid_of(&message(vector)).as_deref(), icid, "{vector}");
        }
    }

    #[test]
    fn copies_carry_on_the_icid_and_who_made_it() {
        for (vector, carried_on) in [
            (
                "icid-value=abc;icid-generated-at=192.0.2.1;orig-ioi=home;term-ioi=\"b;c\";\
                 transit-ioi=\"d.1\";related-icid=e;access-network-charging-info=f",
                "P-Charging-Vector: icid-value=abc;icid-generated-at=192.0.2.1\r\n",
            ),
            (
                "orig-ioi=home;\r\n ICID-VALUE = \"x;y=1\"",
                "P-Charging-Vector: icid-value=\"x;y=1\"\r\n",
            ),
            ("icid-generated-at=192.0.2.1", ""),
            ("icid-value=\"\";icid-generated-at=192.0.2.1", ""),
        ] {
            let mut settings = Settings::default();
            let lines = |settings: &Settings| {
                let mut headers = HeaderBlock::new();
                put_charging(&mut headers, &message(vector), settings);
                String::from_utf8(headers.into_bytes()).unwrap()
            };
            assert_eq!(lines(&settings), "", "{vector}");
            settings.set("charging_vector", "icid").unwrap();
            assert_eq!(lines(&settings), carried_on, "{vector}");
            settings.set("drop_headers", "p-charging-vector").unwrap();
            assert_eq!(lines(&settings), "", "{vector}");
        }
    }
}
