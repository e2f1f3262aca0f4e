//! Answers to the sender, and the effect of each answer of a recipient (9.1.2-200, -non200,
//! -cancel, -ack-1; readings N20, N41 to N43, N52, N53).

use std::time::Duration;

use cpm_testbed::{Plan, SdpText, latin_1};

use crate::common::{CONTROLLING, EXPLODER, duty, expect_counter, proves, reason};
use crate::large::{LONG, OUR_MAX_SIZE, SIZE, Scene};

/// Waits until the only session has this many legs in this state.
#[track_caller]
fn expect_legs(scene: &Scene, state: &str, count: usize) {
    crate::large::expect_legs(&scene.proxy, state, count);
}

#[test]
fn the_first_200_answers_the_sender() {
    let scene = Scene::new("the_first_200_answers_the_sender");
    scene.callees.plan("ringing", Plan::no_answer().ringing());
    scene.callees.plan("refusing", Plan::status(486));
    let first = Plan::accept()
        .ringing()
        .after(Duration::from_millis(300))
        .attribute("accept-types", Some("message/cpim text/html"))
        .attribute("accept-wrapped-types", Some("text/plain image/*"))
        .attribute("max-size", Some("4711000"))
        .attribute("x-leg", Some("kept"));
    scene.callees.plan("bill", first);
    let users = ["ringing", "refusing", "bill"];
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        for in_reply in [None, Some("01234567-89AB")] {
            let mut upload = scene
                .upload(service, &users)
                .with("Conversation-ID", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
                .with("Contribution-ID", "AbC ;odd=\"value\"");
            if let Some(value) = in_reply {
                upload = upload.with("InReplyTo-Contribution-ID", value);
            }
            upload.request = upload
                .request
                .with("Record-Route", "<sip:pcscf.example.com;lr>");
            // Hop-by-hop data is not passed on (RFC 3261 §16.7, §12.1.1).
            let call = proves!(
                ["9.1.2-200-1", "9.1.2-200-5"],
                scene.anne.invites(&upload.request, scene.proxy.udp())
            );
            let answer = call.answer();
            assert_eq!(
                answer.header("Record-Route"),
                Some("<sip:pcscf.example.com;lr>")
            );
            for (name, wanted, ids) in [
                (
                    "Conversation-ID",
                    Some("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
                    ["9.1.2-200-1a"],
                ),
                (
                    "Contribution-ID",
                    Some("AbC ;odd=\"value\""),
                    ["9.1.2-200-1a"],
                ),
                ("InReplyTo-Contribution-ID", in_reply, ["9.1.2-200-1a"]),
                ("Require", Some("timer"), ["9.1.2-200-1b"]),
                ("Supported", Some("timer"), ["9.1.2-200-1b"]),
                (
                    "Session-Expires",
                    Some("1800;refresher=uac"),
                    ["9.1.2-200-1c"],
                ),
                ("Server", Some("CPM-serv/OMA2.2"), ["9.1.2-200-3"]),
                ("Content-Type", Some("application/sdp"), ["9.1.2-200-2"]),
            ] {
                proves!(
                    ids,
                    assert_eq!(
                        answer.headers(name),
                        wanted.into_iter().collect::<Vec<_>>(),
                        "{name}"
                    )
                );
            }
            assert_eq!(answer.headers("Via").len(), 1);
            assert!(
                answer
                    .parameter("To", "tag")
                    .is_some_and(|tag| tag.starts_with("cpms-"))
            );
            let contact = answer.header("Contact").unwrap_or_default();
            proves!(
                ["9.1.2-200-4"],
                assert!(
                    contact.contains(&format!("127.0.0.1:{}", scene.proxy.port())),
                    "{contact}"
                )
            );

            let sdp = call.sdp();
            let listener = sdp.target();
            proves!(
                ["9.1.2-200-2a"],
                assert_eq!(
                    sdp.lines('m'),
                    [format!("message {} TCP/MSRP *", listener.port())]
                )
            );
            proves!(
                ["9.1.2-200-2b"],
                assert!(
                    sdp.path().starts_with(&format!("msrp://{listener}/")),
                    "{sdp:?}"
                )
            );
            let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
            let directions: Vec<_> = directions
                .into_iter()
                .filter(|name| sdp.attribute(name).is_some())
                .collect();
            proves!(["9.1.2-200-2c"], assert_eq!(directions, ["recvonly"]));
            proves!(
                ["9.1.2-200-2d"],
                assert_eq!(sdp.attributes("setup"), ["passive"])
            );
            proves!(
                ["9.1.2-200-2e"],
                assert_eq!(sdp.attributes("msrp-cema"), [""])
            );
            for (name, value) in [
                // What we accept ourselves, not what bill accepts.
                ("accept-types", "message/cpim"),
                ("accept-wrapped-types", "*"),
                ("max-size", OUR_MAX_SIZE),
                ("x-leg", "kept"),
            ] {
                proves!(
                    ["9.1.2-200-2"],
                    assert_eq!(sdp.attributes(name), [value], "{name}")
                );
            }
            let selector = sdp.attribute("file-selector");
            assert_eq!(selector, Some(format!("size:{SIZE}").as_str()));
            let raw = String::from_utf8_lossy(answer.raw()).into_owned();
            let recipient = scene.callees.agent().address().to_string();
            let peer = format!(":{}/", scene.callees.peer().address().port());
            proves!(
                ["9.1.2-200-2b"],
                assert!(!raw.contains(&recipient) && !raw.contains(&peer), "{raw}")
            );

            // The route back is through the proxies in Record-Route, of which the test has none.
            let direct = |request: cpm_testbed::Request| request.without("Route");
            let ack = direct(upload.request.in_dialog("ACK", 1, answer));
            scene.anne.send(&ack, scene.proxy.udp());
            upload.session.sends_to(sdp.path());
            upload.session.connect_and_bind();
            proves!(
                ["9.1.2-200-5-listen"],
                assert_eq!(upload.session.peer_address(), Some(listener))
            );
            let bye = direct(upload.request.in_dialog("BYE", 2, answer));
            scene.anne.send(&bye, scene.proxy.udp());
            scene.anne.expect_response(&bye, 200);
            let place = 2 * round + usize::from(in_reply.is_some());
            let ringing = scene.callees.expect_nth_call("ringing", place);
            scene.callees.expect_in(&ringing, "CANCEL");
            scene.callees.terminate(&ringing);
        }
    }
    scene.finish();
}

#[test]
fn the_answer_fits_the_offer() {
    let scene = Scene::new("the_answer_fits_the_offer");
    for (setup, cema, answered) in [
        (Some("active"), true, "passive"),
        (Some("actpass"), true, "passive"),
        (None, true, "passive"),
        (Some("active"), false, "passive"),
        // Otherwise neither side would connect (readings N52).
        (Some("passive"), true, "active"),
    ] {
        let session = scene.sender.session();
        let mut offer = SdpText::offer(&session, SIZE).and("m=audio 0 RTP/AVP 0\r\n");
        offer = match setup {
            Some(setup) => offer.with("setup", setup),
            None => offer.without("setup"),
        };
        if !cema {
            offer = offer.without("msrp-cema");
        }
        let message = scene.message(EXPLODER, &["bill"]);
        let upload = crate::large::Upload {
            request: message.request_with(&scene.anne, &offer),
            content: message.content(SIZE),
            session,
        };
        let mut call = scene.is_answered(&upload);
        let sdp = call.sdp();
        proves!(
            ["9.1.2-200-2d"],
            assert_eq!(sdp.attribute("setup"), Some(answered), "{setup:?}")
        );
        proves!(
            ["9.1.2-200-2e"],
            assert_eq!(sdp.attribute("msrp-cema").is_some(), cema)
        );
        // One line for each line of the offer (RFC 3264 §6).
        proves!(["9.1.2-200-2"], assert_eq!(sdp.lines('m').len(), 2));
        assert!(sdp.lines('m')[1].starts_with("audio 0 "));
        call.ack();
        match answered {
            "active" => upload.session.expect_connected(),
            _ => upload.session.connect_and_bind(),
        }
        upload.session.deliver(&upload.content, 8000);
        call.bye(200);
    }
    expect_counter(&scene.proxy, "delivered", 5);
    scene.finish();
}

#[test]
fn refusals_are_acknowledged_and_do_not_stop_the_others() {
    let scene = Scene::new("refusals_are_acknowledged");
    let codes = [302, 400, 403, 404, 480, 486, 488, 500, 503, 600, 603];
    let users: Vec<String> = codes.iter().map(|code| format!("u{code}")).collect();
    for (user, code) in users.iter().zip(codes) {
        let plan = Plan::status(code).header("Contact", "<sip:elsewhere@127.0.0.1:9>");
        scene.callees.plan(user, plan.ringing());
    }
    scene
        .callees
        .plan("bill", Plan::accept().after(Duration::from_millis(200)));
    let mut all: Vec<&str> = users.iter().map(String::as_str).collect();
    all.push("bill");
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &all);
        scene.sends(&upload);
        for user in &users {
            let call = scene.callees.expect_nth_call(user, round);
            let ack = proves!(["9.1.2-non200"], scene.callees.expect_in(&call, "ACK"));
            // RFC 3261 §17.1.1.3.
            proves!(
                ["9.1.2-non200"],
                assert_eq!(ack.branch(), call.invite.branch())
            );
            assert_eq!(ack.cseq(), Some((1, "ACK")));
            assert_eq!(scene.callees.requests_in(&call, "BYE").len(), 0);
        }
        let bill = scene.callees.expect_nth_call("bill", round);
        proves!(
            ["9.1.2-200-1"],
            assert_eq!(bill.session.expect_message().bytes, upload.content)
        );
        scene.hangs_up(&bill, 200);
        // 3xx is not followed (readings N41).
        expect_counter(&scene.proxy, "failed", (codes.len() * (round + 1)) as u64);
        expect_counter(&scene.proxy, "delivered", round as u64 + 1);
    }
    scene.finish();
}

