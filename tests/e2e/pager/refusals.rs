//! Every refusal: what is answered to what, and which fault of several is named. The table of
//! refusals in `doc/manual.md` is what comes out here.

use cpm_testbed::{
    Agent, BOUNDARY, Bench, Proxy, ProxyConfig, Request, bcc, cc, cpm_message, multipart,
    resource_lists, to,
};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, compare_with_manual, counter, cpm_proxy, duty, exchange,
    expect_log_lines, proves, reason, untrusting_proxy,
};

const LIST_FIELDS: &str =
    "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list";

/// Everything that can be forbidden is.
fn strict(config: ProxyConfig) -> ProxyConfig {
    config
        .set("cpm", "required_user_agent", "CPM-client/OMA2")
        .set("cpm", "allow_anonymity", "no")
        .set("cpm", "max_recipients", "3")
        .set("cpm", "require_ids", "yes")
}

const VETO: &str = "event_route[cpm:authorize] {
    if (is_present_hf(\"X-Veto\")) drop;
}";

/// A request in the making, good at first.
#[derive(Clone)]
struct Draft {
    service: &'static str,
    /// Header fields to replace, or to leave out.
    header_fields: Vec<(&'static str, Option<&'static str>)>,
    /// One more of these.
    repeated: Vec<(&'static str, &'static str)>,
    list_fields: String,
    /// The resource list; `None` for a body without one.
    list: Option<String>,
    /// Whether the body has more than the list.
    message: bool,
    /// The last word on Content-Type and body.
    reshape: fn(&str, &[u8]) -> (String, Vec<u8>),
}

impl Draft {
    fn new(service: &'static str) -> Self {
        Draft {
            service,
            header_fields: Vec::new(),
            repeated: Vec::new(),
            list_fields: LIST_FIELDS.to_owned(),
            list: Some(resource_lists(&[to("sip:bill@127.0.0.1:9")])),
            message: true,
            reshape: |content_type, body| (content_type.to_owned(), body.to_vec()),
        }
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.header_fields.push((name, Some(value)));
    }

    fn remove(&mut self, name: &'static str) {
        self.header_fields.push((name, None));
    }

    /// A list whose only entry is this text.
    fn entry(&mut self, entry: &str) {
        self.list = Some(format!(
            "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
             xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{entry}</list></resource-lists>"
        ));
    }

    fn request(&self) -> Request {
        let message = cpm_message("sip:anne@example.com", self.service).recipients([]);
        let cpim = message.cpim();
        let (content_type, body) = match &self.list {
            Some(list) if self.message => (
                format!("multipart/mixed;boundary=\"{BOUNDARY}\""),
                multipart(&[
                    ("Content-Type: message/cpim", &cpim),
                    (&self.list_fields, list.as_bytes()),
                ]),
            ),
            Some(list) => (
                "application/resource-lists+xml".to_owned(),
                list.clone().into_bytes(),
            ),
            None => ("message/cpim".to_owned(), cpim),
        };
        let (content_type, body) = (self.reshape)(&content_type, &body);
        let mut request = message.request().with_body(&content_type, body);
        for (name, value) in &self.header_fields {
            request = match value {
                Some(value) => request.with(name, value),
                None => request.without(name),
            };
        }
        for (name, value) in &self.repeated {
            request = request.and(name, value);
        }
        request
    }
}

/// Which configuration a fault shows under.
#[derive(Clone, Copy, PartialEq)]
enum Under {
    /// All requirements set.
    Strict,
    /// The same with `missing_list_code=400`.
    MissingListIs400,
    /// The same with nobody trusted.
    NobodyTrusted,
}

struct Fault {
    /// For the manual.
    when: &'static str,
    under: Under,
    make: fn(&mut Draft),
    code: u16,
    reason: &'static str,
    /// The header field that says more.
    header: Option<(&'static str, &'static str)>,
}

impl Fault {
    /// The duties that its refusal at this address proves.
    fn duties(&self, service: &str) -> &'static [&'static str] {
        let is_exploder = service == EXPLODER;
        match self.header {
            NOT_AUTHORISED => &["9.1.1-1", "9.1.1-1-w"],
            WRONG_VERSION => &["9.1.1-2", "9.1.1-2-w"],
            NOT_ANONYMOUS if is_exploder => &["9.1.1-5a", "9.1.1-5a-w"],
            NOT_ANONYMOUS => &["9.1.1-3a", "9.1.1-3a-w"],
            TOO_MANY if is_exploder => &["9.1.1-5b", "9.1.1-5b-w"],
            TOO_MANY => &["9.1.1-3b", "9.1.1-3b-w"],
            NO_DESTINATIONS if self.when != "the resource list is empty" => &[],
            NO_DESTINATIONS if is_exploder => &["9.1.1-5c", "9.1.1-5c-w"],
            NO_DESTINATIONS => &["9.1.1-3c", "9.1.1-3c-w"],
            _ => &[],
        }
    }
}

