//! MSRP peers that are correct in an unusual way, or wrong (RFC 4975 §7): nobody else suffers.

use std::time::Duration;

use cpm_testbed::{MsrpRequest, PATIENCE, Plan, SdpText, sha256};

use crate::common::{CONTROLLING, EXPLODER, expect_counter};
use crate::large::{CHUNK, SIZE, Scene, Upload};

/// Sends a request; returns the status of the response.
#[track_caller]
fn status(upload: &Upload, request: &MsrpRequest) -> Option<u16> {
    upload.session.send(request);
    let answer = upload.session.recv_response(request, PATIENCE);
    answer.and_then(|answer| answer.head.status())
}

#[test]
fn chunks_that_are_sent_again_or_overlap_arrive_once() {
    let scene = Scene::new("chunks_that_are_sent_again");
    let upload = scene.upload(EXPLODER, &["bill", "carol"]);
    let mut call = scene.begins(&upload);
    let chunk = |start: usize, end: usize| {
        MsrpRequest::chunk("m", start, &upload.content[start..end], SIZE)
    };
    for (start, end) in [
        (0, 5000),
        (0, 5000),
        (3000, 9000),
        (8000, 9000),
        (9000, SIZE),
        (9000, SIZE),
    ] {
        assert_eq!(status(&upload, &chunk(start, end)), Some(200), "{start}");
    }
    for user in ["bill", "carol"] {
        let (leg, message) = scene.gets(user, &upload);
        assert_eq!(message.repeated, 0);
        assert_eq!(leg.session.messages().len(), 1);
    }
    call.bye(200);
    expect_counter(&scene.proxy, "delivered", 2);
    scene.finish();
}

#[test]
fn what_cannot_be_taken_is_not_said_to_be_taken() {
    let scene = Scene::unseen("what_cannot_be_taken", |_, config| config);
    // A second message: a large message session has only one.
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.begins(&upload);
    upload.session.deliver(&upload.content, CHUNK);
    let second = MsrpRequest::chunk("second", 0, b"From: <sip:a@x>\r\n\r\n", 19);
    let answer = status(&upload, &second);
    let (bill, _) = scene.gets("bill", &upload);
    if answer == Some(200) {
        let message = bill.session.recv_message(PATIENCE);
        assert!(message.is_some(), "200, but nobody got it");
    }
    call.bye(200);
    scene.callees.expect_in(&bill, "BYE");
    // A gap that is never filled: the message must not count as complete.
    let upload = scene.upload(EXPLODER, &["carol"]);
    let mut call = scene.begins(&upload);
    let first = MsrpRequest::chunk("m", 0, &upload.content[..5000], SIZE);
    assert_eq!(status(&upload, &first), Some(200));
    let last = MsrpRequest::chunk("m", 10_000, &upload.content[10_000..], SIZE);
    status(&upload, &last);
    call.bye(200);
    let carol = scene.callees.expect_call("carol");
    scene.hangs_up(&carol, 480);
    assert!(
        carol
            .session
            .messages()
            .iter()
            .all(|message| !message.is_complete())
    );
    expect_counter(&scene.proxy, "failed", 1);
    scene.finish();
}

#[test]
fn chunks_out_of_order_make_the_message_or_are_refused() {
    let scene = Scene::unseen("chunks_out_of_order", |_, config| config);
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.begins(&upload);
    let half = SIZE / 2;
    let second = MsrpRequest::chunk("m", half, &upload.content[half..], SIZE);
    let first = MsrpRequest::chunk("m", 0, &upload.content[..half], SIZE).flagged('+');
    let (taken, first) = (status(&upload, &second), status(&upload, &first));
    let bill = scene.callees.expect_call("bill");
    if (taken, first) == (Some(200), Some(200)) {
        let message = bill.session.expect_message();
        assert_eq!(message.sha256(), sha256(&upload.content));
        call.bye(200);
    } else {
        call.bye(480);
    }
    scene.callees.expect_in(&bill, "BYE");
    scene.finish();
}

#[test]
fn recipients_who_take_less_than_the_message_get_nothing() {
    // Its size is announced, or only given by the first chunk.
    for announced in [true, false] {
        recipients_who_take_less(announced);
    }
}

