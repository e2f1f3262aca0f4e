//! The duplicate test (7.2.1.1-19, 7.2.1.2-done-4): a copy that was really sent over SIP, against
//! objects as a message store would have them.

use std::path::{Path, PathBuf};

use cpm_testbed::{Bench, proves};

use crate::common::{Cpim, EXPLODER, Running, file, program, send, text};

/// A sent message: the program's file, and the traffic.
struct Sent {
    kept: PathBuf,
    conversation_id: String,
    contribution_id: String,
    in_reply_to: Option<String>,
    imdn_message_id: String,
    payload_type: String,
}

impl Sent {
    /// Reads the program's report and what its peer received; the two must agree.
    fn of(told: &serde_json::Value, request: &cpm_testbed::Message, cpim: &[u8]) -> Self {
        let header = |name| request.header(name).map(str::to_owned);
        let cpim = Cpim::of(cpim);
        Self {
            kept: told["file"].as_str().expect("it was kept").into(),
            conversation_id: header("Conversation-ID").expect("it is there"),
            contribution_id: header("Contribution-ID").expect("it is there"),
            in_reply_to: header("InReplyTo-Contribution-ID"),
            imdn_message_id: cpim.field("imdn.Message-ID").to_owned(),
            payload_type: cpim.content_type().to_owned(),
        }
    }

    /// The object in the message store, with one field changed or removed.
    fn object(&self, folder: &Path, change: Option<(&str, Option<&str>)>) -> PathBuf {
        let mut fields = vec![
            ("Conversation-ID", self.conversation_id.clone()),
            ("Contribution-ID", self.contribution_id.clone()),
            ("IMDN-Message-ID", self.imdn_message_id.clone()),
            ("Payload-Type", self.payload_type.clone()),
            ("Content-Type", "message/cpim".to_owned()),
        ];
        fields.extend(
            self.in_reply_to
                .clone()
                .map(|id| ("InReplyTo-Contribution-ID", id)),
        );
        if let Some((name, value)) = change {
            fields.retain(|(own, _)| *own != name);
            fields.extend(value.map(|value| (name, value.to_owned())));
        }
        let lines: String = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        file(
            folder,
            "object.eml",
            format!("Message-Context: pager-message\r\n{lines}\r\nbody"),
        )
    }
}

fn compare(sip: &Path, stored: &Path, folder: &str) -> (i32, String) {
    let mut command = program();
    command.args([
        "match",
        "--sip",
        text(sip),
        "--stored",
        text(stored),
        "--folder",
        folder,
    ]);
    let ended = Running::start(command, "").wait();
    (
        ended.code,
        format!("{}{}", ended.plain.join("\n"), ended.errors),
    )
}

/// Every row of Table 2, and the folder.
#[track_caller]
fn assert_table_2(sent: &Sent, folder: &Path, name: &str, other_name: &str) {
    assert_eq!(compare(&sent.kept, &sent.object(folder, None), name).0, 0);
    for (field, words) in [
        ("Conversation-ID", "Conversation-ID differs"),
        ("Contribution-ID", "Contribution-ID differs"),
        (
            "InReplyTo-Contribution-ID",
            "InReplyTo-Contribution-ID differs",
        ),
        ("IMDN-Message-ID", "IMDN Message-ID differs"),
    ] {
        let (code, said) = compare(
            &sent.kept,
            &sent.object(folder, Some((field, Some("other")))),
            name,
        );
        assert!(code == 10 && said.contains(words), "{field}: {code} {said}");
        let absent = compare(&sent.kept, &sent.object(folder, Some((field, None))), name).0;
        assert_eq!(
            absent,
            if field.starts_with("InReplyTo") && sent.in_reply_to.is_none() {
                0
            } else {
                10
            }
        );
    }
    let types = Some(("Payload-Type", Some("image/png")));
    let (code, said) = compare(&sent.kept, &sent.object(folder, types), name);
    assert!(
        code == 0 && said.contains("payload types differ"),
        "{code} {said}"
    );
    let (code, said) = compare(&sent.kept, &sent.object(folder, None), other_name);
    assert!(code == 10 && said.contains("folder"), "{code} {said}");
}

#[test]
fn a_pager_message_that_came_twice() {
    let bench = Bench::new("client_a_pager_message_that_came_twice");
    let server = bench.agent();
    let folder = bench.folder();
    let kept = folder.join("sent");
    let store = ["--store", text(&kept)];
    let bill = ["--to", "sip:bill@example.com", "Hi"];
    let told = send(server.port(), &[&store[..], &bill].concat())
        .succeeds()
        .event("sent");
    proves!(
        ["7.2.1.1-19"],
        assert!(
            told["message_uid"].is_null(),
            "no Message-UID, thus the comparison"
        )
    );
    let request = server.expect_request("MESSAGE");
    let first = Sent::of(&told, &request, request.body());
    proves!(
        [
            "7.2.1.1-19a-1to1",
            "7.2.1.1-19b",
            "7.2.1.1-19b-t1",
            "7.2.1.1-19b-t2",
            "7.2.1.1-19b-t4",
            "7.2.1.1-19b-t5"
        ],
        assert_table_2(
            &first,
            folder,
            "sip:bill@Example.COM",
            "sip:ben@example.com",
        )
    );
    // A reply, and to many.
    let reply = [
        "--reply",
        text(&first.kept),
        "--only-to",
        "--via",
        "exploder",
        EXPLODER,
    ];
    let told = send(server.port(), &[&store[..], &reply, &bill].concat())
        .succeeds()
        .event("sent");
    let request = server.expect_request("MESSAGE");
    let body = crate::common::with_list(&request).1;
    let second = Sent::of(&told, &request, &body);
    assert_eq!(
        second.in_reply_to.as_deref(),
        Some(first.contribution_id.as_str())
    );
    proves!(
        ["7.2.1.1-19a-group", "7.2.1.1-19b", "7.2.1.1-19b-t3"],
        assert_table_2(
            &second,
            folder,
            &second.conversation_id,
            "another-conversation",
        )
    );
}

#[test]
fn a_large_message_that_came_twice() {
    let bench = Bench::new("client_a_large_message_that_came_twice");
    let callees = bench.callees();
    let folder = bench.folder();
    let kept = folder.join("sent");
    let store = ["--store", text(&kept), "--pager-max", "0"];
    let bill = ["--to", "sip:bill@example.com", "Hi"];
    let port = callees.agent().port();
    let told = send(port, &[&store[..], &bill].concat())
        .succeeds()
        .event("sent");
    let call = callees.expect_call("bill");
    let first = Sent::of(&told, &call.invite, &call.session.expect_message().bytes);
    proves!(
        ["7.2.1.2-done-4", "7.2.1.2-done-4a-1to1", "7.2.1.2-done-4b"],
        assert_table_2(
            &first,
            folder,
            "sip:bill@example.com",
            "sip:ben@example.com",
        )
    );
    let many = ["--via", "exploder", EXPLODER];
    let told = send(port, &[&store[..], &many, &bill].concat())
        .succeeds()
        .event("sent");
    let call = callees.expect_call("exploder");
    let second = Sent::of(&told, &call.invite, &call.session.expect_message().bytes);
    proves!(
        ["7.2.1.2-done-4a-group", "7.2.1.2-done-4b"],
        assert_table_2(
            &second,
            folder,
            &second.conversation_id,
            "another-conversation",
        )
    );
}