const NOT_AUTHORISED: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"127 Service not authorised\""));
const WRONG_VERSION: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"132 Version not supported\""));
const NOT_ANONYMOUS: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"119 Anonymity not allowed\""));
const TOO_MANY: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"102 Too many recipients\""));
const NO_DESTINATIONS: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"129 No destinations\""));
const ENCODING: Option<(&str, &str)> = Some(("Accept-Encoding", "identity"));

const fn fault(
    when: &'static str,
    make: fn(&mut Draft),
    code: u16,
    reason: &'static str,
    header: Option<(&'static str, &'static str)>,
) -> Fault {
    Fault {
        when,
        under: Under::Strict,
        make,
        code,
        reason,
        header,
    }
}

/// In the order of the checks.
const FAULTS: &[Fault] = &[
    fault(
        "a header field that may occur once occurs twice, such as Content-Type, Max-Forwards or Conversation-ID",
        |draft| draft.repeated.push(("Content-Type", "text/plain")),
        400,
        "Two Content-Type Header Fields",
        None,
    ),
    fault(
        "nobody vouches for the originator: no P-Asserted-Identity, none that is a sip, sips or tel URI, and no `$cpm(originator)`",
        |draft| draft.remove("P-Asserted-Identity"),
        403,
        "Forbidden",
        NOT_AUTHORISED,
    ),
    Fault {
        under: Under::NobodyTrusted,
        ..fault(
            "P-Asserted-Identity comes from a peer that is no `trusted_peer`",
            |_| {},
            403,
            "Forbidden",
            NOT_AUTHORISED,
        )
    },
    fault(
        "`event_route[cpm:authorize]` said `drop`",
        |draft| draft.set("X-Veto", "yes"),
        403,
        "Forbidden",
        NOT_AUTHORISED,
    ),
    fault(
        "User-Agent names no product of `required_user_agent`, or is missing",
        |draft| draft.set("User-Agent", "IM-client/OMA1.0"),
        403,
        "Forbidden",
        WRONG_VERSION,
    ),
    fault(
        "Require names an extension that is not supported",
        |draft| draft.set("Require", "recipient-list-message, foo, 100rel"),
        420,
        "Bad Extension",
        Some(("Unsupported", "foo, 100rel")),
    ),
    fault(
        "Max-Forwards is 0",
        |draft| draft.set("Max-Forwards", "0"),
        483,
        "Too Many Hops",
        None,
    ),
    fault(
        "Max-Forwards is no number up to 255",
        |draft| draft.set("Max-Forwards", "many"),
        400,
        "Malformed Max-Forwards",
        None,
    ),
    fault(
        "From is no address",
        |draft| draft.set("From", "<sip:anne@exa mple.com>;tag=1"),
        400,
        "Malformed From",
        None,
    ),
    fault(
        "a list or a group has already forwarded it: Max-Breadth is 45 or less, or no number",
        |draft| draft.set("Max-Breadth", "45"),
        482,
        "Loop Detected",
        None,
    ),
    fault(
        "Conversation-ID is missing and `require_ids` is set",
        |draft| draft.remove("Conversation-ID"),
        400,
        "Missing Conversation-ID",
        None,
    ),
    fault(
        "Contribution-ID is missing and `require_ids` is set",
        |draft| draft.remove("Contribution-ID"),
        400,
        "Missing Contribution-ID",
        None,
    ),
    fault(
        "Privacy asks for anonymity (`id`, `user` or `header`) and `allow_anonymity` is no",
        |draft| draft.set("Privacy", "id"),
        403,
        "Forbidden",
        NOT_ANONYMOUS,
    ),
    fault(
        "the body or the resource list has a Content-Encoding",
        |draft| draft.list_fields.push_str("\r\nContent-Encoding: gzip"),
        415,
        "Unsupported Media Type",
        ENCODING,
    ),
    fault(
        "Content-Type breaks its grammar, or a part has two",
        |draft| draft.list_fields.push_str("\r\nContent-Type: text/plain"),
        400,
        "Malformed Content-Type",
        None,
    ),
    fault(
        "Content-Disposition breaks its grammar, or is given twice",
        |draft| draft.list_fields.push_str(";;="),
        400,
        "Malformed Content-Disposition",
        None,
    ),
    fault(
        "a part has a Content-Transfer-Encoding that MIME does not define",
        |draft| {
            draft
                .list_fields
                .push_str("\r\nContent-Transfer-Encoding: rot13")
        },
        400,
        "Unknown Content-Transfer-Encoding",
        None,
    ),
    fault(
        "a multipart is itself base64 or quoted-printable",
        |draft| draft.set("Content-Transfer-Encoding", "base64"),
        400,
        "Transfer-Encoded Multipart",
        None,
    ),
    fault(
        "a multipart has no boundary, or one that MIME does not allow",
        |draft| draft.reshape = |_, body| ("multipart/mixed".to_owned(), body.to_vec()),
        400,
        "Invalid Multipart Boundary",
        None,
    ),
    fault(
        "a multipart is cut short",
        |draft| {
            draft.reshape =
                |content_type, body| (content_type.to_owned(), body[..body.len() - 6].to_vec());
        },
        400,
        "Multipart Not Closed",
        None,
    ),
    fault(
        "a multipart has no parts",
        |draft| {
            draft.reshape = |content_type, _| {
                (
                    content_type.to_owned(),
                    format!("--{BOUNDARY}--\r\n").into_bytes(),
                )
            };
        },
        400,
        "Multipart Without Parts",
        None,
    ),
    fault(
        "the header of a part is not made of header fields, or of ones whose names SIP does not permit where the part becomes the body",
        |draft| draft.list_fields.push_str("\r\nno header field"),
        400,
        "Malformed Body Part Header",
        None,
    ),
    fault(
        "the header of a part is larger than 8 192 bytes",
        |draft| {
            let long = format!("\r\nContent-Description: {}", "x".repeat(8192));
            draft.list_fields.push_str(&long);
        },
        400,
        "Body Part Header Too Large",
        None,
    ),
    fault(
        "more than 64 parts",
        |draft| {
            draft.reshape = |content_type, _| {
                let parts = vec![("Content-Type: text/plain", "x".as_bytes()); 65];
                (content_type.to_owned(), multipart(&parts))
            };
        },
        400,
        "Too Many Body Parts",
        None,
    ),
    fault(
        "multiparts nested deeper than 8",
        |draft| {
            draft.reshape = |_, body| {
                let mut body = body.to_vec();
                let mut content_type = format!("multipart/mixed;boundary=\"{BOUNDARY}\"");
                for depth in 0..8 {
                    let head = format!("--b{depth}b\r\nContent-Type: {content_type}\r\n\r\n");
                    let tail = format!("\r\n--b{depth}b--\r\n");
                    body = [head.as_bytes(), &body, tail.as_bytes()].concat();
                    content_type = format!("multipart/mixed;boundary=b{depth}b");
                }
                (content_type, body)
            };
        },
        400,
        "Multipart Nested Too Deep",
        None,
    ),
    fault(
        "no resource list (the default, `missing_list_code` = 403)",
        |draft| draft.list = None,
        403,
        "Forbidden",
        NO_DESTINATIONS,
    ),
    Fault {
        under: Under::MissingListIs400,
        ..fault(
            "no resource list and `missing_list_code` = 400",
            |draft| draft.list = None,
            400,
            "Missing Resource List",
            None,
        )
    },
    fault(
        "the resource list is announced as base64 and is not",
        |draft| {
            draft
                .list_fields
                .push_str("\r\nContent-Transfer-Encoding: base64")
        },
        400,
        "Malformed Base64 Body",
        None,
    ),
    fault(
        "the resource list is announced as quoted-printable and is not",
        |draft| {
            draft
                .list_fields
                .push_str("\r\nContent-Transfer-Encoding: quoted-printable")
        },
        400,
        "Malformed Quoted-Printable Body",
        None,
    ),
    fault(
        "the resource list is not UTF-8",
        |draft| draft.list = Some("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><r/>".to_owned()),
        400,
        "Resource List Not UTF-8",
        None,
    ),
    fault(
        "the resource list is not well-formed XML",
        |draft| draft.list = draft.list.as_ref().map(|list| list.replace("</list>", "")),
        400,
        "Malformed Resource List",
        None,
    ),
    fault(
        "the resource list has a document type",
        |draft| {
            draft.list = Some("<!DOCTYPE r [<!ENTITY a \"aaaaaaaa\">]><r>&a;&a;</r>".to_owned());
        },
        400,
        "Document Type In Resource List",
        None,
    ),
    fault(
        "the resource list refers to an entity that XML itself does not define",
        |draft| draft.entry("<entry uri=\"sip:&b;@example.com\"/>"),
        400,
        "Undefined Entity In Resource List",
        None,
    ),
    fault(
        "the document is no resource list of RFC 4826",
        |draft| draft.list = Some("<lists xmlns=\"urn:example\"/>".to_owned()),
        400,
        "Not A Resource List",
        None,
    ),
    fault(
        "an element stands where RFC 4826 has none",
        |draft| draft.entry("<entry uri=\"sip:bill@example.com\"><list/></entry>"),
        400,
        "Unexpected Element In Resource List",
        None,
    ),
    fault(
        "an entry-ref or external element points elsewhere",
        |draft| draft.entry("<external anchor=\"http://xcap.example.com/lists\"/>"),
        400,
        "External Reference In Resource List",
        None,
    ),
    fault(
        "an entry has no uri, or an empty one",
        |draft| draft.entry("<entry/>"),
        400,
        "Resource List Entry Without URI",
        None,
    ),
    fault(
        "a copyControl is neither to, cc nor bcc",
        |draft| draft.entry("<entry uri=\"sip:bill@example.com\" cp:copyControl=\"all\"/>"),
        400,
        "Unknown Copy Control In Resource List",
        None,
    ),
    fault(
        "an anonymize is neither true nor false",
        |draft| draft.entry("<entry uri=\"sip:bill@example.com\" cp:anonymize=\"maybe\"/>"),
        400,
        "Unknown Anonymize In Resource List",
        None,
    ),
    fault(
        "a URI in the list is longer than 1 024 bytes",
        |draft| {
            draft.entry(&format!(
                "<entry uri=\"sip:{}@example.com\"/>",
                "x".repeat(1024)
            ))
        },
        400,
        "Resource List URI Too Long",
        None,
    ),
    fault(
        "elements nested deeper than 32",
        |draft| draft.entry(&format!("{}{}", "<list>".repeat(40), "</list>".repeat(40))),
        400,
        "Resource List Nested Too Deep",
        None,
    ),
    fault(
        "an element with more than 32 attributes",
        |draft| {
            let attributes: String = (0..40).map(|n| format!(" a{n}=\"\"")).collect();
            draft.entry(&format!(
                "<entry uri=\"sip:bill@example.com\"{attributes}/>"
            ));
        },
        400,
        "Too Many Attributes In Resource List",
        None,
    ),
    fault(
        "more than 32 namespaces at one place",
        |draft| {
            let mut nested = "<entry uri=\"sip:bill@example.com\"/>".to_owned();
            for n in 0..3 {
                let spaces: String = (0..15)
                    .map(|m| format!(" xmlns:n{n}m{m}=\"urn:{n}:{m}\""))
                    .collect();
                nested = format!("<list{spaces}>{nested}</list>");
            }
            draft.entry(&nested);
        },
        400,
        "Too Many Namespaces In Resource List",
        None,
    ),
    fault(
        "an entry is not a URI",
        |draft| draft.entry("<entry uri=\"bill\"/>"),
        400,
        "Bad URI In Resource List",
        None,
    ),
    fault(
        "more distinct recipients than `max_recipients`",
        |draft| {
            draft.list = Some(resource_lists(
                &["a", "b", "c", "d"].map(|user| to(&format!("sip:{user}@127.0.0.1:9"))),
            ));
        },
        486,
        "Busy Here",
        TOO_MANY,
    ),
    fault(
        "the resource list is empty",
        |draft| draft.list = Some(resource_lists(&[])),
        403,
        "Forbidden",
        NO_DESTINATIONS,
    ),
    fault(
        "the resource list names nobody but the Controlling Function itself",
        |draft| draft.list = Some(resource_lists(&[to(EXPLODER), cc(CONTROLLING)])),
        403,
        "Forbidden",
        NO_DESTINATIONS,
    ),
    fault(
        "the body is nothing but a resource list",
        |draft| draft.message = false,
        400,
        "No Message Beside The Resource List",
        None,
    ),
];

