//! The offers in INVITEs to recipients.

use super::*;

/// The offer to a leg, for a message of this many bytes.
#[track_caller]
fn is_our_offer(scene: &Scene, service: &str, leg: &InvitedCall, size: usize, own: &MsrpSession) {
    let sdp = leg.sdp();
    let listener = sdp.target();
    let [media] = sdp.lines('m')[..] else {
        panic!("{sdp:?}");
    };
    proves!(
        [duty(service, "9.1.2-8j-i", "9.1.2-9h-vii")],
        assert_eq!(media, format!("message {} TCP/MSRP *", listener.port()))
    );
    assert_eq!(sdp.lines('c'), ["IN IP4 127.0.0.1"]);
    let path = sdp.path();
    proves!(
        [duty(service, "9.1.2-8j-ii", "9.1.2-9h-viii")],
        assert!(
            path.starts_with(&format!("msrp://{listener}/")) && path.ends_with(";tcp"),
            "{path}"
        )
    );
    // 128 bits of randomness (RFC 4975 §14.1 asks for 80).
    assert!(
        path.rsplit('/')
            .next()
            .is_some_and(|id| id.len() >= 32 + ";tcp".len())
    );
    proves!(
        [duty(service, "9.1.2-8j-ii", "9.1.2-9h-viii")],
        assert_ne!(path, own.path())
    );
    let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
    let own_directions: Vec<&str> = directions
        .into_iter()
        .filter(|name| sdp.attribute(name).is_some())
        .collect();
    proves!(
        [duty(service, "9.1.2-8j-iii", "9.1.2-9h-ix")],
        assert_eq!(own_directions, ["sendonly"])
    );
    let selector = sdp.attribute("file-selector").unwrap_or_default();
    proves!(
        [duty(service, "9.1.2-8j-iv", "9.1.2-9h-x")],
        assert_eq!(
            selector.split(' ').next(),
            Some(format!("size:{size}").as_str())
        )
    );
    proves!(
        [duty(service, "9.1.2-8j-v", "9.1.2-9h-xi")],
        assert_eq!(sdp.attributes("setup"), ["actpass"])
    );
    proves!(
        [duty(service, "9.1.2-8j-vi", "9.1.2-9h-xii")],
        assert_eq!(sdp.attributes("msrp-cema"), [""])
    );
    let raw = String::from_utf8_lossy(leg.invite.body()).into_owned();
    assert!(
        !raw.contains(&format!(":{}", scene.sender.address().port())),
        "{raw}"
    );
}

#[test]
fn the_offer_is_the_senders_with_our_own_end() {
    let scene = scene("the_offer_is_the_senders", &[]);
    let mut paths = BTreeSet::new();
    for (round, service) in services().iter().enumerate() {
        let mut upload = upload_to(&scene, service);
        let offer = SdpText::offer(&upload.session, SIZE)
            .with("accept-types", "message/cpim text/plain")
            .with("accept-wrapped-types", "image/png *")
            .with("file-selector", &format!("size:{SIZE} type:image/png"))
            .with("max-size", "123456")
            .with("x-unknown", "kept")
            .with("candidate", "1 1 TCP 1 192.0.2.1 9 typ host");
        let list = resource_lists(&USERS.map(|user| to(&scene.callees.uri(user))));
        let list_fields =
            "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list";
        upload = match service.as_str() {
            EXPLODER | CONTROLLING => {
                let body = multipart(&[
                    ("Content-Type: application/sdp", offer.write().as_bytes()),
                    (list_fields, list.as_bytes()),
                ]);
                upload.request = upload
                    .request
                    .with_body(&format!("multipart/mixed;boundary=\"{BOUNDARY}\""), body);
                upload
            }
            _ => upload.with_offer(&offer),
        };
        scene.sends(&upload);
        for (user, leg) in USERS.iter().zip(calls(&scene, round)) {
            is_our_offer(&scene, service, &leg, SIZE, &upload.session);
            let sdp = leg.sdp();
            paths.insert(sdp.path().to_owned());
            for (name, value) in [
                ("accept-types", "message/cpim text/plain"),
                ("accept-wrapped-types", "image/png *"),
                ("max-size", "123456"),
                ("x-unknown", "kept"),
            ] {
                proves!(
                    [duty(service, "9.1.2-8j", "9.1.2-9h")],
                    assert_eq!(sdp.attributes(name), [value], "{name}")
                );
            }
            assert_eq!(sdp.attribute("candidate"), None);
            // N is the actual length.
            let message = leg.session.expect_message();
            assert_eq!(message.total, Some(SIZE as u64), "{user}");
            assert_eq!(message.bytes, upload.content);
        }
    }
    assert_eq!(paths.len(), 9, "each leg has a URI of its own");
    scene.finish();
}
