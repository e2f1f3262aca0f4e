//! The table itself: its version, its layout, what it describes, and parameters.

use super::*;

#[test]
fn another_abi_gets_no_table() {
    assert!(cpm_core(CPM_ABI + 1).is_null());
    assert!(!cpm_core(CPM_ABI).is_null());
    let old = cpm_host {
        abi: CPM_ABI + 1,
        ..HOST
    };
    assert!(call!(service_new(&raw const old)).is_null());
    assert!(call!(service_new(std::ptr::null())).is_null());
}

#[test]
fn a_senseless_parameter_is_one_clear_line() {
    let service = call!(service_new(&raw const HOST));
    for (name, value, line) in [
        (
            "max_recipients",
            "many",
            "parameter max_recipients: \"many\" is not a number from 1 to 10000",
        ),
        (
            "max_recipient",
            "1",
            "parameter max_recipient: \"1\" is not a parameter",
        ),
        (
            "exploder_uri",
            "exploder",
            "parameter exploder_uri: \"exploder\" is not a sip: or sips: URI",
        ),
    ] {
        assert_eq!(call!(service_set(service, lent(name), lent(value))), -1);
        seen(|seen| assert_eq!(seen.log.pop(), Some((CPM_LOG_ERROR, line.to_owned()))));
    }
    assert_eq!(
        call!(service_start(service, lent(OWN_URI), 0, 0)),
        -1,
        "no address is ours"
    );
    seen(|seen| assert_eq!(seen.log.len(), 1));
    call!(service_free(service));
}

#[test]
fn null_is_answered_with_the_failure_value() {
    let null = std::ptr::null_mut();
    assert_eq!(call!(service_set(null, lent("a"), lent("b"))), -1);
    assert_eq!(call!(service_start(null, lent(OWN_URI), 0, 0)), -1);
    assert_eq!(call!(service_tune(null, lent("a"), lent("b"), 0)), -1);
    let nothing = std::ptr::null();
    assert!(call!(classify(null, nothing)).is_null());
    let mut request = std::ptr::null_mut();
    let room = &raw mut request;
    assert_eq!(call!(handle(null, nothing, room, context())), CPM_SCRIPT_NO);
    assert_eq!(call!(forward_imdn(null, nothing, context())), CPM_SCRIPT_NO);
    assert_eq!(check(request), CPM_SCRIPT_NO);
    assert_eq!(fan_out(request), CPM_SCRIPT_NO);
    assert_eq!(call!(reply(request, context())), CPM_SCRIPT_NO);
    assert_eq!(reply(request), None);
    assert!(call!(field(request, CPM_FIELD_KIND)).s.is_null());
    assert_eq!(call!(number(request, CPM_FIELD_RECIPIENTS)), -1);
    assert!(call!(recipient(request, 0)).s.is_null());
    assert_eq!(set(request, CPM_FIELD_ORIGINATOR, "sip:a@192.0.2.4"), -1);
    call!(request_free(request));
    call!(ended(null, std::ptr::null()));
    call!(responded(null, lent("")));
    assert_eq!(call!(is_session_name(null, lent("a"))), 0);
    let mut plan = cpm_process_plan {
        count: 9,
        ..cpm_process_plan::default()
    };
    call!(plan(null, CPM_PROCESS_FAN_OUT, &raw mut plan));
    assert_eq!(plan.count, 0);
    assert!(call!(mailbox_new(null, CPM_PROCESS_FAN_OUT)).is_null());
    let mailbox = std::ptr::null_mut();
    assert_eq!(call!(mailbox_fd(mailbox)), -1);
    assert_eq!(call!(mailbox_takes(mailbox)), 0);
    call!(mailbox_take(mailbox, lent("a")));
    call!(mailbox_work(mailbox));
    call!(mailbox_stop(mailbox));
    assert_eq!(query(null, CPM_QUERY_SESSIONS, "").0, CPM_QUERY_NO_ANSWER);
    call!(service_free(null));
}