/// Sends a request that must be refused so, and nothing else may happen.
#[track_caller]
fn expect_refusal(agent: &Agent, proxy: &Proxy, request: &Request, fault: &Fault) {
    let answer = exchange(agent, request, proxy, fault.code);
    assert_eq!(reason(&answer), fault.reason, "{}", fault.when);
    for name in ["Warning", "Unsupported", "Accept-Encoding"] {
        let wanted = fault.header.filter(|(wanted, _)| *wanted == name);
        let wanted: Vec<&str> = wanted.iter().map(|(_, value)| *value).collect();
        assert_eq!(answer.headers(name), wanted, "{}", fault.when);
    }
    assert_eq!(answer.headers("Server"), ["CPM-serv/OMA2.2"]);
    assert!(answer.body().is_empty());
}

#[test]
fn each_fault_is_refused_as_the_manual_says() {
    let bench = Bench::new("each_fault_is_refused_as_the_manual_says");
    let routes = format!("{HANDLE}\n{VETO}");
    let proxies = [
        (Under::Strict, bench.proxy(&strict(cpm_proxy(&routes)))),
        (
            Under::MissingListIs400,
            bench.proxy(&strict(cpm_proxy(&routes)).set("cpm", "missing_list_code", "400")),
        ),
        (
            Under::NobodyTrusted,
            bench.proxy(&strict(untrusting_proxy(&routes))),
        ),
    ];
    let anne = bench.agent();
    let capture = bench.capture();
    let mut refused = 0;
    for fault in FAULTS {
        let (_, proxy) = proxies
            .iter()
            .find(|(under, _)| *under == fault.under)
            .expect("a proxy for each configuration");
        for service in [EXPLODER, CONTROLLING] {
            let mut draft = Draft::new(service);
            (fault.make)(&mut draft);
            let request = draft.request();
            proves!(
                fault.duties(service),
                expect_refusal(&anne, proxy, &request, fault)
            );
            let call_id = request.header("Call-ID").expect("requests have one");
            expect_log_lines(proxy, &format!("callid={call_id}"), 1);
            let warning = fault.header.filter(|(name, _)| *name == "Warning");
            let text = warning.and_then(|(_, value)| value.split('"').nth(1));
            let words = format!("refused {} {}", fault.code, text.unwrap_or_default());
            let log = proxy.log();
            let line = log
                .lines()
                .find(|line| line.contains(call_id))
                .unwrap_or_default();
            assert!(line.contains(&words), "{words} in {line}");
            refused += 1;
        }
    }
    let counted: u64 = proxies
        .iter()
        .map(|(_, proxy)| counter(proxy, "refused"))
        .sum();
    assert_eq!(counted, refused);
    let recording = capture.stop();
    recording.assert_clean_where(&recording.sent_by_proxy());
    let sent = format!("sip.Method && {}", recording.sent_by_proxy());
    assert!(
        recording.fields(&sent, &["sip.r-uri"]).is_empty(),
        "nothing went out"
    );
    for (_, proxy) in proxies {
        proxy.stop();
    }
    compare_with_manual(
        "refusals",
        &table(),
        "each_fault_is_refused_as_the_manual_says",
    );
}