#[test]
fn when_all_have_failed_the_sender_gets_480() {
    let scene = Scene::with("when_all_have_failed", |_, config| {
        config.set("cpm", "leg_timeout", "1")
    });
    scene.callees.plan("bill", Plan::status(486));
    scene
        .callees
        .plan("carol", Plan::status(603).after(Duration::from_millis(100)));
    // A recipient that rings too long has failed as well.
    scene.callees.plan("dan", Plan::no_answer().ringing());
    // And one whose answer cannot be used.
    scene
        .callees
        .plan("eve", Plan::accept().attribute("path", None));
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene
            .upload(service, &["bill", "carol", "dan", "eve"])
            .with("InReplyTo-Contribution-ID", "x");
        let response = scene
            .anne
            .is_refused(&upload.request, scene.proxy.udp(), 480);
        assert_eq!(reason(&response), "Temporarily Unavailable");
        assert_eq!(response.header("Warning"), None);
        for name in [
            "Conversation-ID",
            "Contribution-ID",
            "InReplyTo-Contribution-ID",
        ] {
            assert_eq!(response.header(name), upload.request.header(name));
        }
        let dan = scene.callees.expect_nth_call("dan", round);
        scene.callees.expect_in(&dan, "CANCEL");
        scene.callees.terminate(&dan);
        scene.callees.expect_in(&dan, "ACK");
        let eve = scene.callees.expect_nth_call("eve", round);
        scene.callees.expect_in(&eve, "ACK");
        scene.hangs_up(&eve, 488);
    }
    expect_counter(&scene.proxy, "failed", 8);
    scene.finish();
}

