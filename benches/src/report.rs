//! Tables for people, numbers for programs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// A table in plain text; the first column is left-aligned, the others are right-aligned.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these column heads.
    pub fn new(heads: &[&str]) -> Self {
        Self {
            rows: vec![heads.iter().map(|&head| head.to_owned()).collect()],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds an empty line between groups of rows.
    pub fn gap(&mut self) {
        self.rows.push(Vec::new());
    }

    /// The table, a rule under its heads.
    pub fn write(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                });
            let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("   ").trim_end());
            if number == 0 {
                let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
                let _ = writeln!(text, "{}", rules.join("   "));
            }
        }
        text
    }
}

/// One measured number.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The size of the problem: entries, recipients.
    pub size: usize,
    /// The contestant measured.
    pub contestant: &'static str,
    /// The round, counted from 0.
    pub round: usize,
    /// What was measured, with its unit.
    pub quantity: &'static str,
    /// The number.
    pub value: f64,
}

/// All samples, in the order in which they were taken.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Adds a sample.
    pub fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Those of one contestant, by round.
    pub fn of(&self, size: usize, contestant: &str, quantity: &str) -> Vec<f64> {
        let wanted =
            |s: &&Sample| s.size == size && s.contestant == contestant && s.quantity == quantity;
        self.0
            .iter()
            .filter(wanted)
            .map(|sample| sample.value)
            .collect()
    }

    /// These, and of `earlier` what was not measured again.
    #[must_use]
    pub fn or(self, earlier: Samples) -> Self {
        let is_new = |old: &Sample| {
            let is_same = |new: &Sample| {
                let same = (new.size, new.contestant, new.quantity);
                same == (old.size, old.contestant, old.quantity)
            };
            !self.0.iter().any(is_same)
        };
        let kept = earlier.0.into_iter().filter(is_new).collect::<Vec<_>>();
        Samples([kept, self.0].concat())
    }

    /// Reads what [`write_csv`](Self::write_csv) has written, and nothing of anything else. The
    /// names of contestants and quantities may have commas: the round, a number, is between them.
    pub fn read_csv(text: &str) -> Self {
        let mut names: BTreeSet<&'static str> = BTreeSet::new();
        // For the rest of the program, and each of them once.
        let mut lasting = |name: &str| -> &'static str {
            if let Some(known) = names.get(name) {
                return known;
            }
            let name: &'static str = String::leak(name.to_owned());
            names.insert(name);
            name
        };
        let sample = |line: &str| {
            let (size, rest) = line.split_once(',')?;
            let (rest, value) = rest.rsplit_once(',')?;
            let fields: Vec<&str> = rest.split(',').collect();
            let (place, round) = fields.iter().enumerate().find_map(|(place, field)| {
                let round = field.parse().ok().filter(|_| place > 0)?;
                Some((place, round))
            })?;
            Some(Sample {
                size: size.parse().ok()?,
                contestant: lasting(&fields[..place].join(",")),
                round,
                quantity: lasting(&fields[place + 1..].join(",")),
                value: value.parse().ok()?,
            })
        };
        Samples(text.lines().filter_map(sample).collect())
    }

    /// As comma-separated values with a head.
    pub fn write_csv(&self) -> String {
        let mut text = String::from("size,contestant,round,quantity,value\n");
        for Sample {
            size,
            contestant,
            round,
            quantity,
            value,
        } in &self.0
        {
            let _ = writeln!(text, "{size},{contestant},{round},{quantity},{value:.4}");
        }
        text
    }
}

/// The result of one benchmark.
#[derive(Debug, Clone)]
pub struct Report {
    /// The stem of its files.
    pub name: &'static str,
    /// What the terminal shows.
    pub text: String,
    /// Every sample.
    pub samples: Samples,
    /// The picture, as SVG.
    pub picture: String,
}

impl Report {
    /// Writes `<name>.txt`, `<name>.csv` and `<name>.svg` to a folder.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let file = |extension| folder.join(self.name).with_extension(extension);
        fs::write(file("txt"), &self.text)?;
        fs::write(file("csv"), self.samples.write_csv())?;
        fs::write(file("svg"), &self.picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["who", "µs"]);
        table.row(["cpm".into(), "1.5".into()]);
        table.gap();
        table.row(["libxml2".into(), "12.5".into()]);
        assert_eq!(
            table.write(),
            "who         µs\n-------   ----\ncpm        1.5\n\nlibxml2   12.5\n"
        );
    }

    #[test]
    fn samples_are_found_by_size_contestant_and_quantity() {
        let mut samples = Samples::default();
        for (size, contestant, round, value) in [
            (1, "a", 0, 1.0),
            (1, "b", 0, 2.0),
            (1, "a", 1, 3.0),
            (2, "a", 0, 4.0),
        ] {
            samples.push(Sample {
                size,
                contestant,
                round,
                quantity: "µs",
                value,
            });
        }
        assert_eq!(samples.of(1, "a", "µs"), [1.0, 3.0]);
        assert_eq!(samples.of(1, "a", "ms"), [0.0; 0]);
        assert!(samples.write_csv().contains("\n1,b,0,µs,2.0000\n"));
    }

    #[test]
    fn what_was_measured_earlier_stays_until_it_is_measured_again() {
        let sample = |contestant, round, quantity, value| Sample {
            size: 10,
            contestant,
            round,
            quantity,
            value,
        };
        let written = Samples(vec![
            sample("none, lane", 0, "ms, 1 sender", 1.0),
            sample("none, lane", 1, "ms, 1 sender", 2.0),
            sample("file, lane", 0, "ms, 1 sender", 3.0),
        ]);
        let earlier = Samples::read_csv(&written.write_csv());
        let again = Samples(vec![sample("none, lane", 0, "ms, 1 sender", 4.0)]);
        let all = again.or(earlier);
        assert_eq!(all.of(10, "none, lane", "ms, 1 sender"), [4.0]);
        assert_eq!(all.of(10, "file, lane", "ms, 1 sender"), [3.0]);
        assert!(Samples::read_csv("nothing, of it\n").0.is_empty());
    }
}
