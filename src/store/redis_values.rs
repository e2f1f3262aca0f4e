//! What the server of a shared store answers, as values. Another program may have written to it:
//! what cannot be read costs only itself, and nothing that comes after it.

use bytes::Bytes;
use redis::{Value, from_redis_value};

use super::content::is_name;
use super::record::Kept;

/// The version of a message that cannot be read: of no form of record.
pub const UNREADABLE: u32 = 0;

/// What is read of a message.
pub(super) const MESSAGE_FIELDS: [&str; 6] =
    ["version", "expires", "record", "ended", "content", "bytes"];

/// A message, from the values of its fields. `None`: there is none. If a field
/// is not what it should be, its version is [`UNREADABLE`], and it is kept for the operator.
pub fn kept(id: u64, fields: Value) -> Option<Kept> {
    type Fields = (Value, Value, Value, Value, Value, Value);
    let (version, expires_s, record, ended, content, bytes): Fields =
        from_redis_value(fields).ok()?;
    if [&version, &expires_s, &record].contains(&&Value::Nil) {
        return None;
    }
    let version = from_redis_value(version).ok();
    let expires_s = from_redis_value(expires_s).ok();
    let record = from_redis_value::<Vec<u8>>(record).ok();
    let ended = from_redis_value::<Option<Vec<u8>>>(ended).ok();
    let content = content_of(content, bytes);
    let readable = version.zip(expires_s).zip(record).zip(ended).zip(content);
    let ((((version, expires_s), record), ended), content) =
        readable.unwrap_or_else(|| ((((UNREADABLE, 0), Vec::new()), None), None));
    Some(Kept {
        id,
        version,
        expires_s,
        record: record.into(),
        identity: Bytes::new(),
        ended: ended.unwrap_or_default().into(),
        content,
    })
}

/// The file with a message's content, and its size. `None`: that cannot be read.
fn content_of(name: Value, bytes: Value) -> Option<Option<(String, u64)>> {
    if name == Value::Nil {
        return Some(None);
    }
    let name = from_redis_value(name)
        .ok()
        .filter(|name: &String| is_name(name))?;
    Some(Some((name, from_redis_value(bytes).ok()?)))
}

/// Reports of arrivals.
#[derive(Debug, Default)]
pub struct Reports {
    /// The name of the last one. `None`: there are none.
    pub last: Option<String>,
    /// Hashes of the recipients in those of other nodes.
    pub hashes: Vec<u32>,
}

/// Reads reports: each has its name, then the token of a node, and hashes of four bytes each.
pub fn arrivals(reports: Value, own_token: u64) -> Reports {
    let mut found = Reports::default();
    for (name, fields) in named(reports) {
        let fields: Vec<(u64, Vec<u8>)> = from_redis_value(fields).unwrap_or_default();
        for (_, hashes) in fields.iter().filter(|(token, _)| *token != own_token) {
            let hashes = hashes.as_chunks().0.iter();
            found
                .hashes
                .extend(hashes.map(|bytes| u32::from_be_bytes(*bytes)));
        }
        found.last = Some(name);
    }
    found
}

/// The name of the last report.
pub fn name_of_last(reports: Value) -> Option<String> {
    named(reports).last().map(|(name, _)| name)
}

fn named(reports: Value) -> impl Iterator<Item = (String, Value)> {
    let reports: Vec<Value> = from_redis_value(reports).unwrap_or_default();
    reports
        .into_iter()
        .filter_map(|report| from_redis_value(report).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_message_that_cannot_be_read_is_there_all_the_same() {
        let with = |fields: [Value; 4], content: [Value; 2]| {
            kept(7, Value::Array([&fields[..], &content[..]].concat()))
        };
        let of = |fields: [Value; 4]| with(fields, [Value::Nil, Value::Nil]);
        let whole = of([text("1"), text("9"), text("what"), Value::Nil]).unwrap();
        assert_eq!((whole.id, whole.version, whole.expires_s), (7, 1, 9));
        assert_eq!(
            (&whole.record[..], &whole.ended[..]),
            (&b"what"[..], &b""[..])
        );
        for fields in [
            [text("one"), text("9"), text("what"), Value::Nil],
            [text("1"), text("-9"), text("what"), Value::Nil],
            [text("1"), text("9"), Value::Boolean(true), Value::Nil],
        ] {
            assert_eq!(of(fields).map(|kept| kept.version), Some(UNREADABLE));
        }
        assert_eq!(of([Value::Nil, Value::Nil, Value::Nil, text("who")]), None);
        let fields = || [text("1"), text("9"), text("what"), Value::Nil];
        let large = with(fields(), [text("0f"), text("5")]).unwrap();
        assert_eq!(large.content, Some(("0f".to_owned(), 5)));
        for content in [
            [text("../0f"), text("5")],
            [text("0f"), text("-5")],
            [text("0f"), Value::Nil],
        ] {
            let found = with(fields(), content).unwrap();
            assert_eq!((found.version, found.content), (UNREADABLE, None));
        }
    }

    #[test]
    fn a_report_that_cannot_be_read_holds_up_no_other() {
        let report = |name: &str, token: &str, hashes: &str| {
            Value::Array(vec![
                text(name),
                Value::Array(vec![text(token), text(hashes)]),
            ])
        };
        let reports = Value::Array(vec![
            report("1-0", "two", "aaaa"),
            Value::Int(4),
            report("2-0", "2", "bbbbcccc+"),
            report("3-0", "1", "dddd"),
        ]);
        assert_eq!(name_of_last(reports.clone()).as_deref(), Some("3-0"));
        let found = arrivals(reports, 1);
        assert_eq!(found.last.as_deref(), Some("3-0"));
        assert_eq!(
            found.hashes,
            [b"bbbb", b"cccc"].map(|four| u32::from_be_bytes(*four))
        );
        assert_eq!(arrivals(Value::Nil, 1).last, None);
    }
}
