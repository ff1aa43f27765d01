//! The only place that writes to standard output and standard error.

use super::options::Global;
use crate::error::{Error, Result};
use crate::text::sorted;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    pub(super) json: bool,
    pub(super) quiet: bool,
    /// Whether standard output is a terminal that may show colours.
    pub(super) colour: bool,
}

impl Out {
    pub(super) fn new(global: &Global) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self {
            json: global.json,
            quiet: global.quiet,
            colour: std::io::stdout().is_terminal() && !plain,
        }
    }

    /// Text for standard output, as it is.
    #[expect(clippy::unused_self, reason = "writing is the output's to do")]
    pub(super) fn data(self, text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(Error::io("write to", "standard output"))
    }

    /// A line for standard output.
    pub(super) fn line(self, text: &str) -> Result<()> {
        self.data(&format!("{text}\n"))
    }

    /// A JSON value on a line of its own, fields in the order of their names.
    pub(super) fn json_line(self, value: &serde_json::Value) -> Result<()> {
        self.line(&sorted(value).to_string())
    }

    /// A line for people on standard error, whatever `--quiet` says: an error.
    #[expect(clippy::unused_self, reason = "writing is the output's to do")]
    pub(super) fn remark(self, text: &str) {
        // Nothing can be done where standard error is closed.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// A line for people on standard error that can be left out.
    pub(super) fn note(self, text: &str) {
        if !self.quiet {
            self.remark(text);
        }
    }

    /// What stands before a person's own line, on standard error.
    #[expect(clippy::unused_self, reason = "writing is the output's to do")]
    pub(super) fn prompt(self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    /// Bold on a terminal.
    pub(super) fn strong(self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Grey on a terminal.
    pub(super) fn faint(self, text: &str) -> String {
        if self.colour { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A matched word: bold on a terminal, between stars elsewhere.
    pub(super) fn marked(self, text: &str) -> String {
        if self.colour { format!("\x1b[1;33m{text}\x1b[0m") } else { format!("**{text}**") }
    }
}

/// `1 document`, `2 documents`.
pub(super) fn count<N: Copy + PartialEq + From<u8> + Display>(n: N, what: &str) -> String {
    let many = if n == N::from(1) { "" } else { "s" };
    format!("{n} {what}{many}")
}

/// Bytes for people.
pub(super) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["bytes", "KiB", "MiB"] {
        if value < 1024.0 {
            return format!("{value:.0} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

/// Text without control characters, which could change a terminal's state.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect()
}
