//! Our own refreshes when they are refused, towards recipients and towards the sender (RFC 4028),
//! and what a request within a dialog may contain (RFC 3261 §8.2, §11).

use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Plan, Received, Reply, SdpText};

use crate::common::EXPLODER;
use crate::large::{CHUNK, LONG, Scene};

/// Half of the shortest interval, and the end of a session with it.
const HALF: Duration = Duration::from_secs(45);
const END: Duration = Duration::from_secs(60);

#[test]
fn a_refused_refresh_costs_nobody_the_message() {
    let scene = Scene::new("a_refused_refresh_costs_nobody");
    let we_refresh = || Plan::accept().header("Session-Expires", "90;refresher=uac");
    let refused = |reply: Reply| we_refresh().answers_refreshes([reply]);
    let code = |code| Reply::new(code);
    for (user, plan) in [
        ("bill", refused(code(405).with("Allow", "INVITE, ACK, BYE"))),
        (
            "carol",
            we_refresh().header("Allow", "INVITE, ACK, CANCEL, BYE"),
        ),
        ("dan", refused(code(422).with("Min-SE", "100"))),
        ("eve", refused(code(491))),
        ("fred", refused(code(503).with("Retry-After", "1"))),
        ("gina", refused(code(481))),
        (
            "hank",
            we_refresh().answers_refreshes([code(500), code(500), code(500)]),
        ),
    ] {
        scene.callees.plan(user, plan);
    }
    let users = ["bill", "carol", "dan", "eve", "fred", "gina", "hank"];
    let upload = scene
        .upload(EXPLODER, &users)
        .with("Session-Expires", "90;refresher=uas");
    let mut call = scene.begins(&upload);
    let begun = Instant::now();
    assert_eq!(
        call.answer().header("Session-Expires"),
        Some("90;refresher=uas")
    );
    // The sender does not support UPDATE, and only says so in her answer.
    let offer = SdpText::offer(&upload.session, upload.content.len()).write();
    let contact = format!("<{}>", scene.anne.uri("anne"));
    scene.anne.answers(Answer::with(move |request| {
        vec![match request.method() {
            Some("UPDATE") => Reply::new(501),
            Some("INVITE") => Reply::new(200)
                .with("Session-Expires", "90;refresher=uac")
                .with("Contact", &contact)
                .with_body("application/sdp", offer.clone()),
            _ => Reply::new(200),
        }]
    }));
    let legs = users.map(|user| scene.callees.expect_call(user));
    let [bill, carol, dan, eve, fred, gina, hank] = &legs;

    let first = scene.callees.expect_in_within(bill, "UPDATE", LONG);
    assert!(begun.elapsed() >= HALF - Duration::from_secs(2));
    assert!(first.body().is_empty());
    // The description is the one that the peer has from us, byte for byte.
    for leg in [bill, carol] {
        let re_invite = scene.callees.agent().recv_where(LONG, {
            let id = leg.invite.call_id().to_owned();
            move |one| {
                one.call_id() == id
                    && one.method() == Some("INVITE")
                    && one.cseq().is_some_and(|(n, _)| n > 1)
            }
        });
        let re_invite = re_invite.expect("a re-INVITE");
        assert_eq!(re_invite.body(), leg.invite.body());
        let number = re_invite.cseq().map(|(number, _)| number);
        let ack = scene.callees.agent().recv_where(LONG, {
            let id = leg.invite.call_id().to_owned();
            move |one| {
                one.call_id() == id
                    && one.method() == Some("ACK")
                    && one.cseq().map(|(n, _)| n) == number
            }
        });
        assert!(ack.is_some(), "no ACK to the 2xx");
    }
    assert_eq!(scene.callees.requests_in(carol, "UPDATE").len(), 0);
    let again = |leg| {
        scene.callees.expect_in_within(leg, "UPDATE", LONG);
        scene.callees.expect_in_within(leg, "UPDATE", LONG)
    };
    let longer = again(dan);
    assert_eq!(longer.header("Session-Expires"), Some("100;refresher=uac"));
    assert_eq!(longer.header("Min-SE"), Some("100"));
    again(eve);
    again(fred);
    again(hank);
    scene.hangs_up(gina, 408);
    let re_invite = scene
        .anne
        .recv_where(LONG, |one| one.method() == Some("INVITE"));
    let re_invite = re_invite.expect("a re-INVITE to the sender");
    assert_eq!(re_invite.body(), call.answer().body());
    let ack = scene
        .anne
        .recv_where(LONG, |one| one.method() == Some("ACK"));
    assert_eq!(
        ack.expect("its ACK").cseq().map(|(number, _)| number),
        re_invite.cseq().map(|(number, _)| number)
    );

    // All get the message except the one whose dialog is gone, even the one that refuses refreshes.
    assert!(begun.elapsed() < END, "{:?}", begun.elapsed());
    upload.session.deliver(&upload.content, CHUNK);
    for user in users.into_iter().filter(|user| *user != "gina") {
        scene.gets(user, &upload);
    }
    call.bye(200);
    scene.finish_within(LONG);
}

