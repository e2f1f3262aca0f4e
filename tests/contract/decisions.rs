//! What the routing script decides while it is asked about a request.

use super::*;

const EXPLODER: &str = "sip:exploder@example.com";
const ONE: &str = "<entry uri=\"sip:bill@192.0.2.2\"/>";

/// Refuses a message at this event after these settings, each with its result; the answer.
fn refused(
    service: *const cpm_service,
    veto: Event,
    decisions: Vec<(Event, cpm_field, &'static str, c_int)>,
) -> (c_int, String, String) {
    seen(|seen| {
        seen.veto = Some(veto);
        seen.wants = vec![Event::Checked];
        seen.decisions = decisions;
    });
    let request = classify(service, &message(ONE), EXPLODER);
    assert_eq!(fan_out(request), CPM_SCRIPT_NO);
    let answer = reply(request).unwrap();
    assert_eq!(
        call!(number(request, CPM_FIELD_CODE)),
        i64::from(answer.0),
        "the script sees what is answered"
    );
    assert_eq!(core_field(request, CPM_FIELD_REASON), answer.1);
    call!(request_free(request));
    answer
}

#[test]
fn the_script_chooses_how_it_refuses() {
    let service = service(PARAMETERS);
    for veto in [Event::Authorize, Event::Checked] {
        let (code, reason, headers) = refused(
            service,
            veto,
            vec![
                (veto, CPM_FIELD_CODE, "480", 0),
                (veto, CPM_FIELD_REASON, "Later\r\nX-Injected: yes", 0),
                (veto, CPM_FIELD_RETRY_AFTER, "60", 0),
                // None of these is a value; what was set before stays.
                (veto, CPM_FIELD_CODE, "202", -1),
                (veto, CPM_FIELD_CODE, "700", -1),
                (veto, CPM_FIELD_CODE, "x", -1),
                (veto, CPM_FIELD_REASON, "\r\n", -1),
                (veto, CPM_FIELD_RETRY_AFTER, "-1", -1),
                (veto, CPM_FIELD_RETRY_AFTER, "86401", -1),
                (veto, CPM_FIELD_KIND, "group", -1),
                (veto, CPM_FIELD_RECIPIENTS, "1", -1),
            ],
        );
        assert_eq!((code, &*reason), (480, "Later X-Injected: yes"), "{veto:?}");
        assert!(headers.contains("\r\nRetry-After: 60\r\n"), "{headers}");
        assert!(!headers.contains("Warning"), "{headers}");
        seen(|seen| {
            let errors = seen.log.iter().filter(|(level, _)| *level == CPM_LOG_ERROR);
            let errors = errors.map(|(_, line)| line);
            let errors: Vec<&String> = errors.filter(|line| !line.contains("originator")).collect();
            assert_eq!(errors.len(), 8, "one line each: {errors:?}");
            assert!(errors.iter().all(|line| line.ends_with(", callid=1")));
            seen.log.clear();
        });
    }
    call!(service_free(service));
}

#[test]
fn an_answer_counts_for_its_own_question() {
    let service = service(PARAMETERS);
    let decisions = vec![(Event::Authorize, CPM_FIELD_CODE, "480", 0)];
    let (code, reason, headers) = refused(service, Event::Checked, decisions);
    assert_eq!((code, &*reason), (403, "Forbidden"));
    assert!(headers.contains("127 Service not authorised"), "{headers}");
    // Nobody is asked, so there is nothing to answer.
    let request = classify(service, &message(ONE), EXPLODER);
    for field in [CPM_FIELD_CODE, CPM_FIELD_REASON, CPM_FIELD_RETRY_AFTER] {
        assert_eq!(set(request, field, "480"), -1);
    }
    call!(request_free(request));
    call!(service_free(service));
}

#[test]
fn the_script_knows_what_its_originator_may_do() {
    let service = service(PARAMETERS);
    let anonymous = message(ONE).replace("\r\n\r\n--", "\r\nPrivacy: id\r\n\r\n--");
    for (decisions, text, code, warning) in [
        (
            vec![(Event::Authorize, CPM_FIELD_MAX_RECIPIENTS, "2", 0)],
            message(THREE),
            486,
            "102 Too many recipients",
        ),
        (
            vec![(Event::Authorize, CPM_FIELD_ALLOW_ANONYMITY, "0", 0)],
            anonymous.clone(),
            403,
            "119 Anonymity not allowed",
        ),
        (
            vec![
                (Event::Authorize, CPM_FIELD_MAX_RECIPIENTS, "0", -1),
                (Event::Authorize, CPM_FIELD_MAX_RECIPIENTS, "10001", -1),
                (Event::Authorize, CPM_FIELD_MAX_RECIPIENTS, "3", 0),
                (Event::Authorize, CPM_FIELD_ALLOW_ANONYMITY, "perhaps", -1),
                (Event::Authorize, CPM_FIELD_ALLOW_ANONYMITY, "no", 0),
                (Event::Authorize, CPM_FIELD_ALLOW_ANONYMITY, "yes", 0),
                // Too late: it has been checked.
                (Event::Checked, CPM_FIELD_MAX_RECIPIENTS, "1", -1),
                (Event::Checked, CPM_FIELD_ALLOW_ANONYMITY, "0", -1),
            ],
            message(THREE),
            202,
            "",
        ),
    ] {
        seen(|seen| {
            seen.wants = vec![Event::Checked];
            seen.decisions = decisions;
        });
        let request = classify(service, &text, EXPLODER);
        assert_eq!(call!(number(request, CPM_FIELD_MAX_RECIPIENTS)), 100);
        assert_eq!(call!(number(request, CPM_FIELD_ALLOW_ANONYMITY)), 1);
        fan_out(request);
        assert_eq!(reply(request).unwrap().0, code, "{warning}");
        assert_eq!(core_field(request, CPM_FIELD_WARNING), warning);
        call!(request_free(request));
    }
    // It may also be said before the checks.
    seen(|seen| seen.decisions.clear());
    let request = classify(service, &message(THREE), EXPLODER);
    assert_eq!(set(request, CPM_FIELD_MAX_RECIPIENTS, "2"), 0);
    assert_eq!(check(request), CPM_SCRIPT_NO);
    assert_eq!(reply(request).unwrap().0, 486);
    call!(request_free(request));
    call!(service_free(service));
}
