//! The caller's eyes on a generation: text is told, and asked whether to go on.

use super::Finish;
use crate::model::runtime::{Brake, RunError};
use std::ops::ControlFlow;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often a call that takes long is looked at.
const POLL: Duration = Duration::from_millis(20);

pub(super) struct Watch<'a> {
    on_text: &'a mut dyn FnMut(&str) -> ControlFlow<()>,
    deadline: Option<Instant>,
    cancelled: bool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        on_text: &'a mut dyn FnMut(&str) -> ControlFlow<()>,
        deadline: Option<Instant>,
    ) -> Self {
        Self { on_text, deadline, cancelled: false }
    }

    /// Hands the caller some text.
    pub(super) fn tell(&mut self, text: &str) -> ControlFlow<()> {
        if !self.cancelled && (self.on_text)(text).is_break() {
            self.cancelled = true;
        }
        if self.cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether the time is over.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether the generation must end; the caller is asked.
    pub(super) fn is_over(&mut self) -> bool {
        self.is_late() || self.tell("").is_break()
    }

    /// Why it ended before its time.
    pub(super) fn finish(&self) -> Finish {
        if self.cancelled { Finish::Cancelled } else { Finish::TimeLimit }
    }

    /// Does `work` on another thread, and pulls `brake` when the generation must end before it is
    /// done.
    pub(super) fn during(
        &mut self,
        brake: &Brake,
        work: impl FnOnce() -> Result<(), RunError> + Send,
    ) -> Result<(), RunError> {
        thread::scope(|scope| {
            let (done, ended) = channel();
            let worker = thread::Builder::new().name("vdb-decoder".to_owned()).spawn_scoped(
                scope,
                move || {
                    let result = work();
                    // Nobody waits for it after the brake was pulled.
                    let _ = done.send(());
                    result
                },
            );
            let worker = worker.map_err(|e| RunError::Failed(format!("no thread: {e}")))?;
            while ended.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                if self.is_over() {
                    brake.pull();
                    break;
                }
            }
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
