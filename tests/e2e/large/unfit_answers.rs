//! Answers with which the message cannot be sent, and offers and answers that barely conform
//! (readings N48, N52, N53, N56; RFC 3264 §6.1).

use std::time::Duration;

use cpm_testbed::{Callees, InvitedCall, MsrpSession, Plan, SdpText, large_message, sha256};

use crate::common::{CONTROLLING, EXPLODER, expect_counter, proves};
use crate::groups::{ALL_MAY_SEND, GroupFolder, address, open_group};
use crate::large::{ANNE, CHUNK, OUR_MAX_SIZE, SIZE, Scene, Upload};

/// Recipients of one message.
const CROWD: usize = 20;

/// How much later the others answer than the one with the unusable answer.
const LATER: Duration = Duration::from_millis(200);

/// Twenty recipients, who are also the members of a group, and an ISF.
struct Crowd {
    scene: Scene,
    isf: Callees,
    users: Vec<String>,
}

impl Crowd {
    fn new(test_name: &str, with_isf: bool) -> Self {
        let (mut folder, mut isf) = (None, None);
        let scene = Scene::with(test_name, |bench, mut config| {
            let (groups, callees) = (GroupFolder::new(bench, "groups"), bench.callees());
            config = config.set("cpm", "group_source", &groups.source());
            config = config.set("cpm", "group_uri", "sip:*@groups.example.com");
            if with_isf {
                config = config.set("cpm", "isf_uri", &callees.uri("isf"));
            }
            (folder, isf) = (Some(groups), Some(callees));
            config
        });
        let users: Vec<String> = (0..CROWD).map(|place| format!("u{place}")).collect();
        let members = users.iter().map(|user| scene.callees.uri(user));
        let group = open_group("lunch").rules(ALL_MAY_SEND);
        folder
            .expect("it was made")
            .put("lunch", &group.members(members));
        for user in &users {
            scene
                .callees
                .plan(user, Plan::accept().ringing().after(LATER));
        }
        Self {
            scene,
            isf: isf.expect("it was made"),
            users,
        }
    }

    fn upload_to(&self, service: &str) -> Upload {
        let users: Vec<&str> = self.users.iter().map(String::as_str).collect();
        match service {
            EXPLODER | CONTROLLING => self.scene.upload(service, &users),
            group => self.scene.upload_of(large_message(ANNE, group), SIZE),
        }
    }

    /// All but the first get the complete message. The answer to the sender has our own limits.
    #[track_caller]
    fn all_others_get_it(&self, service: &str, round: usize) {
        let upload = self.upload_to(service);
        let mut call = self.scene.begins(&upload);
        let sdp = call.sdp();
        for (name, value) in [
            ("accept-types", "message/cpim"),
            ("accept-wrapped-types", "*"),
            ("max-size", OUR_MAX_SIZE),
        ] {
            assert_eq!(sdp.attributes(name), [value], "{name}");
        }
        upload.session.deliver(&upload.content, CHUNK);
        for user in &self.users[1..] {
            let leg = self.scene.callees.expect_nth_call(user, round);
            let got = leg.session.expect_message();
            assert_eq!(got.sha256(), sha256(&upload.content), "{user}");
        }
        call.bye(200);
    }
}

fn services() -> [String; 3] {
    [
        EXPLODER.to_owned(),
        CONTROLLING.to_owned(),
        address("lunch"),
    ]
}

/// It got ACK and BYE, and nobody connected to it.
#[track_caller]
fn is_undone(callees: &Callees, call: &InvitedCall, cause: &str) {
    callees.expect_in(call, "ACK");
    let bye = callees.expect_in(call, "BYE");
    let reason = bye.header("Reason").unwrap_or_default();
    assert!(reason.contains(&format!("cause={cause};")), "{reason}");
    assert_eq!(call.session.connections(), 0);
}

#[test]
fn a_first_answer_that_takes_nothing_costs_its_recipient_alone() {
    let crowd = Crowd::new("a_first_answer_that_takes_nothing", false);
    let mut round = 0;
    for (attribute, value, cause) in [
        ("max-size", "0", "413"),
        ("accept-types", "text/plain", "415"),
    ] {
        let plan = Plan::accept().attribute(attribute, Some(value));
        crowd.scene.callees.plan("u0", plan);
        for service in services() {
            proves!(
                ["9.1.2-200-1", "9.1.2-200-2"],
                crowd.all_others_get_it(&service, round)
            );
            let first = crowd.scene.callees.expect_nth_call("u0", round);
            is_undone(&crowd.scene.callees, &first, cause);
            round += 1;
            expect_counter(&crowd.scene.proxy, "failed", round as u64);
            expect_counter(
                &crowd.scene.proxy,
                "delivered",
                (round * (CROWD - 1)) as u64,
            );
        }
    }
    crowd.scene.finish();
}