/// Sends a request with this method and these additional header fields, which must get this
/// response.
type Ask<'a> = dyn FnMut(&str, &[(&str, &str)], u16) -> Received + 'a;

#[test]
fn options_and_what_is_refused_inside_of_dialogs() {
    let scene = Scene::new("options_and_what_is_refused");
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.begins(&upload);
    let bill = scene.callees.expect_call("bill");
    let mut number = 0;
    let mut from_bill = |method: &str, headers: &[(&str, &str)], code| {
        number += 1;
        let mut request = scene
            .callees
            .agent()
            .in_dialog_of(&bill.invite, method, number);
        for (name, value) in headers {
            request = request.and(name, value);
        }
        let agent = scene.callees.agent();
        agent.send(&request, scene.proxy.udp());
        let answer = agent.expect_response(&request, code);
        if method == "INVITE" {
            agent.send(&request.ack_to_refusal(&answer), scene.proxy.udp());
        }
        answer
    };
    let mut from_anne = |method: &str, headers: &[(&str, &str)], code| {
        let mut request = call.request(method);
        for (name, value) in headers {
            request = request.and(name, value);
        }
        let answer = call.exchange(&request, code);
        if method == "INVITE" {
            scene
                .anne
                .send(&request.ack_to_refusal(&answer), scene.proxy.udp());
        }
        answer
    };
    let sides: [&mut Ask<'_>; 2] = [&mut from_anne, &mut from_bill];
    for ask in sides {
        let answer = ask("OPTIONS", &[("Accept", "application/sdp")], 200);
        assert_eq!(
            answer.header("Allow"),
            Some("INVITE, ACK, CANCEL, BYE, UPDATE, OPTIONS")
        );
        assert_eq!(answer.header("Accept"), Some("application/sdp"));
        assert_eq!(answer.header("Supported"), Some("timer"));
        for method in ["UPDATE", "INVITE", "OPTIONS"] {
            let answer = ask(
                method,
                &[("Require", "timer, foo"), ("Require", "100rel")],
                420,
            );
            assert_eq!(answer.header("Unsupported"), Some("foo, 100rel"));
        }
        for (method, code) in [
            ("INFO", 405),
            ("NOTIFY", 405),
            ("REFER", 405),
            ("PING", 501),
        ] {
            let answer = ask(method, &[], code);
            assert!(
                answer
                    .header("Allow")
                    .is_some_and(|allow| allow.contains("OPTIONS"))
            );
        }
        // Kamailio's parser accepts the one, and not the other.
        ask(
            "UPDATE",
            &[("Session-Expires", "90"), ("Session-Expires", "1800")],
            400,
        );
        ask("UPDATE", &[("Max-Forwards", "9")], 400);
        ask("UPDATE", &[], 200);
    }
    upload.session.deliver(&upload.content, CHUNK);
    scene.gets("bill", &upload);
    call.bye(200);
    scene.finish();
}
