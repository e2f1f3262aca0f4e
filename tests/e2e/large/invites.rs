//! The INVITEs that recipients get (9.1.2-8, -9; readings N4 to N8, N27, N32 to N34).

use std::collections::BTreeSet;
use std::time::Duration;

use cpm_testbed::{
    BOUNDARY, InvitedCall, LARGE_FEATURE_TAG, MsrpSession, SdpText, bcc, cc, large_message,
    multipart, resource_lists, to, unmarked,
};

use crate::common::{CONTROLLING, EXPLODER, duty, header_lines, name_of, proves};
use crate::groups::{ALL_MAY_SEND, GroupFolder, address, open_group};
use crate::large::groups::with_groups;
use crate::large::{ANNE, SIZE, Scene, Upload};

mod offers;

const ANONYMOUS: &str = "<sip:anonymous@anonymous.invalid>";
const USERS: [&str; 3] = ["bill", "carol", "dan"];

/// A group in which everybody may be anonymous.
const ANYBODY: &str = "<cp:rule id=\"all\"><cp:conditions/><cp:actions>
    <allow-initiate-conference>true</allow-initiate-conference>
    <allow-anonymity>true</allow-anonymity></cp:actions></cp:rule>";

fn scene(test_name: &str, configure: &[(&str, String)]) -> Scene {
    let values = configure
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let (scene, folder) = with_groups(test_name, &Vec::from_iter(values));
    let group = open_group("lunch").rules(ANYBODY);
    let members = USERS.map(|user| scene.callees.uri(user));
    folder.put("lunch", &group.members(members));
    folder.put("calls", &open_group("calls").rules(ALL_MAY_SEND));
    scene
}

/// The destination of a message of each kind.
fn services() -> [String; 3] {
    [
        EXPLODER.to_owned(),
        CONTROLLING.to_owned(),
        address("lunch"),
    ]
}

fn upload_to(scene: &Scene, service: &str) -> Upload {
    match service {
        EXPLODER | CONTROLLING => scene.upload(service, &USERS),
        group => scene.upload_of(large_message(ANNE, group), SIZE),
    }
}

/// The calls to all recipients in one round.
#[track_caller]
fn calls(scene: &Scene, round: usize) -> Vec<InvitedCall> {
    USERS
        .iter()
        .map(|user| scene.callees.expect_nth_call(user, round))
        .collect()
}

#[track_caller]
fn end(scene: &Scene, upload: &Upload) {
    let mut call = scene.begins(upload);
    call.bye(200);
}

