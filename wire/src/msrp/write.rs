use bytes::{BufMut, BytesMut};

use super::{
    ByteRange, ContinuationFlag, FailureReport, Field, Head, Kind, Malformed, Method, MsrpUri,
    Path, Status, TransactionId,
};

/// The head of a SEND, before its content.
#[derive(Debug, Clone, Copy)]
pub struct SendHead<'a> {
    /// New for each chunk.
    pub transaction_id: &'a TransactionId,
    /// The peer's path.
    pub to_path: &'a Path,
    /// Our own URI.
    pub from_path: &'a MsrpUri,
    /// The same in all chunks of a message; checked by the parser that read it, or made of a
    /// [`TransactionId`].
    pub message_id: &'a [u8],
    /// The part of the message that follows.
    pub byte_range: ByteRange,
    /// Whether the far end should send a REPORT when it has the whole message.
    pub success_report: bool,
    /// Which responses are wanted.
    pub failure_report: FailureReport,
    /// `None`: the request has no content, and only binds the session to its connection.
    pub content: Option<ContentFields<'a>>,
}

/// The fields that describe content. They must come from a parser, which leaves no line break in
/// them.
#[derive(Debug, Clone, Copy)]
pub struct ContentFields<'a> {
    /// Content-Type.
    pub content_type: &'a [u8],
    /// Other fields, in order.
    pub others: &'a [Field],
}

/// Appends a SEND up to where its content begins, or without content up to where its end-line
/// begins.
pub fn write_send(out: &mut BytesMut, send: &SendHead<'_>) {
    write_start(out, send.transaction_id, b"SEND");
    write_path(out, b"To-Path", send.to_path);
    write_field(out, b"From-Path", send.from_path.text().as_bytes());
    write_field(out, b"Message-ID", send.message_id);
    write_byte_range(out, send.byte_range);
    if send.success_report {
        write_field(out, b"Success-Report", b"yes");
    }
    // Absence means yes, and some receivers handle the absence better than the default value.
    match send.failure_report {
        FailureReport::Yes => {}
        FailureReport::Partial => write_field(out, b"Failure-Report", b"partial"),
        FailureReport::No => write_field(out, b"Failure-Report", b"no"),
    }
    if let Some(content) = &send.content {
        for field in content.others {
            write_field(out, &field.name, &field.value);
        }
        // At the end, as in the grammar of RFC 4975 §9.
        write_field(out, b"Content-Type", content.content_type);
        out.put_slice(b"\r\n");
    }
}

/// Appends the end-line of a request or response, and the CRLF between content and end-line if
/// there was content.
pub fn write_end_line(
    out: &mut BytesMut,
    transaction_id: &TransactionId,
    flag: ContinuationFlag,
    after_content: bool,
) {
    if after_content {
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"-------");
    out.put_slice(transaction_id.as_bytes());
    out.put_slice(&[flag.as_byte(), b'\r', b'\n']);
}

/// Appends a whole REPORT (RFC 4975 §7.1.2) on `range` of a message; `to_path` is the From-Path of
/// its SEND.
pub fn write_report(
    out: &mut BytesMut,
    transaction_id: &TransactionId,
    to_path: &Path,
    from_path: &MsrpUri,
    message_id: &[u8],
    range: ByteRange,
    status: Status,
) {
    write_start(out, transaction_id, b"REPORT");
    write_path(out, b"To-Path", to_path);
    write_field(out, b"From-Path", from_path.text().as_bytes());
    write_field(out, b"Message-ID", message_id);
    write_byte_range(out, range);
    out.put_slice(format!("Status: 000 {status} {}\r\n", status.comment()).as_bytes());
    write_end_line(out, transaction_id, ContinuationFlag::Complete, false);
}

/// Appends a whole response to a request (RFC 4975 §7.2).
///
/// The response to a SEND goes one hop back, that to any other request all the way. Nothing is
/// written if the request must not be answered, that is for a response or a REPORT.
pub fn write_response(out: &mut BytesMut, request: &Head, status: Status) {
    let Head {
        transaction_id,
        kind,
        to_path,
        from_path,
        ..
    } = request;
    write_response_to(out, transaction_id, *kind, to_path, from_path, status);
}

/// Appends the response 400 to a request whose head cannot be used (RFC 4975 §7.2). Nothing is
/// written if its paths could not be parsed, or if it must not be answered.
pub fn write_bad_request(out: &mut BytesMut, request: &Malformed) {
    let Malformed {
        transaction_id,
        kind,
        to_path,
        from_path,
        ..
    } = request;
    if let (Some(to_path), Some(from_path)) = (to_path, from_path) {
        write_response_to(
            out,
            transaction_id,
            *kind,
            to_path,
            from_path,
            Status::BAD_REQUEST,
        );
    }
}

fn write_response_to(
    out: &mut BytesMut,
    transaction_id: &TransactionId,
    kind: Kind,
    to_path: &Path,
    from_path: &Path,
    status: Status,
) {
    let Kind::Request(method) = kind else { return };
    let code = format!("{status} {}", status.comment());
    match method {
        Method::Report => return,
        Method::Send => {
            write_start(out, transaction_id, code.as_bytes());
            write_field(out, b"To-Path", from_path.first().text().as_bytes());
        }
        Method::Auth | Method::Unknown => {
            write_start(out, transaction_id, code.as_bytes());
            write_path(out, b"To-Path", from_path);
        }
    }
    write_field(out, b"From-Path", to_path.first().text().as_bytes());
    write_end_line(out, transaction_id, ContinuationFlag::Complete, false);
}