#[test]
fn a_repeated_invite_calls_nobody_twice() {
    let scene = Scene::new("a_repeated_invite");
    scene.callees.plan(
        "bill",
        Plan::accept().ringing().after(Duration::from_millis(300)),
    );
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &["bill"]);
        for _ in 0..4 {
            scene.anne.send(&upload.request, scene.proxy.udp());
        }
        let mut call = scene
            .anne
            .expect_answered(&upload.request, scene.proxy.udp());
        call.ack();
        upload.session.sends_to(call.sdp().path());
        upload.session.connect_and_bind();
        upload.session.deliver(&upload.content, 8000);
        let bill = scene.callees.expect_nth_call("bill", round);
        assert_eq!(bill.session.expect_message().bytes, upload.content);
        call.bye(200);
        scene.hangs_up(&bill, 200);
        proves!(
            [duty(service, "9.1.2-8", "9.1.2-9")],
            assert_eq!(scene.callees.calls_of("bill"), round + 1)
        );
    }
    scene.finish();
}

#[test]
fn requests_inside_a_dialog_go_by_its_routes() {
    let scene = Scene::new("requests_inside_a_dialog_go_by_its_routes");
    let there = scene.callees.agent().address();
    let routes = format!("<sip:first@{there};lr>, <sip:second@{there};lr>");
    scene
        .callees
        .plan("bill", Plan::accept().header("Record-Route", &routes));
    let here = scene.anne.address();
    let own = format!("<sip:near@{here};lr>, <sip:far@{here};lr>");
    let upload = scene.upload(EXPLODER, &["bill"]).with("Record-Route", &own);
    let call = scene.is_answered(&upload);
    assert_eq!(call.answer().header("Record-Route"), Some(own.as_str()));
    let ack = upload.request.in_dialog("ACK", 1, call.answer());
    scene.anne.send(&ack.without("Route"), scene.proxy.udp());
    let bill = scene.callees.expect_call("bill");
    let list = |message: &cpm_testbed::Message| message.headers("Route").join(", ");
    // RFC 3261 §12.1.2: from last to first; §12.1.1: in the given order.
    let ack = scene.callees.expect_in(&bill, "ACK");
    let reversed = format!("<sip:second@{there};lr>, <sip:first@{there};lr>");
    proves!(["9.1.2-ack-1"], assert_eq!(list(&ack), reversed));
    assert_eq!(ack.uri(), Some(scene.callees.uri("phone").as_str()));
    let sessions = scene.proxy.rpc("cpm.sessions");
    let id = cpm_testbed::values(&sessions, "id")
        .next()
        .expect("a session");
    scene.proxy.rpc(&format!("cpm.end {id}"));
    let bye = scene.callees.expect_in(&bill, "BYE");
    assert_eq!(list(&bye), reversed);
    let bye = scene.anne.expect_request("BYE");
    proves!(["9.1.2-7"], assert_eq!(list(&bye), own));
    assert_eq!(bye.uri(), Some(scene.anne.uri("device").as_str()));
    scene.finish();
}

