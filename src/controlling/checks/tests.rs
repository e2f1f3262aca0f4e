//! What each check refuses, at its boundary, and with which code.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use super::Check;
use crate::controlling::host::{Counter, Journal};
use crate::controlling::request::{GroupLookup, Request};
use crate::controlling::{
    ControllingFunction, GroupFinder, Received, ScriptSetting, ScriptSettingError,
};
use crate::group::source::{DatabaseError, GroupDatabase};
use crate::group::{Group, Permissions};
use crate::log::LogAt;
use crate::operator::Event;
use crate::policy::Settings;

/// Counts destinations that were the Controlling Function itself.
#[derive(Default)]
struct Loops(Cell<u32>);

impl Journal for Loops {
    fn log(&self, _: LogAt, _: fmt::Arguments<'_>) {}

    fn count(&self, counter: Counter, n: u32) {
        if counter == Counter::Loops {
            self.0.set(self.0.get() + n);
        }
    }
}

const EXPLODER: &str = "sip:all@example.com";
const GROUP: &str = "sip:team@example.com";

/// A message of Anne, as it may be changed.
pub(in crate::controlling) struct Case<'a> {
    pub(in crate::controlling) parameters: &'a [(&'a str, &'a str)],
    pub(in crate::controlling) to: &'a str,
    pub(in crate::controlling) fields: &'a str,
    pub(in crate::controlling) recipients: &'a [&'a str],
    pub(in crate::controlling) group: GroupLookup,
}

impl<'a> Case<'a> {
    pub(in crate::controlling) fn new() -> Self {
        Case {
            parameters: &[],
            to: EXPLODER,
            fields: "",
            recipients: &["sip:bill@example.com", "sip:carol@example.com"],
            group: GroupLookup::Unknown,
        }
    }

    pub(in crate::controlling) fn with(parameters: &'a [(&'a str, &'a str)]) -> Self {
        Case {
            parameters,
            ..Case::new()
        }
    }

    /// To the group, without a list.
    fn to_group() -> Self {
        Case {
            to: GROUP,
            recipients: &[],
            group: known(&["sip:bill@example.com"], ALL, "cpm"),
            ..Case::new()
        }
    }

    pub(in crate::controlling) fn service(&self) -> ControllingFunction {
        let own = [
            ("exploder_uri", EXPLODER),
            ("group_source", "dir:/groups"),
            ("group_uri", GROUP),
            ("trusted_peer", "192.0.2.1"),
        ];
        let mut settings = Settings::default();
        for (name, value) in own.iter().chain(self.parameters) {
            settings.set(name, value).unwrap();
        }
        ControllingFunction::new(settings, 1).unwrap()
    }

    fn message(&self) -> String {
        let entries: String = self
            .recipients
            .iter()
            .map(|uri| format!("<entry uri=\"{uri}\"/>"))
            .collect();
        let list = format!(
            "--b\r\nContent-Type: application/resource-lists+xml\r\n\
             Content-Disposition: recipient-list\r\n\r\n\
             <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\">\
             <list>{entries}</list></resource-lists>\r\n"
        );
        let list = match self.to {
            GROUP => "",
            _ => &list,
        };
        let body = format!("--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n{list}--b--\r\n");
        format!(
            "MESSAGE {to} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:anne@example.com>;tag=1\r\nTo: <{to}>\r\nCall-ID: 1\r\n\
             CSeq: 1 MESSAGE\r\nP-Asserted-Identity: <sip:anne@example.com>\r\nAccept-Contact: \
             *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"\r\n\
             {fields}Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {length}\r\n\r\n\
             {body}",
            to = self.to,
            fields = self.fields,
            length = body.len()
        )
    }

    fn request(&self) -> Request {
        self.request_to(&Rc::new(self.service()))
    }

    pub(in crate::controlling) fn request_to(&self, service: &Rc<ControllingFunction>) -> Request {
        let message = self.message();
        let received = Received {
            message: message.as_bytes(),
            request_uri: self.to,
            source_address: Some("192.0.2.1".parse().unwrap()),
        };
        service.classify(&received).expect("it is ours")
    }

    /// The code of the refusal; 202 if every check has passed.
    fn code(self) -> u16 {
        self.code_and_loops().0
    }

    fn code_and_loops(self) -> (u16, u32) {
        let journal = Loops::default();
        let code = self.code_with(&journal);
        (code, journal.0.get())
    }

