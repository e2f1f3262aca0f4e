//! 2xx of recipients that establish no dialog, or one with a loosely written route set, and
//! crossing BYEs (RFC 3261 §13.2.2.4, §12.1.2, §15.1.2).

use cpm_testbed::{Plan, values};

use crate::common::{CONTROLLING, EXPLODER, expect_counter};
use crate::large::{CHUNK, Scene};

#[test]
fn a_2xx_that_makes_no_dialog_gets_ack_and_bye() {
    let scene = Scene::new("a_2xx_that_makes_no_dialog");
    let long = format!("<sip:bob@{}>", "a".repeat(3000));
    let with = |name: &str, value: &str| Plan::accept().header(name, value);
    let plans = [
        ("open", with("Contact", "<sip:open@127.0.0.1")),
        ("tel", with("Contact", "<tel:+15550100>")),
        ("star", with("Contact", "*")),
        ("long", with("Contact", &long)),
        ("route", with("Record-Route", "<sip:proxy.example.com;lr")),
        ("mail", with("Record-Route", "<mailto:a@b>")),
    ];
    for (user, plan) in &plans {
        scene.callees.plan(user, plan.clone());
    }
    let users: Vec<&str> = plans
        .iter()
        .map(|(user, _)| *user)
        .chain(["bill"])
        .collect();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &users);
        scene.sends(&upload);
        for (user, _) in &plans {
            let call = scene.callees.expect_nth_call(user, round);
            for method in ["ACK", "BYE"] {
                let request = scene.callees.expect_in(&call, method);
                assert_eq!(
                    request.parameter("To", "tag"),
                    Some(scene.callees.agent().tag()),
                    "{user}"
                );
                // Of a callee without Contact only the INVITE's destination is known.
                let known = user == &"route" || user == &"mail";
                let wanted = scene.callees.uri(if known { "phone" } else { user });
                assert_eq!(request.uri(), Some(wanted.as_str()), "{user}");
            }
            assert_eq!(scene.callees.requests_in(&call, "BYE").len(), 1, "{user}");
        }
        let bill = scene.callees.expect_nth_call("bill", round);
        assert_eq!(bill.session.expect_message().bytes, upload.content);
        expect_counter(&scene.proxy, "failed", (plans.len() * (round + 1)) as u64);
    }
    scene.finish();
}

#[test]
fn a_record_route_without_brackets_is_a_route() {
    let scene = Scene::new("a_record_route_without_brackets");
    let there = scene.callees.agent().address();
    let loose = format!("sip:near@{there};lr, <sip:far@{there};lr>;x=y");
    let plan = Plan::accept().header("Record-Route", &loose);
    scene.callees.plan("bill", plan);
    let upload = scene.upload(EXPLODER, &["bill"]);
    scene.sends(&upload);
    let (bill, _) = scene.gets("bill", &upload);
    // RFC 3261 §12.1.2: the URIs with all their parameters, without those of the field.
    let wanted = format!("<sip:far@{there};lr>, <sip:near@{there};lr>");
    for method in ["ACK", "BYE"] {
        let request = scene.callees.expect_in(&bill, method);
        assert_eq!(request.headers("Route").join(", "), wanted, "{method}");
    }
    scene.finish();
}

#[test]
fn a_bye_that_crosses_ours_gets_200() {
    let scene = Scene::new("a_bye_that_crosses_ours");
    // During the session, and when nothing of it is left.
    for users in [&["bill", "ringing"][..], &["bill"]] {
        scene.callees.plan("ringing", Plan::no_answer().ringing());
        let upload = scene.upload(EXPLODER, users);
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, CHUNK);
        let sessions = scene.proxy.rpc("cpm.sessions");
        let id = values(&sessions, "id")
            .next()
            .expect("a session")
            .to_owned();
        scene.proxy.rpc(&format!("cpm.end {id}"));
        let ours = scene.anne.expect_request("BYE");
        assert_eq!(ours.call_id(), call.answer().call_id());
        if users.len() > 1 {
            let ringing = scene.callees.expect_call("ringing");
            call.bye(480);
            scene.callees.terminate(&ringing);
        } else {
            crate::large::expect_nothing_left(&scene.proxy, cpm_testbed::PATIENCE);
            call.bye(480);
        }
    }
    scene.finish();
}
