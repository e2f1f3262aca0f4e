//! How long it takes to read a resource list. All contestants read the same bytes, resolve
//! namespaces and collect the URIs of the entries; each must find the number of entries and bytes
//! that were written.
//!
//! cpm does more than that: it checks where RFC 4826 allows which element, reads copyControl,
//! anonymize and display names, and rejects everything that its limits and the rules of RFC 5364
//! forbid.
//!
//! Not with criterion: the contestants are compared by the CPU time of the thread, which other
//! processes do not disturb, some of them are C, and the result becomes a row of the same report
//! and chart as that of the other benches.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use cpm::resource_lists::{Limits, ResourceLists};

use crate::chart::{Chart, Panel};
use crate::cpu::thread_time;
use crate::hostile;
use crate::report::{Report, Sample, Samples, Table};
use crate::statistics::Spread;

/// Entries per document.
pub const SIZES: [usize; 3] = [10, 1_000, 100_000];

/// Minimum duration of a sample: a thousand times the cost of reading the clock.
const SHORTEST_SAMPLE: Duration = Duration::from_millis(4);

const TIME: &str = "µs";

/// The expected result of a contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Entries in the document.
    pub entries: usize,
    /// Bytes of all their URIs.
    pub uri_bytes: usize,
}

/// A way to read a resource list.
#[derive(Debug, Clone, Copy)]
pub struct Contestant {
    /// As tables name it.
    pub name: &'static str,
    /// Reads a document and returns its content; `None` if it could not.
    pub parse: fn(&[u8]) -> Option<Tally>,
}

/// Ours, with all its checks, its limits raised to the size of the documents.
pub fn parse_by_cpm(document: &[u8]) -> Option<Tally> {
    let limits = Limits {
        entries: usize::MAX,
        document_bytes: usize::MAX,
        ..Limits::default()
    };
    let lists = ResourceLists::parse_with(limits, document).ok()?;
    let uri_bytes = lists.entries().map(|entry| entry.uri.len()).sum();
    Some(Tally {
        entries: lists.len(),
        uri_bytes,
    })
}

/// A list as CPM Clients write it (RFC 5364 §5): a URI and a copyControl, and every fourth has a
/// display name.
pub fn document(entries: usize) -> (Vec<u8>, Tally) {
    let mut xml = String::from(concat!(
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        "\n",
        r#"<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists" "#,
        r#"xmlns:cp="urn:ietf:params:xml:ns:copycontrol">"#,
        "\n  <list>\n"
    ));
    let mut uri_bytes = 0;
    for number in 0..entries {
        let uri = format!("sip:user{number}@example.com");
        uri_bytes += uri.len();
        let copy_control = ["to", "cc", "bcc"][number % 3];
        let _ = write!(
            xml,
            r#"    <entry uri="{uri}" cp:copyControl="{copy_control}""#
        );
        match number % 4 {
            0 => {
                let _ = writeln!(xml, "><display-name>User {number}</display-name></entry>");
            }
            _ => xml.push_str("/>\n"),
        }
    }
    xml.push_str("  </list>\n</resource-lists>\n");
    (xml.into_bytes(), Tally { entries, uri_bytes })
}

/// Lets the contestants, ours first, take turns. `about` says what was measured on what.
///
/// # Panics
/// When a contestant does not find what is in a document.
pub fn run(contestants: &[Contestant], rounds: usize, about: &str) -> Report {
    let mut samples = Samples::default();
    let mut sizes = Vec::new();
    for entries in SIZES {
        let (document, expected) = document(entries);
        let repeats: Vec<u32> = contestants
            .iter()
            .map(|it| repeats(it, &document, expected))
            .collect();
        for round in 0..rounds {
            for (contestant, &repeats) in contestants.iter().zip(&repeats) {
                let value = measure(contestant, &document, repeats).as_secs_f64() * 1e6;
                samples.push(Sample {
                    size: entries,
                    contestant: contestant.name,
                    round,
                    quantity: TIME,
                    value,
                });
            }
        }
        sizes.push((entries, document.len()));
    }
    Report {
        name: "parsing",
        text: write_text(contestants, &sizes, rounds, &samples, about),
        picture: write_picture(contestants, &sizes, rounds, &samples).write(),
        samples,
    }
}

/// How often a contestant reads the document in one sample. Checks its result.
fn repeats(contestant: &Contestant, document: &[u8], expected: Tally) -> u32 {
    let found = (contestant.parse)(document);
    assert_eq!(
        found,
        Some(expected),
        "{} with {} entries",
        contestant.name,
        expected.entries
    );
    let mut repeats = 1;
    while repeats < 1 << 20 && measure(contestant, document, repeats) * repeats < SHORTEST_SAMPLE {
        repeats *= 2;
    }
    repeats
}

