//! Programs that a model wrote, run where they can do no harm.
//!
//! A [`Sandbox`] hands a program in Python to a child process, in which monty, an interpreter without
//! files, network, environment and clock, runs it; the child is started once and used again. Its limits
//! are held three times over: by the interpreter, by the operating system (memory, processor time), and
//! by this process, which ends a child that is late and starts another. Whatever becomes of the child,
//! this process is told and lives on.
//!
//! The child is a program that calls [`serve`]: the `vdb` binary does so as `vdb sandbox`.
//!
//! ```no_run
//! use vdb::sandbox::{Ended, Sandbox};
//!
//! let sandbox = Sandbox::new("vdb", ["sandbox"]);
//! let run = sandbox.run("import math\nmath.factorial(17)")?;
//! let Ended::Value(value) = run.ended else { panic!("{run:?}") };
//! assert_eq!(value.text, "355687428096000");
//! # Ok::<(), vdb::Error>(())
//! ```

mod host;
mod interpreter;
mod limits;
mod message;
mod worker;

pub use host::Sandbox;
pub use limits::Limits;
pub use message::{Ended, Run, Stopped, Value};
pub use worker::serve;
