//! Cost of requests written to be expensive: CPU time of all checks against the size that the
//! sender controls. Twice the size may take twice the time, no more.

use std::fmt;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use cpm::controlling::{
    Check, ControllingFunction, Counter, GroupLookup, Journal, LogAt, Received,
};
use cpm::group::Group;
use cpm::policy::Settings;

use crate::cpu::thread_time;
use crate::report::Table;

const EXPLODER: &str = "sip:exploder@example.com";
const GROUP: &str = "sip:team@groups.example.com";

/// Sizes that are compared; a kind whose limit is lower is measured at the same shares of its
/// limit.
const SHARES: [usize; 3] = [4, 2, 1];

/// A kind of request, and its maximum size.
struct Kind {
    name: &'static str,
    /// Maximum size: the number of repeated elements.
    most: usize,
    /// One of a size: the request, and the group document if it is for one.
    make: fn(usize) -> (String, Option<String>),
}

const KINDS: [Kind; 14] = [
    Kind {
        name: "list: distinct users",
        most: 9_900,
        make: |size| (listed(size, |n| format!("sip:user{n}@example.com")), None),
    },
    Kind {
        name: "list: one parameter differs",
        most: 9_900,
        make: |size| {
            let uri = |n| format!("sip:user@example.com;x={n}");
            (listed(size, uri), None)
        },
    },
    Kind {
        name: "list: 30 parameters, one differs",
        most: 400,
        make: |size| {
            let parameters = (0..29).fold(String::new(), |text, n| format!("{text};p{n}=v"));
            let uri = |n| format!("sip:user@example.com{parameters};x={n}");
            (listed(size, uri), None)
        },
    },
    Kind {
        name: "list: passwords differ",
        most: 9_900,
        make: |size| {
            let uri = |n| format!("sip:user:{n}@example.com");
            (listed(size, uri), None)
        },
    },
    Kind {
        name: "list: one address again and again",
        most: 9_900,
        make: |size| (listed(size, |_| "sip:user@example.com;x".to_owned()), None),
    },
    Kind {
        name: "list: own addresses",
        most: 9_900,
        make: |size| (listed(size, |n| format!("{EXPLODER};x={n}")), None),
    },
    Kind {
        name: "header fields",
        most: 240,
        make: |size| (with_header(size, |n| format!("X-{n}: {n}\r\n")), None),
    },
    Kind {
        name: "Accept-Contact values",
        most: 4_000,
        make: |size| (with_values("Accept-Contact", size, "*;a"), None),
    },
    Kind {
        name: "Accept-Contact parameters",
        most: 4_000,
        make: |size| {
            let parameters = (0..size).fold(String::new(), |text, n| format!("{text};p{n}"));
            let field = format!("Accept-Contact: *{parameters}\r\n");
            (with_header(1, |_| field.clone()), None)
        },
    },
    Kind {
        name: "Require tags",
        most: 4_000,
        make: |size| (with_values("Require", size, "recipient-list-message"), None),
    },
    Kind {
        name: "body parts",
        most: 64,
        make: |size| (with_parts(size), None),
    },
    Kind {
        name: "group: distinct members",
        most: 9_900,
        make: |size| {
            let uri = |n| format!("sip:user{n}@example.com");
            to_group(group(size, uri, ""))
        },
    },
    Kind {
        name: "group: one parameter differs",
        most: 9_900,
        make: |size| {
            let uri = |n| format!("sip:user@example.com;x={n}");
            to_group(group(size, uri, ""))
        },
    },
    Kind {
        name: "group: rules about external lists",
        most: 3_000,
        make: |size| {
            let condition = |n| {
                let anchor = format!(
                    "<x:external-list><entry anchor=\"l{}\"/></x:external-list>",
                    n % 60
                );
                format!("<cr:rule><cr:conditions>{anchor}</cr:conditions></cr:rule>")
            };
            let rules: String = (0..size).map(condition).collect();
            to_group(group(1, |_| "sip:a@example.com".to_owned(), &rules))
        },
    },
];

fn head(uri: &str, header: &str) -> String {
    format!(
        "MESSAGE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:anne@example.com>;tag=1\r\nTo: <{uri}>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\n\
         P-Asserted-Identity: <sip:anne@example.com>\r\n{header}\
         Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"\r\n"
    )
}

const TEXT_PART: &str = "--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n";

/// A message to a list of this many, with further header lines and parts.
fn message(header: &str, parts: &str, entries: &str) -> String {
    let body = format!(
        "{parts}--b\r\nContent-Type: application/resource-lists+xml\r\n\
         Content-Disposition: recipient-list\r\n\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list></resource-lists>\
         \r\n--b--\r\n"
    );
    format!(
        "{}Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
        head(EXPLODER, header),
        body.len()
    )
}

fn listed(size: usize, uri: impl Fn(usize) -> String) -> String {
    let entries = (0..size).fold(String::new(), |mut text, n| {
        let _ = write!(text, "<entry uri=\"{}\"/>", uri(n));
        text
    });
    message("", TEXT_PART, &entries)
}

const ONE_ENTRY: &str = "<entry uri=\"sip:bill@example.com\"/>";

