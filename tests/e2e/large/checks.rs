//! Refusals of an INVITE in large message mode, and what makes it one (9.1.2-0 to -3, -5, -6;
//! readings N1, N11 to N19, N26, N49).

use std::time::Duration;

use cpm_testbed::{
    LARGE_FEATURE_TAG, Received, Request, SdpText, large_message, resource_lists, to,
};

use crate::common::{CONTROLLING, EXPLODER, counter, duty, proves, reason};
use crate::large::{ANNE, Scene, Upload};

/// The text of the Warning, in the form of RFC 3261 §20.43.
#[track_caller]
fn warning(response: &Received) -> Option<String> {
    let value = response.header("Warning")?;
    let mut words = value.splitn(3, ' ');
    assert_eq!(words.next(), Some("399"), "{value}");
    assert!(
        words
            .next()
            .is_some_and(|agent| agent.contains("example.com")),
        "{value}"
    );
    let text = words.next().unwrap_or_default();
    Some(text.trim_matches('"').to_owned())
}

/// An INVITE is refused like this, and nobody is called.
#[track_caller]
pub(crate) fn is_refused(scene: &Scene, request: &Request, code: u16, text: Option<&str>) {
    let called = || counter(&scene.proxy, "recipients");
    let calls = called();
    let way = scene.proxy.udp();
    let response = scene.anne.is_refused(request, way, code);
    assert_eq!(warning(&response).as_deref(), text, "{response:?}");
    assert_eq!(called(), calls, "somebody was called");
}

/// An INVITE is accepted, and its session ended.
#[track_caller]
pub(crate) fn is_accepted(scene: &Scene, upload: &Upload) -> Received {
    let mut call = scene.begins(upload);
    call.bye(200);
    call.answer().clone()
}

#[test]
fn the_feature_tag_selects_large_mode() {
    let scene = Scene::new("the_feature_tag_selects_large_mode");
    let icsi = "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm";
    for service in [EXPLODER, CONTROLLING] {
        for tag in [
            LARGE_FEATURE_TAG.to_owned(),
            format!("*;+g.3gpp.icsi-ref=\"{icsi}.largemsg\";require;explicit"),
            "*;+g.3gpp.icsi-ref=\"urn%3aurn-7%3a3gpp-service.ims.icsi.oma.cpm.largemsg\""
                .to_owned(),
            format!("*;audio, *;+g.3gpp.icsi-ref=\"{icsi}.session,{icsi}.largemsg\""),
        ] {
            let upload = scene
                .upload(service, &["bill"])
                .with("Accept-Contact", &tag);
            proves!(["9.1.2-0"], is_accepted(&scene, &upload));
        }
        for tag in [
            format!("*;+g.3gpp.icsi-ref=\"{icsi}.msg\""),
            format!("*;+g.3gpp.icsi-ref=\"{icsi}.largemsg.group\""),
            format!("*;+g.3gpp.icsi-ref=\"{icsi}.session\""),
            "*;audio".to_owned(),
        ] {
            let upload = scene
                .upload(service, &["bill"])
                .with("Accept-Contact", &tag);
            proves!(["9.1.2-0"], is_refused(&scene, &upload.request, 404, None));
        }
        let upload = scene.upload(service, &["bill"]);
        let response = scene.anne.is_refused(
            &upload.request.without("Accept-Contact"),
            scene.proxy.udp(),
            404,
        );
        proves!(["9.1.2-0"], assert_eq!(reason(&response), "Not Ours"));
    }
    assert_eq!(counter(&scene.proxy, "accepted"), 8);
    scene.finish();
}

#[test]
fn without_a_listener_no_invite_is_ours() {
    let bench = cpm_testbed::Bench::new("without_a_listener_no_invite_is_ours");
    let proxy = bench.proxy(&crate::common::cpm_proxy(crate::common::HANDLE));
    let (anne, peer) = (bench.agent(), bench.msrp_peer());
    let request = large_message(ANNE, EXPLODER)
        .recipients([to("sip:bill@127.0.0.1:9")])
        .request(&anne, &peer.session(), 10);
    let response = anne.is_refused(&request, proxy.udp(), 404);
    assert_eq!(reason(&response), "Not Ours");
    proxy.stop();
}

