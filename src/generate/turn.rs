//! A lock whose holders go in the order in which they came, and whose waiters may give up.
//!
//! Sequences take a session for one token at a time: with an ordinary lock, who has just let go of it
//! is likely to get it again, and the others would starve.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiter is asked whether it gives up.
const POLL: Duration = Duration::from_millis(20);

pub(super) struct Turn<T> {
    queue: Mutex<Queue>,
    moved: Condvar,
    value: Mutex<T>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    /// The first one's turn it is.
    waiting: VecDeque<u64>,
}

/// A place in the queue; it is given up when dropped.
struct Ticket<'a> {
    queue: &'a Mutex<Queue>,
    moved: &'a Condvar,
    number: u64,
}

/// Whose turn it is.
pub(super) struct Held<'a, T> {
    // Dropped first: the value is free before the next one is called.
    value: MutexGuard<'a, T>,
    _ticket: Ticket<'a>,
}

impl<T> Turn<T> {
    pub(super) fn new(value: T) -> Self {
        Self { queue: Mutex::default(), moved: Condvar::new(), value: Mutex::new(value) }
    }

    /// Waits for its turn; `None` where `gives_up`, which is asked from time to time, says so.
    pub(super) fn wait(&self, gives_up: &mut dyn FnMut() -> bool) -> Option<Held<'_, T>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back(number);
        let ticket = Ticket { queue: &self.queue, moved: &self.moved, number };
        while queue.waiting.front() != Some(&number) {
            let (again, waited) =
                self.moved.wait_timeout(queue, POLL).unwrap_or_else(PoisonError::into_inner);
            queue = again;
            if waited.timed_out() {
                drop(queue);
                if gives_up() {
                    return None;
                }
                queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
        drop(queue);
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Held { value, _ticket: ticket })
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.retain(|number| *number != self.number);
        self.moved.notify_all();
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    /// Two that want it all the time get it in turn, from the moment that both are there.
    #[test]
    fn nobody_is_passed_over() {
        let turn = Turn::new(Vec::new());
        thread::scope(|scope| {
            for who in 0..2 {
                let turn = &turn;
                scope.spawn(move || {
                    for _ in 0..50 {
                        let mut order = turn.wait(&mut || false).unwrap();
                        thread::sleep(Duration::from_millis(1));
                        order.push(who);
                    }
                });
            }
        });
        let order = turn.wait(&mut || false).unwrap();
        let both = &order[5..order.len() - 5];
        let repeated = both.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(repeated <= 5, "{:?}", &*order);
    }

    #[test]
    fn who_gives_up_is_not_waited_for() {
        let turn = Turn::new(0);
        let gone = AtomicBool::new(false);
        thread::scope(|scope| {
            let mut held = turn.wait(&mut || false).unwrap();
            scope.spawn(|| {
                assert!(turn.wait(&mut || true).is_none());
                gone.store(true, Ordering::SeqCst);
            });
            let last = scope.spawn(|| *turn.wait(&mut || false).unwrap());
            while !gone.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            *held = 7;
            drop(held);
            assert_eq!(last.join().unwrap(), 7);
        });
    }
}
