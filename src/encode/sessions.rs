//! Sessions of one model, made when first needed and shared by threads.

use crate::error::Result;
use crate::model::runtime::{Session, SessionOptions};
use crate::model::{Device, Runtime};
use crate::threads;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

/// One-thread sessions that may run side by side; each holds its own copy of the packed weights.
const MOST_SINGLE: usize = 4;

pub(super) struct Sessions {
    runtime: Runtime,
    model: PathBuf,
    device: Device,
    /// For single texts: one thread measured as fast as many and far steadier under load.
    single: Pool,
    /// For lists of texts.
    many: Pool,
}

struct Pool {
    threads: usize,
    most: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Session>,
    made: usize,
}

/// A session on loan; it goes back when dropped.
pub(super) struct Loan<'a> {
    pool: &'a Pool,
    session: Option<Session>,
}

impl Sessions {
    pub(super) fn new(runtime: Runtime, model: PathBuf, device: Device, threads: usize) -> Self {
        let pool = |threads, most| Pool {
            threads,
            most,
            state: Mutex::default(),
            returned: Condvar::new(),
        };
        let single = threads::all().min(MOST_SINGLE);
        Self { runtime, model, device, single: pool(1, single), many: pool(threads, 1) }
    }

    /// A session for one text or for many; waits where all are out.
    pub(super) fn take(&self, single: bool) -> Result<Loan<'_>> {
        let pool = if single { &self.single } else { &self.many };
        let mut state = pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(session) = state.idle.pop() {
                return Ok(Loan { pool, session: Some(session) });
            }
            if state.made < pool.most {
                state.made += 1;
                break;
            }
            state = pool.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        // Made outside the lock: others may return theirs meanwhile.
        drop(state);
        let options = SessionOptions {
            device: self.device,
            threads: pool.threads,
            spinning: false,
            optimise: true,
        };
        match self.runtime.session(&self.model, &options) {
            Ok(session) => Ok(Loan { pool, session: Some(session) }),
            Err(error) => {
                pool.state.lock().unwrap_or_else(PoisonError::into_inner).made -= 1;
                pool.returned.notify_one();
                Err(error)
            }
        }
    }

    /// The execution provider that is really in use.
    pub(super) fn provider(&self) -> Result<&'static str> {
        self.take(true).map(|session| session.provider())
    }
}

impl Deref for Loan<'_> {
    type Target = Session;

    #[expect(clippy::expect_used, reason = "the session is there until the loan is dropped")]
    fn deref(&self) -> &Session {
        self.session.as_ref().expect("a loan holds a session")
    }
}

impl DerefMut for Loan<'_> {
    #[expect(clippy::expect_used, reason = "the session is there until the loan is dropped")]
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("a loan holds a session")
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let mut state = self.pool.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.idle.push(session);
            self.pool.returned.notify_one();
        }
    }
}
