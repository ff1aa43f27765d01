//! What a program gave, and what host and child tell each other: a line of JSON each.

use super::Limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What came of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// How it ended.
    pub ended: Ended,
    /// What it printed until then, up to the limit.
    pub output: String,
    /// How long it took, the way to the child and back included.
    pub time: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// With a value: what `solution()` returns where it defines that function, else what its last
    /// expression is.
    Value(Value),
    /// With an exception, or not begun for a mistake in it: the traceback, as Python prints it.
    Failed(String),
    /// By force.
    Stopped(Stopped),
}

/// A value of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Value {
    /// As `print` shows it.
    pub text: String,
    /// As a number, where it is one or a truth value; a large whole number to 53 bits.
    pub number: Option<f64>,
    /// Whether it is `None`.
    pub is_none: bool,
}

/// Why a program was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stopped {
    /// It ran longer than [`Limits::time`].
    Time,
    /// It wanted more than [`Limits::memory`].
    Memory,
    /// It printed, or gave, more than [`Limits::output`].
    Output,
    /// It is longer than [`Limits::program`].
    Program,
    /// It took the interpreter's process along.
    Crash,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "it ran longer than it may",
            Self::Memory => "it wanted more memory than it may have",
            Self::Output => "it gave out more than it may",
            Self::Program => "it is longer than a program may be",
            Self::Crash => "it took the interpreter's process along",
        })
    }
}

/// To the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) program: String,
    pub(super) limits: Limits,
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) ended: Ended,
    pub(super) output: String,
}