#[test]
fn each_recipient_gets_a_request_of_his_own() {
    let scene = scene("each_recipient_gets_a_request_of_his_own", &[]);
    for (round, service) in services().iter().enumerate() {
        let upload =
            upload_to(&scene, service).with("From", "\"Anne\" <sip:anne@example.com>;tag=secret");
        let mut call = scene.begins(&upload);
        let mut call_ids = BTreeSet::new();
        for (user, leg) in USERS.iter().zip(calls(&scene, round)) {
            let (uri, invite) = (scene.callees.uri(user), &leg.invite);
            proves!(
                [duty(service, "9.1.2-8d", "9.1.2-9c")],
                assert_eq!(invite.uri(), Some(uri.as_str()))
            );
            assert_eq!(invite.header("To"), Some(format!("<{uri}>").as_str()));
            proves!(
                [duty(service, "9.1.2-8a", "9.1.2-9a")],
                assert_eq!(invite.cseq(), Some((1, "INVITE")))
            );
            proves!(
                [duty(service, "9.1.2-8a", "9.1.2-9a")],
                assert_eq!(invite.headers("Via").len(), 1)
            );
            proves!(
                [duty(service, "9.1.2-8a", "9.1.2-9a")],
                assert!(
                    invite
                        .branch()
                        .is_some_and(|branch| branch.starts_with("z9hG4bK"))
                )
            );
            // Those of a group may travel fewer hops (readings N36).
            let (hops, breadth) = match service.as_str() {
                EXPLODER | CONTROLLING => ("69", "45"),
                _ => ("20", "30"),
            };
            assert_eq!(invite.headers("Max-Forwards"), [hops]);
            assert_eq!(invite.headers("Max-Breadth"), [breadth]);
            let from = invite.header("From").unwrap_or_default();
            assert!(
                from.starts_with("\"Anne\" <sip:anne@example.com>;tag="),
                "{from}"
            );
            assert!(!from.contains("secret"));
            proves!(
                [duty(service, "9.1.2-8h", "9.1.2-9f")],
                assert_eq!(invite.headers("User-Agent"), ["CPM-serv/OMA2.2"])
            );
            proves!(
                [duty(service, "9.1.2-8g", "9.1.2-9e")],
                assert_eq!(invite.headers("Supported"), ["timer"])
            );
            proves!(
                [duty(service, "9.1.2-8f", "9.1.2-9d")],
                assert_eq!(invite.headers("Session-Expires"), ["1800;refresher=uas"])
            );
            assert_eq!(invite.headers("Require"), [""; 0]);
            // RFC 3261 §13.2.1: it lists what it supports.
            assert!(
                invite
                    .header("Allow")
                    .is_some_and(|value| value.contains("BYE"))
            );
            let sender = call.answer();
            proves!(["9.1.2-7"], assert_ne!(invite.call_id(), sender.call_id()));
            assert_ne!(
                invite.parameter("From", "tag"),
                sender.parameter("To", "tag")
            );
            call_ids.insert(invite.call_id().to_owned());
        }
        proves!(
            [duty(service, "9.1.2-8", "9.1.2-9")],
            assert_eq!(call_ids.len(), 3)
        );
        call.bye(200);
        // Each side is a dialog of its own to the end.
        for leg in calls(&scene, round) {
            let bye = scene.callees.expect_in(&leg, "BYE");
            assert_eq!(
                bye.parameter("To", "tag"),
                Some(scene.callees.agent().tag())
            );
            assert_eq!(
                bye.parameter("From", "tag"),
                leg.invite.parameter("From", "tag")
            );
            assert!(bye.cseq().is_some_and(|(number, _)| number > 1));
        }
    }
    for user in USERS {
        assert_eq!(scene.callees.calls_of(user), 3);
    }
    scene.finish_with(cpm_testbed::PATIENCE, |recording| {
        let sent = format!(
            "sip.Method == \"INVITE\" && sip.resend == 0 && {}",
            recording.sent_by_proxy()
        );
        assert_eq!(recording.fields(&sent, &["sip.Call-ID"]).len(), 9);
    });
}

#[test]
fn the_interval_asked_of_recipients_can_be_set() {
    for (seconds, wanted) in [("600", Some("600;refresher=uas")), ("0", None)] {
        let name = format!("the_interval_asked_of_recipients_{seconds}");
        let scene = scene(&name, &[("leg_session_expires", seconds.to_owned())]);
        for (round, service) in services().iter().enumerate() {
            end(&scene, &upload_to(&scene, service));
            for leg in calls(&scene, round) {
                assert_eq!(leg.invite.header("Session-Expires"), wanted);
                assert_eq!(leg.invite.headers("Supported"), ["timer"]);
            }
        }
        scene.finish();
    }
}