/// CPU time for one document. Other load on the machine is not included, except its effect on the
/// caches.
fn measure(contestant: &Contestant, document: &[u8], repeats: u32) -> Duration {
    let start = thread_time();
    for _ in 0..repeats {
        black_box((contestant.parse)(black_box(document)));
    }
    (thread_time() - start) / repeats
}

fn write_text(
    contestants: &[Contestant],
    sizes: &[(usize, usize)],
    rounds: usize,
    samples: &Samples,
    about: &str,
) -> String {
    let ours = contestants[0].name;
    let ratio_head = format!("times {ours}");
    let mut table = Table::new(&[
        "reader",
        "entries",
        "µs a document",
        "ns an entry",
        "MB/s",
        &ratio_head,
    ]);
    for (place, &(entries, bytes)) in sizes.iter().enumerate() {
        if place > 0 {
            table.gap();
        }
        let own = samples.of(entries, ours, TIME);
        for contestant in contestants {
            let times = samples.of(entries, contestant.name, TIME);
            let spread = Spread::of(&times);
            table.row([
                contestant.name.to_owned(),
                entries.to_string(),
                spread.to_string(),
                format!("{:.0}", spread.median * 1000.0 / entries as f64),
                format!("{:.0}", bytes as f64 / spread.median),
                Spread::of_ratios(&times, &own).to_string(),
            ]);
        }
    }
    format!(
        "Reading a resource list: CPU time, median (quartiles) of {rounds} rounds\n{about}\n{}\n{}",
        table.write(),
        hostile::table()
    )
}

fn write_picture(
    contestants: &[Contestant],
    sizes: &[(usize, usize)],
    rounds: usize,
    samples: &Samples,
) -> Chart {
    let ours = contestants[0].name;
    let groups = |value: &dyn Fn(usize, usize, &Contestant) -> Spread| {
        let group = |&(entries, bytes): &(usize, usize)| {
            let values = contestants
                .iter()
                .map(|contestant| value(entries, bytes, contestant));
            (grouped(entries), values.collect())
        };
        sizes.iter().map(group).collect()
    };
    let throughput = |entries, bytes: usize, contestant: &Contestant| {
        let times = samples.of(entries, contestant.name, TIME);
        let rates: Vec<f64> = times.iter().map(|time| bytes as f64 / time).collect();
        Spread::of(&rates)
    };
    let ratio = |entries, _, contestant: &Contestant| {
        Spread::of_ratios(
            &samples.of(entries, contestant.name, TIME),
            &samples.of(entries, ours, TIME),
        )
    };
    Chart {
        title: "Reading a resource list".into(),
        subtitle: format!(
            "Same bytes, taking turns; medians of {rounds} rounds, whiskers are quartiles"
        ),
        series: contestants
            .iter()
            .map(|contestant| contestant.name.to_owned())
            .collect(),
        panels: vec![
            Panel {
                quantity: "MB per second of CPU time".into(),
                better: "more",
                group_axis: "entries in the list".into(),
                groups: groups(&throughput),
            },
            Panel {
                quantity: format!("CPU time, {ours} = 1"),
                better: "less",
                group_axis: "entries in the list".into(),
                groups: groups(&ratio),
            },
        ],
    }
}

/// `100 000`.
fn grouped(number: usize) -> String {
    match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands} {rest:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Contestant = Contestant {
        name: "cpm",
        parse: parse_by_cpm,
    };

    #[test]
    fn ours_finds_what_was_written() {
        let (document, expected) = document(25);
        assert_eq!(expected.entries, 25);
        assert_eq!(parse_by_cpm(&document), Some(expected));
    }

    #[test]
    #[should_panic(expected = "wrong with 10 entries")]
    fn less_work_is_found_out() {
        let wrong = Contestant {
            name: "wrong",
            parse: |_| {
                Some(Tally {
                    entries: 1,
                    uri_bytes: 1,
                })
            },
        };
        run(&[OURS, wrong], 1, "");
    }

    #[cfg(feature = "contestants")]
    #[test]
    fn all_find_the_same() {
        let (document, expected) = document(25);
        assert_eq!(crate::xml::parse_by_libxml2(&document), Some(expected));
        assert_eq!(crate::xml::parse_by_libxml2_sax(&document), Some(expected));
        assert_eq!(crate::xml::parse_by_expat(&document), Some(expected));
        assert_eq!(crate::xml::parse_by_libxml2(b"<a>"), None);
        assert_eq!(crate::xml::parse_by_libxml2_sax(b"<a>"), None);
        assert_eq!(crate::xml::parse_by_expat(b"<a>"), None);
    }
}