fn with_header(size: usize, line: impl Fn(usize) -> String) -> String {
    let lines: String = (0..size).map(line).collect();
    message(&lines, TEXT_PART, ONE_ENTRY)
}

fn with_values(name: &str, size: usize, value: &str) -> String {
    let values = vec![value; size].join(",");
    message(&format!("{name}: {values}\r\n"), TEXT_PART, ONE_ENTRY)
}

fn with_parts(size: usize) -> String {
    message(
        "",
        &TEXT_PART.repeat(size.saturating_sub(2).max(1)),
        ONE_ENTRY,
    )
}

fn group(size: usize, uri: impl Fn(usize) -> String, rules: &str) -> String {
    let entries = (0..size).fold(String::new(), |mut text, n| {
        let _ = write!(text, "<rl:entry uri=\"{}\"/>", uri(n));
        text
    });
    format!(
        "<group xmlns=\"urn:oma:xml:poc:list-service\" xmlns:rl=\"urn:ietf:params:xml:ns:resource-lists\" \
         xmlns:cr=\"urn:ietf:params:xml:ns:common-policy\" xmlns:x=\"urn:oma:xml:xdm:common-policy\">\
         <list-service uri=\"{GROUP}\"><list>{entries}</list>\
         <x:supported-services><x:service enabler=\"urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg\"/></x:supported-services>\
         <cr:ruleset><cr:rule><cr:actions><allow-initiate-conference>true</allow-initiate-conference></cr:actions></cr:rule>\
         {rules}</cr:ruleset></list-service></group>"
    )
}

fn to_group(document: String) -> (String, Option<String>) {
    let request = format!(
        "{}Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nHello",
        head(GROUP, "")
    );
    (request, Some(document))
}

/// A host with nothing behind it.
struct Nowhere;

impl Journal for Nowhere {
    fn log(&self, _: LogAt, _: fmt::Arguments<'_>) {}

    fn count(&self, _: Counter, _: u32) {}
}

fn service() -> Rc<ControllingFunction> {
    let mut settings = Settings::default();
    for (name, value) in [
        ("exploder_uri", EXPLODER),
        ("group_uri", "sip:*@groups.example.com"),
        ("group_source", "dir:/nowhere"),
        ("trusted_peer", "192.0.2.1"),
        ("max_recipients", "10000"),
    ] {
        settings.set(name, value).expect("it is a good value");
    }
    Rc::new(ControllingFunction::new(settings, 7).expect("the values fit each other"))
}

/// CPU time from the received bytes to the end of the checks.
fn measure(service: &Rc<ControllingFunction>, request: &str, document: Option<&str>) -> Duration {
    let received = Received {
        message: request.as_bytes(),
        request_uri: if document.is_some() { GROUP } else { EXPLODER },
        source_address: Some([192, 0, 2, 1].into()),
    };
    let start = thread_time();
    let Some(mut request) = service.classify(&received) else {
        return thread_time() - start;
    };
    loop {
        match request.poll_check(&Nowhere) {
            Check::LongList => request.read_list_here(),
            Check::Ask(_) => request.handle_script(true, &Nowhere),
            Check::WantGroup => {
                let groups = document.and_then(|text| Group::parse(text.as_bytes()).ok());
                let lookup = match groups.and_then(|mut groups| groups.pop()) {
                    Some(group) => {
                        let permissions = request.permissions(&group, SystemTime::now());
                        GroupLookup::Known(Rc::new(group), permissions)
                    }
                    None => GroupLookup::Unknown,
                };
                request.handle_group(lookup);
            }
            Check::Accepted | Check::Answered | Check::Repeated => return thread_time() - start,
        }
    }
}

/// The table.
pub(crate) fn table() -> String {
    let service = service();
    let mut table = Table::new(&["what is many", "how many", "ms", "times half as many"]);
    for (place, kind) in KINDS.iter().enumerate() {
        if place > 0 {
            table.gap();
        }
        let mut half: Option<Duration> = None;
        for share in SHARES {
            let size = kind.most / share;
            let (request, document) = (kind.make)(size);
            let best = (0..5).map(|_| measure(&service, &request, document.as_deref()));
            let best = best.min().unwrap_or_default();
            table.row([
                kind.name.to_owned(),
                size.to_string(),
                format!("{:.2}", best.as_secs_f64() * 1e3),
                half.map_or(String::new(), |half| {
                    format!("{:.1}", best.as_secs_f64() / half.as_secs_f64())
                }),
            ]);
            half = Some(best);
        }
    }
    format!(
        "Requests that were written to cost much: CPU time of all checks, best of 5\n{}",
        table.write()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_costs_more_than_linear_time() {
        let service = service();
        for kind in &KINDS {
            let time = |size| {
                let (request, document) = (kind.make)(size);
                let times = (0..3).map(|_| measure(&service, &request, document.as_deref()));
                times.min().unwrap_or_default()
            };
            let (quarter, whole) = (time(kind.most / 4), time(kind.most));
            // Quadratic would be 16 times.
            assert!(
                whole < quarter * 10,
                "{}: {quarter:?} for {}, {whole:?} for {}",
                kind.name,
                kind.most / 4,
                kind.most
            );
        }
    }
}