    fn code_with(self, journal: &Loops) -> u16 {
        let mut request = self.request();
        let mut group = Some(self.group);
        // No check is repeated: each either ends or leads to the next.
        for _ in 0..10 {
            match request.poll_check(journal) {
                Check::Ask(_) => request.handle_script(true, journal),
                Check::WantGroup => {
                    request.handle_group(group.take().expect("it is asked for once"));
                }
                Check::LongList => request.read_list_here(),
                Check::Accepted => return 202,
                Check::Answered => {
                    return request.reply().expect("it is answered").code.as_u16();
                }
                Check::Repeated => break,
            }
        }
        panic!("the checks do not end");
    }
}

const ALL: Permissions = Permissions {
    may_send: true,
    anonymity_allowed: true,
};

/// A group with these members, for one service.
fn known(members: &[&str], permissions: Permissions, service: &str) -> GroupLookup {
    let entries: String = members
        .iter()
        .map(|uri| format!("<entry uri='{uri}'/>"))
        .collect();
    let document = format!(
        "<group xmlns='urn:oma:xml:poc:list-service'><list-service uri='{GROUP}'>\
         <list>{entries}</list><supported-services><service enabler='{service}'/>\
         </supported-services></list-service></group>"
    );
    let group = Group::parse(document.as_bytes()).unwrap().remove(0);
    GroupLookup::Known(Rc::new(group), permissions)
}

#[test]
fn a_list_is_as_long_as_it_may_be() {
    let code = |most, recipients| {
        Case {
            parameters: &[("max_recipients", most)],
            recipients,
            ..Case::new()
        }
        .code()
    };
    let three = &[
        "sip:a@example.com",
        "sip:b@example.com",
        "sip:c@example.com",
    ];
    assert_eq!(code("3", three), 202);
    assert_eq!(code("2", three), 486);
    // Distinct ones count.
    assert_eq!(code("1", &["sip:a@example.com", "sip:a@example.com"]), 202);
    assert_eq!(code("3", &[]), 403);
    let own = Case {
        recipients: &[EXPLODER, "sip:bill@example.com"],
        ..Case::new()
    };
    assert_eq!(own.code_and_loops(), (202, 1));
    assert_eq!(code("3", &[EXPLODER]), 403);
    assert_eq!(code("3", &["not a URI"]), 400);
}

#[test]
fn who_hides_needs_leave_to_hide() {
    let code = |allowed, fields| {
        Case {
            parameters: &[("allow_anonymity", allowed)],
            fields,
            ..Case::new()
        }
        .code()
    };
    assert_eq!(code("no", ""), 202);
    assert_eq!(code("no", "Privacy: id\r\n"), 403);
    assert_eq!(code("yes", "Privacy: id\r\n"), 202);
}

#[test]
fn a_list_takes_nothing_from_another_list_or_group() {
    let code = |fields| {
        Case {
            fields,
            ..Case::new()
        }
        .code()
    };
    assert_eq!(code("Max-Breadth: 46\r\n"), 202);
    assert_eq!(code("Max-Breadth: 45\r\n"), 482);
    assert_eq!(code("Max-Forwards: 1\r\n"), 202);
    assert_eq!(code("Max-Forwards: 0\r\n"), 483);
    assert_eq!(code("Require: unknown\r\n"), 420);
}

#[test]
fn a_group_takes_as_many_forwardings_as_it_may_be_nested() {
    let code = |nesting, fields: &str| {
        Case {
            parameters: &[("group_nesting", nesting)],
            fields,
            ..Case::to_group()
        }
        .code()
    };
    // Each group on the way halves it.
    for (nesting, breadth, expected) in [
        ("0", 60, 202),
        ("0", 31, 202),
        ("0", 30, 482),
        ("1", 30, 202),
        ("1", 16, 202),
        ("1", 15, 482),
        ("2", 15, 202),
        ("2", 0, 482),
    ] {
        let field = format!("Max-Breadth: {breadth}\r\n");
        assert_eq!(code(nesting, &field), expected, "{nesting} {breadth}");
    }
}

/// A group asserts itself, and refers to the sender.
#[test]
fn a_message_of_a_group_is_known_without_its_breadth() {
    let code = |nesting, fields: &str| {
        let asserted = format!("P-Asserted-Identity: <{GROUP}>");
        let case = Case {
            parameters: &[("group_nesting", nesting)],
            ..Case::to_group()
        };
        let own = "P-Asserted-Identity: <sip:anne@example.com>";
        let message = case.message().replace(own, &format!("{fields}{asserted}"));
        let service = Rc::new(case.service());
        let received = Received {
            message: message.as_bytes(),
            request_uri: GROUP,
            source_address: Some("192.0.2.1".parse().unwrap()),
        };
        let mut request = service.classify(&received).expect("it is ours");
        loop {
            match request.poll_check(&Loops::default()) {
                Check::Ask(_) => request.handle_script(true, &Loops::default()),
                Check::WantGroup => return None,
                _ => return request.reply().map(|reply| reply.code.as_u16()),
            }
        }
    };
    let referred = "Referred-By: <sip:anne@example.com>\r\n";
    assert_eq!(code("0", referred), Some(482));
    assert_eq!(code("1", referred), None);
    assert_eq!(code("0", ""), None);
}