fn recipients_who_take_less(announced: bool) {
    let scene = Scene::new(&format!("recipients_who_take_less_{announced}"));
    let small = Plan::accept().ringing().after(Duration::from_millis(200));
    scene
        .callees
        .plan("small", small.attribute("max-size", Some("1000")));
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let mut upload = scene.upload(service, &["bill", "small"]);
        if !announced {
            let offer = SdpText::offer(&upload.session, SIZE).without("file-selector");
            let message = scene.message(service, &["bill", "small"]);
            upload.request = message.request_with(&scene.anne, &offer);
        }
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, CHUNK);
        let bill = scene.callees.expect_nth_call("bill", round);
        assert_eq!(bill.session.expect_message().bytes, upload.content);
        let small = scene.callees.expect_nth_call("small", round);
        let bye = scene.callees.expect_in(&small, "BYE");
        assert!(
            !bye.header("Reason")
                .unwrap_or_default()
                .contains("cause=200")
        );
        assert!(small.session.content_bytes() <= 1000);
        call.bye(200);
        expect_counter(&scene.proxy, "failed", round as u64 + 1);
    }
    scene.finish();
}

#[test]
fn recipients_may_report_a_failure_and_may_not_send() {
    let scene = Scene::new("recipients_may_report_a_failure");
    let upload = scene.upload(EXPLODER, &["bill", "carol"]);
    let mut call = scene.begins(&upload);
    let half = SIZE / 2;
    let first = MsrpRequest::chunk("m", 0, &upload.content[..half], SIZE);
    assert_eq!(status(&upload, &first), Some(200));
    let [bill, carol] = ["bill", "carol"].map(|user| scene.callees.expect_call(user));
    for leg in [&bill, &carol] {
        leg.session.expect_content(half as u64 - 64);
    }
    let intruding = MsrpRequest::chunk("x", 0, b"text", 4);
    carol.session.send(&intruding);
    let answer = carol.session.recv_response(&intruding, PATIENCE);
    let answer = answer.and_then(|answer| answer.head.status());
    assert!(matches!(answer, Some(403 | 413 | 415)), "{answer:?}");
    // He has answered 200 to the chunk, but could not pass it on (RFC 4975 §7.1.2).
    let id = bill.session.messages()[0].message_id.clone();
    let report = MsrpRequest::new("REPORT")
        .with("Message-ID", &id)
        .with("Byte-Range", &format!("1-{half}/{SIZE}"))
        .with("Status", "000 413 Too large");
    bill.session.send(&report);
    let bye = scene.callees.expect_in(&bill, "BYE");
    assert!(
        !bye.header("Reason")
            .unwrap_or_default()
            .contains("cause=200")
    );
    let last = MsrpRequest::chunk("m", half, &upload.content[half..], SIZE);
    assert_eq!(status(&upload, &last), Some(200));
    scene.gets("carol", &upload);
    call.bye(200);
    expect_counter(&scene.proxy, "failed", 1);
    scene.finish();
}

#[test]
fn nobody_gets_at_the_session_of_another() {
    let scene = Scene::unseen("nobody_gets_at_the_session_of_another", |_, config| config);
    let active = Plan::accept().attribute("setup", Some("active"));
    scene.callees.plan("bill", active);
    let upload = scene.upload(EXPLODER, &["bill", "carol"]);
    let mut call = scene.begins(&upload);
    let bill = scene.callees.expect_call("bill");
    scene.callees.expect_in(&bill, "ACK");
    // A stranger knows the relay's address, but not the URI that only Bill was told.
    let stranger = scene.sender.session();
    let path = bill.sdp().path().to_owned();
    let (host, _) = path.rsplit_once('/').expect("a URI with a session");
    for guess in [
        format!("{host}/0;tcp"),
        format!("{host}/;tcp"),
        host.to_owned() + ";tcp",
    ] {
        stranger.sends_to(&path);
        stranger.connect();
        let attempt = MsrpRequest::empty_send().with("To-Path", &guess);
        stranger.send(&attempt);
        let answer = stranger.recv_response(&attempt, PATIENCE);
        let answer = answer.and_then(|answer| answer.head.status());
        assert!(matches!(answer, None | Some(400 | 403 | 481)), "{answer:?}");
        stranger.close();
    }
    bill.session.connect_and_bind();
    upload.session.deliver(&upload.content, CHUNK);
    scene.gets("bill", &upload);
    scene.gets("carol", &upload);
    call.bye(200);
    scene.finish();
}
