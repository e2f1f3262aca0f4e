//! A received request, from its classification to its reply.

use super::*;

#[test]
fn a_request_from_classification_to_202() {
    let service = service(PARAMETERS);
    let message =
        message("<entry uri=\"sip:bill@192.0.2.2\"/><entry uri=\"sip:carol@192.0.2.2\"/>");
    let request = classify(service, &message, "sip:exploder@example.com");
    assert!(!request.is_null());
    assert_eq!(core_field(request, CPM_FIELD_KIND), "exploder");
    assert_eq!(core_field(request, CPM_FIELD_MODE), "pager");
    assert_eq!(core_field(request, CPM_FIELD_CONTRIBUTION_ID), "abc");
    assert!(call!(field(request, CPM_FIELD_CONVERSATION_ID)).s.is_null());
    assert_eq!(reply(request), None);
    assert_eq!(call!(number(request, CPM_FIELD_RECIPIENTS)), 0);

    assert_eq!(check(request), CPM_SCRIPT_YES);
    assert_eq!(
        check(request),
        CPM_SCRIPT_YES,
        "a second call says the same"
    );
    assert_eq!(call!(number(request, CPM_FIELD_RECIPIENTS)), 2);
    assert_eq!(text(call!(recipient(request, 1))), "sip:carol@192.0.2.2");
    assert!(call!(recipient(request, 2)).s.is_null());

    assert_eq!(fan_out(request), CPM_SCRIPT_YES);
    let (code, reason, headers) = reply(request).unwrap();
    assert_eq!((code, reason.as_str()), (202, "Accepted"));
    assert_eq!(
        headers,
        "Contribution-ID: abc\r\nServer: CPM-serv/OMA2.2\r\n"
    );
    assert_eq!(fan_out(request), CPM_SCRIPT_NO, "there is a reply already");

    seen(|seen| {
        let recipients: Vec<_> = seen.sent.iter().map(|(uri, _)| uri.as_str()).collect();
        assert_eq!(recipients, ["sip:bill@192.0.2.2", "sip:carol@192.0.2.2"]);
        assert_ne!(
            seen.sent[0].1, seen.sent[1].1,
            "each copy has a Call-ID of its own"
        );
        assert_eq!(seen.called_back[0], "sip:anne@example.com");
        assert_eq!(
            seen.called_back[1], "-1",
            "too late to say who the originator is"
        );
        let counted = |counter| -> u32 {
            seen.counted
                .iter()
                .filter(|(c, _)| *c == counter)
                .map(|(_, n)| n)
                .sum()
        };
        assert_eq!(counted(Counter::Requests), 1);
        assert_eq!(counted(Counter::Accepted), 1);
        assert_eq!(counted(Counter::Recipients), 2);
        assert_eq!(counted(Counter::Refused), 0);
    });
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let service = service(PARAMETERS);
    let ours = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    assert!(classify(service, &ours, "sip:bill@192.0.2.2").is_null());
    assert!(classify(service, &ours, "not a URI").is_null());
    assert!(
        classify(
            service,
            &ours.replace("cpm.msg", "cpm.msg.group"),
            "sip:exploder@example.com"
        )
        .is_null()
    );
    assert!(
        classify(
            service,
            &ours.replace("MESSAGE", "PUBLISH"),
            "sip:exploder@example.com"
        )
        .is_null()
    );
    assert!(classify(service, "", "sip:exploder@example.com").is_null());
    seen(|seen| {
        assert!(seen.counted.is_empty(), "{:?}", seen.counted);
        assert!(seen.log.is_empty(), "{:?}", seen.log);
    });
    call!(service_free(service));
}

#[test]
fn only_lines_that_the_log_takes_are_written() {
    let service = service(PARAMETERS);
    for wants_debug in [false, true] {
        let message = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
        seen(|seen| seen.wants_debug = wants_debug);
        let request = classify(service, &message, "sip:exploder@example.com");
        assert_eq!(check(request), CPM_SCRIPT_YES);
        assert_eq!(fan_out(request), CPM_SCRIPT_YES);
        call!(request_free(request));
        let lines = seen(|seen| std::mem::take(&mut seen.log));
        let is_debug = |(level, _): &(cpm_log_level, String)| *level == CPM_LOG_DEBUG;
        assert_eq!(lines.iter().any(is_debug), wants_debug, "{lines:?}");
    }
    call!(service_free(service));
}

