//! `make conformance`: runs the end-to-end tests and prints which requirement of the specification is
//! proven by which of them.
//!
//! Requirements are `tests/conformance/requirements.csv`. Each test that passes leaves a file with the ids that
//! it proves. What no test over the wire can prove stands in `tests/conformance/not-testable.csv`, with the
//! reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// Where the tests leave what they prove; below the project's folder.
const PROOFS: &str = "target/conformance/proofs";

/// Widest line of the lists of ids.
const WIDTH: usize = 110;

/// Whether every test passed and all three agree.
///
/// # Errors
/// A file cannot be read or written, or cargo cannot be started.
pub fn run() -> io::Result<bool> {
    let root = crate::root();
    let proofs = root.join(PROOFS);
    if proofs.exists() {
        fs::remove_dir_all(&proofs)?;
    }
    fs::create_dir_all(&proofs)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tests = Command::new(cargo)
        .args([
            "test",
            "--quiet",
            "--package",
            "cpm",
            "--package",
            "cpm-client",
        ])
        .args(["--test", "e2e", "--test", "client", "--no-fail-fast"])
        .current_dir(root)
        .env("CPM_PROOFS", &proofs)
        .status()?;

    let folder = root.join("tests/conformance");
    let report = Report {
        requirements: requirements(&fs::read_to_string(folder.join("requirements.csv"))?),
        proofs: read_proofs(&proofs)?,
        not_testable: not_testable(&fs::read_to_string(folder.join("not-testable.csv"))?),
    };
    print!("{}", report.table());
    let mut complaints = report.complaints();
    if !tests.success() {
        complaints.push("a test failed".to_owned());
    }
    for complaint in &complaints {
        eprintln!("conformance: {complaint}");
    }
    Ok(complaints.is_empty())
}

/// Test name to what it proves. A test `a::b` leaves the file `a.b`.
fn read_proofs(folder: &Path) -> io::Result<BTreeMap<String, Vec<String>>> {
    let mut proofs = BTreeMap::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        let test = file.file_name().to_string_lossy().replace('.', "::");
        let ids = fs::read_to_string(file.path())?;
        proofs.insert(test, ids.lines().map(str::to_owned).collect());
    }
    Ok(proofs)
}

/// Everything that the table is made of.
struct Report {
    requirements: Vec<Requirement>,
    proofs: BTreeMap<String, Vec<String>>,
    /// Id and reason.
    not_testable: Vec<(String, String)>,
}

struct Requirement {
    id: String,
    section: String,
}

enum Standing<'a> {
    Proven(Vec<&'a str>),
    NotTestable(&'a str),
    NotYet,
}

impl Report {
    fn standing(&self, id: &str) -> Standing<'_> {
        let by: Vec<&str> = self
            .proofs
            .iter()
            .filter(|(_, ids)| ids.iter().any(|proven| proven == id))
            .map(|(test, _)| test.as_str())
            .collect();
        if !by.is_empty() {
            return Standing::Proven(by);
        }
        let reason = self.not_testable.iter().find(|(known, _)| known == id);
        reason.map_or(Standing::NotYet, |(_, why)| Standing::NotTestable(why))
    }

    /// Per section: the counts, each proven id with its tests, what is not testable and why, and the rest.
    fn table(&self) -> String {
        let mut sections: Vec<&str> = Vec::new();
        for requirement in &self.requirements {
            if !sections.contains(&requirement.section.as_str()) {
                sections.push(&requirement.section);
            }
        }
        let mut table = String::new();
        let mut totals = [0; 4];
        for section in sections {
            let (mut proven, mut not_testable, mut not_yet) = (Vec::new(), Vec::new(), Vec::new());
            for requirement in self
                .requirements
                .iter()
                .filter(|one| one.section == section)
            {
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
            let width = self.requirements.iter().map(|one| one.id.len()).max();
            let width = width.unwrap_or(0);
            for (id, by) in proven {
                let more = match by.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                table += &format!("  {id:width$}  {}{more}\n", by[0]);
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
                line("in all", all, [proven, not_testable, not_yet])
            )
    }

    /// What tests and lists claim that cannot be.
    fn complaints(&self) -> Vec<String> {
        let known: BTreeSet<&str> = self
            .requirements
            .iter()
            .map(|one| one.id.as_str())
            .collect();
        let mut complaints = Vec::new();
        for (test, ids) in &self.proofs {
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
        complaints
    }
}

fn line(what: &str, all: usize, [proven, not_testable, not_yet]: [usize; 3]) -> String {
    format!("{what}: {proven} of {all} proven, {not_testable} not testable, {not_yet} not yet")
}

/// The words behind the heading, in lines of at most [`WIDTH`].
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
        let (id, section) = (cells.next()?, cells.next()?);
        Some(Requirement { id, section })
    })
    .collect()
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

    fn report(proofs: &[(&str, &[&str])], not_testable_csv: &str) -> Report {
        Report {
            requirements: requirements(
                "id,section,actor\n1-a,1,cf\n1-b,1,cf\n1-c,1,cf\n2-a,2,client\n",
            ),
            proofs: proofs
                .iter()
                .map(|(test, ids)| {
                    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
                    ((*test).to_owned(), ids)
                })
                .collect(),
            not_testable: not_testable(not_testable_csv),
        }
    }

    #[test]
    fn cells_may_be_quoted() {
        assert_eq!(cells(r#"a,"b, ""c""",,d"#), ["a", "b, \"c\"", "", "d"]);
    }

    #[test]
    fn each_requirement_stands_where_it_belongs() {
        let report = report(
            &[("t::one", &["1-a"]), ("t::two", &["1-a"])],
            "id,why\n1-b,\"seen, by nobody\"\n",
        );
        assert_eq!(
            report.table(),
            "\nsection 1: 1 of 3 proven, 1 not testable, 1 not yet\n  \
               1-a  t::one and 1 more\n  \
               1-b  not testable: seen, by nobody\n  \
               not yet: 1-c\n\
             \nsection 2: 0 of 1 proven, 0 not testable, 1 not yet\n  \
               not yet: 2-a\n\
             \nin all: 1 of 4 proven, 1 not testable, 2 not yet\n"
        );
        assert_eq!(report.complaints(), [""; 0]);
    }

    #[test]
    fn false_claims_are_complained_of() {
        let report = report(
            &[("t::one", &["1-a", "9-z"])],
            "id,why\n1-a,reason\n8-x,reason\n1-c,\n",
        );
        assert_eq!(
            report.complaints(),
            [
                "t::one claims 9-z, which is no requirement",
                "not-testable.csv names 1-a, but t::one proves it",
                "not-testable.csv names 8-x, which is no requirement",
                "not-testable.csv does not say why 1-c is in it",
            ]
        );
    }
}