#[test]
fn a_first_answer_by_way_of_the_isf_that_takes_nothing_costs_its_recipient_alone() {
    let crowd = Crowd::new("a_first_answer_by_way_of_the_isf", true);
    crowd.scene.callees.plan("u0", Plan::status(404));
    let plan = Plan::accept().attribute("max-size", Some("0"));
    crowd.isf.plan("u0", plan);
    for (round, service) in services().iter().enumerate() {
        proves!(
            ["9.1.2-200-1", "9.1.2-200-2"],
            crowd.all_others_get_it(service, round)
        );
        let first = crowd.isf.expect_nth_call("u0", round);
        is_undone(&crowd.isf, &first, "413");
        expect_counter(&crowd.scene.proxy, "failed", round as u64 + 1);
    }
    crowd.scene.finish();
}

#[test]
fn later_answers_that_take_less_fail_alone() {
    let scene = Scene::new("later_answers_that_take_less");
    let late = |plan: Plan| plan.ringing().after(LATER);
    let with = |name: &str, value: &str| late(Plan::accept().attribute(name, Some(value)));
    let callees = &scene.callees;
    callees.plan("small", with("max-size", "19999"));
    callees.plan("text", with("accept-types", "text/plain"));
    callees.plan("wrapped", with("accept-wrapped-types", "image/png"));
    let without = |direction: &str| {
        late(Plan::accept().attribute("recvonly", None)).attribute(direction, Some(""))
    };
    callees.plan("held", without("inactive"));
    callees.plan("sender", without("sendonly"));
    callees.plan("both", without("sendrecv"));
    callees.plan("enough", with("max-size", "20000"));
    callees.plan("endless", with("max-size", "99999999999999999999999"));
    let failing = [
        ("small", "413"),
        ("text", "415"),
        ("wrapped", "415"),
        ("held", "488"),
        ("sender", "488"),
    ];
    let getting = ["bill", "both", "enough", "endless"];
    let users: Vec<&str> = failing
        .iter()
        .map(|(user, _)| *user)
        .chain(getting)
        .collect();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let session = scene.sender.session();
        let offer = SdpText::offer(&session, SIZE).with("accept-wrapped-types", "text/plain");
        let message = scene.message(service, &users);
        let upload = Upload {
            request: message.request_with(&scene.anne, &offer),
            content: message.content(SIZE),
            session,
        };
        let mut call = scene.begins(&upload);
        upload.session.deliver(&upload.content, CHUNK);
        for user in getting {
            let leg = callees.expect_nth_call(user, round);
            assert_eq!(
                leg.session.expect_message().sha256(),
                sha256(&upload.content),
                "{user}"
            );
        }
        for (user, cause) in failing {
            is_undone(callees, &callees.expect_nth_call(user, round), cause);
        }
        call.bye(200);
        expect_counter(&scene.proxy, "failed", (failing.len() * (round + 1)) as u64);
    }
    scene.finish();
}

#[test]
fn connections_go_where_c_and_m_say_without_msrp_cema_too() {
    let scene = Scene::new("connections_go_where_c_and_m_say");
    // Nobody listens there.
    let far = "192.0.2.7:7654";
    let plain = |plan: Plan| plan.attribute("msrp-cema", None);
    scene
        .callees
        .plan("first", plain(Plan::accept().at_path_host(far)));
    let late = Plan::accept().at_path_host(far).ringing().after(LATER);
    scene.callees.plan("late", plain(late));
    for service in [EXPLODER, CONTROLLING] {
        let upload = scene.upload(service, &["first", "late"]);
        scene.sends(&upload);
    }
    for round in 0..2 {
        for (user, duty) in [("first", "9.1.2-ack-2c"), ("late", "9.1.2-more200-2b-i")] {
            let leg = scene.callees.expect_nth_call(user, round);
            proves!(
                [duty],
                assert_eq!(leg.session.expect_message().bytes.len(), SIZE, "{user}")
            );
            assert_eq!(scene.callees.calls_of(user), 2);
        }
    }
    expect_counter(&scene.proxy, "delivered", 4);
    scene.finish();
}