#[test]
fn the_operator_has_a_veto() {
    let service = service(PARAMETERS);
    seen(|seen| seen.veto = Some(Event::Authorize));
    let message = message("<entry uri=\"sip:bill@192.0.2.2\"/>");
    let request = classify(service, &message, "sip:exploder@example.com");
    assert_eq!(fan_out(request), CPM_SCRIPT_NO);
    let (code, _, headers) = reply(request).unwrap();
    assert_eq!(code, 403);
    assert!(
        headers.contains("Warning: 399 example.com \"127 Service not authorised\"\r\n"),
        "{headers}"
    );
    assert_eq!(
        core_field(request, CPM_FIELD_WARNING),
        "127 Service not authorised"
    );
    seen(|seen| {
        assert!(seen.sent.is_empty());
        let refusals: Vec<_> = seen
            .log
            .iter()
            .filter(|(_, line)| line.starts_with("refused "))
            .collect();
        assert_eq!(
            refusals.len(),
            1,
            "one line for one refusal: {:?}",
            seen.log
        );
        assert_eq!(refusals[0].0, CPM_LOG_NOTICE);
    });
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn a_group_is_looked_up_where_its_sources_are() {
    let service = service(&[
        ("group_uri", "sip:*@example.com"),
        ("group_source", "db:sqlite:///groups"),
        ("trusted_peer", "192.0.2.1"),
        ("state_dir", "none"),
    ]);
    let mut plan = cpm_process_plan::default();
    call!(plan(service, CPM_PROCESS_GROUPS, &raw mut plan));
    assert!(plan.count > 0);
    let groups = call!(mailbox_new(service, CPM_PROCESS_GROUPS));
    assert!(!groups.is_null());
    assert_eq!(call!(mailbox_fd(groups)), -1, "it has no threads");
    seen(|seen| {
        seen.takes = true;
        seen.wants = vec![Event::Checked];
    });
    for (uri, code, sent) in [
        ("sip:friends@example.com", 202, vec!["sip:bill@192.0.2.2"]),
        ("sip:strangers@example.com", 404, vec![]),
    ] {
        let request = classify(service, &message(""), uri);
        assert_eq!(core_field(request, CPM_FIELD_KIND), "group");
        assert_eq!(
            check(request),
            CPM_SCRIPT_END,
            "another process finishes it"
        );
        assert_eq!(reply(request), None);
        call!(request_free(request));
        let transaction = seen(|seen| seen.opened);
        deliver(groups, CPM_PROCESS_GROUPS);
        assert_eq!(work_until_idle(groups), -1);
        let last = last_reply();
        assert_eq!((last.0, last.1), (code, transaction), "{uri}");
        let all = seen(|seen| std::mem::take(&mut seen.sent));
        let uris: Vec<_> = all.iter().map(|(uri, _)| uri.as_str()).collect();
        assert_eq!(uris, sent, "the sender gets no copy");
    }
    // The operator was asked once for each request, in the process that began its checks.
    let asked = seen(|seen| std::mem::take(&mut seen.asked));
    let context = context().addr();
    assert_eq!(
        asked,
        [
            (Event::Authorize, context, 0),
            (Event::Checked, 0, 1),
            (Event::Authorize, context, 0)
        ]
    );

    seen(|seen| seen.takes = false);
    let request = classify(service, &message(""), "sip:friends@example.com");
    assert_eq!(check(request), CPM_SCRIPT_NO, "no process can take it");
    let (code, _, headers) = reply(request).unwrap();
    assert_eq!(code, 480);
    assert!(headers.contains("Retry-After: "), "{headers}");
    call!(request_free(request));
    assert_eq!(
        query(service, CPM_QUERY_FORGET_GROUPS, "").0,
        CPM_QUERY_ANSWERED
    );
    call!(mailbox_stop(groups));
    call!(service_free(service));
}

/// One call does everything in order, and replies once.
#[test]
fn handle_does_all_there_is_to_do() {
    let service = service(PARAMETERS);
    let uri = "sip:exploder@example.com";
    let ours = message("<entry uri=\"sip:192.0.2.7\"/>");
    seen(|seen| seen.veto = Some(Event::Authorize));
    assert_eq!(handle(service, &received(&ours, uri)), CPM_SCRIPT_YES);
    assert_eq!(last_reply().0, 403);
    seen(|seen| seen.veto = None);
    assert_eq!(handle(service, &received(&ours, uri)), CPM_SCRIPT_YES);
    assert_eq!(last_reply().0, 202);
    // It is repeated after its transaction has been forgotten.
    assert_eq!(handle(service, &received(&ours, uri)), CPM_SCRIPT_END);
    assert_eq!(last_reply().0, 202);
    seen(|seen| {
        assert_eq!((seen.sent.len(), seen.replies.len()), (1, 3));
        seen.absorbs = true;
    });
    let other = message("<entry uri=\"sip:192.0.2.7\"/>");
    assert_eq!(handle(service, &received(&other, uri)), CPM_SCRIPT_END);
    let elsewhere = received(&other, "sip:bill@192.0.2.2");
    assert_eq!(handle(service, &elsewhere), CPM_SCRIPT_NO);
    assert_eq!(seen(|seen| seen.replies.len()), 3);
    call!(service_free(service));
}
