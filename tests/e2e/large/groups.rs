//! Refusals of an INVITE to a pre-defined group (9.1.2-4; readings N13 to N17).

use cpm_testbed::{large_message, sha256, to};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, expect_counter, proves};
use crate::groups::{ALL_MAY_SEND, GroupFolder, address, open_group};
use crate::large::checks::{is_accepted, is_refused};
use crate::large::{ANNE, SIZE, Scene};

/// A scene with a folder of groups.
pub(crate) fn with_groups(test_name: &str, configure: &[(&str, &str)]) -> (Scene, GroupFolder) {
    let mut folder = None;
    let scene = Scene::with(test_name, |bench, config| {
        let groups = GroupFolder::new(bench, "groups");
        let mut config = config.set("cpm", "group_source", &groups.source()).set(
            "cpm",
            "group_uri",
            "sip:*@groups.example.com",
        );
        for (name, value) in configure {
            config = config.set("cpm", name, value);
        }
        folder = Some(groups);
        config
    });
    (scene, folder.expect("it was made"))
}

#[test]
fn a_group_must_be_for_cpm() {
    let (scene, folder) = with_groups("a_group_must_be_for_cpm", &[]);
    let (other, other_folder) = with_groups(
        "a_group_must_be_for_cpm_488",
        &[("large_group_no_cpm_code", "488")],
    );
    let poc = "<oxe:service enabler=\"org.openmobilealliance.PoC\"/>";
    let of_404 = (&scene, &folder, 404, &["9.1.2-4a"][..]);
    let of_488 = (&other, &other_folder, 488, &[][..]);
    for (scene, folder, code, duties) in [of_404, of_488] {
        let members = [scene.callees.uri("bill")];
        folder.put(
            "calls",
            &open_group("calls").services(poc).members(&members),
        );
        folder.put("none", &open_group("none").services("").members(&members));
        folder.put("lunch", &open_group("lunch").members(&members));
        folder.put("closed", &open_group("closed").rules("").members(&members));
        folder.put("empty", &open_group("empty"));
        let of = |name: &str| scene.upload_of(large_message(ANNE, &address(name)), 500);
        for name in ["calls", "none"] {
            proves!(duties, is_refused(scene, &of(name).request, code, None));
        }
        // The remaining checks of pager mode (readings N14).
        is_refused(scene, &of("unknown").request, 404, None);
        let closed = Some("127 Service not authorised");
        is_refused(scene, &of("closed").request, 403, closed);
        is_refused(
            scene,
            &of("empty").request,
            403,
            Some("129 No destinations"),
        );
        is_accepted(scene, &of("lunch"));
    }
    scene.finish();
    other.finish();
}

#[test]
fn the_group_says_who_may_be_anonymous() {
    let (scene, folder) = with_groups(
        "the_group_says_who_may_be_anonymous",
        &[("allow_anonymity", "no")],
    );
    let members = [scene.callees.uri("bill")];
    let rule = |one: &str, allowed: &str| {
        format!(
            "<cp:rule id=\"r\"><cp:conditions><cp:identity>{one}</cp:identity></cp:conditions>
             <cp:actions><allow-initiate-conference>true</allow-initiate-conference>
             <allow-anonymity>{allowed}</allow-anonymity></cp:actions></cp:rule>"
        )
    };
    let anne = format!("<cp:one id=\"{ANNE}\"/>");
    let group = |name: &str, rules: &str| {
        folder.put(name, &open_group(name).rules(rules).members(&members))
    };
    group("silent", ALL_MAY_SEND);
    group("closed", &rule("<cp:many/>", "false"));
    group("open", &rule("<cp:many/>", "true"));
    group("annes", &format!("{}{ALL_MAY_SEND}", rule(&anne, "true")));
    let of = |sender: &str, name: &str| {
        scene
            .upload_of(large_message(sender, &address(name)), 500)
            .with("Privacy", "id")
    };
    let refused = Some("119 Anonymity not allowed");
    for name in ["silent", "closed"] {
        proves!(
            ["9.1.2-4b", "9.1.2-4b-rule", "9.1.2-4b-w"],
            is_refused(&scene, &of(ANNE, name).request, 403, refused)
        );
        // A sender that does not ask for it may send.
        is_accepted(&scene, &of(ANNE, name).with("Privacy", "none"));
    }
    proves!(
        ["9.1.2-4b", "9.1.2-4b-rule", "9.1.2-4b-w"],
        is_refused(
            &scene,
            &of("sip:mallory@example.com", "annes").request,
            403,
            refused,
        )
    );
    for (sender, name) in [
        (ANNE, "open"),
        ("sip:mallory@example.com", "open"),
        (ANNE, "annes"),
    ] {
        proves!(["9.1.2-4b-rule"], is_accepted(&scene, &of(sender, name)));
    }
    scene.finish();
}

/// The INVITE to a recipient asks for `refresher=uas` (9.1.2-8f, -9d), which the Controlling
/// Function of a group accepts: so a group in a list gets large messages, here from the same proxy
/// (readings N1, N36).
#[test]
fn a_group_on_a_list_gets_large_messages() {
    let mut folder = None;
    let scene = Scene::with("a_group_on_a_list", |bench, _| {
        let groups = GroupFolder::new(bench, "groups");
        let back = "event_route[cpm:recipient-request] {
            if ($rd == \"groups.example.com\") $du = \"sip:127.0.0.1:@PORT@\";
        }";
        let config = cpm_proxy(&format!("{HANDLE}\n{back}"))
            .set(
                "cpm",
                "msrp_listen",
                &format!("tcp:127.0.0.1:{}", bench.msrp_port()),
            )
            .set("cpm", "group_source", &groups.source())
            .set("cpm", "group_uri", "sip:*@groups.example.com");
        folder = Some(groups);
        config
    });
    let members = ["carol", "dan"].map(|user| scene.callees.uri(user));
    folder
        .expect("it was made")
        .put("team", &open_group("team").members(&members));
    for service in [EXPLODER, CONTROLLING] {
        let message = large_message(ANNE, service)
            .recipients([to(&scene.callees.uri("bill")), to(&address("team"))]);
        let upload = scene.upload_of(message, SIZE);
        let before = scene.callees.calls_of("bill");
        scene.sends(&upload);
        for user in ["bill", "carol", "dan"] {
            let call = scene.callees.expect_nth_call(user, before);
            let content = call.session.expect_message();
            assert_eq!(content.sha256(), sha256(&upload.content), "{user}");
            scene.callees.expect_in(&call, "BYE");
        }
    }
    assert_eq!(counter(&scene.proxy, "refused"), 0);
    expect_counter(&scene.proxy, "delivered", 8);
    scene.finish();
}
