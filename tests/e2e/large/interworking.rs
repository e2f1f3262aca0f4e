//! Recipients of large messages that fail, and the Interworking Selection Function (9.1.2 last
//! list; OMA CPM 6.5; readings N45, N47).

use cpm_testbed::{Callees, Conduct, InvitedCall, MsrpRequest, Plan, cpm_message, sha256};

use crate::common::{
    CONTROLLING, EXPLODER, counters, expect_counter, header_lines, name_of, proves,
};
use crate::large::{CHUNK, LONG, SIZE, Scene};

/// The codes named in 9.1.2.
const INTERWORKED: [u16; 8] = [404, 405, 410, 414, 415, 416, 488, 606];

/// Other codes of a recipient.
const FINAL: [u16; 8] = [302, 400, 403, 408, 480, 486, 500, 603];

/// A scene, and an ISF that accepts everything.
fn with_isf(test_name: &str, configure: &[(&str, &str)]) -> (Scene, Callees) {
    let mut isf = None;
    let scene = Scene::with(test_name, |bench, config| {
        let callees = bench.callees();
        let mut config = config.set("cpm", "isf_uri", &callees.uri("isf"));
        for (name, value) in configure {
            config = config.set("cpm", name, value);
        }
        isf = Some(callees);
        config
    });
    (scene, isf.expect("it was made"))
}

fn users(codes: &[u16]) -> Vec<String> {
    codes.iter().map(|code| format!("u{code}")).collect()
}

fn refuse(scene: &Scene, codes: &[u16]) {
    for (user, code) in users(codes).iter().zip(codes) {
        scene.callees.plan(user, Plan::status(*code).ringing());
    }
}

/// What an INVITE to the ISF has in common with the one that failed.
fn shared_lines(call: &InvitedCall) -> Vec<String> {
    let mut lines = header_lines(&call.invite);
    lines.retain(|line| {
        ![
            "Via",
            "Route",
            "From",
            "Call-ID",
            "Content-Length",
            "Content-Type",
        ]
        .contains(&name_of(line))
    });
    lines.sort_unstable();
    lines
}

#[test]
fn each_of_the_eight_codes_leads_to_the_isf() {
    let (scene, isf) = with_isf("large_each_of_the_eight_codes", &[]);
    let codes: Vec<u16> = INTERWORKED.iter().chain(&FINAL).copied().collect();
    refuse(&scene, &codes);
    let mut all = users(&codes);
    all.push("bill".to_owned());
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &all).with("Privacy", "id");
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, CHUNK);
        for user in users(&INTERWORKED) {
            let (first, second) = (
                scene.callees.expect_nth_call(&user, round),
                isf.expect_nth_call(&user, round),
            );
            proves!(
                [format!("9.1.2-isf-{}", &user[1..])],
                assert_eq!(second.invite.uri(), Some(scene.callees.uri(&user).as_str()))
            );
            proves!(
                ["9.1.2-isf-send"],
                assert_eq!(
                    second.invite.headers("Route"),
                    [format!("<{};lr>", isf.uri("isf"))]
                )
            );
            assert_eq!(second.invite.cseq(), Some((1, "INVITE")));
            assert_ne!(second.invite.call_id(), first.invite.call_id());
            assert_eq!(shared_lines(&second), shared_lines(&first));
            assert_ne!(second.sdp().path(), first.sdp().path());
            proves!(
                ["9.1.2-isf-send"],
                assert_eq!(
                    second.session.expect_message().sha256(),
                    sha256(&upload.content)
                )
            );
        }
        call.bye(200);
        for user in users(&INTERWORKED) {
            let leg = isf.expect_nth_call(&user, round);
            isf.expect_in(&leg, "BYE");
        }
        for user in users(&FINAL) {
            proves!(
                ["9.1.2-isf-policy"],
                assert_eq!(isf.calls_of(&user), 0, "{user}")
            );
        }
        let rounds = round as u64 + 1;
        expect_counter(&scene.proxy, "failed", rounds * FINAL.len() as u64);
        expect_counter(
            &scene.proxy,
            "interworked",
            rounds * INTERWORKED.len() as u64,
        );
        expect_counter(
            &scene.proxy,
            "delivered",
            rounds * (INTERWORKED.len() as u64 + 1),
        );
    }
    isf.peer().assert_no_faults();
    scene.finish();
}

