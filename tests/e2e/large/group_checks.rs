//! Checks of a large message to a pre-defined group besides the group itself: the sender's version,
//! the number of members, and whether the sender is one of them (9.1.2-2, -4; readings N34).

use cpm_testbed::{Received, large_message, sha256};

use crate::common::{counter, expect_counter, proves};
use crate::groups::{address, open_group};
use crate::large::groups::with_groups;
use crate::large::{ANNE, SIZE, Scene, Upload};

fn upload(scene: &Scene, sender: &str, group: &str) -> Upload {
    scene.upload_of(large_message(sender, &address(group)), SIZE)
}

#[track_caller]
fn refused(scene: &Scene, upload: &Upload, status: u16) -> Received {
    let way = scene.proxy.udp();
    scene.anne.is_refused(&upload.request, way, status)
}

#[test]
fn the_version_counts_before_the_group_is_looked_up() {
    let (scene, folder) = with_groups(
        "the_version_counts_before_the_group",
        &[("required_user_agent", "CPM-client/OMA2")],
    );
    let members = [scene.callees.uri("bill")];
    folder.put("lunch", &open_group("lunch").members(members));
    // Also for a group that does not exist: a sender that may not ask does not learn that.
    for group in ["lunch", "nobody"] {
        for user_agent in ["CPM-client/OMA1.0", "Phone/2"] {
            let old = upload(&scene, ANNE, group).with("User-Agent", user_agent);
            proves!(
                ["9.1.2-2", "9.1.2-2-w"],
                assert_eq!(
                    refused(&scene, &old, 403).header("Warning"),
                    Some("399 groups.example.com \"132 Version not supported\"")
                )
            );
        }
    }
    refused(&scene, &upload(&scene, ANNE, "nobody"), 404);
    let new = upload(&scene, ANNE, "lunch");
    scene.sends(&new);
    scene.gets("bill", &new);
    assert_eq!(scene.callees.calls_of("bill"), 1);
    scene.finish();
}

#[test]
fn a_group_may_have_so_many_members() {
    let (scene, folder) = with_groups(
        "a_group_may_have_so_many_members",
        &[("max_group_members", "2")],
    );
    let members = ["bill", "carol", "dan"].map(|user| scene.callees.uri(user));
    folder.put("two", &open_group("two").members(&members[..2]));
    folder.put("three", &open_group("three").members(&members));
    assert_eq!(
        refused(&scene, &upload(&scene, ANNE, "three"), 486).header("Warning"),
        Some("399 groups.example.com \"102 Too many participants\"")
    );
    assert_eq!(scene.callees.calls_of("bill"), 0);
    let fits = upload(&scene, ANNE, "two");
    scene.sends(&fits);
    for user in ["bill", "carol"] {
        scene.gets(user, &fits);
    }
    // The sender does not count as one of them.
    let sender = upload(&scene, &members[2], "three");
    scene.sends(&sender);
    for user in ["bill", "carol"] {
        let call = scene.callees.expect_nth_call(user, 1);
        let content = call.session.expect_message();
        assert_eq!(content.sha256(), sha256(&sender.content), "{user}");
    }
    assert_eq!(scene.callees.calls_of("dan"), 0);
    scene.finish();
}

#[test]
fn the_sender_gets_a_copy_only_where_the_operator_wants_it() {
    for (copies, name) in [
        ("no", "the_sender_gets_none"),
        ("yes", "the_sender_gets_one"),
    ] {
        let (scene, folder) = with_groups(name, &[("copy_to_sender", copies)]);
        let users = ["anne", "bill"];
        let members = users.map(|user| scene.callees.uri(user));
        folder.put("lunch", &open_group("lunch").members(&members));
        folder.put("alone", &open_group("alone").members(&members[..1]));
        let own = upload(&scene, &members[0], "lunch");
        scene.sends(&own);
        scene.gets("bill", &own);
        let wanted = match copies {
            "yes" => {
                scene.gets("anne", &own);
                let alone = upload(&scene, &members[0], "alone");
                scene.sends(&alone);
                scene.callees.expect_nth_call("anne", 1);
                3
            }
            _ => {
                let alone = upload(&scene, &members[0], "alone");
                assert_eq!(
                    refused(&scene, &alone, 403).header("Warning"),
                    Some("399 groups.example.com \"129 No destinations\"")
                );
                assert_eq!(scene.callees.calls_of("anne"), 0);
                1
            }
        };
        expect_counter(&scene.proxy, "delivered", wanted);
        assert_eq!(counter(&scene.proxy, "recipients"), wanted);
        scene.finish();
    }
}
