//! The child: reads programs, runs them, writes what came of each.

use super::Limits;
use super::interpreter;
use super::message::{Ended, Reply, Request};
use std::io::{BufRead, Write};

/// Stack of the thread that runs programs: the interpreter's own recursion ends before it does.
const STACK: usize = 64 << 20;

/// Runs the programs that `input` brings, a line of JSON each, and writes a line for each to `output`,
/// until the input ends. This process gives up what programs do not need for good: on Unix, memory beyond the
/// limit, files, other processes. It is for a child process that does nothing else.
///
/// # Errors
/// Where reading or writing fails.
pub fn serve(input: impl BufRead + Send, mut output: impl Write + Send) -> std::io::Result<()> {
    let mut confined: Option<Limits> = None;
    let answer = move || -> std::io::Result<()> {
        for line in input.lines() {
            let reply = match serde_json::from_str::<Request>(&line?) {
                Ok(request) => {
                    if confined.is_none() {
                        confine(&request.limits);
                        confined = Some(request.limits);
                    }
                    interpreter::run(&request.program, &request.limits)
                }
                Err(error) => Reply {
                    ended: Ended::Failed(format!("no request: {error}")),
                    output: String::new(),
                },
            };
            serde_json::to_writer(&mut output, &reply)?;
            output.write_all(b"\n")?;
            output.flush()?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let running = thread.spawn_scoped(scope, answer)?;
        running.join().unwrap_or_else(|_| Err(std::io::Error::other("the interpreter panicked")))
    })
}

/// Memory as the limit says, no new files of any size, no dump of what was in memory.
#[cfg(unix)]
fn confine(limits: &Limits) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let memory = u64::try_from(limits.memory).unwrap_or(u64::MAX).saturating_add(STACK as u64);
    let lower = |resource, wanted: u64| {
        let most = getrlimit(resource).maximum;
        let value = Some(most.map_or(wanted, |most| most.min(wanted)));
        // What cannot be limited here is limited by the interpreter and by the host.
        let _ = setrlimit(resource, Rlimit { current: value, maximum: value });
    };
    lower(Resource::As, memory);
    lower(Resource::Fsize, 0);
    lower(Resource::Core, 0);
    lower(Resource::Nofile, 3);
}

#[cfg(not(unix))]
fn confine(_: &Limits) {}
