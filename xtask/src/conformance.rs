//! `make conformance`, and the end of `make test`: prints which test proves which requirement of
//! the specification, and fails if one is not proven.
//!
//! ```text
//! CPM_PROOFS=FOLDER/kamailio cargo test --workspace
//! cargo run --package xtask -- conformance [--brief] FOLDER kamailio
//! ```
//!
//! Each assertion that was reached and passed leaves the ids that it proves in its test's file
//! (`cpm_testbed::proves!`). The folder has a subfolder for each proxy. The table shows the requirements proven with each proxy
//! and judges one of them; with OpenSIPS only the duties of the Controlling Function, since the
//! client's tests are the same for both. In `tests/conformance/`:
//!
//! | file | content |
//! |---|---|
//! | `requirements.csv` | the requirements |
//! | `not-testable.csv` | the requirements that no test over the wire can prove, with the reason |
//! | `conditions.csv` | the requirements that hold by a reading (doc/readings.md), or only with a
//! parameter (doc/manual.md) |

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// Maximum width of the lists of ids.
const WIDTH: usize = 110;

/// The proxies, in the order of their columns.
const PROXIES: [&str; 2] = ["kamailio", "opensips"];

/// Whether each requirement is proven with this proxy or listed as not testable, and no claim is
/// invalid. `is_brief`: prints only the counts.
///
/// # Errors
/// A file cannot be read, or there is no such proxy.
pub fn run(proofs: &Path, proxy: &str, is_brief: bool) -> io::Result<bool> {
    let report = Report::read(proofs, proxy)?;
    match is_brief {
        true => println!("{}", report.summary()),
        false => print!("{}", report.table()),
    }
    let complaints = report.complaints();
    for complaint in &complaints {
        eprintln!("conformance: {complaint}");
    }
    Ok(complaints.is_empty())
}

/// Reads a file; the error names it.
fn text(path: &Path) -> io::Result<String> {
    let named = |error| io::Error::other(format!("{}: {error}", path.display()));
    fs::read_to_string(path).map_err(named)
}

/// The ids that each test proves, by its name.
type Proofs = BTreeMap<String, Vec<String>>;

/// The proofs with one proxy. A test `a::b` leaves the file `a.b`.
fn read_proofs(folder: &Path) -> io::Result<Proofs> {
    let mut proofs = BTreeMap::new();
    if !folder.exists() {
        return Ok(proofs);
    }
    let named = |error| io::Error::other(format!("{}: {error}", folder.display()));
    for file in fs::read_dir(folder).map_err(named)? {
        let file = file?;
        let test = file.file_name().to_string_lossy().replace('.', "::");
        let ids = fs::read_to_string(file.path())?;
        proofs.insert(test, ids.lines().map(str::to_owned).collect());
    }
    Ok(proofs)
}

/// The content of the table.
struct Report {
    requirements: Vec<Requirement>,
    /// By proxy, in the order of [`PROXIES`].
    proofs: [Proofs; 2],
    /// The proxy that is judged: its index in [`PROXIES`].
    judged: usize,
    /// Id and reason.
    not_testable: Vec<(String, String)>,
    conditions: Vec<Condition>,
    /// doc/readings.md and doc/manual.md.
    readings: String,
    manual: String,
}

/// A row of `conditions.csv`.
struct Condition {
    id: String,
    /// `reading` or `switch`.
    how: String,
    /// The number of the reading, or `parameter=value`.
    what: String,
}

struct Requirement {
    id: String,
    section: String,
    /// `cf` or `client`.
    actor: String,
}