/// A fault of an INVITE to a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    NotAuthorised,
    Version,
    Anonymous,
    TooMany,
    Empty,
    SessionTimer,
}

/// In the order of 9.1.2.
const FAULTS: [Fault; 6] = [
    Fault::NotAuthorised,
    Fault::Version,
    Fault::Anonymous,
    Fault::TooMany,
    Fault::Empty,
    Fault::SessionTimer,
];

impl Fault {
    fn answer(self) -> (u16, &'static str) {
        match self {
            Self::NotAuthorised => (403, "127 Service not authorised"),
            Self::Version => (403, "132 Version not supported"),
            Self::Anonymous => (403, "119 Anonymity not allowed"),
            Self::TooMany => (486, "102 Too many participants"),
            Self::Empty => (403, "129 No destinations"),
            Self::SessionTimer => (403, "122 Function not allowed"),
        }
    }

    /// The duties that its answer at this address proves; that to an empty list is not the text's.
    fn duties(self, service: &str) -> &'static [&'static str] {
        match self {
            Self::NotAuthorised => &["9.1.2-1", "9.1.2-1-w"],
            Self::Version => &["9.1.2-2", "9.1.2-2-w"],
            Self::Anonymous => duty(
                service,
                &["9.1.2-3a", "9.1.2-3a-w"],
                &["9.1.2-5a", "9.1.2-5a-w"],
            ),
            Self::TooMany => duty(
                service,
                &["9.1.2-3b", "9.1.2-3b-w"],
                &["9.1.2-5b", "9.1.2-5b-w"],
            ),
            Self::Empty => duty(service, &["9.1.2-3c"], &["9.1.2-5c"]),
            Self::SessionTimer => &["9.1.2-6-reject", "9.1.2-6-w"],
        }
    }

    fn put(self, request: Request) -> Request {
        match self {
            Self::NotAuthorised => request.without("P-Asserted-Identity"),
            Self::Version => request.with("User-Agent", "CPM-client/OMA1.0"),
            Self::Anonymous => request.with("Privacy", "id"),
            Self::SessionTimer => request.with("Session-Expires", "1800;refresher=uas"),
            Self::TooMany | Self::Empty => request,
        }
    }
}

/// A proxy that forbids everything possible.
fn strict(test_name: &str, no_destinations: &str) -> Scene {
    Scene::with(test_name, |_, config| {
        config
            .set("cpm", "required_user_agent", "CPM-client/OMA2")
            .set("cpm", "allow_anonymity", "no")
            .set("cpm", "max_recipients", "3")
            .set("cpm", "large_no_destinations_text", no_destinations)
            .set("cpm", "require_session_timer", "literal")
    })
}

fn faulty(scene: &Scene, service: &str, faults: &[Fault]) -> Request {
    let users: &[&str] = match faults {
        _ if faults.contains(&Fault::TooMany) => &["bill", "carol", "dan", "eve"],
        _ if faults.contains(&Fault::Empty) => &[],
        _ => &["bill", "carol", "dan"],
    };
    let request = scene.upload(service, users).request;
    faults
        .iter()
        .fold(request, |request, fault| fault.put(request))
}

#[test]
fn each_check_has_its_answer_and_the_first_one_speaks() {
    let scene = strict("each_check_has_its_answer", "numbered");
    for service in [EXPLODER, CONTROLLING] {
        for (place, first) in FAULTS.into_iter().enumerate() {
            let (code, text) = first.answer();
            proves!(
                first.duties(service),
                is_refused(&scene, &faulty(&scene, service, &[first]), code, Some(text))
            );
            for second in &FAULTS[place + 1..] {
                if (first, *second) == (Fault::TooMany, Fault::Empty) {
                    continue;
                }
                let request = faulty(&scene, service, &[first, *second]);
                proves!(
                    first.duties(service),
                    is_refused(&scene, &request, code, Some(text))
                );
            }
        }
        // No fault: three are as many as permitted.
        let upload = scene.upload(service, &["bill", "carol", "dan"]);
        is_accepted(&scene, &upload);
    }
    assert_eq!(counter(&scene.proxy, "accepted"), 2);
    scene.finish();
}

