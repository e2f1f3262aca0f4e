//! Refusals, silence, interworking.

use super::*;
use crate::policy::AllFailedResponse;

#[test]
fn all_refuse() {
    let mut scene = Scene::to(2);
    scene.refuse(0, 486);
    scene.did(&["failed 486"]);
    scene.refuse(1, 404);
    // Readings N20, no ISF.
    scene.did(&["failed 404", "reply 480", "ended"]);
    scene.assert_over();
}

#[test]
fn nobody_could_be_sent_to() {
    let mut scene = Scene::to(1);
    scene.session.handle_leg_unsent(scene.now, LegNumber(0));
    scene.drain();
    scene.did(&["failed 503", "reply 480", "ended"]);
}

#[test]
fn the_isf_answers_first() {
    let mut scene = Scene::with(2, ISF);
    scene.refuse(0, 404);
    scene.did(&["interworked 404", "invite 2 isf"]);
    let invite = &scene.invites[&2];
    assert_eq!(
        (invite.request_uri.as_str(), invite.next_hop.as_deref()),
        ("sip:r0@home", Some("sip:isf@home"))
    );
    assert!(invite.headers.starts_with(b"Route: <sip:isf@home;lr>\r\n"));
    scene.refuse(1, 486);
    scene.did(&["failed 486"]);
    scene.answer(2);
    scene.did(&["open originator", "reply 200"]);
    scene.ack();
    scene.did(&["ack 2", "open 2", "no more legs"]);
    scene.complete();
    scene.bye(Side::Originator);
    scene.relay(2, DeliveryState::Delivered);
    scene.silence();
    assert_eq!(scene.fates["sip:r0@home"], Fate::Delivered);
}

#[test]
fn the_480_waits_for_the_isf_which_is_asked_once() {
    let mut scene = Scene::with(1, ISF);
    scene.refuse(0, 415);
    scene.did(&["interworked 415", "invite 1 isf"]);
    scene.refuse(1, 404);
    scene.did(&["failed 404", "reply 480", "ended"]);
}

#[test]
fn eight_codes_lead_to_the_isf_where_policy_allows() {
    for code in [404, 405, 410, 414, 415, 416, 488, 606] {
        let mut scene = Scene::with(1, ISF);
        scene.refuse(0, code);
        assert!(scene.invites.contains_key(&1), "{code}");
        let mut scene = Scene::with(1, &[ISF[0], ("interworking", "no")]);
        scene.refuse(0, code);
        assert!(scene.ended, "{code}");
    }
    for code in [302, 403, 408, 480, 486, 500, 503, 603, 604] {
        let mut scene = Scene::with(1, ISF);
        scene.refuse(0, code);
        assert!(scene.ended, "{code}");
    }
}

#[test]
fn recipients_without_sip_address_go_to_the_isf_directly() {
    let invite = accepted(Kind::Exploder, &["tel:+15550100", "sip:r@home"], "");
    let scene = Scene::of(&invite, &service(ISF), settings());
    assert!(scene.invites[&0].to_isf && !scene.invites[&1].to_isf);
}

#[test]
fn msrp_failure_leads_to_the_isf_with_stored_content() {
    let mut scene = Scene::confirmed_with(2, ISF);
    scene.complete();
    scene.relay(1, DeliveryState::Delivered);
    assert!(!scene.no_more_legs);
    scene.take();
    scene.bye(Side::Originator);
    scene.did(&["reply 200", "close originator", "close 1", "bye 1"]);
    scene.relay(0, DeliveryState::Failed(DeliveryFailure::Stalled));
    scene.did(&["interworked 408", "invite 2 isf", "close 0", "bye 0"]);
    scene.answer(2);
    scene.did(&["ack 2", "open 2", "no more legs"]);
    scene.relay(2, DeliveryState::Failed(DeliveryFailure::Disconnected));
    scene.did(&["failed 480", "close 2", "bye 2"]);
    scene.silence();
}

#[test]
fn an_answer_that_cannot_be_used_is_a_failed_delivery() {
    for sdp in ["", "v=0\r\n", &SDP.replace("actpass", "holdconn")] {
        let mut scene = Scene::with(1, ISF);
        scene.answer_as(0, "t", sdp, "");
        scene.did(&["ack 0", "interworked 488", "invite 1 isf", "bye 0"]);
        scene.answer(1);
        scene.did(&["open originator", "reply 200"]);
        scene.silence();
    }
}

