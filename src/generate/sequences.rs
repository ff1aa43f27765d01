//! What is kept of sequences that were read: a prompt that begins as an earlier one did need not be
//! read from its beginning.
//!
//! Only prompts are kept, not what was generated after them: in 8 bits, a call of one token goes by
//! another kernel than a call of two or more, and its results differ in the last digits. So a prompt's
//! keys and values are the same whether they are kept or computed, and a text does not depend on what
//! was asked before.

/// Sequences that are kept while nobody works on them.
const KEPT: usize = 4;
/// Bytes of keys and values that are kept, the latest sequence aside: a thousand tokens and more of the
/// default decoder.
const KEPT_BYTES: usize = 48 << 20;

/// Keys and values, wherever they are.
pub(super) trait Memory {
    /// Bytes that they take.
    fn bytes(&self) -> usize;
}

/// Tokens that were read, and their keys and values.
pub(super) struct Sequence<M> {
    pub(super) tokens: Vec<u32>,
    pub(super) memory: M,
}

/// How to begin with a prompt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start<S> {
    /// Go on in this sequence, of which only the first tokens are kept.
    Resume(S, usize),
    /// Copy the first tokens of this sequence, which is worth keeping, into a new one, and give it
    /// back.
    Fork(S, usize),
    /// Nothing of it is known. A sequence that is not needed any more, if there is one.
    Fresh(Option<S>),
}

/// The sequences that nobody works on, the latest last.
pub(super) struct Sequences<M> {
    idle: Vec<Sequence<M>>,
}

impl<M: Memory> Sequences<M> {
    pub(super) fn new() -> Self {
        Self { idle: Vec::new() }
    }

    /// The best beginning for `prompt`. At least its last two tokens are left to be read: the logits
    /// after it are wanted, and a call of one token would not give the same ones.
    pub(super) fn start(&mut self, prompt: &[u32]) -> Start<Sequence<M>> {
        let most = prompt.len().saturating_sub(2);
        let shared = |s: &Sequence<M>| {
            let same = s.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            same.min(most)
        };
        // Of equals the latest.
        let best = (0..self.idle.len()).max_by_key(|at| self.idle.get(*at).map(shared));
        let found = best.map(|at| self.idle.remove(at));
        match found {
            Some(sequence) if shared(&sequence) > 0 => {
                let count = shared(&sequence);
                let lost = sequence.tokens.len() - count;
                // Copying is cheap; reading again what was lost is not.
                if lost > count && self.idle.len() + 1 < KEPT {
                    Start::Fork(sequence, count)
                } else {
                    Start::Resume(sequence, count)
                }
            }
            found => {
                self.idle.extend(found);
                let spare = self.idle.len() >= KEPT;
                Start::Fresh(spare.then(|| self.idle.remove(0)))
            }
        }
    }

    /// Keeps a sequence that nobody works on any more, and lets the oldest go where there are too
    /// many.
    pub(super) fn keep(&mut self, sequence: Sequence<M>) {
        self.idle.push(sequence);
        let bytes = |idle: &[Sequence<M>]| {
            idle.iter().fold(0usize, |sum, s| sum.saturating_add(s.memory.bytes()))
        };
        while self.idle.len() > KEPT || (self.idle.len() > 1 && bytes(&self.idle) > KEPT_BYTES) {
            self.idle.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(usize);

    impl Memory for Bytes {
        fn bytes(&self) -> usize {
            self.0
        }
    }

    fn kept(prompts: &[&[u32]]) -> Sequences<Bytes> {
        let mut sequences = Sequences::new();
        for tokens in prompts {
            sequences.keep(Sequence { tokens: tokens.to_vec(), memory: Bytes(1) });
        }
        sequences
    }

    /// Kind of start, the sequence's tokens, and how many of them are used.
    fn told(start: Start<Sequence<Bytes>>) -> (&'static str, Vec<u32>, usize) {
        match start {
            Start::Resume(s, count) => ("resume", s.tokens, count),
            Start::Fork(s, count) => ("fork", s.tokens, count),
            Start::Fresh(spare) => ("fresh", spare.map_or_else(Vec::new, |s| s.tokens), 0),
        }
    }

    #[test]
    fn the_longest_common_beginning_is_used() {
        let mut sequences = kept(&[&[1, 2, 9, 9], &[1, 2, 3, 4, 5], &[7, 8]]);
        let start = sequences.start(&[1, 2, 3, 4, 6, 7, 8]);
        assert_eq!(told(start), ("resume", vec![1, 2, 3, 4, 5], 4));
        // It is out; the next best is there.
        assert_eq!(told(sequences.start(&[1, 2, 3, 4, 6])).2, 2);
    }

    #[test]
    fn two_tokens_are_always_read() {
        let prompt = [1, 2, 3, 4, 5];
        assert_eq!(told(kept(&[&prompt]).start(&prompt)).2, 3);
        assert_eq!(told(kept(&[&prompt]).start(&prompt[..1])).0, "fresh");
        assert_eq!(told(kept(&[&prompt]).start(&prompt[..2])).0, "fresh");
    }

    #[test]
    fn a_short_beginning_does_not_cost_a_long_sequence() {
        let long: Vec<u32> = (0..100).collect();
        let mut other = long.clone();
        other[10] = 1000;
        assert_eq!(told(kept(&[&long]).start(&other)).0, "fork");
        // Where there is no room for both, it does.
        let mut full = kept(&[&[5], &[6], &[7], &long]);
        assert_eq!(told(full.start(&other)).0, "resume");
    }

    #[test]
    fn few_sequences_are_kept_and_the_oldest_go() {
        let mut sequences = kept(&[&[10], &[20], &[30], &[40], &[50]]);
        assert_eq!(sequences.idle.len(), KEPT);
        assert_eq!(told(sequences.start(&[1, 2, 3])), ("fresh", vec![20], 0));
        assert_eq!(told(sequences.start(&[1, 2, 3])), ("fresh", vec![], 0));
        let large = || Sequence { tokens: vec![1], memory: Bytes(KEPT_BYTES / 2 + 1) };
        sequences.keep(large());
        sequences.keep(large());
        assert_eq!(sequences.idle.len(), 1);
    }
}