#[test]
fn a_group_is_known_and_lets_its_sender_send() {
    let code = |group| {
        Case {
            group,
            ..Case::to_group()
        }
        .code()
    };
    let (bill, nobody) = (&["sip:bill@example.com"], Permissions::default());
    assert_eq!(code(known(bill, ALL, "cpm")), 202);
    assert_eq!(code(known(bill, nobody, "cpm")), 403);
    assert_eq!(code(GroupLookup::Unknown), 404);
    assert_eq!(code(GroupLookup::Unavailable { retry_after_s: 7 }), 480);
    assert_eq!(code(known(bill, ALL, "oma_poc")), 488);
}

#[test]
fn a_group_has_members_besides_its_sender_and_itself() {
    let code = |most, members: &[&str]| {
        Case {
            parameters: &[("max_group_members", most)],
            group: known(members, ALL, "cpm"),
            ..Case::to_group()
        }
        .code()
    };
    let (bill, carol) = ("sip:bill@example.com", "sip:carol@example.com");
    assert_eq!(code("2", &[bill, carol]), 202);
    assert_eq!(code("1", &[bill, carol]), 486);
    assert_eq!(code("1", &[bill, "sip:anne@example.com", GROUP]), 202);
    assert_eq!(code("2", &["sip:anne@example.com"]), 403);
    assert_eq!(code("2", &[GROUP]), 403);
    let copied = Case {
        parameters: &[("copy_to_sender", "yes")],
        group: known(&["sip:anne@example.com"], ALL, "cpm"),
        ..Case::to_group()
    };
    assert_eq!(copied.code(), 202);
}

#[test]
fn a_group_decides_on_anonymity_itself() {
    let code = |anonymity_allowed, fields| {
        let permissions = Permissions {
            anonymity_allowed,
            ..ALL
        };
        Case {
            parameters: &[("allow_anonymity", "no")],
            fields,
            group: known(&["sip:bill@example.com"], permissions, "cpm"),
            ..Case::to_group()
        }
        .code()
    };
    assert_eq!(code(false, ""), 202);
    assert_eq!(code(false, "Privacy: id\r\n"), 403);
    assert_eq!(code(true, "Privacy: id\r\n"), 202);
}

#[test]
fn a_request_says_who_sends_it_and_how_it_is_charged() {
    let request = Case::new().request();
    assert_eq!(request.originator(), Some("sip:anne@example.com"));
    assert_eq!(request.icid(), None);
    assert_eq!(request.conversation_id(), None);
    assert_eq!(request.contribution_id(), None);
    assert_eq!(request.notifications_to(), Some("sip:anne@example.com"));
    let charged = Case {
        fields: "P-Charging-Vector: icid-value=i1;orig-ioi=example.com\r\n",
        ..Case::new()
    };
    assert_eq!(charged.request().icid(), Some("i1"));
}

/// What is next when the script has had its say.
fn after_the_script(request: &mut Request) -> Check {
    let questions = [Event::Authorize, Event::Checked];
    let next = questions.into_iter().find_map(|question| {
        let next = request.poll_check(&Loops::default());
        request.handle_script(true, &Loops::default());
        (next != Check::Ask(question)).then_some(next)
    });
    next.unwrap_or_else(|| request.poll_check(&Loops::default()))
}

#[test]
fn its_record_says_what_it_belongs_to() {
    use crate::shared::MessageText::{CallId, ContributionId, ConversationId, Kind, Mode};
    let case = Case {
        fields: "Conversation-ID: conv\r\nContribution-ID: cont\r\n",
        ..Case::new()
    };
    let mut request = case.request();
    assert_eq!(request.content_bytes(), 0, "before the checks");
    assert_eq!(after_the_script(&mut request), Check::Accepted);
    let about = request.about();
    for (name, text) in [
        (ConversationId, "conv"),
        (ContributionId, "cont"),
        (CallId, "1"),
        (Kind, request.kind().as_str()),
        (Mode, request.mode().as_str()),
    ] {
        assert_eq!(about.text(name), Some(text.as_bytes()), "{name:?}");
    }
    assert_eq!(about.recipients, 2);
    let body = request.outgoing_body.as_ref().unwrap().body.len();
    assert_eq!(about.bytes, body as u64);
    assert_eq!(request.content_bytes(), body as u64);
}

