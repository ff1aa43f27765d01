//! Panics of other crates that are caught and become errors: some panic on damaged files or a full
//! disk.
//!
//! The library installs no hook. A program that prints panics can ask whether the one at hand is of
//! this kind, and be silent, since the error tells it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CATCHING: Cell<usize> = const { Cell::new(0) };
}

/// Runs `run` and gives back what it panicked with, if it did.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    CATCHING.set(CATCHING.get() + 1);
    // What `run` leaves half done is not used again by any caller.
    let done = catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(CATCHING.get() - 1);
    done
}

/// Whether a panic of this thread is caught.
#[cfg(any(feature = "cli", test))]
pub(crate) fn are_caught() -> bool {
    CATCHING.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_is_known_as_one() {
        assert!(!are_caught());
        let inner =
            catch(|| catch(|| assert!(!are_caught(), "as expected")).is_err() && are_caught());
        assert!(inner.unwrap());
        assert!(!are_caught());
    }
}
