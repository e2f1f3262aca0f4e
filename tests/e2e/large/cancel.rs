//! The sender's CANCEL (9.1.2-cancel; readings N42, N73).

use cpm_testbed::{Plan, Reply};

use crate::common::{CONTROLLING, EXPLODER, proves};
use crate::large::{LONG, Scene, expect_legs};

#[test]
fn a_cancel_reaches_all_who_ring() {
    let scene = Scene::new("a_cancel_reaches_all_who_ring");
    for user in ["bill", "carol"] {
        scene.callees.plan(user, Plan::no_answer().ringing());
    }
    scene.callees.plan("dan", Plan::no_answer());
    scene.callees.plan("eve", Plan::status(486));
    let users = ["bill", "carol", "dan", "eve"];
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let upload = scene.upload(service, &users);
        let way = scene.proxy.udp();
        scene.anne.send(&upload.request, way);
        let calls = users.map(|user| scene.callees.expect_nth_call(user, round));
        expect_legs(&scene.proxy, "proceeding", 2);
        let cancel = upload.request.cancel();
        scene.anne.send(&cancel, way);
        // RFC 3261 §9.2: 200 to the CANCEL, 487 to the INVITE.
        proves!(["9.1.2-cancel-1"], scene.anne.expect_response(&cancel, 200));
        proves!(
            ["9.1.2-cancel-1"],
            scene.anne.expect_refused(&upload.request, way, 487)
        );
        for call in &calls[..2] {
            let cancel = scene.callees.expect_in(call, "CANCEL");
            proves!(
                ["9.1.2-cancel-2"],
                assert_eq!(cancel.branch(), call.invite.branch())
            );
            assert_eq!(cancel.uri(), call.invite.uri());
            assert_eq!(cancel.cseq(), Some((1, "CANCEL")));
            scene.callees.terminate(call);
            scene.callees.expect_in(call, "ACK");
        }
        // The third has not responded: it is cancelled once it rings (RFC 3261 §9.1).
        assert_eq!(scene.callees.requests_in(&calls[2], "CANCEL").len(), 0);
        scene
            .callees
            .agent()
            .reply(&calls[2].invite, &Reply::new(180));
        proves!(
            ["9.1.2-cancel-2"],
            scene.callees.expect_in(&calls[2], "CANCEL")
        );
        scene.callees.terminate(&calls[2]);
        scene.callees.expect_in(&calls[2], "ACK");
        assert_eq!(scene.callees.requests_in(&calls[3], "CANCEL").len(), 0);
    }
    scene.finish();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    let scene = Scene::new("an_answer_that_crosses_the_cancel");
    scene.callees.plan("bill", Plan::no_answer().ringing());
    let upload = scene.upload(EXPLODER, &["bill"]);
    let way = scene.proxy.udp();
    scene.anne.send(&upload.request, way);
    let bill = scene.callees.expect_call("bill");
    expect_legs(&scene.proxy, "proceeding", 1);
    let cancel = upload.request.cancel();
    scene.anne.send(&cancel, way);
    scene.anne.expect_refused(&upload.request, way, 487);
    proves!(["9.1.2-cancel-2"], scene.callees.expect_in(&bill, "CANCEL"));
    // The recipient had answered meanwhile.
    scene
        .callees
        .agent()
        .reply(&bill.invite, &scene.callees.answer(&bill));
    scene.callees.expect_in(&bill, "ACK");
    proves!(["9.1.2-cancel-2"], scene.hangs_up(&bill, 487));
    scene.finish();
}

#[test]
fn a_cancel_after_the_200_changes_nothing() {
    let scene = Scene::new("a_cancel_after_the_200");
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.is_answered(&upload);
    let cancel = upload.request.cancel();
    // Before the ACK, and after it.
    scene.anne.send(&cancel, scene.proxy.udp());
    let answer = scene.anne.recv_where(cpm_testbed::PATIENCE, |message| {
        message.status().is_some() && message.cseq().is_some_and(|(_, method)| method == "CANCEL")
    });
    let answer = answer.expect("it is answered");
    let status = answer.status();
    proves!(
        ["9.1.2-cancel-1"],
        assert!(matches!(status, Some(200 | 481)), "{status:?}")
    );
    call.ack();
    let bill = scene.callees.expect_call("bill");
    scene.callees.expect_in(&bill, "ACK");
    // Repeated unchanged, it gets the same answer.
    scene.anne.send(&cancel, scene.proxy.udp());
    proves!(
        ["9.1.2-cancel-1"],
        scene.anne.expect_retransmissions(&answer, 1)
    );
    upload.session.connect_and_bind();
    upload.session.deliver(&upload.content, 8000);
    let (bill, _) = scene.gets("bill", &upload);
    call.bye(200);
    scene.hangs_up(&bill, 200);
    proves!(
        ["9.1.2-cancel-1"],
        assert_eq!(scene.callees.requests_in(&bill, "CANCEL").len(), 0)
    );
    scene.finish();
}

#[test]
fn who_never_rings_is_not_waited_for_for_ever() {
    let scene = Scene::new("who_never_rings");
    scene.callees.plan("bill", Plan::no_answer());
    let upload = scene.upload(EXPLODER, &["bill"]);
    let way = scene.proxy.udp();
    scene.anne.send(&upload.request, way);
    let bill = scene.callees.expect_call("bill");
    let cancel = upload.request.cancel();
    scene.anne.send(&cancel, way);
    scene.anne.expect_response(&cancel, 200);
    scene.anne.expect_refused(&upload.request, way, 487);
    scene.finish_within_and(LONG, |scene| {
        assert_eq!(scene.callees.requests_in(&bill, "CANCEL").len(), 0);
        assert!(bill.invite.retransmissions() > 3);
        // The recipient answers when it is no longer expected to: it is not left with a session
        // without content.
        let answer = scene.callees.answer(&bill);
        scene.callees.agent().reply(&bill.invite, &answer);
        let ack = scene.callees.expect_in(&bill, "ACK");
        assert_eq!(ack.cseq(), Some((1, "ACK")));
        scene.hangs_up(&bill, 480);
    });
}
