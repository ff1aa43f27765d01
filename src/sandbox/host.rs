//! The side that stays: starts children, asks them, and ends them.

use super::Limits;
use super::message::{Ended, Reply, Request, Run, Stopped};
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much longer than a program's time the child has for its answer: to start, and to stop itself.
const GRACE: Duration = Duration::from_millis(500);

/// Runs programs in a child process, one at a time.
#[derive(Debug)]
pub struct Sandbox {
    program: PathBuf,
    arguments: Vec<OsString>,
    limits: Limits,
    worker: Mutex<Option<Worker>>,
}

/// A child, with how many programs it has run.
#[derive(Debug)]
struct Worker {
    child: Child,
    input: ChildStdin,
    replies: Receiver<Vec<u8>>,
    runs: usize,
}

impl Sandbox {
    /// Programs are run by the child `program` with `arguments`, which must call
    /// [`serve`](super::serve) on its standard input and output. It is started by the first program.
    pub fn new<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            limits: Limits::default(),
            worker: Mutex::new(None),
        }
    }

    /// What each program may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Runs a program in Python. Whatever it does, this returns soon after its time is over.
    ///
    /// # Errors
    /// [`Error::Io`] where no child can be started.
    pub fn run(&self, program: &str) -> Result<Run> {
        let began = Instant::now();
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let done = |ended, output| Ok(Run { ended, output, time: began.elapsed() });
        if program.len() > self.limits.program {
            return done(Ended::Stopped(Stopped::Program), String::new());
        }
        loop {
            let (mut own, is_new) = match worker.take() {
                Some(own) => (own, false),
                None => (self.start()?, true),
            };
            let answer = own.ask(program, &self.limits);
            match answer {
                Ok(reply) => {
                    own.runs += 1;
                    // After a program that filled the memory, the next one begins in a new process.
                    if reply.ended != Ended::Stopped(Stopped::Memory) {
                        *worker = Some(own);
                    }
                    return done(reply.ended, reply.output);
                }
                Err(stopped) => {
                    let stopped = own.end(stopped);
                    // An old child may have died of what was run before.
                    if is_new || stopped == Stopped::Time {
                        return done(Ended::Stopped(stopped), String::new());
                    }
                }
            }
        }
    }

    fn start(&self) -> Result<Worker> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(Error::io("start", &self.program))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            let _ = child.kill();
            let missing = std::io::Error::other("a child without standard input or output");
            return Err(Error::io("start", &self.program)(missing));
        };
        // One reply is under way at a time; a thread waits for it, since a pipe cannot be waited for
        // with a limit.
        let (sender, replies) = sync_channel(1);
        let most = self.limits.output.saturating_mul(16).saturating_add(1 << 16);
        let read = move || {
            let mut output = BufReader::new(output);
            loop {
                let mut line = Vec::new();
                let limited = output.by_ref().take(most as u64).read_until(b'\n', &mut line);
                if !limited.is_ok_and(|read| read > 0) || sender.send(line).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("vdb-sandbox".to_owned());
        if let Err(error) = thread.spawn(read) {
            let _ = child.kill();
            return Err(Error::io("start", &self.program)(error));
        }
        Ok(Worker { child, input, replies, runs: 0 })
    }
}

impl Worker {
    /// What the child says of a program; else why it said nothing.
    fn ask(&mut self, program: &str, limits: &Limits) -> Result<Reply, Stopped> {
        let request = Request { program: program.to_owned(), limits: *limits };
        let mut line = serde_json::to_vec(&request).map_err(|_| Stopped::Crash)?;
        line.push(b'\n');
        self.input
            .write_all(&line)
            .and_then(|()| self.input.flush())
            .map_err(|_| Stopped::Crash)?;
        match self.replies.recv_timeout(limits.time + GRACE) {
            Ok(line) => serde_json::from_slice(&line).map_err(|_| Stopped::Crash),
            Err(RecvTimeoutError::Timeout) => Err(Stopped::Time),
            Err(RecvTimeoutError::Disconnected) => Err(Stopped::Crash),
        }
    }

    /// Ends the child, and says why it was to be ended: one that failed to get memory says so itself.
    fn end(mut self, stopped: Stopped) -> Stopped {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut said = String::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(1 << 16).read_to_string(&mut said);
        }
        if stopped == Stopped::Crash && said.contains("memory allocation of") {
            return Stopped::Memory;
        }
        stopped
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