/// The header is valid C for any compiler, and gcc lays its structs out like Rust.
#[test]
fn the_header_has_not_drifted() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("contract");
    std::fs::create_dir_all(&folder).unwrap();
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/c_api/cpm.h");
    let sizes = [
        ("cpm_str", size_of::<cpm_str>()),
        ("cpm_received", size_of::<cpm_received>()),
        ("cpm_forwarding", size_of::<cpm_forwarding>()),
        ("cpm_reply", size_of::<cpm_reply>()),
        ("cpm_outgoing", size_of::<cpm_outgoing>()),
        ("cpm_outcome", size_of::<cpm_outcome>()),
        ("cpm_changed", size_of::<cpm_changed>()),
        ("cpm_process_plan", size_of::<cpm_process_plan>()),
        ("cpm_answer_visitor", size_of::<cpm_answer_visitor>()),
        ("cpm_row", size_of::<cpm_row>()),
        ("cpm_host", size_of::<cpm_host>()),
        ("cpm_core", size_of::<cpm_core>()),
    ];
    let mut source = format!("#include \"{header}\"\n");
    for (name, size) in sizes {
        source += &format!("typedef char {name}_fits[sizeof(struct {name}) == {size} ? 1 : -1];\n");
    }
    for (compiler, language, standard) in [("gcc", "c", "-std=c99"), ("g++", "c++", "-std=c++11")] {
        let file = folder.join(format!("drift.{language}"));
        std::fs::write(&file, &source).unwrap();
        let Ok(output) = Command::new(compiler)
            .args([
                standard,
                "-Wall",
                "-Wextra",
                "-pedantic",
                "-Werror",
                "-fsyntax-only",
            ])
            .arg(&file)
            .output()
        else {
            assert_eq!(compiler, "g++", "only the C++ compiler may be missing");
            continue;
        };
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The number of a parameter, and the core's description of it.
fn parameter(name: &str) -> (usize, cpm_parameter) {
    let mut described = cpm_parameter::default();
    for number in 0.. {
        assert_eq!(
            call!(parameter(number, &raw mut described)),
            1,
            "there is no {name}"
        );
        if text(described.name) == name {
            return (number, described);
        }
    }
    unreachable!()
}

/// What a host registers in loops, and the events that it knows by name.
#[test]
fn counters_gauges_and_events_are_described_by_their_numbers() {
    let described = |entry: &dyn Fn(usize, *mut cpm_row) -> c_int| -> Vec<_> {
        let rows = (0..).map_while(|number| {
            let mut row = cpm_row::default();
            (entry(number, &raw mut row) == 1).then(|| (text(row.name), text(row.help)))
        });
        rows.collect()
    };
    let counters = described(&|number, row| call!(counter(number, row)));
    let gauges = described(&|number, row| call!(gauge(number, row)));
    let events = described(&|number, row| call!(event(number, row)));
    for (name, _) in counters.iter().chain(&gauges).chain(&events) {
        assert!(name.len() < CPM_NAME_BYTES as usize, "{name}");
    }
    let in_table = |name: &str, help: &str| (name.to_owned(), help.to_owned());
    let rows = Counter::ALL
        .iter()
        .map(|row| in_table(row.name(), row.help()));
    assert_eq!(counters, rows.collect::<Vec<_>>());
    let rows = Gauge::ALL
        .iter()
        .map(|row| in_table(row.name(), row.help()));
    assert_eq!(gauges, rows.collect::<Vec<_>>());
    let rows = Event::ALL
        .iter()
        .map(|row| in_table(row.name(), row.help()));
    assert_eq!(events, rows.collect::<Vec<_>>());
    assert_eq!(Event::Authorize.number(), CPM_EVENT_AUTHORIZE as usize);
    assert_eq!(Event::Checked.number(), CPM_EVENT_CHECKED as usize);
    let request = CPM_EVENT_RECIPIENT_REQUEST as usize;
    assert_eq!(Event::RecipientRequest.number(), request);
    assert_eq!(call!(counter(0, std::ptr::null_mut())), 0);
    assert_eq!(call!(gauge_value(std::ptr::null(), 0)), 0);
}

#[test]
fn a_parameter_changes_for_requests_that_come_later() {
    let service = service(PARAMETERS);
    let (number, limit) = parameter("max_recipients");
    assert_eq!(
        (limit.is_tunable, limit.is_checked, limit.min, limit.max),
        (1, 0, 1, 10_000)
    );
    let tune = |name: &str, value: &str, only_try| {
        call!(service_tune(service, lent(name), lent(value), only_try))
    };
    let in_force = |number| text(call!(value(service, number, 0)));
    assert_eq!(in_force(number), "100");
    let under_way = classify(service, &message(THREE), "sip:exploder@example.com");
    assert_eq!(tune("max_recipients", "2", 1), 0, "it could");
    assert_eq!(in_force(number), "100", "but only that was asked");
    assert_eq!(tune("max_recipients", "2", 0), 0);
    assert_eq!(in_force(number), "2");
    assert_eq!(check(under_way), CPM_SCRIPT_YES);
    let later = classify(service, &message(THREE), "sip:exploder@example.com");
    assert_eq!(check(later), CPM_SCRIPT_NO);
    assert_eq!(reply(later).unwrap().0, 486);

    seen(|seen| seen.log.clear());
    for (name, value) in [
        ("max_recipients", "0"),
        ("exploder_uri", "sip:e@example.com"),
        ("interworking", "1"),
        ("nothing", "1"),
    ] {
        assert_eq!(tune(name, value, 0), -1, "{name}={value}");
    }
    assert_eq!(in_force(number), "2");
    seen(|seen| assert_eq!(seen.log.len(), 4, "one line for each: {:?}", seen.log));
    let (own, _) = parameter("exploder_uri");
    assert_eq!(in_force(own), "sip:exploder@example.com");
    assert!(
        call!(value(service, own, 1)).s.is_null(),
        "there is no second"
    );
    for request in [under_way, later] {
        call!(request_free(request));
    }
    call!(service_free(service));
}
