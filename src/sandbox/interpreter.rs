//! The interpreter. The only file that names monty.

use super::Limits;
use super::message::{Ended, Reply, Stopped, Value};
use monty::MontyRun;
use monty_types::{
    CompileOptions, ExcType, MontyException, MontyObject, PrintWriter, ResourceLimits,
    ResourceTracker,
};
use std::time::{Duration, Instant};

/// The function whose value is a program's, as in PAL (Gao et al. 2023).
const SOLUTION: &str = "solution";

/// Runs a program in this process.
pub(super) fn run(program: &str, limits: &Limits) -> Reply {
    let mut output = String::new();
    let began = Instant::now();
    let ended = match execute(program, limits, &mut output) {
        Ok(value) => give(&value, limits),
        Err(exception) => fail(&exception, limits, began.elapsed()),
    };
    Reply { ended, output }
}

fn execute(
    program: &str,
    limits: &Limits,
    output: &mut String,
) -> Result<MontyObject, MontyException> {
    let mut code = program.to_owned();
    if defines_solution(program) {
        code.push_str("\n\nsolution()\n");
    }
    let runner = MontyRun::new(code, "program.py", Vec::new(), CompileOptions::default())?;
    let tracker = ResourceTracker::new(ResourceLimits {
        max_duration: Some(limits.time),
        max_recursion_depth: limits.depth,
        ..ResourceLimits::default()
    });
    runner.run(Vec::new(), tracker, PrintWriter::CollectString(output, Some(limits.output)))
}

/// Whether the program defines, at its outermost level, a function without arguments of that name.
fn defines_solution(program: &str) -> bool {
    program.lines().any(|line| {
        let rest = line.strip_prefix("def ").map(str::trim_start);
        let rest = rest.and_then(|rest| rest.strip_prefix(SOLUTION)).map(str::trim_start);
        rest.and_then(|rest| rest.strip_prefix('('))
            .is_some_and(|rest| rest.trim_start().starts_with(')'))
    })
}

fn give(value: &MontyObject, limits: &Limits) -> Ended {
    let number = match value {
        MontyObject::Bool(yes) => Some(f64::from(u8::from(*yes))),
        #[expect(clippy::cast_precision_loss, reason = "to 53 bits, as the field says")]
        MontyObject::Int(whole) => Some(*whole as f64),
        MontyObject::BigInt(whole) => whole.to_string().parse().ok(),
        MontyObject::Float(number) => Some(*number),
        _ => None,
    };
    let text = value.to_string();
    if text.len() > limits.output {
        return Ended::Stopped(Stopped::Output);
    }
    Ended::Value(Value { text, number, is_none: matches!(value, MontyObject::None) })
}

/// A program can raise what a limit raises, too; then the limit was not reached.
fn fail(exception: &MontyException, limits: &Limits, elapsed: Duration) -> Ended {
    let said = exception.message().unwrap_or_default();
    match exception.exc_type() {
        ExcType::TimeoutError if elapsed >= limits.time => Ended::Stopped(Stopped::Time),
        // Of memory only what is printed is counted here; the system counts the rest.
        ExcType::MemoryError if said.starts_with("memory limit exceeded") => {
            Ended::Stopped(Stopped::Output)
        }
        _ => {
            let mut traceback = exception.to_string();
            cut(&mut traceback, limits.output);
            Ended::Failed(traceback)
        }
    }
}

/// Cuts a text at the last character that fits.
fn cut(text: &mut String, bytes: usize) {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
