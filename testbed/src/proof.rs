//! Which requirements of the specification an assertion proves; `make conformance` collects it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Makes an assertion, and records that it proves these requirements (ids of
/// `tests/conformance/requirements.csv`) over the wire.
///
/// Nothing is claimed by an assertion that failed or was not reached, and who removes it removes
/// the claim. Its value is that of the assertion: it may be a function that waits for a message and
/// panics when none comes. `tests/floors.rs` checks that it is an assertion.
///
/// ```ignore
/// proves!(["9.1.1-6c"], assert_eq!(copy.uri(), Some(uri)));
/// let copy = proves!(["9.1.1-6"], bill.expect_request("MESSAGE"));
/// proves!(fault.duties(), expect_refusal(&anne, &request, fault));
/// ```
#[macro_export]
macro_rules! proves {
    ($ids:expr, $assertion:expr $(,)?) => {
        $crate::proven_by($assertion, $ids)
    };
}

/// What [`proves!`] calls with the value of an assertion that has passed.
#[doc(hidden)]
pub fn proven_by<T>(passed: T, ids: impl IntoIterator<Item: AsRef<str>>) -> T {
    for id in ids {
        let id = id.as_ref();
        assert!(requirements().contains(id), "there is no requirement {id}");
        if let Some(folder) = std::env::var_os("CPM_PROOFS") {
            record(Path::new(&folder), id);
        }
    }
    passed
}

/// Adds an id to the file of this test, whose name is that of its thread, unless it is there.
fn record(folder: &Path, id: &str) {
    static KNOWN: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    let thread = std::thread::current();
    let test = thread.name().expect("a test's own thread makes its claims");
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.insert((test.to_owned(), id.to_owned())) {
        let file = folder.join(test.replace("::", "."));
        let file = fs::File::options().create(true).append(true).open(file);
        let mut file = file.expect("CPM_PROOFS is a folder");
        writeln!(file, "{id}").expect("CPM_PROOFS can be written to");
    }
}

fn requirements() -> &'static BTreeSet<&'static str> {
    static IDS: OnceLock<BTreeSet<&str>> = OnceLock::new();
    IDS.get_or_init(|| {
        include_str!("../../tests/conformance/requirements.csv")
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(',').map(|(id, _)| id))
            .collect()
    })
}