/// Readings N9.
#[test]
fn a_warning_names_the_configured_host_or_that_of_the_address() {
    for (parameters, agent) in [
        (&[][..], "example.com"),
        (&[("warning_agent", "cpm.example.net")], "cpm.example.net"),
    ] {
        let parameters = [parameters, &[("allow_anonymity", "no")]].concat();
        let case = Case {
            parameters: &parameters,
            fields: "Privacy: id\r\n",
            ..Case::new()
        };
        let mut request = case.request();
        assert_eq!(after_the_script(&mut request), Check::Answered);
        let headers = String::from_utf8(request.reply().unwrap().headers.clone()).unwrap();
        let warning = headers.split("Warning: ").nth(1).expect("a Warning");
        assert_eq!(warning.split(' ').nth(1), Some(agent), "{headers}");
    }
}

/// Each part of the script has its time.
#[test]
fn the_script_decides_only_what_is_still_open() {
    use ScriptSetting::{AllowAnonymity, Code, MaxRecipients, Originator, Reason, RetryAfter};
    let all = [
        (Originator, "sip:carol@example.com"),
        (AllowAnonymity, "no"),
        (MaxRecipients, "7"),
        (Code, "486"),
        (Reason, "Busy"),
        (RetryAfter, "5"),
    ];
    let takes = |request: &mut Request| {
        all.map(|(setting, text)| match request.set(setting, text) {
            Ok(()) => true,
            Err(ScriptSettingError::NotNow(refused)) => {
                assert_eq!(refused, setting);
                false
            }
            Err(error) => panic!("{error}"),
        })
    };
    let mut request = Case::new().request();
    assert_eq!(takes(&mut request), [true, true, true, false, false, false]);
    assert_eq!(request.originator(), Some("sip:carol@example.com"));
    assert_eq!((request.max_recipients(), request.code()), (7, None));
    let asked = request.poll_check(&Loops::default());
    assert_eq!(asked, Check::Ask(Event::Authorize));
    assert_eq!(takes(&mut request), [false, true, true, true, true, true]);
    assert_eq!(request.code().map(|code| code.as_u16()), Some(486));
    assert_eq!(request.reason(), Some(&b"Busy"[..]));
    assert_eq!(request.retry_after_s(), Some(5));
    request.handle_script(false, &Loops::default());
    assert_eq!(request.poll_check(&Loops::default()), Check::Answered);
    assert_eq!(takes(&mut request), [false; 6]);
}

/// The answer of a source is kept until the operator has it forgotten.
#[test]
fn groups_are_forgotten_when_the_operator_says_so() {
    struct NoDatabase;
    impl GroupDatabase for NoDatabase {
        fn document(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
            Err(DatabaseError::NoConnection)
        }
    }
    let folder = std::env::temp_dir().join(format!("cpm-group-finder-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let document = format!(
        "<group xmlns='urn:oma:xml:poc:list-service'><list-service uri='{GROUP}'><list>\
         <entry uri='sip:bill@example.com'/></list></list-service></group>"
    );
    std::fs::write(folder.join("team.xml"), document).unwrap();
    let source = format!("dir:{}", folder.display());
    let mut settings = Settings::default();
    for (name, value) in [("group_source", &*source), ("group_uri", GROUP)] {
        settings.set(name, value).unwrap();
    }
    let mut finder = GroupFinder::new(&ControllingFunction::new(settings, 1).unwrap()).unwrap();
    let request = Case::to_group().request();
    let now = std::time::SystemTime::now();
    let found = finder.look_up(&request, 1_000, now, &NoDatabase, &Loops::default());
    assert!(matches!(found, GroupLookup::Known(..)), "{found:?}");
    assert_eq!(finder.flush(), 1);
    assert_eq!(finder.flush(), 0);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Another process has done the checks before, for an originator and with a limit of the script.
#[test]
fn a_request_goes_on_where_another_process_has_left_it() {
    let next = |case: &Case<'_>, limit: usize| {
        let mut request = case.request();
        request.resume("sip:carol@example.com", limit);
        let next = request.poll_check(&Loops::default());
        assert_eq!(request.originator(), Some("sip:carol@example.com"));
        (next, request.reply().map(|reply| reply.code.as_u16()))
    };
    assert_eq!(next(&Case::to_group(), 1), (Check::WantGroup, None));
    let to_list = next(&Case::new(), 100);
    assert_eq!(to_list, (Check::Ask(Event::Checked), None));
    let to_list = next(&Case::new(), 1);
    assert_eq!(to_list, (Check::Answered, Some(486)));
}