#[test]
fn of_addresses_in_an_answer_only_the_uris_are_wanted() {
    let scene = Scene::new("of_addresses_in_an_answer");
    let there = scene.callees.agent().address();
    let latin = latin_1("Jörg");
    let routes = format!("sip:first@{there};lr, \"{latin}\" <sip:second@{there};lr>");
    let contact = format!("{latin} <{}>", scene.callees.uri("phone"));
    for user in ["bill", "carol"] {
        let plan = Plan::accept().header("Record-Route", &routes);
        scene.callees.plan(user, plan.header("Contact", &contact));
    }
    let from = format!("\"{latin}\" <sip:anne@example.com>;tag=77");
    let own = format!("{latin} <{}>", scene.anne.uri("device"));
    for (service, user) in [(EXPLODER, "bill"), (CONTROLLING, "carol")] {
        let upload = scene.upload(service, &[user]);
        let upload = upload.with("From", &from).with("Contact", &own);
        scene.sends(&upload);
        let (leg, _) = scene.gets(user, &upload);
        let tag = leg.invite.parameter("From", "tag").unwrap_or_default();
        assert_eq!(
            leg.invite.header("From").map(str::to_owned),
            Some(format!("<sip:anne@example.com>;tag={tag}"))
        );
        for method in ["ACK", "BYE"] {
            let request = scene.callees.expect_in(&leg, method);
            assert_eq!(
                request.headers("Route").join(", "),
                format!("<sip:second@{there};lr>, <sip:first@{there};lr>")
            );
            assert_eq!(request.uri(), Some(scene.callees.uri("phone").as_str()));
        }
    }
    scene.finish();
}

#[test]
fn recipients_are_acknowledged_when_the_sender_acknowledges() {
    let scene = Scene::new("recipients_are_acknowledged");
    scene.callees.plan("late", Plan::no_answer().ringing());
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &["bill", "carol", "late"]);
        let mut call = scene.is_answered(&upload);
        expect_legs(&scene, "answered", 2);
        let both = ["bill", "carol"].map(|user| scene.callees.expect_nth_call(user, round));
        for leg in &both {
            // They repeat their 200 until it is acknowledged.
            let answer = scene.callees.answer(leg);
            scene.callees.agent().reply(&leg.invite, &answer);
        }
        scene.proxy.ping();
        for leg in &both {
            assert_eq!(scene.callees.requests_in(leg, "ACK").len(), 0);
        }
        call.ack();
        for leg in &both {
            let ack = proves!(["9.1.2-ack-1"], scene.callees.expect_in(leg, "ACK"));
            // RFC 3261 §13.2.2.4: a request of its own with the INVITE's CSeq number, to the
            // Contact of the 200.
            proves!(["9.1.2-ack-1"], assert_eq!(ack.cseq(), Some((1, "ACK"))));
            assert_ne!(ack.branch(), leg.invite.branch());
            assert_eq!(ack.uri(), Some(scene.callees.uri("phone").as_str()));
            assert_eq!(
                ack.parameter("To", "tag"),
                Some(scene.callees.agent().tag())
            );
            // A recipient that repeats its 200 gets the ACK again.
            let answer = scene.callees.answer(leg);
            scene.callees.agent().reply(&leg.invite, &answer);
            let again = scene.callees.expect_in(leg, "ACK");
            assert_eq!(again.cseq(), Some((1, "ACK")));
        }
        let late = scene.callees.expect_nth_call("late", round);
        assert_eq!(scene.callees.requests_in(&late, "ACK").len(), 0);
        let answer = scene.callees.answer(&late);
        scene.callees.agent().reply(&late.invite, &answer);
        proves!(
            ["9.1.2-more200-1"],
            assert_eq!(
                scene.callees.expect_in(&late, "ACK").cseq(),
                Some((1, "ACK"))
            )
        );
        // A repeated ACK changes nothing.
        call.ack();
        upload.session.connect_and_bind();
        upload.session.deliver(&upload.content, 8000);
        call.bye(200);
        for leg in [&both[0], &both[1], &late] {
            assert_eq!(leg.session.expect_message().bytes, upload.content);
            scene.hangs_up(leg, 200);
        }
    }
    scene.finish();
}