#[test]
fn without_policy_nothing_is_judged() {
    let scene = Scene::new("without_policy_nothing_is_judged");
    for service in [EXPLODER, CONTROLLING] {
        for fault in [Fault::Version, Fault::Anonymous] {
            let mut upload = scene.upload(service, &["bill"]);
            upload.request = fault.put(upload.request);
            proves!(&fault.duties(service)[..1], is_accepted(&scene, &upload));
        }
    }
    scene.finish();
}

#[test]
fn an_operators_veto_and_an_unknown_peer_are_403() {
    let veto = "event_route[cpm:authorize] { if (is_present_hf(\"X-Veto\")) drop; }";
    let scene = Scene::with("an_operators_veto", |bench, _| {
        crate::common::cpm_proxy(&format!("{}\n{veto}", crate::common::HANDLE)).set(
            "cpm",
            "msrp_listen",
            &format!("tcp:127.0.0.1:{}", bench.msrp_port()),
        )
    });
    let stranger = Scene::with("an_unknown_peer", |bench, _| {
        crate::common::untrusting_proxy(crate::common::HANDLE).set(
            "cpm",
            "msrp_listen",
            &format!("tcp:127.0.0.1:{}", bench.msrp_port()),
        )
    });
    let text = Some("127 Service not authorised");
    for service in [EXPLODER, CONTROLLING] {
        let vetoed = scene.upload(service, &["bill"]).with("X-Veto", "1");
        proves!(
            ["9.1.2-1", "9.1.2-1-w"],
            is_refused(&scene, &vetoed.request, 403, text)
        );
        proves!(
            ["9.1.2-1"],
            is_accepted(&scene, &scene.upload(service, &["bill"]))
        );
        let upload = stranger.upload(service, &["bill"]);
        proves!(
            ["9.1.2-1", "9.1.2-1-w"],
            is_refused(&stranger, &upload.request, 403, text)
        );
    }
    scene.finish();
    stranger.finish();
}

#[test]
fn an_empty_list_is_named_as_the_text_has_it() {
    let scene = strict("an_empty_list_is_named", "bare");
    for service in [EXPLODER, CONTROLLING] {
        proves!(
            duty(
                service,
                ["9.1.2-3c", "9.1.2-3c-w"],
                ["9.1.2-5c", "9.1.2-5c-w"]
            ),
            is_refused(
                &scene,
                &faulty(&scene, service, &[Fault::Empty]),
                403,
                Some("No destinations"),
            )
        );
        let no_list = scene.sender.session();
        let request = large_message(ANNE, service).request(&scene.anne, &no_list, 10);
        is_refused(&scene, &request, 403, Some("No destinations"));
    }
    scene.finish();
}

