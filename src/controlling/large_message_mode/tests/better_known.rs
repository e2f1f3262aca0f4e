//! Data that is known better later or elsewhere than from the INVITE: the size of the message, how
//! long it may ring, the next hop of a recipient's MSRP.

use super::*;

const TYPE: &str = "Content-Type: application/sdp\r\n";

fn announced(description: &[u8]) -> Option<u64> {
    let description = SessionDescription::parse(description).unwrap();
    let media = MsrpMedia::of(&description, &[Transport::Tcp]).unwrap();
    media.file_selector.unwrap().size
}

/// Two recipients, the second of which is invited when the first has answered.
fn one_after_another() -> Scene {
    Scene::set(2, &[], |settings| {
        settings.policy.max_parallel_legs = Some(1)
    })
}

#[test]
fn who_is_invited_later_is_told_the_real_size() {
    for (real, told) in [(Some(1_234), 1_234), (None, 1_000)] {
        let mut scene = one_after_another();
        scene.ring(0);
        assert_eq!(announced(&scene.invites[&0].body), Some(1_000));
        scene.answer(0);
        // The second waits for the first one's answer, and is invited after it.
        assert_eq!(announced(&scene.invites[&1].body), Some(1_000));
        scene.ack();
        scene.session.handle_message_started(real);
        let too_small = message("SIP/2.0 422 x\r\nMin-SE: 2000\r\n\r\n".to_owned());
        let code = StatusCode::SESSION_INTERVAL_TOO_SMALL;
        scene
            .session
            .handle_leg_failure(scene.now, LegNumber(1), code, Some(&too_small));
        scene.drain();
        assert_eq!(announced(&scene.invites[&1].body), Some(told));
        scene.silence();
    }
}

/// RFC 3264 §8: a repeated offer stays the same, whatever has become known since.
#[test]
fn an_offer_that_is_repeated_stays_what_it_was() {
    let mut scene = Scene::confirmed(1);
    let first = scene.invites[&0].body.clone();
    scene.session.handle_message_started(Some(1_234));
    scene.request(leg(0), "INVITE", "", "");
    assert_eq!(scene.replies.pop().unwrap().body, first);
    scene.request(leg(0), "INVITE", TYPE, ANSWER);
    let again = scene.replies.pop().unwrap().body;
    assert_eq!(announced(&again), Some(1_000));
    scene.silence();
}

#[test]
fn expires_shortens_the_ringing_and_never_lengthens_it() {
    for (expires, seconds) in [
        ("0", 1),
        ("1", 1),
        ("59", 59),
        ("60", 60),
        ("61", 60),
        ("4294967295", 60),
        ("4294967296", 60),
        ("soon", 60),
    ] {
        let more = format!("Expires: {expires}\r\n");
        let invite = accepted(Kind::Exploder, &["sip:r0@home"], &more);
        let mut scene = Scene::of(&invite, &service(&[]), settings());
        scene.ring(0);
        scene.take();
        scene.until(scene.born + Duration::from_secs(seconds) - Duration::from_millis(1));
        assert_eq!(scene.state(0), LegState::Proceeding, "{expires}");
        scene.later(1);
        scene.did(&["failed 408", "cancel 0", "reply 480"]);
        scene.silence();
    }
}

/// RFC 4976: the next hop is the first URI of the path. RFC 6714 §4.3: with a relay, msrp-cema does
/// not change that.
#[test]
fn a_relay_is_where_the_path_says_with_msrp_cema_too() {
    let path = "a=path:msrp://192.0.2.7:9000/leg;tcp";
    let relay = "a=path:msrp://relay.example.com:2855/r;tcp msrp://192.0.2.7:9000/leg;tcp";
    for (path_line, cema, host, port) in [
        (relay, true, "relay.example.com", 2855),
        (relay, false, "relay.example.com", 2855),
        // A middlebox: c= and m= lead to it.
        (
            "a=path:msrp://10.0.0.1:7000/leg;tcp",
            true,
            "192.0.2.7",
            9000,
        ),
        (path, true, "192.0.2.7", 9000),
    ] {
        let mut answer = ANSWER.replace(path, path_line);
        if cema {
            answer.push_str("a=msrp-cema\r\n");
        }
        let mut scene = Scene::to(1);
        scene.answer_as(0, "t", &answer, "");
        scene.ack();
        let ends = &scene.ends[&0];
        assert_eq!((ends.host.as_str(), ends.port), (host, port), "{path_line}");
        assert_eq!(ends.peer.uris().count(), path_line.matches("msrp:").count());
        scene.silence();
    }
}
