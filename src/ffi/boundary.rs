//! The panic boundary.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Nesting depth of boundaries on this thread.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// File and line in our sources of the last panic inside a boundary.
    static PANICKED_AT: Cell<Option<(String, u32)>> = const { Cell::new(None) };
}

/// Runs `body`. A panic does not propagate: `on_panic` gets its place and returns the result
/// instead. The message of the panic is dropped, since it can contain a peer's text.
pub(super) fn boundary<T>(body: impl FnOnce() -> T, on_panic: impl FnOnce(Place) -> T) -> T {
    remember_places();
    DEPTH.set(DEPTH.get() + 1);
    // A panic can leave only the state of a request inconsistent; `on_panic` ends that request. If
    // that panics too, there is nothing left to return.
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let place = Place(PANICKED_AT.take());
        catch_unwind(AssertUnwindSafe(|| on_panic(place))).unwrap_or_else(|_| std::process::abort())
    });
    DEPTH.set(DEPTH.get() - 1);
    result
}

/// The place of a panic.
pub(super) struct Place(Option<(String, u32)>);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some((file, line)) => write!(f, "{file}:{line}"),
            None => f.write_str("an unknown place"),
        }
    }
}

/// The default hook would write the message of the panic to the proxy's standard error.
fn remember_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let outside = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if DEPTH.get() == 0 {
                return outside(panic);
            }
            let place = panic.location();
            PANICKED_AT.set(place.map(|at| (at.file().to_owned(), at.line())));
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_the_failure_value() {
        let place = boundary(|| panic!("not to be seen in C"), |place| place.to_string());
        assert!(place.contains("boundary.rs:"), "{place}");
    }

    #[test]
    fn without_a_panic_the_value_passes() {
        assert_eq!(boundary(|| 7, |_| -1), 7);
    }
}