/// One row per refusal.
fn table() -> String {
    let mut table = String::from(
        "| code | reason | Warning or other header field | when |\n|---|---|---|---|\n",
    );
    for fault in FAULTS {
        let header = match fault.header {
            Some(("Warning", value)) => format!("`{value}`"),
            Some((name, value)) => format!("`{name}: {value}`"),
            None => String::new(),
        };
        table += &format!(
            "| {} | {} | {header} | {} |\n",
            fault.code, fault.reason, fault.when
        );
    }
    table
}

#[test]
fn of_two_faults_the_first_in_the_specified_order_is_named() {
    // One fault for each check, in their order; the last ones share the body.
    const ORDER: &[&str] = &[
        "nobody vouches",
        "`event_route[cpm:authorize]`",
        "User-Agent names",
        "Require names",
        "Max-Forwards is 0",
        "a list or a group has already forwarded it",
        "Conversation-ID is missing",
        "Contribution-ID is missing",
        "Privacy asks",
        "the body or the resource list has a Content-Encoding",
        "more distinct recipients",
        "the resource list is empty",
        "the body is nothing but",
    ];
    let bench = Bench::new("of_two_faults_the_first");
    let proxy = bench.proxy(&strict(cpm_proxy(&format!("{HANDLE}\n{VETO}"))));
    let anne = bench.agent();
    let capture = bench.capture();
    let of = |start: &&str| {
        let found = FAULTS.iter().find(|fault| fault.when.starts_with(start));
        found.unwrap_or_else(|| panic!("no fault {start}"))
    };
    let faults: Vec<&Fault> = ORDER.iter().map(of).collect();
    for (place, first) in faults.iter().enumerate() {
        for second in &faults[place + 1..] {
            // A list is either too long or empty; a body that is only a list has no fields of its
            // own.
            let exclusive = |fault: &Fault| fault.when.contains("list");
            if first.when.starts_with("the body or") && second.when.starts_with("the body is")
                || first.when.starts_with("more distinct")
                    && exclusive(second)
                    && !second.when.contains("nothing but")
            {
                continue;
            }
            for service in [EXPLODER, CONTROLLING] {
                let mut draft = Draft::new(service);
                (second.make)(&mut draft);
                (first.make)(&mut draft);
                let request = draft.request();
                proves!(
                    first.duties(service),
                    expect_refusal(&anne, &proxy, &request, first)
                );
            }
        }
    }
    // Two checks give the same answer: the log tells them apart.
    let mut both = Draft::new(EXPLODER);
    both.remove("P-Asserted-Identity");
    both.set("X-Veto", "yes");
    let request = both.request();
    expect_refusal(&anne, &proxy, &request, faults[0]);
    let call_id = request.header("Call-ID").expect("requests have one");
    proxy.expect_log(&format!(
        "refused 403 127 Service not authorised: nobody vouches for the originator, callid={call_id}"
    ));
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_required_user_agent_is_found_among_products_and_comments() {
    let bench = Bench::new("a_required_user_agent");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set(
        "cpm",
        "required_user_agent",
        "CPM-client/OMA2 Lab-client",
    ));
    let lenient = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    for (user_agent, code) in [
        (Some("CPM-client/OMA2"), 202),
        (Some("CPM-client/OMA2.2"), 202),
        (Some("RCS-phone/7 (build 3) cpm-client/OMA2.1 (x; y)"), 202),
        (Some("Lab-client"), 202),
        (Some("CPM-client/OMA21"), 403),
        (Some("CPM-client/OMA1.0"), 403),
        (Some("CPM-client"), 403),
        (Some("Phone (CPM-client/OMA2.2)"), 403),
        (None, 403),
    ] {
        let request = match user_agent {
            Some(value) => message.request().with("User-Agent", value),
            None => message.request().without("User-Agent"),
        };
        let answer = exchange(&anne, &request, &proxy, code);
        let warning = (code == 403).then_some("399 example.com \"132 Version not supported\"");
        proves!(
            ["9.1.1-2", "9.1.1-2-w"],
            assert_eq!(answer.header("Warning"), warning, "{user_agent:?}")
        );
        proves!(
            ["9.1.1-2"],
            exchange(&anne, &request.again(), &lenient, 202)
        );
    }
    capture.stop().assert_clean();
    for proxy in [proxy, lenient] {
        proxy.stop();
    }
}