#[test]
fn a_422_is_obeyed_once() {
    let mut scene = Scene::to(1);
    let too_small = |min: u32| message(format!("SIP/2.0 422 x\r\nMin-SE: {min}\r\n\r\n"));
    let code = StatusCode::SESSION_INTERVAL_TOO_SMALL;
    scene
        .session
        .handle_leg_failure(scene.now, LegNumber(0), code, Some(&too_small(3600)));
    scene.drain();
    scene.did(&["invite 0"]);
    let again = &scene.invites[&0];
    let headers = String::from_utf8(again.headers.to_vec()).unwrap();
    assert!(headers.contains("Session-Expires: 3600;refresher=uas\r\nMin-SE: 3600\r\n"));
    assert_eq!(again.cseq, 2);
    scene.ring(0);
    scene.answer(0);
    scene.ack();
    scene.did(&[
        "open originator",
        "reply 200",
        "ack 0",
        "open 0",
        "no more legs",
    ]);
    scene.silence();
    let mut scene = Scene::to(1);
    for _ in 0..2 {
        scene
            .session
            .handle_leg_failure(scene.now, LegNumber(0), code, Some(&too_small(100)));
        scene.drain();
    }
    scene.did(&["invite 0", "failed 422", "reply 480", "ended"]);
}

#[test]
fn silence_and_ringing_end() {
    let mut scene = Scene::to(2);
    scene.ring(1);
    scene.later(10);
    scene.did(&["failed 408"]);
    assert_eq!(scene.state(0), LegState::CancelDue);
    scene.later(49);
    scene.did(&[]);
    scene.later(1);
    scene.did(&["failed 408", "cancel 1", "reply 480"]);
    scene.refuse(1, 487);
    scene.did(&["ended"]);
    scene.assert_over();
}

#[test]
fn expires_shortens_the_ringing() {
    let invite = accepted(Kind::Exploder, &["sip:r0@home"], "Expires: 20\r\n");
    let mut scene = Scene::of(&invite, &service(&[]), settings());
    scene.ring(0);
    scene.later(20);
    assert_eq!(scene.state(0), LegState::Cancelling);
}

#[test]
fn the_originator_is_answered_before_his_transaction_ends() {
    let mut longest = settings();
    longest.policy.leg_timeout = Duration::from_secs(1_000);
    let invite = accepted(Kind::Exploder, &["sip:r0@home"], "");
    let mut scene = Scene::of(&invite, &service(&[]), longest);
    scene.ring(0);
    scene.take();
    scene.until(scene.born + ANSWER_WITHIN);
    scene.did(&["reply 480", "failed 480", "cancel 0"]);
    scene.silence();
}

#[test]
fn the_best_of_all_refusals_answers() {
    let best = |recipients, parameters: &[(&str, &str)]| {
        Scene::set(recipients, parameters, |settings| {
            settings.policy.all_failed_response = AllFailedResponse::Best;
        })
    };
    let mut scene = best(3, &[]);
    scene.ring(2);
    scene.refuse(0, 500);
    scene.refuse(1, 486);
    scene.did(&["failed 500", "failed 486"]);
    scene.later(60);
    // A recipient that rang in vain counts as 408, but came later.
    scene.did(&["failed 408", "cancel 2", "reply 486"]);
    scene.refuse(2, 487);
    scene.did(&["ended"]);

    // It comes with the header fields that it requires, and with the ids as in any answer.
    let mut scene = best(2, &[]);
    scene.refuse(0, 404);
    let refusal =
        message("SIP/2.0 415 x\r\nAccept: text/plain\r\nContact: <sip:a@b>\r\n\r\n".into());
    let code = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    scene
        .session
        .handle_leg_failure(scene.now, LegNumber(1), code, Some(&refusal));
    scene.drain();
    scene.did(&["failed 404", "failed 415", "reply 415", "ended"]);
    let headers = String::from_utf8(scene.replies.pop().unwrap().headers).unwrap();
    assert!(
        headers.contains("Accept: text/plain\r\n") && headers.contains("Conversation-ID: conv")
    );
    assert!(!headers.contains("Contact"), "{headers}");

    // The ISF's result is the final outcome of a recipient.
    let mut scene = best(1, ISF);
    scene.refuse(0, 415);
    scene.refuse(1, 503);
    scene.did(&[
        "interworked 415",
        "invite 1 isf",
        "failed 503",
        "reply 500",
        "ended",
    ]);

    // An originator that cancels, or waits too long, does not get a recipient's answer.
    let mut scene = best(2, &[]);
    scene.refuse(0, 404);
    scene.take();
    scene.cancel();
    scene.did(&["reply 487", "failed 487"]);
    scene.silence();
}
