//! Progress on standard error, where that is a terminal. The one place that names indicatif.

use super::output::Out;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A line that says how far a command has come; nothing where nobody watches.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(out: Out) -> Self {
        // indicatif draws nothing where standard error is no terminal.
        let bar = if out.quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
        bar.enable_steady_tick(Duration::from_millis(120));
        let progress = Self { bar };
        progress.style("{spinner} {msg}");
        progress
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    /// A download of `bytes` begins; 0 where that is not known.
    pub(super) fn download(&self, what: &str, bytes: u64) {
        self.bar.set_position(0);
        self.bar.set_message(what.to_owned());
        if bytes > 0 {
            self.bar.set_length(bytes);
            self.style("{spinner} {msg} {bar:30} {bytes}/{total_bytes} {eta}");
        } else {
            self.bar.unset_length();
            self.style("{spinner} {msg} {bytes}");
        }
    }

    /// So much of it is there.
    pub(super) fn position(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Words in place of a bar.
    pub(super) fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Writes a line above the progress.
    pub(super) fn above(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