enum Standing<'a> {
    Proven(Vec<&'a str>),
    NotTestable(&'a str),
    NotYet,
}

impl Report {
    fn read(proofs: &Path, proxy: &str) -> io::Result<Self> {
        let judged = PROXIES.iter().position(|name| *name == proxy);
        let judged = judged.ok_or_else(|| io::Error::other(format!("no proxy {proxy}")))?;
        let [first, second] = PROXIES.map(|name| read_proofs(&proofs.join(name)));
        let root = crate::root();
        let folder = root.join("tests/conformance");
        Ok(Report {
            requirements: requirements(&text(&folder.join("requirements.csv"))?),
            proofs: [first?, second?],
            judged,
            not_testable: not_testable(&text(&folder.join("not-testable.csv"))?),
            conditions: conditions(&text(&folder.join("conditions.csv"))?),
            readings: text(&root.join("doc/readings.md"))?,
            manual: text(&root.join("doc/manual.md"))?,
        })
    }

    /// The readings by which a requirement holds, and the parameters it needs.
    fn condition(&self, id: &str) -> String {
        let rows = self.conditions.iter().filter(|row| row.id == id);
        let words = rows.map(|row| match row.how.as_str() {
            "switch" => format!("if {}", row.what),
            _ => row.what.clone(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Whether this proxy's tests have to prove it.
    fn duties(&self) -> impl Iterator<Item = &Requirement> {
        let of_all = self.judged == 0;
        let duties = self.requirements.iter();
        duties.filter(move |one| of_all || one.actor == "cf")
    }

    /// The tests that prove it with this proxy.
    fn proven_by(&self, proxy: usize, id: &str) -> Vec<&str> {
        self.proofs[proxy]
            .iter()
            .filter(|(_, ids)| ids.iter().any(|proven| proven == id))
            .map(|(test, _)| test.as_str())
            .collect()
    }

    /// One cell for each proxy: whether it is proven with it.
    fn cells(&self, id: &str) -> String {
        let cells = PROXIES.iter().enumerate().map(|(proxy, name)| {
            let proven = !self.proven_by(proxy, id).is_empty();
            format!("{:1$}", if proven { "yes" } else { "-" }, name.len())
        });
        cells.collect::<Vec<_>>().join("  ")
    }

    fn standing(&self, id: &str) -> Standing<'_> {
        let by = self.proven_by(self.judged, id);
        if !by.is_empty() {
            return Standing::Proven(by);
        }
        let reason = self.not_testable.iter().find(|(known, _)| known == id);
        reason.map_or(Standing::NotYet, |(_, why)| Standing::NotTestable(why))
    }

    /// The last line of the table.
    fn summary(&self) -> String {
        let table = self.table();
        table
            .trim_end()
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    }

    /// For each section: the counts, each proven id with its condition and its tests, the ids that
    /// are not testable with the reason, and the rest.
    fn table(&self) -> String {
        let mut sections: Vec<&str> = Vec::new();
        for requirement in self.duties() {
            if !sections.contains(&requirement.section.as_str()) {
                sections.push(&requirement.section);
            }
        }
        let ids: Vec<&str> = self.duties().map(|one| one.id.as_str()).collect();
        let width = ids.iter().map(|id| id.len()).max().unwrap_or(0);
        let conditions = ids.iter().map(|id| self.condition(id).len());
        let of_condition = conditions.max().unwrap_or(0);
        let mut table = format!("{:1$}{2}\n", "", width + 4, PROXIES.join("  "));
        let mut totals = [0; 4];
        for section in sections {
            let (mut proven, mut not_testable, mut not_yet) = (Vec::new(), Vec::new(), Vec::new());
            for requirement in self.duties().filter(|one| one.section == section) {
                let id = requirement.id.as_str();
                match self.standing(id) {
                    Standing::Proven(by) => proven.push((id, by)),
                    Standing::NotTestable(why) => not_testable.push((id, why)),
                    Standing::NotYet => not_yet.push(id),
                }
            }
            let counts = [proven.len(), not_testable.len(), not_yet.len()];
            let all = counts.iter().sum::<usize>();
            for (total, count) in totals.iter_mut().zip([all].iter().chain(&counts)) {
                *total += count;
            }
            table += &format!("\n{}\n", line(&format!("section {section}"), all, counts));
            for (id, by) in proven {
                let more = match by.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                let condition = self.condition(id);
                table += &format!(
                    "  {id:width$}  {}  {condition:of_condition$}  {}{more}\n",
                    self.cells(id),
                    by[0]
                );
            }
            for (id, why) in not_testable {
                table += &format!("  {id:width$}  not testable: {why}\n");
            }
            if !not_yet.is_empty() {
                table += &wrapped("  not yet:", &not_yet);
            }
        }
        let [all, proven, not_testable, not_yet] = totals;
        table
            + &format!(
                "\n{}\n",
                line(
                    &format!("with {}", PROXIES[self.judged]),
                    all,
                    [proven, not_testable, not_yet]
                )
            )
    }

    /// Requirements without a proof, and invalid claims of tests and lists.
    fn complaints(&self) -> Vec<String> {
        let known: BTreeSet<&str> = self
            .requirements
            .iter()
            .map(|one| one.id.as_str())
            .collect();
        let mut complaints = Vec::new();
        for (test, ids) in &self.proofs[self.judged] {
            for id in ids.iter().filter(|id| !known.contains(id.as_str())) {
                complaints.push(format!("{test} claims {id}, which is no requirement"));
            }
        }
        for (id, why) in &self.not_testable {
            if !known.contains(id.as_str()) {
                complaints.push(format!(
                    "not-testable.csv names {id}, which is no requirement"
                ));
            } else if let Standing::Proven(by) = self.standing(id) {
                complaints.push(format!(
                    "not-testable.csv names {id}, but {} proves it",
                    by[0]
                ));
            }
            if why.is_empty() {
                complaints.push(format!("not-testable.csv does not say why {id} is in it"));
            }
        }
        for Condition { id, how, what } in &self.conditions {
            if !known.contains(id.as_str()) {
                complaints.push(format!(
                    "conditions.csv names {id}, which is no requirement"
                ));
            }
            let is_known = match how.as_str() {
                "reading" => ["| ", ", "].iter().any(|before| {
                    let is_named =
                        |after| self.readings.contains(&format!("{before}{what}{after}"));
                    is_named(" |") || is_named(", ")
                }),
                "switch" => what.split_once('=').is_some_and(|(parameter, value)| {
                    self.manual.contains(&format!("#### `{parameter}`"))
                        && self.manual.contains(&format!("`{value}`"))
                }),
                _ => false,
            };
            if !is_known {
                complaints.push(format!(
                    "conditions.csv names the {how} {what}, which is unknown"
                ));
            }
        }
        let duties = self.duties().map(|one| one.id.as_str());
        for id in duties.filter(|id| matches!(self.standing(id), Standing::NotYet)) {
            complaints.push(format!("no test that passed proves {id}"));
        }
        complaints
    }
}

fn line(what: &str, all: usize, [proven, not_testable, not_yet]: [usize; 3]) -> String {
    format!("{what}: {proven} of {all} proven, {not_testable} not testable, {not_yet} not yet")
}

/// The words after the heading, in lines of at most [`WIDTH`].
fn wrapped(heading: &str, words: &[&str]) -> String {
    let mut text = heading.to_owned();
    let mut column = text.len();
    for word in words {
        if column + 1 + word.len() > WIDTH {
            text += "\n   ";
            column = 3;
        }
        text += " ";
        text += word;
        column += 1 + word.len();
    }
    text + "\n"
}

fn requirements(csv: &str) -> Vec<Requirement> {
    let rows = csv.lines().skip(1).map(cells);
    rows.filter_map(|row| {
        let mut cells = row.into_iter();
        let (id, section, actor) = (cells.next()?, cells.next()?, cells.next()?);
        Some(Requirement { id, section, actor })
    })
    .collect()
}

fn conditions(csv: &str) -> Vec<Condition> {
    let rows = csv.lines().skip(1).filter(|line| !line.is_empty());
    let rows = rows.map(cells).map(|row| {
        let mut cells = row.into_iter();
        let mut next = || cells.next().unwrap_or_default();
        Condition {
            id: next(),
            how: next(),
            what: next(),
        }
    });
    rows.collect()
}

fn not_testable(csv: &str) -> Vec<(String, String)> {
    let rows = csv
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(cells);
    rows.filter_map(|row| {
        let mut cells = row.into_iter();
        Some((cells.next()?, cells.next().unwrap_or_default()))
    })
    .collect()
}

/// The cells of one CSV line (RFC 4180; a cell has no line end in these files).
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut characters = line.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        let last = cells.len() - 1;
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cells[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            _ => cells[last].push(character),
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proofs(tests: &[(&str, &[&str])]) -> Proofs {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let tests = tests.iter();
        tests
            .map(|(test, ids)| ((*test).to_owned(), owned(ids)))
            .collect()
    }

    fn report(tests: &[(&str, &[&str])], not_testable_csv: &str) -> Report {
        Report {
            requirements: requirements(
                "id,section,actor\n1-a,1,cf\n1-b,1,cf\n1-c,1,cf\n2-a,2,client\n",
            ),
            proofs: [proofs(tests), Proofs::new()],
            judged: 0,
            not_testable: not_testable(not_testable_csv),
            conditions: conditions("id,how,what\n1-a,reading,N1\n1-a,switch,mode=strict\n"),
            readings: "| N1 | 1-a | trouble | way out |\n".to_owned(),
            manual: "#### `mode` (string)\n\n`strict` or `loose`\n".to_owned(),
        }
    }

    #[test]
    fn cells_may_be_quoted() {
        assert_eq!(cells(r#"a,"b, ""c""",,d"#), ["a", "b, \"c\"", "", "d"]);
    }

    #[test]
    fn each_requirement_stands_where_it_belongs() {
        let report = report(
            &[
                ("t::one", &["1-a"]),
                ("t::two", &["1-a"]),
                ("t::three", &["2-a"]),
            ],
            "id,why\n1-b,\"seen, by nobody\"\n",
        );
        assert_eq!(
            report.table(),
            "       kamailio  opensips\n\
             \nsection 1: 1 of 3 proven, 1 not testable, 1 not yet\n  \
               1-a  yes       -         N1 if mode=strict  t::one and 1 more\n  \
               1-b  not testable: seen, by nobody\n  \
               not yet: 1-c\n\
             \nsection 2: 1 of 1 proven, 0 not testable, 0 not yet\n  \
               2-a  yes       -                            t::three\n\
             \nwith kamailio: 2 of 4 proven, 1 not testable, 1 not yet\n"
        );
        assert_eq!(
            report.summary(),
            "with kamailio: 2 of 4 proven, 1 not testable, 1 not yet"
        );
    }

    /// The client's duties are proven with the other proxy only.
    #[test]
    fn opensips_is_judged_by_the_duties_of_the_controlling_function() {
        let mut report = report(&[("t::one", &["1-a", "2-a"])], "id,why\n");
        report.proofs[1] = proofs(&[("t::two", &["1-a", "1-b"])]);
        report.judged = 1;
        assert_eq!(
            report.table(),
            "       kamailio  opensips\n\
             \nsection 1: 2 of 3 proven, 0 not testable, 1 not yet\n  \
               1-a  yes       yes       N1 if mode=strict  t::two\n  \
               1-b  -         yes                          t::two\n  \
               not yet: 1-c\n\
             \nwith opensips: 2 of 3 proven, 0 not testable, 1 not yet\n"
        );
        assert_eq!(report.complaints(), ["no test that passed proves 1-c"]);
    }

    /// With one claim removed it fails, as with one whose assertion was not reached.
    #[test]
    fn what_nothing_proves_is_complained_of() {
        let claims: [(&str, &[&str]); 2] =
            [("t::one", &["1-a", "1-b"]), ("t::two", &["1-c", "2-a"])];
        assert_eq!(report(&claims, "id,why\n").complaints(), [""; 0]);
        let one_less: [(&str, &[&str]); 2] = [claims[0], ("t::two", &["2-a"])];
        assert_eq!(
            report(&one_less, "id,why\n").complaints(),
            ["no test that passed proves 1-c"]
        );
        assert_eq!(report(&[], "id,why\n").complaints().len(), 4);
    }

    #[test]
    fn false_claims_are_complained_of() {
        let mut report = report(
            &[("t::one", &["1-a", "1-b", "2-a", "9-z"])],
            "id,why\n1-a,reason\n8-x,reason\n1-c,\n",
        );
        report.conditions.extend(conditions(
            "id,how,what\n7-y,reading,N1\n1-b,reading,N2\n1-b,switch,mode=odd\n1-b,hope,N1\n",
        ));
        assert_eq!(
            report.complaints(),
            [
                "t::one claims 9-z, which is no requirement",
                "not-testable.csv names 1-a, but t::one proves it",
                "not-testable.csv names 8-x, which is no requirement",
                "not-testable.csv does not say why 1-c is in it",
                "conditions.csv names 7-y, which is no requirement",
                "conditions.csv names the reading N2, which is unknown",
                "conditions.csv names the switch mode=odd, which is unknown",
                "conditions.csv names the hope N1, which is unknown",
            ]
        );
    }

    /// The lists of the project itself, regardless of what the tests prove.
    #[test]
    fn the_lists_name_what_there_is() {
        let report = Report::read(Path::new("/nowhere"), PROXIES[0]).unwrap();
        let complaints = report.complaints();
        let others = complaints.iter().filter(|one| !one.starts_with("no test"));
        assert_eq!(others.collect::<Vec<_>>(), [""; 0]);
        assert_eq!(
            complaints.len() + report.not_testable.len(),
            report.requirements.len()
        );
    }
}
