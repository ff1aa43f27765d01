//! All processors, each with texts of its own.

use crate::error::{Error, Result};
use std::panic::resume_unwind;

/// Tokens that go through the model at once: enough for fast products, few enough for the caches.
const TOKENS: usize = 2048;

/// Texts of like length together, at most so many tokens each; the longest first.
pub(super) fn chunks(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    let length = |i: usize| lengths.get(i).copied().unwrap_or(0);
    order.sort_by_key(|i| std::cmp::Reverse(length(*i)));
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for i in order {
        match chunks.last_mut() {
            Some(chunk) if tokens + length(i) <= TOKENS => chunk.push(i),
            _ => {
                chunks.push(vec![i]);
                tokens = 0;
            }
        }
        tokens += length(i);
    }
    chunks
}

/// Which thread takes which piece of work: the largest first, each to the thread with least. The same
/// for the same costs, so that sums over threads are the same too.
pub(super) fn shares(costs: &[usize], threads: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(costs.get(*i).copied().unwrap_or(0)));
    let mut shares = vec![(0usize, Vec::new()); threads.clamp(1, costs.len().max(1))];
    for i in order {
        if let Some((sum, share)) = shares.iter_mut().min_by_key(|(sum, _)| *sum) {
            *sum += costs.get(i).copied().unwrap_or(0);
            share.push(i);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

/// Does `work` for every item on a thread of its own, the first on this one.
///
/// # Errors
/// The first of `work`'s.
pub(super) fn each<I: Send, T: Send>(
    items: Vec<I>,
    work: impl Fn(I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let mut items = items.into_iter();
        let own = items.next();
        let mut others = Vec::new();
        for item in items {
            let builder = std::thread::Builder::new().name("vdb-train".to_owned());
            let started = builder.spawn_scoped(scope, move || work(item));
            others.push(started.map_err(Error::io("start", "a thread"))?);
        }
        let mut done = Vec::new();
        if let Some(item) = own {
            done.push(work(item)?);
        }
        for other in others {
            done.push(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_every_text_once_and_shares_every_chunk() {
        let lengths: Vec<usize> = (0..100).map(|i| 5 + i * 7 % 251).collect();
        let chunks = chunks(&lengths);
        let mut seen: Vec<usize> = chunks.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        let costs: Vec<usize> =
            chunks.iter().map(|c| c.iter().map(|i| lengths[*i]).sum()).collect();
        assert!(costs.iter().all(|cost| *cost <= TOKENS));
        let shares = shares(&costs, 3);
        assert_eq!(shares.iter().flatten().count(), chunks.len());
        let sums: Vec<usize> =
            shares.iter().map(|share| share.iter().map(|i| costs[*i]).sum()).collect();
        assert!(sums.iter().max().unwrap() - sums.iter().min().unwrap() <= TOKENS);
        assert_eq!(each(vec![1, 2, 3], |i| Ok(i * 2)).unwrap(), [2, 4, 6]);
    }
}
