//! Content of the requests to recipients, and INVITEs that create no session.

use super::*;

#[test]
fn headers_of_an_exploder_invite() {
    let more = "Privacy: id\r\nReply-To: <sip:x@y>\r\nMessage-Expires: 5\r\nP-Asserted-Service: urn:a\r\nX-Other: 1\r\n";
    let scene = Scene::of(
        &accepted(Kind::Exploder, &["sip:r0@home"], more),
        &service(&[]),
        settings(),
    );
    let invite = &scene.invites[&0];
    let text = String::from_utf8(invite.headers.to_vec()).unwrap();
    for line in [
        "Session-Expires: 1800;refresher=uas",
        "Max-Forwards: 69",
        "P-Asserted-Identity: <sip:alice@home>",
        "Contact: <sip:cpm@203.0.113.1:5060>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\";audio",
        "User-Agent: CPM-serv/OMA2.2",
        "Supported: timer",
        "Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\"",
        "Conversation-ID: conv",
        "Contribution-ID: cont",
        "Subject: s",
        "Privacy: id",
        "Reply-To: <sip:x@y>",
        "Message-Expires: 5",
        "P-Asserted-Service: urn:a",
        "Content-Type: application/sdp",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    for absent in [
        "Referred-By",
        "isfocus",
        "X-Other",
        "P-Preferred",
        "Require",
        "Record-Route",
        "CPM-client",
    ] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    assert_eq!(
        (invite.from.as_str(), invite.to.as_str()),
        ("\"Alice\" <sip:alice@home>", "<sip:r0@home>")
    );
    let offer = SessionDescription::parse(&invite.body).unwrap();
    let media = MsrpMedia::of(&offer, &[Transport::Tcp]).unwrap();
    assert_eq!((media.setup, media.msrp_cema), (Some(Setup::ActPass), true));
    assert_eq!(media.file_selector.unwrap().size, Some(1000));
}

#[test]
fn group_identities() {
    let headers = |kind, more: &str| {
        let scene = Scene::of(
            &accepted(kind, &["sip:r0@home"], more),
            &service(&[]),
            settings(),
        );
        String::from_utf8(scene.invites[&0].headers.to_vec()).unwrap()
    };
    let group = headers(Kind::Group, "");
    assert!(
        group.contains("P-Asserted-Identity: <sip:all@home>\r\nReferred-By: <sip:alice@home>\r\n")
    );
    assert!(group.contains("Contact: <sip:cpm@203.0.113.1:5060>;isfocus;+g"));
    let ad_hoc = headers(Kind::AdHoc, "Privacy: id\r\n");
    assert!(ad_hoc.contains("Referred-By: <sip:anonymous@anonymous.invalid>\r\n"));
    let identity = ad_hoc
        .split("P-Asserted-Identity: <sip:cpm-group-")
        .nth(1)
        .unwrap();
    assert_eq!(identity.split('@').next().unwrap().len(), 32);
    assert_ne!(headers(Kind::AdHoc, ""), headers(Kind::AdHoc, ""));
}

#[test]
fn the_history_goes_along_with_the_offer() {
    let mut invite = accepted(Kind::AdHoc, &["sip:r0@home"], "");
    invite.history = Some(Bytes::from_static(b"<resource-lists/>"));
    let invite = AcceptedInvite::read(Bytes::from(invite.write())).unwrap();
    let scene = Scene::of(&invite, &service(&[]), settings());
    let request = &scene.invites[&0];
    let whole = [
        b"INVITE sip:a SIP/2.0\r\n",
        &request.headers[..],
        b"\r\n",
        &request.body,
    ]
    .concat();
    let request = Message::parse(Bytes::from(whole)).unwrap();
    let value = |name| Some(Bytes::copy_from_slice(request.first(name)?.value()));
    let fields = crate::mime::EntityFields {
        content_type: value(HeaderName::ContentType),
        ..Default::default()
    };
    let entity = crate::mime::Entity::parse(fields, request.body()).unwrap();
    let [sdp, list] = &entity.leaves().collect::<Vec<_>>()[..] else {
        panic!()
    };
    assert!(SessionDescription::parse(&sdp.content().unwrap()).is_ok());
    assert_eq!(&list.content().unwrap()[..], b"<resource-lists/>");
    assert!(
        list.disposition().unwrap().is("recipient-list-history")
            && list.disposition().unwrap().is_optional()
    );
}

#[test]
fn accepted_invites_cross_processes() {
    let invite = accepted(Kind::Group, &["sip:r0@home", "tel:+1"], TIMER);
    let bytes = invite.write();
    let read = AcceptedInvite::read(Bytes::from(bytes.clone())).unwrap();
    assert_eq!(
        (read.kind, read.message.buffer(), &read.recipients),
        (invite.kind, invite.message.buffer(), &invite.recipients)
    );
    assert_eq!((read.originator, read.history), (invite.originator, None));
    for length in 0..bytes.len() {
        assert!(AcceptedInvite::read(Bytes::copy_from_slice(&bytes[..length])).is_none());
    }
}

/// Requests inside our dialogs are recognised by their names, and those of others are not for us.
#[test]
fn only_an_invite_outside_a_dialog_begins_a_session() {
    let classified = |large_mode: bool, to: &str| {
        let mut service = Rc::into_inner(service(&[])).unwrap();
        if large_mode {
            service = service.with_large_mode(settings());
        }
        let invite = String::from_utf8(raw_invite("").to_vec()).unwrap();
        let invite = invite.replace("\r\nTo: <sip:all@home>", &format!("\r\nTo: {to}"));
        let received = Received {
            message: invite.as_bytes(),
            request_uri: "sip:all@home",
            source_address: None,
        };
        let request = Rc::new(service).classify(&received);
        request.map(|request| request.mode())
    };
    assert_eq!(classified(true, "<sip:all@home>"), Some(Mode::Large));
    assert_eq!(classified(true, "<sip:all@home>;x=tag"), Some(Mode::Large));
    for tag in ["t1".to_owned(), "\"\"".to_owned(), "cpm".repeat(20)] {
        assert_eq!(classified(true, &format!("<sip:all@home>;tag={tag}")), None);
    }
    assert_eq!(classified(false, "<sip:all@home>"), None);
}

#[test]
fn what_cannot_be_started() {
    let settings = Rc::new(settings());
    let start = |invite: &AcceptedInvite| {
        Session::new(
            Instant::now(),
            &service(&[]),
            &settings,
            invite,
            INVITE,
            numbered,
        )
        .err()
    };
    assert_eq!(
        start(&accepted(Kind::Exploder, &[], "")),
        Some(NotStarted::NoRecipients)
    );
    let with = |from: &str, to: &str| {
        let mut invite = accepted(Kind::Exploder, &["sip:r@home"], "");
        let text = String::from_utf8(invite.message.buffer().to_vec())
            .unwrap()
            .replace(from, to);
        invite.message = message(text);
        start(&invite)
    };
    assert_eq!(with("CSeq: 7", "CSeq: x"), Some(NotStarted::Malformed));
    assert_eq!(with("TCP/MSRP", "TCP/TLS/MSRP"), Some(NotStarted::NoMedia));
    assert_eq!(with("x", "x"), None);
}

#[test]
fn actions_may_be_taken_a_few_at_a_time() {
    let uris = ["sip:r0@home", "sip:r1@home", "sip:r2@home"];
    let settings = Rc::new(settings());
    let invite = accepted(Kind::Exploder, &uris, TIMER);
    let now = Instant::now();
    let mut session =
        Session::new(now, &service(&[]), &settings, &invite, INVITE, numbered).unwrap();
    let mut words = Vec::new();
    let mut take = |session: &mut Session, most: usize| {
        for action in std::iter::from_fn(|| session.poll_action()).take(most) {
            match action {
                Action::Invite(invite) => words.push(format!("invite {}", invite.leg.0)),
                Action::Cancel(leg) => words.push(format!("cancel {}", leg.0)),
                Action::Reply(reply) => words.push(format!("reply {}", reply.code)),
                _ => {}
            }
        }
    };
    take(&mut session, 2);
    session.handle_leg_provisional(now, LegNumber(0));
    session.handle_cancel(now);
    take(&mut session, 3);
    session.handle_leg_failure(now, LegNumber(0), StatusCode::REQUEST_TERMINATED, None);
    take(&mut session, usize::MAX);
    session.handle_leg_provisional(now, LegNumber(2));
    take(&mut session, usize::MAX);
    assert_eq!(
        words,
        [
            "invite 0",
            "invite 1",
            "invite 2",
            "reply 487",
            "cancel 0",
            "cancel 2"
        ]
    );
}
