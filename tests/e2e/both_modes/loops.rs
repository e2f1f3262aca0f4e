//! Messages that would return to the Controlling Function (readings N36).

use std::collections::HashMap;

use cpm_testbed::{Bench, PATIENCE, Received, Request, cc, cpm_message, large_message, to};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter};
use crate::groups::{
    ANNE, GroupFolder, address, answer_to, group_proxy, open_group, recipients, to_group,
};
use crate::large::checks::{is_accepted, is_refused};
use crate::large::groups::with_groups;

#[test]
fn our_own_addresses_are_dropped_from_the_list() {
    let bench = Bench::new("our_own_addresses_are_dropped");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let request = cpm_message("sip:anne@example.com", service)
            .recipients([
                to(EXPLODER),
                to("sip:%65xploder@EXAMPLE.COM;x=1"),
                cc(CONTROLLING),
                to(&bill.uri("bill")),
            ])
            .request();
        exchange(&anne, &request, &proxy, 202);
        let copy = bill.expect_request("MESSAGE");
        let body = String::from_utf8_lossy(copy.body());
        assert_eq!(body.matches("<entry ").count(), round, "only bill is named");
        assert_eq!(counter(&proxy, "loops"), 3 * (round as u64 + 1));
    }
    assert_eq!(counter(&proxy, "recipients"), 2);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_copy_that_comes_back_by_another_name_is_not_sent_on() {
    let bench = Bench::new("a_copy_that_comes_back");
    let proxy = bench.proxy(&cpm_proxy(&format!(
        "{}\n{}",
        HANDLE.replacen(
            "{",
            "{ if ($rU == \"everybody\") $ru = \"sip:exploder@example.com\";
               if ($rU == \"us\") $ru = \"sip:cpm@example.com\";",
            1,
        ),
        "event_route[cpm:recipient-request] {
            if ($rd == \"home.example.com\") $du = \"sip:127.0.0.1:@PORT@\";
        }"
    )));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let request = cpm_message("sip:anne@example.com", service)
            .recipients([
                to("sip:everybody@home.example.com"),
                to("sip:us@home.example.com"),
                to(&bill.uri("bill")),
            ])
            .request();
        exchange(&anne, &request, &proxy, 202);
        bill.expect_request("MESSAGE");
        // The copies carry no list: two refusals, and both recipients have failed.
        expect_counter(&proxy, "failed", 2 * (round as u64 + 1));
        assert_eq!(counter(&proxy, "refused"), 2 * (round as u64 + 1));
        bill.expect_nothing_until(|| proxy.ping());
    }
    assert_eq!(counter(&proxy, "recipients"), 6);
    capture.stop().assert_clean();
    proxy.stop();
}

/// The network around the Controlling Function: a request for a group returns to it, as an S-CSCF
/// would route it.
const GROUPS_COME_BACK: &str = "event_route[cpm:recipient-request] {
    if ($rd == \"groups.example.com\") $du = \"sip:127.0.0.1:@PORT@\";
}";

/// Four groups, each with the other three, Gina and itself as members.
fn groups_that_name_each_other(bench: &Bench, gina: &str) -> GroupFolder {
    const TEAMS: [&str; 4] = ["ateam", "bteam", "cteam", "dteam"];
    let folder = GroupFolder::new(bench, "groups");
    for team in TEAMS {
        let members = TEAMS.map(address).into_iter().chain([gina.to_owned()]);
        folder.put(team, &open_group(team).members(members));
    }
    folder
}

#[test]
fn groups_that_name_each_other_reach_each_member_once() {
    let bench = Bench::new("groups_that_name_each_other");
    let (anne, gina) = (bench.agent(), bench.agent());
    let folder = groups_that_name_each_other(&bench, &gina.uri("gina"));
    let proxy = bench.proxy(
        &cpm_proxy(&format!("{HANDLE}\n{GROUPS_COME_BACK}"))
            .load("cfg_rpc")
            .set("cpm", "group_source", &folder.source())
            .set("cpm", "group_uri", "sip:*@groups.example.com"),
    );
    let capture = bench.capture();
    exchange(&anne, &to_group(ANNE, "ateam").request(), &proxy, 202);
    assert_eq!(recipients(&gina, 1), [gina.uri("gina")]);
    // The other three groups recognise that a group has sent it.
    expect_counter(&proxy, "refused", 3);
    expect_counter(&proxy, "failed", 3);
    expect_counter(&proxy, "delivered", 1);
    assert_eq!(counter(&proxy, "recipients"), 4);
    assert_eq!(counter(&proxy, "loops"), 1, "the group itself");
    proxy.expect_log("refused 482 Loop Detected: a group has already forwarded it");

    // A list may contain groups.
    let names = [to(&address("ateam")), to(&address("bteam"))];
    let list = cpm_message(ANNE, EXPLODER).recipients(names).request();
    exchange(&anne, &list, &proxy, 202);
    assert_eq!(recipients(&gina, 2), [gina.uri("gina"), gina.uri("gina")]);
    expect_counter(&proxy, "refused", 3 + 6);
    expect_counter(&proxy, "failed", 3 + 6);
    assert_eq!(counter(&proxy, "recipients"), 4 + 2 + 8);

    // One level of groups in groups: each of the three forwards it to Gina, and to two that do not.
    proxy.tune("group_nesting", 1);
    exchange(&anne, &to_group(ANNE, "ateam").request(), &proxy, 202);
    assert_eq!(recipients(&gina, 4), vec![gina.uri("gina"); 4]);
    expect_counter(&proxy, "refused", 9 + 6);
    expect_counter(&proxy, "failed", 9 + 6);
    assert_eq!(counter(&proxy, "recipients"), 14 + 4 + 9);
    gina.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
}