#[test]
fn anonymity_is_what_privacy_asks_for() {
    let bench = Bench::new("anonymity_is_what_privacy_asks_for");
    let forbidding = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "allow_anonymity", "no"));
    let allowing = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message =
            cpm_message("sip:anne@example.com", service).recipients([to(&bill.uri("bill"))]);
        for (privacy, code) in [
            ("id", 403),
            ("user", 403),
            ("header", 403),
            ("session;ID;critical", 403),
            ("\r\n id", 403),
            ("session;\r\n\tuser", 403),
            ("critical ; header ; session", 403),
            ("none", 202),
            ("session", 202),
            ("critical", 202),
            ("history", 202),
        ] {
            let request = message.request().with("Privacy", privacy);
            let answer = exchange(&anne, &request, &forbidding, code);
            let warning = (code == 403).then_some("399 example.com \"119 Anonymity not allowed\"");
            proves!(
                duty(
                    service,
                    ["9.1.1-3a", "9.1.1-3a-w"],
                    ["9.1.1-5a", "9.1.1-5a-w"]
                ),
                assert_eq!(answer.header("Warning"), warning, "{privacy}")
            );
            exchange(&anne, &request.again(), &allowing, 202);
        }
        exchange(&anne, &message.request(), &forbidding, 202);
    }
    capture.stop().assert_clean();
    for proxy in [forbidding, allowing] {
        proxy.stop();
    }
}

