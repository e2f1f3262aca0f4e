//! What recipients of a large message get besides its bytes: the originator if From differs, header
//! fields that an operator drops, the expiry time, and a SEND's description of its content
//! (9.1.2-8, -9, -send).

use cpm_testbed::{MsrpRequest, large_message, to};

use crate::common::{CONTROLLING, EXPLODER, proves};
use crate::groups::{address, open_group};
use crate::large::groups::with_groups;
use crate::large::{SIZE, Scene, Upload};

/// A scene with a group `lunch`, whose only member is bill, and these parameters.
fn scene(test_name: &str, configure: &[(&str, &str)]) -> Scene {
    let (scene, folder) = with_groups(test_name, configure);
    let members = [scene.callees.uri("bill")];
    folder.put("lunch", &open_group("lunch").members(members));
    scene
}

/// A message of each kind to bill, from this address.
fn uploads(scene: &Scene, sender: &str) -> [(String, Upload); 3] {
    [
        EXPLODER.to_owned(),
        CONTROLLING.to_owned(),
        address("lunch"),
    ]
    .map(|service| {
        let message = large_message(sender, &service);
        let message = match &*service {
            EXPLODER | CONTROLLING => message.recipients([to(&scene.callees.uri("bill"))]),
            _ => message,
        };
        (service, scene.upload_of(message, SIZE))
    })
}

/// The authenticated originator is the identity asserted by a trusted peer, whatever the user
/// claims (OMA CPM 6.1).
#[test]
fn the_asserted_originator_counts_and_not_from() {
    let scene = scene("the_asserted_originator_counts", &[]);
    let asserted = "\"Anne\" <sip:anne@example.com>, <tel:+12015550123>";
    for (round, (service, upload)) in uploads(&scene, "sip:office@example.org")
        .into_iter()
        .enumerate()
    {
        let upload = upload.with("P-Asserted-Identity", asserted);
        scene.sends(&upload);
        let invite = scene.callees.expect_nth_call("bill", round).invite;
        let from = invite.header("From").unwrap_or_default();
        assert!(from.starts_with("<sip:office@example.org>;tag="), "{from}");
        match &*service {
            EXPLODER => {
                proves!(
                    ["9.1.2-9i"],
                    assert_eq!(invite.headers("P-Asserted-Identity"), [asserted])
                );
                assert_eq!(invite.header("Referred-By"), None);
            }
            CONTROLLING => proves!(
                ["9.1.2-8k-ii"],
                assert_eq!(invite.headers("Referred-By"), ["<sip:anne@example.com>"])
            ),
            _ => proves!(
                ["9.1.2-8l-ii"],
                assert_eq!(invite.headers("Referred-By"), ["<sip:anne@example.com>"])
            ),
        }
    }
    scene.finish();
}

#[test]
fn the_charging_identity_goes_on_if_the_operator_wants_it() {
    let scene = scene("large_charging_identity", &[("charging_vector", "icid")]);
    for (round, (service, upload)) in uploads(&scene, "sip:anne@example.com")
        .into_iter()
        .enumerate()
    {
        let upload = upload.with("P-Charging-Vector", "orig-ioi=home;icid-value=charge-7");
        scene.sends(&upload);
        let invite = scene.callees.expect_nth_call("bill", round).invite;
        let vector = invite.headers("P-Charging-Vector");
        assert_eq!(vector, ["icid-value=charge-7"], "{service}");
    }
    scene.finish();
}

#[test]
fn how_long_it_is_good_for_goes_on_and_what_is_dropped_does_not() {
    let scene = scene(
        "how_long_it_is_good_for",
        &[("drop_headers", "Subject"), ("drop_headers", "Reply-To")],
    );
    for (round, (service, upload)) in uploads(&scene, "sip:anne@example.com")
        .into_iter()
        .enumerate()
    {
        let mut upload = upload
            .with("Message-Expires", "7200")
            .with("Reply-To", "<sip:anne@example.net>");
        // Its compact form is the same field.
        upload.request = upload.request.and("s", "Lunch");
        scene.sends(&upload);
        let invite = scene.callees.expect_nth_call("bill", round).invite;
        assert_eq!(invite.headers("Message-Expires"), ["7200"], "{service}");
        for name in ["Subject", "s", "Reply-To"] {
            assert_eq!(invite.header(name), None, "{service}: {name}");
        }
        // Fields that are not named remain.
        assert_eq!(
            invite.header("Conversation-ID"),
            upload.request.header("Conversation-ID")
        );
    }
    scene.finish();
}

/// RFC 4975 §5.3: fields that describe the content belong to it; fields of the hop are not passed
/// on.
#[test]
fn what_a_send_says_of_its_content_goes_on() {
    let scene = scene("what_a_send_says_of_its_content", &[]);
    let about_content = [
        ("Content-ID", "<picture@example.com>"),
        ("Content-Description", "a picture; from \"Anne\""),
        ("Content-Disposition", "render; handling=optional"),
        ("Content-Language", "de"),
    ];
    for (round, (service, upload)) in uploads(&scene, "sip:anne@example.com")
        .into_iter()
        .enumerate()
    {
        let mut call = scene.begins(&upload);
        let half = SIZE / 2;
        for (start, end, flag) in [(0, half, '+'), (half, SIZE, '$')] {
            let mut chunk = MsrpRequest::new("SEND")
                .with("Message-ID", "one.message")
                .with("Byte-Range", &format!("{}-{end}/{SIZE}", start + 1))
                .with("X-Of-The-Hop", "stays here");
            for (name, value) in about_content {
                chunk = chunk.with(name, value);
            }
            let chunk = chunk
                .with_body("message/cpim", &upload.content[start..end])
                .flagged(flag);
            upload.session.send(&chunk);
            upload.session.expect_response(&chunk, 200);
        }
        let leg = scene.callees.expect_nth_call("bill", round);
        assert_eq!(leg.session.expect_message().bytes, upload.content);
        let chunks = leg.session.chunks();
        assert!(!chunks.is_empty());
        for chunk in chunks {
            for (name, value) in about_content {
                proves!(
                    ["9.1.2-send-2"],
                    assert_eq!(chunk.head.header(name), Some(value), "{service}: {name}")
                );
            }
            assert_eq!(chunk.head.header("X-Of-The-Hop"), None);
        }
        call.bye(200);
    }
    scene.finish();
}
