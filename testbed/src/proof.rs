//! Which requirements of the specification a test proves; `make conformance` collects it.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::OnceLock;

/// Says which requirements (ids of `tests/conformance/requirements.csv`) the test proves over the
/// wire. To be kept to the end of the test: only a test that has passed proves anything.
#[must_use]
#[track_caller]
pub fn proves(ids: &'static [&'static str]) -> Proof {
    for id in ids {
        assert!(
            requirements().iter().any(|known| known == id),
            "there is no requirement {id}"
        );
    }
    Proof(ids)
}

/// See [`proves`].
#[derive(Debug)]
pub struct Proof(&'static [&'static str]);

impl Drop for Proof {
    fn drop(&mut self) {
        let Some(folder) = std::env::var_os("CPM_PROOFS") else {
            return;
        };
        if std::thread::panicking() {
            return;
        }
        let test = std::thread::current()
            .name()
            .unwrap_or("unnamed")
            .to_owned();
        let file = Path::new(&folder).join(test.replace("::", "."));
        // A test may claim at several places.
        let file = fs::File::options().create(true).append(true).open(&file);
        let mut file = file.expect("CPM_PROOFS is a folder");
        for id in self.0 {
            writeln!(file, "{id}").expect("CPM_PROOFS can be written to");
        }
    }
}

fn requirements() -> &'static [String] {
    static IDS: OnceLock<Vec<String>> = OnceLock::new();
    IDS.get_or_init(|| {
        include_str!("../../tests/conformance/requirements.csv")
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(',').map(|(id, _)| id.to_owned()))
            .collect()
    })
}