#[test]
fn the_limit_counts_distinct_recipients() {
    let bench = Bench::new("the_limit_counts_distinct_recipients");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set_number("cpm", "max_recipients", 3));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let uri = |user: &str| bill.uri(user);
    let three = vec![
        to(&uri("a")),
        cc(&uri("b")),
        // Once more in other words, and ourselves: they do not count.
        bcc(&uri("%61")),
        to(&uri("a")),
        to(EXPLODER),
        cc(CONTROLLING),
        to(&uri("A")),
        to(&uri("A")),
    ];
    for service in [EXPLODER, CONTROLLING] {
        let within = cpm_message("sip:anne@example.com", service).recipients(three.clone());
        exchange(&anne, &within.request(), &proxy, 202);
        let mut users: Vec<String> = bill
            .expect_requests("MESSAGE", 3)
            .iter()
            .map(|request| request.uri().unwrap_or_default().to_owned())
            .collect();
        users.sort();
        assert_eq!(users, [uri("A"), uri("a"), uri("b")]);
        let beyond = within.recipients(three.iter().cloned().chain([bcc(&uri("d"))]));
        let answer = exchange(&anne, &beyond.request(), &proxy, 486);
        proves!(
            duty(
                service,
                ["9.1.1-3b", "9.1.1-3b-w"],
                ["9.1.1-5b", "9.1.1-5b-w"]
            ),
            assert_eq!(
                answer.header("Warning"),
                Some("399 example.com \"102 Too many recipients\"")
            )
        );
        bill.expect_nothing_until(|| proxy.ping());
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn every_unknown_option_tag_is_named_and_known_ones_are_not() {
    let bench = Bench::new("every_unknown_option_tag_is_named");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    let unknown = message
        .request()
        .with("Require", "foo , Recipient-List-Message,bar")
        .and("Require", "baz");
    let answer = exchange(&anne, &unknown, &proxy, 420);
    assert_eq!(answer.headers("Unsupported"), ["foo, bar, baz"]);
    for require in [
        "recipient-list-message",
        "recipient-list-invite",
        "Recipient-List-Message, recipient-list-invite",
    ] {
        let request = message.request().with("Require", require);
        exchange(&anne, &request, &proxy, 202);
        assert_eq!(bill.expect_request("MESSAGE").header("Require"), None);
    }
    exchange(&anne, &message.request().without("Require"), &proxy, 202);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn no_content_encoding_is_understood_wherever_it_stands() {
    let bench = Bench::new("no_content_encoding");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message =
            cpm_message("sip:anne@example.com", service).recipients([to(&bill.uri("bill"))]);
        for (name, value) in [("Content-Encoding", "gzip"), ("e", "deflate, gzip")] {
            let request = message.request().with(name, value);
            let answer = exchange(&anne, &request, &proxy, 415);
            assert_eq!(answer.headers("Accept-Encoding"), ["identity"]);
        }
        let plain = message.request().with("Content-Encoding", "Identity");
        exchange(&anne, &plain, &proxy, 202);
        bill.expect_request("MESSAGE");
    }
    let recording = capture.stop();
    recording.assert_clean_where(&recording.sent_by_proxy());
    proxy.stop();
}

#[test]
fn a_warning_names_the_configured_host() {
    let bench = Bench::new("a_warning_names_the_configured_host");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "warning_agent", "cf.example.net:5060"));
    let anne = bench.agent();
    let capture = bench.capture();
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([])
        .request();
    let answer = exchange(&anne, &request, &proxy, 403);
    assert_eq!(
        answer.header("Warning"),
        Some("399 cf.example.net:5060 \"129 No destinations\"")
    );
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_repeated_request_gets_the_same_refusal_and_counts_once() {
    let bench = Bench::new("a_repeated_request_gets_the_same_refusal");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let anne = bench.agent();
    let capture = bench.capture();
    let request = cpm_message("sip:anne@example.com", CONTROLLING)
        .recipients([])
        .request();
    let answer = exchange(&anne, &request, &proxy, 403);
    anne.send(&request, proxy.udp());
    anne.expect_retransmissions(&answer, 1);
    assert_eq!(
        (counter(&proxy, "requests"), counter(&proxy, "refused")),
        (1, 1)
    );
    capture.stop().assert_clean();
    proxy.stop();
}