#[test]
fn the_session_timer_of_the_sender() {
    let scene = Scene::new("the_session_timer_of_the_sender");
    let literal = Scene::with("the_session_timer_taken_literally", |_, config| {
        config.set("cpm", "require_session_timer", "literal")
    });
    let off = Scene::with("the_session_timer_not_judged", |_, config| {
        config.set("cpm", "require_session_timer", "off")
    });
    let not_allowed = Some("122 Function not allowed");
    let asks = |scene: &Scene, value: &str| match value {
        "" => {
            let mut upload = scene.upload(EXPLODER, &["bill"]);
            upload.request = upload.request.without("Session-Expires");
            upload
        }
        value => scene
            .upload(EXPLODER, &["bill"])
            .with("Session-Expires", value),
    };
    for (value, granted) in [
        ("1800;refresher=uac", "1800;refresher=uac"),
        ("x=1800", "1800;refresher=uac"),
        ("90 ;refresher=UAC", "90;refresher=uac"),
        ("600", "600;refresher=uac"),
        ("", "1800;refresher=uac"),
    ] {
        let upload = match value.strip_prefix("x=") {
            // The compact form.
            Some(value) => {
                let mut upload = asks(&scene, "");
                upload.request = upload.request.with("x", value);
                upload
            }
            None => asks(&scene, value),
        };
        let answer = is_accepted(&scene, &upload);
        proves!(
            ["9.1.2-6"],
            assert_eq!(answer.header("Session-Expires"), Some(granted), "{value}")
        );
        assert_eq!(answer.header("Require"), Some("timer"));
        assert_eq!(answer.header("Supported"), Some("timer"));
    }
    // A client without support for timers would not refresh (readings N1).
    let mut upload = asks(&scene, "");
    upload.request = upload.request.without("Supported");
    let answer = is_accepted(&scene, &upload);
    assert_eq!(
        (answer.header("Session-Expires"), answer.header("Require")),
        (None, None)
    );

    // A client that wants us to refresh gets that promise, and needs no option tag for it.
    for value in ["1800;refresher=uas", "1800;x=y;Refresher=UAS"] {
        for scene in [&scene, &off] {
            let answer = is_accepted(scene, &asks(scene, value));
            let granted = answer.header("Session-Expires");
            proves!(
                ["9.1.2-6"],
                assert_eq!(granted, Some("1800;refresher=uas"), "{value}")
            );
            assert_eq!(answer.header("Require"), None);
        }
    }
    for value in ["89;refresher=uac", "1"] {
        let response = scene
            .anne
            .is_refused(&asks(&scene, value).request, scene.proxy.udp(), 422);
        assert_eq!(response.header("Min-SE"), Some("90"));
    }
    for value in ["", "1800", "1800;refresher=uas"] {
        proves!(
            ["9.1.2-6-reject", "9.1.2-6-w"],
            is_refused(&literal, &asks(&literal, value).request, 403, not_allowed)
        );
    }
    proves!(
        ["9.1.2-6"],
        is_accepted(&literal, &asks(&literal, "1800;refresher=uac"))
    );
    for scene in [scene, literal, off] {
        scene.finish();
    }
}

#[test]
fn a_session_lives_as_long_as_it_is_refreshed() {
    let scene = Scene::new("a_session_lives_as_long_as_it_is_refreshed");
    let mut upload = scene.upload(EXPLODER, &["bill"]);
    upload = upload.with("Session-Expires", "90;refresher=uac");
    let mut call = scene.begins(&upload);
    // Her message is complete, but she neither hangs up nor refreshes.
    let forgotten = scene
        .upload(EXPLODER, &["carol"])
        .with("Session-Expires", "90;refresher=uac");
    let forgotten_call = scene.begins(&forgotten);
    forgotten.session.deliver(&forgotten.content, 8000);
    let half = Duration::from_secs(45);
    std::thread::sleep(half);
    for method in ["UPDATE", "INVITE"] {
        let mut refresh = call
            .request(method)
            .with("Session-Expires", "90;refresher=uac");
        refresh = refresh.with("Supported", "timer");
        let answer = call.exchange(&refresh, 200);
        proves!(
            ["9.1.2-6"],
            assert_eq!(answer.header("Session-Expires"), Some("90;refresher=uac"))
        );
        assert_eq!(answer.header("Require"), Some("timer"));
        if method == "INVITE" {
            let ack = refresh.in_dialog("ACK", refresh_number(&refresh), &answer);
            scene.anne.send(&ack, scene.proxy.udp());
            assert_eq!(answer.header("Content-Type"), Some("application/sdp"));
        }
    }
    upload.session.deliver(&upload.content, 8000);
    // BYE a third of the interval before its end (RFC 4028 §10).
    let bye = scene.anne.recv_where(Duration::from_secs(30), |message| {
        message.method() == Some("BYE")
    });
    let bye = bye.expect("a session that nobody refreshes ends");
    proves!(
        ["9.1.2-6"],
        assert_eq!(bye.call_id(), forgotten_call.answer().call_id())
    );
    let reason = bye.header("Reason").unwrap_or_default();
    assert!(reason.starts_with("SIP;cause=408"), "{reason}");
    scene.gets("bill", &upload);
    call.bye(200);
    scene.finish();
}