#[test]
fn the_isf_may_be_the_first_to_answer_and_may_refuse() {
    let (scene, isf) = with_isf("the_isf_may_be_the_first_to_answer", &[]);
    refuse(&scene, &[404, 410]);
    isf.plan("u410", Plan::status(404));
    let upload = scene.upload(EXPLODER, &["u404", "u410"]);
    scene.sends(&upload);
    let leg = isf.expect_call("u404");
    proves!(
        ["9.1.2-isf-send"],
        assert_eq!(leg.session.expect_message().bytes, upload.content)
    );
    isf.expect_in(&leg, "BYE");
    // No second attempt if the ISF fails.
    expect_counter(&scene.proxy, "failed", 1);
    expect_counter(&scene.proxy, "delivered", 1);
    assert_eq!(isf.calls_of("u410"), 1);
    // All have failed, and then the ISF.
    let upload = scene.upload(EXPLODER, &["u410"]);
    scene
        .anne
        .is_refused(&upload.request, scene.proxy.udp(), 480);
    scene.finish();
}

#[test]
fn failures_of_msrp_lead_to_the_isf() {
    let (scene, isf) = with_isf(
        "failures_of_msrp_lead_to_the_isf",
        &[("msrp_chunk_size", "4000")],
    );
    let conduct = |user: &str, conduct| scene.callees.plan(user, Plan::accept().conduct(conduct));
    conduct("refuses", Conduct::RefuseAfter(5000, 413));
    conduct("types", Conduct::RefuseAfter(0, 415));
    conduct("dies", Conduct::DieAfter(9000));
    // The relay cannot connect to this one.
    let nobody = scene.bench.port();
    let gone = Plan::accept().behind(&format!("msrp://127.0.0.1:{nobody}/x;tcp"));
    scene
        .callees
        .plan("gone", gone.attribute("msrp-cema", None));
    let users = ["bill", "refuses", "types", "dies"];
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &users);
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, CHUNK);
        for user in &users[1..] {
            let failed = scene.callees.expect_nth_call(user, round);
            scene.callees.expect_in(&failed, "BYE");
            let second = isf.expect_nth_call(user, round);
            proves!(
                ["9.1.2-isf-msrp"],
                assert_eq!(second.invite.uri(), Some(scene.callees.uri(user).as_str()))
            );
            // All of it, from the first byte.
            let message = second.session.expect_message();
            proves!(
                ["9.1.2-isf-send"],
                assert_eq!(message.sha256(), sha256(&upload.content), "{user}")
            );
        }
        call.bye(200);
        for user in &users[1..] {
            isf.expect_in(&isf.expect_nth_call(user, round), "BYE");
        }
        expect_counter(&scene.proxy, "interworked", 3 * (round as u64 + 1));
        expect_counter(&scene.proxy, "delivered", 4 * (round as u64 + 1));
    }
    assert_eq!(isf.calls_of("bill"), 0);
    // Even after the sender has left: the content is kept as long as a recipient may need it.
    let late = scene.upload(EXPLODER, &["bill", "types"]);
    scene.callees.plan(
        "types",
        Plan::no_answer()
            .ringing()
            .conduct(Conduct::RefuseAfter(0, 415)),
    );
    scene.sends(&late);
    let leg = scene.callees.expect_nth_call("types", 2);
    scene
        .callees
        .agent()
        .reply(&leg.invite, &scene.callees.answer(&leg));
    let second = isf.expect_nth_call("types", 2);
    assert_eq!(second.session.expect_message().bytes, late.content);
    isf.peer().assert_no_faults();
    scene.finish_within(LONG);
}