#[test]
fn a_new_offer_follows_where_a_middlebox_would_be_passed_by() {
    let scene = Scene::new("a_new_offer_follows");
    let far = "192.0.2.7:7654";
    let here = scene.callees.peer().address();
    let relay = format!("msrp://{here}/relay4711;tcp");
    let plain = |plan: Plan| plan.attribute("msrp-cema", None);
    // The test's side has to connect.
    let active = Plan::accept()
        .at_path_host(far)
        .attribute("setup", Some("active"));
    scene.callees.plan("active", plain(active));
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &["active"]);
        let mut call = scene.begins(&upload);
        let first = scene.callees.expect_nth_call("active", 2 * round);
        let second = scene.callees.expect_nth_call("active", 2 * round + 1);
        assert!(first.sdp().attribute("msrp-cema").is_some());
        assert!(second.sdp().attribute("msrp-cema").is_none());
        is_undone(&scene.callees, &first, "488");
        scene.callees.expect_in(&second, "ACK");
        second.session.connect_and_bind();
        upload.session.deliver(&upload.content, CHUNK);
        let got = second.session.expect_message();
        proves!(
            ["9.1.2-ack-2b-ii"],
            assert_eq!(got.sha256(), sha256(&upload.content))
        );
        call.bye(200);
        scene.hangs_up(&second, 200);
    }
    // Its relay is at the address in a=path, whatever the middlebox has put into c= and m=.
    scene
        .callees
        .plan("relayed", plain(Plan::accept().behind(&relay)));
    let upload = scene.upload(EXPLODER, &["relayed"]);
    scene.sends(&upload);
    scene.gets("relayed", &upload);
    assert_eq!(scene.callees.calls_of("relayed"), 1);
    expect_counter(&scene.proxy, "recipients", 3);
    expect_counter(&scene.proxy, "delivered", 3);
    scene.finish();
}

/// A message with this offer.
fn upload_with(scene: &Scene, user: &str, offer: impl FnOnce(&MsrpSession) -> SdpText) -> Upload {
    let session = scene.sender.session();
    let message = scene.message(EXPLODER, &[user]);
    Upload {
        request: message.request_with(&scene.anne, &offer(&session)),
        content: message.content(SIZE),
        session,
    }
}

#[test]
fn holdconn_counts_as_if_it_were_not_there() {
    let scene = Scene::new("holdconn_counts_as_if_it_were_not_there");
    let holding = Plan::accept().attribute("setup", Some("holdconn"));
    scene.callees.plan("bill", holding);
    let upload = upload_with(&scene, "bill", |session| {
        SdpText::offer(session, SIZE).with("setup", "holdconn")
    });
    let mut call = scene.begins(&upload);
    proves!(
        ["9.1.2-200-2d"],
        assert_eq!(call.sdp().attribute("setup"), Some("passive"))
    );
    upload.session.deliver(&upload.content, CHUNK);
    proves!(["9.1.2-ack-2b"], scene.gets("bill", &upload));
    call.bye(200);
    scene.finish();
}

#[test]
fn offers_without_a_message_or_without_the_msrp_cema_they_need_are_refused() {
    let scene = Scene::new("offers_without_a_message");
    for direction in ["recvonly", "inactive"] {
        let upload = upload_with(&scene, "bill", |session| {
            let offer = SdpText::offer(session, SIZE).without("sendonly");
            offer.flag(direction)
        });
        scene
            .anne
            .is_refused(&upload.request, scene.proxy.udp(), 488);
    }
    let elsewhere = |session: &MsrpSession| {
        let offer = SdpText::offer(session, SIZE);
        let path = session.path().replace("127.0.0.1", "192.0.2.7");
        offer.with("path", &path).without("msrp-cema")
    };
    let upload = upload_with(&scene, "bill", elsewhere);
    scene
        .anne
        .is_refused(&upload.request, scene.proxy.udp(), 488);
    assert_eq!(scene.callees.calls_of("bill"), 0);
    scene.finish();
}

#[test]
fn descriptions_with_blanks_and_empty_lines_are_read() {
    let scene = Scene::new("descriptions_with_blanks");
    scene.callees.plan("bill", Plan::no_answer().ringing());
    let mut upload = scene.upload(EXPLODER, &["bill"]);
    let message = scene.message(EXPLODER, &["bill"]);
    let loose = |text: &str| text.replace("\r\na=setup", " \t\r\n\r\na=setup");
    upload.request = message.request_with(
        &scene.anne,
        &SdpText::offer(&upload.session, SIZE).and(" \r\n\r\na=x:y  \r\n"),
    );
    scene.anne.send(&upload.request, scene.proxy.udp());
    let bill = scene.callees.expect_call("bill");
    let answer = scene.callees.answer(&bill);
    let body = SdpText::answer(&bill.session).write();
    let answer = answer.with_body("application/sdp", loose(&body));
    scene.callees.agent().reply(&bill.invite, &answer);
    let mut call = scene
        .anne
        .expect_answered(&upload.request, scene.proxy.udp());
    call.ack();
    upload.session.sends_to(call.sdp().path());
    upload.session.connect_and_bind();
    upload.session.deliver(&upload.content, CHUNK);
    scene.gets("bill", &upload);
    call.bye(200);
    scene.finish();
}
