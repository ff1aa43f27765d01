//! What a program may use.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a program may use; what wants more is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// Time from beginning to end. Default: 2 seconds.
    pub time: Duration,
    /// Bytes of memory of the child, the interpreter included (Unix). Default: 256 MiB.
    pub memory: usize,
    /// Bytes of what it prints, and of the text of its value. Default: 64 KiB.
    pub output: usize,
    /// Calls within calls. Default: 200.
    pub depth: usize,
    /// Bytes of the program. Default: 64 KiB.
    pub program: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(2),
            memory: 256 << 20,
            output: 64 << 10,
            depth: 200,
            program: 64 << 10,
        }
    }
}