#[test]
fn header_fields_go_on_as_they_came() {
    let scene = scene("header_fields_go_on_as_they_came", &[]);
    let optional = [
        ("Reply-To", "\"Me\" <sip:anne@example.net>"),
        ("Expires", "55"),
        ("InReplyTo-Contribution-ID", "01234567-89AB"),
        ("Subject", "Hello;  there"),
        ("Privacy", "header; user"),
    ];
    for (turn, service) in services().iter().enumerate() {
        let odd = format!("*;audio ,\t{LARGE_FEATURE_TAG}  ; require,\r\n  *;video;explicit");
        let mut upload = upload_to(&scene, service).with("Accept-Contact", &odd);
        upload.request = upload.request.and("a", "*;mobility=\"mobile\"");
        for (name, value) in optional {
            upload = upload.with(name, value);
        }
        upload = upload
            .with("Conversation-ID", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
            .with("Contribution-ID", "AbC ;odd=\"value\"");
        end(&scene, &upload);
        for leg in calls(&scene, 2 * turn) {
            let lines = header_lines(&leg.invite);
            for line in [
                format!("Accept-Contact: {odd}"),
                "a: *;mobility=\"mobile\"".to_owned(),
                "Conversation-ID: f81d4fae-7dec-11d0-a765-00a0c91e6bf6".to_owned(),
                "Contribution-ID: AbC ;odd=\"value\"".to_owned(),
            ]
            .into_iter()
            .chain(optional.map(|(name, value)| format!("{name}: {value}")))
            {
                let duty = match name_of(&line) {
                    "Accept-Contact" | "a" => duty(
                        service,
                        "9.1.2-8b-accept-contact",
                        "9.1.2-9b-accept-contact",
                    ),
                    "Conversation-ID" | "Contribution-ID" => {
                        duty(service, "9.1.2-8b-ids", "9.1.2-9b-ids")
                    }
                    "Privacy" => duty(service, "9.1.2-8i", "9.1.2-9g"),
                    _ => duty(service, "9.1.2-8b-opt", "9.1.2-9b-opt"),
                };
                let times = lines.iter().filter(|own| **own == line).count();
                proves!([duty], assert_eq!(times, 1, "{line} in {lines:#?}"));
            }
            for name in ["Accept-Contact", "Privacy", "Expires", "Subject"] {
                let times = leg.invite.headers(name).len();
                assert_eq!(
                    times,
                    if name == "Accept-Contact" { 2 } else { 1 },
                    "{name}"
                );
            }
        }
        // None of them is invented.
        let upload = upload_to(&scene, service);
        end(&scene, &upload);
        for leg in calls(&scene, 2 * turn + 1) {
            for (name, _) in optional {
                assert_eq!(leg.invite.header(name), None, "{name}");
            }
            for name in [
                "Accept-Contact",
                "Conversation-ID",
                "Contribution-ID",
                "P-Asserted-Service",
            ] {
                assert_eq!(
                    leg.invite.headers(name),
                    [upload.request.header(name).unwrap_or_default()]
                );
            }
        }
    }
    scene.finish();
}

#[test]
fn contact_is_ours_with_the_senders_features() {
    let scene = scene("contact_is_ours", &[]);
    for (round, service) in services().iter().enumerate() {
        let device = scene.anne.uri("device");
        let upload = upload_to(&scene, service).with(
            "Contact",
            &format!(
                "\"Anne\" <{device};gr=1>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3Ax\";video;expires=5;q=0.5\
                 ;+sip.instance=\"<urn:uuid:1>\";reg-id=1;+g.oma.x;automata"
            ),
        );
        end(&scene, &upload);
        for leg in calls(&scene, round) {
            let contacts = leg.invite.headers("Contact");
            assert_eq!(contacts.len(), 1);
            let (uri, features) = contacts[0]
                .strip_prefix('<')
                .and_then(|rest| rest.split_once('>'))
                .expect("a name-addr");
            proves!(
                duty(service, &["9.1.2-8e"][..], &[]),
                assert!(
                    uri.contains(&format!("127.0.0.1:{}", scene.proxy.port())),
                    "{uri}"
                )
            );
            let mut features: Vec<&str> = features.split(';').skip(1).collect();
            features.sort_unstable();
            let mut wanted = vec![
                "+g.3gpp.icsi-ref=\"urn%3Aurn-7%3Ax\"",
                "+g.oma.x",
                "automata",
                "video",
            ];
            if *service != EXPLODER {
                wanted.push("isfocus");
            }
            wanted.sort_unstable();
            proves!(
                duty(
                    service,
                    &["9.1.2-8b-contact", "9.1.2-8e"][..],
                    &["9.1.2-9b-contact"]
                ),
                assert_eq!(features, wanted)
            );
            let raw = String::from_utf8_lossy(leg.invite.raw()).into_owned();
            assert!(!raw.contains(&scene.anne.address().to_string()), "{raw}");
        }
    }
    // Requests within the dialog reach it there.
    let call = scene.begins(&upload_to(&scene, EXPLODER));
    for leg in calls(&scene, 3) {
        // A BYE before the ACK would be early (RFC 3261 15).
        scene.callees.expect_in(&leg, "ACK");
        let bye = scene.callees.agent().in_dialog_of(&leg.invite, "BYE", 1);
        scene.callees.agent().send(&bye, scene.proxy.udp());
        scene.callees.agent().expect_response(&bye, 200);
    }
    drop(call);
    scene.finish();
}

#[test]
fn an_ad_hoc_group_gets_the_history_of_its_list() {
    let scene = scene("an_ad_hoc_group_gets_the_history", &[]);
    let uri = |user: &str| scene.callees.uri(user);
    let list = [
        to(&uri("bill")),
        cc(&uri("carol")),
        bcc(&uri("dan")),
        unmarked(&uri("eve")),
        to(&uri("fay")).anonymized(),
    ];
    let message = large_message(ANNE, CONTROLLING).recipients(list.clone());
    end(&scene, &scene.upload_of(message, 500));
    for user in ["bill", "carol", "dan", "eve", "fay"] {
        let invite = scene.callees.expect_call(user).invite;
        let content_type = invite.header("Content-Type").unwrap_or_default();
        assert!(
            content_type.starts_with("multipart/mixed;boundary="),
            "{content_type}"
        );
        let boundary = content_type.split('=').nth(1).unwrap_or_default();
        let body = String::from_utf8_lossy(invite.body()).into_owned();
        let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
        assert_eq!(
            (parts.len(), parts[0], parts[3].trim_end()),
            (4, "", "--"),
            "{body}"
        );
        assert!(parts[1].contains("Content-Type: application/sdp\r\n"));
        let (fields, xml) = parts[2].split_once("\r\n\r\n").expect("a part has fields");
        assert!(
            fields.contains("Content-Type: application/resource-lists+xml"),
            "{fields}"
        );
        let disposition = "Content-Disposition: recipient-list-history; handling=optional";
        proves!(
            ["9.1.2-8c-disp"],
            assert!(fields.lines().any(|line| line == disposition), "{fields}")
        );
        for (user, there) in [
            ("bill", true),
            ("carol", true),
            ("dan", false),
            ("eve", false),
            ("fay", false),
        ] {
            proves!(
                ["9.1.2-8c"],
                assert_eq!(
                    xml.contains(&format!("\"{}\"", uri(user))),
                    there,
                    "{user} in {xml}"
                )
            );
        }
        assert_eq!(xml.matches("<entry").count(), 3, "{xml}");
        proves!(
            ["9.1.2-8c"],
            assert!(xml.contains("sip:anonymous@anonymous.invalid"), "{xml}")
        );
        assert_eq!(xml.matches("copyControl=\"to\"").count(), 2, "{xml}");
        proves!(
            ["9.1.2-8c"],
            assert_eq!(xml.matches("copyControl=\"cc\"").count(), 1, "{xml}")
        );
    }
    // Nothing to show, or another kind of group: only the description.
    let hidden = [bcc(&uri("bill")), unmarked(&uri("carol"))];
    end(
        &scene,
        &scene.upload_of(large_message(ANNE, CONTROLLING).recipients(hidden), 500),
    );
    end(
        &scene,
        &scene.upload_of(large_message(ANNE, EXPLODER).recipients(list), 500),
    );
    end(&scene, &upload_to(&scene, &address("lunch")));
    for round in [1, 2, 3] {
        for user in ["bill", "carol"] {
            let invite = scene.callees.expect_nth_call(user, round).invite;
            assert_eq!(invite.header("Content-Type"), Some("application/sdp"));
            assert!(!String::from_utf8_lossy(invite.raw()).contains("resource-lists"));
        }
    }
    scene.finish();
}

#[test]
fn who_it_is_from() {
    let scene = scene("who_it_is_from", &[]);
    let mut round = 0;
    let mut identities = BTreeSet::new();
    for service in services() {
        for privacy in [None, Some("none"), Some("id"), Some("user;header")] {
            let mut upload = upload_to(&scene, &service)
                .with(
                    "P-Asserted-Identity",
                    "\"Anne\" <sip:anne@example.com>, <tel:+12015550123>",
                )
                .with("Referred-By", "<sip:mallory@example.com>");
            if let Some(privacy) = privacy {
                upload = upload.with("Privacy", privacy);
            }
            let anonymous = privacy.is_some_and(|value| value != "none");
            if anonymous {
                upload = upload.with("From", &format!("\"Anonymous\" {ANONYMOUS};tag=1"));
            }
            end(&scene, &upload);
            let mut of_round = BTreeSet::new();
            for leg in calls(&scene, round) {
                let asserted = leg.invite.headers("P-Asserted-Identity").join(", ");
                let (referred, duties) = match &*service {
                    EXPLODER => {
                        proves!(
                            ["9.1.2-9i"],
                            assert!(asserted.contains("<sip:anne@example.com>"), "{asserted}")
                        );
                        (None, &[][..])
                    }
                    CONTROLLING => {
                        of_round.insert(asserted);
                        match anonymous {
                            true => (Some(ANONYMOUS), &["9.1.2-8k-ii-anon"][..]),
                            false => (Some("<sip:anne@example.com>"), &["9.1.2-8k-ii"][..]),
                        }
                    }
                    group => {
                        proves!(
                            ["9.1.2-8l", "9.1.2-8l-i"],
                            assert_eq!(asserted, format!("<{group}>"))
                        );
                        match anonymous {
                            true => (Some(ANONYMOUS), &["9.1.2-8l-ii-anon"][..]),
                            false => (Some("<sip:anne@example.com>"), &["9.1.2-8l-ii"][..]),
                        }
                    }
                };
                proves!(
                    duties,
                    assert_eq!(
                        leg.invite.headers("Referred-By"),
                        referred.into_iter().collect::<Vec<_>>()
                    )
                );
                proves!(
                    [duty(&service, "9.1.2-8i", "9.1.2-9g")],
                    assert_eq!(
                        leg.invite.headers("Privacy"),
                        privacy.into_iter().collect::<Vec<_>>()
                    )
                );
                let raw = String::from_utf8_lossy(leg.invite.raw()).to_lowercase();
                assert!(!raw.contains("mallory"));
                if anonymous && service != EXPLODER {
                    assert!(!raw.contains("anne") && !raw.contains("5550123"), "{raw}");
                }
            }
            if service == CONTROLLING {
                // One identity for the group, the same for all its members, and never used again.
                proves!(["9.1.2-8k", "9.1.2-8k-i"], assert_eq!(of_round.len(), 1));
                let identity = of_round.pop_first().unwrap_or_default();
                assert!(
                    identity.starts_with("<sip:") && identity.ends_with("@example.com>"),
                    "{identity}"
                );
                assert_ne!(identity, format!("<{CONTROLLING}>"));
                proves!(["9.1.2-8k-i"], assert!(identities.insert(identity)));
            }
            round += 1;
        }
    }
    // An answer to a group that existed for one message finds none (readings N31).
    let identity = identities.pop_first().unwrap_or_default();
    let answer = large_message(ANNE, identity.trim_matches(['<', '>']));
    let request = answer.request(&scene.anne, &scene.sender.session(), 10);
    scene.anne.is_refused(&request, scene.proxy.udp(), 404);
    scene.finish();
}

#[test]
fn the_core_is_the_next_hop() {
    let mut core = String::new();
    let scene = Scene::with("the_core_is_the_next_hop", |_, config| config);
    core.push_str(&scene.callees.agent().uri("core"));
    let behind = Scene::with("the_core_is_the_next_hop_behind", |bench, config| {
        let folder = GroupFolder::new(bench, "groups");
        let members = ["sip:bill@home.example.com", "tel:+12015550123"];
        folder.put("far", &open_group("far").members(members));
        config
            .set("cpm", "outbound_proxy", &format!("{core};lr"))
            .set("cpm", "group_source", &folder.source())
            .set("cpm", "group_uri", "sip:*@groups.example.com")
    });
    let far = ["sip:bill@home.example.com", "tel:+12015550123"];
    let far_group = address("far");
    for (round, service) in [EXPLODER, CONTROLLING, &far_group].into_iter().enumerate() {
        let message = match service {
            EXPLODER | CONTROLLING => large_message(ANNE, service).recipients(far.map(to)),
            group => large_message(ANNE, group),
        };
        let upload = behind.upload_of(message, SIZE);
        behind.sends(&upload);
        for (user, uri) in ["bill", "+12015550123"].into_iter().zip(far) {
            // They arrive at the core, whatever their Request-URI says.
            let leg = scene.callees.expect_nth_call(user, round);
            proves!(
                [duty(service, "9.1.2-8d", "9.1.2-9c")],
                assert_eq!(leg.invite.uri(), Some(uri))
            );
            proves!(
                [duty(service, "9.1.2-8m", "9.1.2-9j")],
                assert_eq!(leg.invite.headers("Route"), [format!("<{core};lr>")])
            );
            assert_eq!(leg.session.expect_message().bytes, upload.content);
            scene.callees.expect_in(&leg, "BYE");
        }
    }
    behind.finish();
    // Conversely, over TCP if the URI says so, each goes where its URI leads.
    let message =
        large_message(ANNE, EXPLODER).recipients([to(&scene.callees.agent().tcp_uri("tess"))]);
    let upload = scene.upload_of(message, SIZE);
    scene.sends(&upload);
    let (leg, _) = scene.gets("tess", &upload);
    proves!(
        ["9.1.2-9j"],
        assert_eq!(leg.invite.way().transport(), "TCP")
    );
    scene
        .callees
        .expect_in_within(&leg, "BYE", Duration::from_secs(10));
    scene.finish();
}