#[test]
fn a_sender_who_never_acknowledges_is_given_up() {
    let scene = Scene::with("a_sender_who_never_acknowledges", |_, config| {
        config.set("cpm", "ack_wait", "1")
    });
    let silent = scene.upload(EXPLODER, &["bill", "carol"]);
    let call = scene.is_answered(&silent);
    for user in ["bill", "carol"] {
        let leg = scene.callees.expect_call(user);
        scene.callees.expect_in(&leg, "ACK");
        scene.hangs_up(&leg, 480);
    }
    // The ACK arrives at last: now BYE may be sent (RFC 3261 §15).
    assert!(
        scene
            .anne
            .received()
            .iter()
            .all(|one| one.method() != Some("BYE"))
    );
    call.ack();
    let bye = scene.anne.expect_request("BYE");
    assert_eq!(bye.call_id(), call.answer().call_id());
    // A recipient whose ACK never comes gets a BYE once the ACK is no longer awaited.
    let mute = scene.upload(EXPLODER, &["dan"]);
    let call = scene.is_answered(&mute);
    let bye = scene
        .anne
        .recv_where(LONG, |message| message.method() == Some("BYE"));
    let bye = bye.expect("a BYE");
    assert_eq!(bye.call_id(), call.answer().call_id());
    assert!(call.answer().retransmissions() > 3);
    scene.finish();
}

#[test]
fn one_callee_of_a_forked_invite_is_enough() {
    let scene = Scene::new("one_callee_of_a_forked_invite");
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.begins(&upload);
    let bill = scene.callees.expect_call("bill");
    scene.callees.expect_in(&bill, "ACK");
    let to_fork = |tag: &str| {
        let to = format!("{};tag={tag}", bill.invite.header("To").unwrap_or_default());
        scene.callees.answer(&bill).with("To", &to)
    };
    for tag in ["second", "third"] {
        scene.callees.agent().reply(&bill.invite, &to_fork(tag));
        let ack = scene.callees.expect_in(&bill, "ACK");
        assert_eq!(ack.parameter("To", "tag"), Some(tag));
        let bye = scene.callees.expect_in(&bill, "BYE");
        assert_eq!(bye.parameter("To", "tag"), Some(tag));
    }
    upload.session.deliver(&upload.content, 8000);
    scene.gets("bill", &upload);
    call.bye(200);
    let bye = scene.callees.expect_in(&bill, "BYE");
    assert_eq!(
        bye.parameter("To", "tag"),
        Some(scene.callees.agent().tag())
    );
    scene.finish();
}

#[test]
fn an_interval_that_is_too_small_for_a_recipient_is_raised() {
    let scene = Scene::new("an_interval_too_small_for_a_recipient");
    scene
        .callees
        .plan("bill", Plan::status(422).header("Min-SE", "3600"));
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &["bill", "carol"]);
        let way = scene.proxy.udp();
        scene.anne.send(&upload.request, way);
        let first = scene.callees.expect_nth_call("bill", 2 * round);
        let again = scene.callees.expect_nth_call("bill", 2 * round + 1);
        assert_eq!(again.invite.call_id(), first.invite.call_id());
        assert_eq!(again.invite.cseq(), Some((2, "INVITE")));
        proves!(
            [duty(service, "9.1.2-8f", "9.1.2-9d")],
            assert_eq!(
                again.invite.header("Session-Expires"),
                Some("3600;refresher=uas")
            )
        );
        assert_eq!(again.invite.header("Min-SE"), Some("3600"));
        // And refused for good.
        let mut call = scene.anne.expect_answered(&upload.request, way);
        call.ack();
        call.bye(480);
    }
    scene.finish();
}