fn write_start(out: &mut BytesMut, transaction_id: &TransactionId, what: &[u8]) {
    out.put_slice(b"MSRP ");
    out.put_slice(transaction_id.as_bytes());
    out.put_u8(b' ');
    out.put_slice(what);
    out.put_slice(b"\r\n");
}

fn write_field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn write_path(out: &mut BytesMut, name: &[u8], path: &Path) {
    out.put_slice(name);
    out.put_u8(b':');
    for uri in path.uris() {
        out.put_u8(b' ');
        out.put_slice(uri.text().as_bytes());
    }
    out.put_slice(b"\r\n");
}

fn write_byte_range(out: &mut BytesMut, range: ByteRange) {
    out.put_slice(format!("Byte-Range: {range}\r\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msrp::{Event, Parser, StatusField};
    use bytes::Bytes;

    fn path(text: &'static str) -> Path {
        Path::parse(&Bytes::from(text)).unwrap()
    }

    fn events(mut stream: BytesMut) -> Vec<Event> {
        let mut parser = Parser::new();
        let events = std::iter::from_fn(|| parser.poll_event(&mut stream).unwrap()).collect();
        assert!(parser.is_between_messages(&stream));
        events
    }

    const ID: &[u8] = b"d93kswow";

    #[test]
    fn a_send_round_trip() {
        let others = [Field {
            name: "Content-ID".into(),
            value: "<a@b>".into(),
        }];
        let send = SendHead {
            transaction_id: &TransactionId::parse(ID).unwrap(),
            to_path: &path("msrp://relay:9/a;tcp msrp://far:9/b;tcp"),
            from_path: &MsrpUri::new(false, "own", 9, "c").unwrap(),
            message_id: b"8822",
            byte_range: ByteRange::open(2048, Some(4385)),
            success_report: true,
            failure_report: FailureReport::Partial,
            content: Some(ContentFields {
                content_type: b"message/cpim",
                others: &others,
            }),
        };
        let mut out = BytesMut::new();
        write_send(&mut out, &send);
        out.put_slice(b"abc");
        write_end_line(&mut out, send.transaction_id, ContinuationFlag::More, true);
        assert_eq!(
            out,
            "MSRP d93kswow SEND\r\nTo-Path: msrp://relay:9/a;tcp msrp://far:9/b;tcp\r\n\
             From-Path: msrp://own:9/c;tcp\r\nMessage-ID: 8822\r\nByte-Range: 2049-*/4385\r\n\
             Success-Report: yes\r\nFailure-Report: partial\r\nContent-ID: <a@b>\r\n\
             Content-Type: message/cpim\r\n\r\nabc\r\n-------d93kswow+\r\n"
        );
        let events = events(out);
        let Event::Head(head) = &events[0] else {
            panic!()
        };
        assert_eq!(&head.to_path, send.to_path);
        assert_eq!(head.byte_range, Some(send.byte_range));
        assert!(head.success_report && head.failure_report == FailureReport::Partial);
        assert_eq!(head.others, others);
        assert_eq!(
            events[1..],
            [
                Event::Content("abc".into()),
                Event::End(ContinuationFlag::More)
            ]
        );
    }

    #[test]
    fn a_report_round_trip() {
        let mut out = BytesMut::new();
        let id = TransactionId::parse(ID).unwrap();
        let own = MsrpUri::new(true, "own", 9, "c").unwrap();
        let range = ByteRange::new(1, Some(106), Some(106)).unwrap();
        let to = path("msrp://relay:9/a;tcp msrp://far:9/b;tcp");
        write_report(&mut out, &id, &to, &own, b"8822", range, Status::OK);
        let events = events(out);
        let Event::Head(head) = &events[0] else {
            panic!()
        };
        assert_eq!(
            head.status,
            Some(StatusField {
                namespace: 0,
                status: Status::OK
            })
        );
        assert_eq!((&head.to_path, head.from_path.first()), (&to, &own));
        assert_eq!(head.byte_range, Some(range));
    }

    /// RFC 4975 §7.2: hop by hop for SEND, end to end for others, none for REPORT.
    #[test]
    fn responses() {
        let request = |method: &str| {
            let text = format!(
                "MSRP d93kswow {method}\r\nTo-Path: msrp://own:9/c;tcp\r\n\
                 From-Path: msrp://relay:9/a;tcp msrp://far:9/b;tcp\r\n\
                 Message-ID: 1\r\nStatus: 000 200\r\n-------d93kswow$\r\n"
            );
            let events = events(BytesMut::from(text.as_bytes()));
            let Event::Head(head) = &events[0] else {
                panic!()
            };
            let mut out = BytesMut::new();
            write_response(&mut out, head, Status::STOP_SENDING);
            out
        };
        assert_eq!(
            request("SEND"),
            "MSRP d93kswow 413 Stop Sending\r\nTo-Path: msrp://relay:9/a;tcp\r\n\
             From-Path: msrp://own:9/c;tcp\r\n-------d93kswow$\r\n"
        );
        let to = "To-Path: msrp://relay:9/a;tcp msrp://far:9/b;tcp\r\n";
        assert!(
            request("NICKNAME")
                .windows(to.len())
                .any(|w| w == to.as_bytes())
        );
        assert!(request("REPORT").is_empty() && request("200 OK").is_empty());
    }
}