/// A second list server's treatment of a copy: it sends a request of its own to each address it has
/// for the group.
fn led_back(copy: &Received, list_server: &str, kept: &[&str]) -> Request {
    let mut request = to_group(list_server, "lunch").request();
    for name in kept {
        if let Some(value) = copy.header(name) {
            request = request.with(name, value);
        }
    }
    request
}

#[test]
fn what_a_second_list_server_leads_back_ends() {
    let bench = Bench::new("what_a_second_list_server_leads_back");
    let (anne, bill, server) = (bench.agent(), bench.agent(), bench.agent());
    let folder = GroupFolder::new(&bench, "groups");
    let list_server = server.uri("list");
    let members = [bill.uri("bill"), list_server.clone()];
    folder.put("lunch", &open_group("lunch").members(members));
    let proxy = bench.proxy(&group_proxy(&folder.source()).set("cpm", "copy_to_sender", "1"));
    let capture = bench.capture();
    // Each copy returns twice. If Max-Breadth is kept, none of them is fanned out; if Max-Forwards
    // is decremented, 20, 9, 4 and 1 are.
    for (kept, messages) in [
        (&["Max-Breadth"][..], 1),
        (&["Max-Breadth", "Max-Forwards"][..], 1),
        (&["Max-Forwards"][..], 1 + 2 + 4 + 8),
    ] {
        exchange(&anne, &to_group(ANNE, "lunch").request(), &proxy, 202);
        let mut fanned_out = 1;
        let mut answers: HashMap<u16, usize> = HashMap::new();
        let mut taken = 0;
        while taken < fanned_out {
            let copy = server.recv_request(PATIENCE).expect("it is a member");
            taken += 1;
            for _ in 0..2 {
                let mut request = led_back(&copy, &list_server, kept);
                if kept.contains(&"Max-Forwards") {
                    let hops = request.header("Max-Forwards").unwrap_or_default();
                    let hops: u8 = hops.parse().expect("it is a number");
                    request = request.with("Max-Forwards", &(hops - 1).to_string());
                }
                server.send(&request, proxy.udp());
                let code = answer_to(&server, &request).status().unwrap_or_default();
                *answers.entry(code).or_default() += 1;
                fanned_out += usize::from(code == 202);
            }
        }
        assert_eq!(fanned_out, messages, "{kept:?}: {answers:?}");
        assert_eq!(
            recipients(&bill, messages),
            vec![bill.uri("bill"); messages]
        );
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_group_does_not_send_on_what_a_group_has_sent_in_large_message_mode() {
    let (scene, folder) = with_groups("what_a_group_has_sent_in_large_message_mode", &[]);
    let bill = scene.callees.uri("bill");
    folder.put("lunch", &open_group("lunch").members([&bill]));
    let of = |sender: &str| scene.upload_of(large_message(sender, &address("lunch")), 500);
    // As marked in another group's copy.
    let of_group = of(&address("dinner")).with("Referred-By", "<sip:anne@example.com>");
    is_refused(&scene, &of_group.request, 482, None);
    let marked = of(ANNE).with("Max-Breadth", "30");
    is_refused(&scene, &marked.request, 482, None);
    // From a list, and from a person whose address looks like a group's.
    is_accepted(&scene, &of(ANNE).with("Max-Breadth", "45"));
    is_accepted(&scene, &of(&address("anne")));
    let session = format!(
        "sip:cpm-group-{}@groups.example.com",
        "0123456789abcdef".repeat(2)
    );
    is_accepted(
        &scene,
        &of(&session).with("Referred-By", "<sip:anne@example.com>"),
    );
    scene.finish();
}