fn refresh_number(request: &Request) -> u32 {
    let number = request
        .header("CSeq")
        .and_then(|value| value.split(' ').next()?.parse().ok());
    number.expect("requests have a CSeq")
}

#[test]
fn recipients_are_those_of_the_list() {
    let scene = Scene::new("recipients_are_those_of_the_list");
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let session = scene.sender.session();
        let (bill, carol, dan) = (
            scene.callees.uri("bill"),
            scene.callees.uri("carol"),
            scene.callees.uri("dan"),
        );
        // Nested lists, one of them twice, and the service itself, which is not a recipient.
        let list = resource_lists(&[to(&bill), to(&carol), to(service), to(&bill)]);
        let nested = format!("<list><entry uri=\"{dan}\"/></list></list>");
        let list = list.replace("  </list>", &nested);
        let offer = SdpText::offer(&session, 10).write();
        let body = cpm_testbed::multipart(&[
            (
                "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list",
                list.as_bytes(),
            ),
            ("Content-Type: application/sdp", offer.as_bytes()),
        ]);
        let request = scene
            .message(service, &[])
            .request(&scene.anne, &session, 10)
            .with_body(
                &format!("multipart/mixed;boundary=\"{}\"", cpm_testbed::BOUNDARY),
                body,
            );
        let upload = Upload {
            session,
            request,
            content: Vec::new(),
        };
        is_accepted(&scene, &upload);
        for user in ["bill", "carol", "dan"] {
            let call = scene.callees.expect_nth_call(user, round);
            scene.callees.expect_in(&call, "BYE");
            proves!(
                duty(service, ["9.1.2-3d", "9.1.2-8"], ["9.1.2-5d", "9.1.2-9"]),
                assert_eq!(scene.callees.calls_of(user), round + 1)
            );
        }
    }
    assert_eq!(counter(&scene.proxy, "recipients"), 6);
    assert_eq!(counter(&scene.proxy, "loops"), 2);
    scene.finish();
}

#[test]
fn offers_that_cannot_be_answered() {
    let scene = Scene::with("offers_that_cannot_be_answered", |_, config| {
        config.set("cpm", "msrp_max_message", "30000")
    });
    let session = scene.sender.session();
    let offer = || SdpText::offer(&session, 10);
    for service in [EXPLODER, CONTROLLING] {
        let message = scene.message(service, &["bill"]);
        let with = |offer: &SdpText| message.request_with(&scene.anne, offer);
        is_refused(&scene, &with(&offer().over("TCP/TLS/MSRP")), 488, None);
        is_refused(&scene, &with(&offer().over("RTP/AVP")), 488, None);
        let nothing = offer().without("sendonly").flag("recvonly");
        is_refused(&scene, &with(&nothing), 488, None);
        is_refused(&scene, &with(&offer().without("path")), 400, None);
        let large = offer().with("file-selector", "size:30001");
        is_refused(&scene, &with(&large), 403, Some("133 Size exceeded"));
        let text = message
            .request(&scene.anne, &session, 10)
            .with("Require", "100rel");
        let response = scene.anne.is_refused(&text, scene.proxy.udp(), 420);
        assert_eq!(response.header("Unsupported"), Some("100rel"));
    }
    scene.finish();
}

/// Bodies of more than 16 KiB, which the SIP worker passes on.
#[test]
fn a_long_list_is_read_in_another_process() {
    let scene = Scene::unseen("a_long_list_is_read_in_another_process", |_, config| config);
    let upload = scene.upload(EXPLODER, &["bill"; 300]);
    assert!(upload.request.body().len() > 16 * 1024);
    scene.sends(&upload);
    scene.gets("bill", &upload);
    let many: Vec<String> = (0..300).map(|number| format!("user{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let upload = scene.upload(EXPLODER, &many);
    is_refused(
        &scene,
        &upload.request,
        486,
        Some("102 Too many participants"),
    );
}