#[test]
fn policy_may_forbid_interworking() {
    let forbidden = with_isf("policy_forbids", &[("interworking", "no")]);
    let nothing = with_isf("policy_names_no_code", &[("isf_codes", "")]);
    let others = with_isf("policy_names_others", &[("isf_codes", "480, 302")]);
    let codes: Vec<u16> = INTERWORKED.iter().chain(&FINAL).copied().collect();
    for ((scene, isf), wanted) in [
        (&forbidden, &[][..]),
        (&nothing, &[]),
        (&others, &[480, 302]),
    ] {
        refuse(scene, &codes);
        let mut all = users(&codes);
        all.push("bill".to_owned());
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
            let upload = scene.upload(service, &all);
            let mut call = scene.begins(&upload);
            upload.session.deliver(&upload.content, CHUNK);
            for user in users(wanted) {
                let leg = isf.expect_nth_call(&user, round);
                assert_eq!(leg.session.expect_message().bytes, upload.content);
            }
            call.bye(200);
            let failed = (round + 1) * (codes.len() - wanted.len());
            expect_counter(&scene.proxy, "failed", failed as u64);
        }
        for user in users(&codes) {
            let called = if wanted.contains(&user[1..].parse().unwrap_or(0)) {
                2
            } else {
                0
            };
            proves!(
                ["9.1.2-isf-policy"],
                assert_eq!(isf.calls_of(&user), called, "{user}")
            );
        }
        let interworked = counters(&scene.proxy)[6];
        proves!(
            ["9.1.2-isf-policy"],
            assert_eq!(interworked, ("interworked", 2 * wanted.len() as u64))
        );
    }
    // A failure of MSRP does not lead there either.
    let (scene, isf) = forbidden;
    scene.callees.plan(
        "types",
        Plan::accept().conduct(Conduct::RefuseAfter(0, 415)),
    );
    let upload = scene.upload(EXPLODER, &["bill", "types"]);
    let mut call = scene.begins(&upload);
    let chunk = MsrpRequest::chunk("m", 0, &upload.content, SIZE);
    upload.session.send(&chunk);
    upload.session.expect_response(&chunk, 200);
    scene
        .callees
        .expect_in(&scene.callees.expect_call("types"), "BYE");
    let bill = scene.callees.expect_nth_call("bill", 2);
    assert_eq!(bill.session.expect_message().bytes, upload.content);
    call.bye(200);
    proves!(
        ["9.1.2-isf-policy"],
        assert_eq!(isf.agent().received().len(), 0)
    );
    scene.finish();
    for (scene, _isf) in [nothing, others] {
        scene.finish();
    }
}

#[test]
fn a_message_that_asks_for_notifications_passes_untouched() {
    let scene = Scene::new("a_large_message_that_asks_for_notifications");
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &["bill", "carol"]);
        let text = String::from_utf8_lossy(&upload.content).into_owned();
        assert!(text.contains("imdn.Disposition-Notification: positive-delivery"));
        scene.sends(&upload);
        for user in ["bill", "carol"] {
            let leg = scene.callees.expect_nth_call(user, round);
            // The notifications that are requested are the sender's choice, and so is the
            // Message-ID (RFC 5438).
            proves!(
                ["9.1.2-imdn"],
                assert_eq!(leg.session.expect_message().bytes, upload.content)
            );
            scene.callees.expect_in(&leg, "BYE");
            if service == CONTROLLING {
                // A notification to the message's apparent sender does not go to the group
                // (readings N37).
                let group = leg.invite.header("P-Asserted-Identity").unwrap_or_default();
                let group = group.trim_matches(['<', '>']);
                let told = cpm_message(&scene.callees.uri(user), group)
                    .content(
                        "message/imdn+xml",
                        "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"/>",
                    )
                    .request();
                scene.callees.agent().send(&told, scene.proxy.udp());
                scene.callees.agent().expect_response(&told, 404);
            }
        }
    }
    let messages = scene.callees.agent().received();
    assert!(messages.iter().all(|one| one.method() != Some("MESSAGE")));
    scene.finish();
}
