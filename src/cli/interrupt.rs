//! Ctrl-C: the first asks the command to stop, the second ends the process. The one place that names
//! ctrlc.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// Installs the handler and returns the flag that it sets.
pub(super) fn flag() -> &'static AtomicBool {
    // Installed already, or not to be had: then Ctrl-C ends the process, which a commit survives.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            #[expect(clippy::exit, reason = "asked for twice")]
            std::process::exit(130);
        }
    });
    &STOP
}
