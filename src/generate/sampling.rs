//! A token out of logits.

mod select;
#[cfg(test)]
mod tests;
mod weights;

use crate::error::{Error, Result};
use crate::random::{SplitMix64, unit};
use select::{Filters, Selection, Survey};
use weights::Weights;

/// How a token is chosen. The default is greedy: always the likeliest, of equal ones the one with the
/// lowest id.
///
/// The order is that of llama.cpp: repetition penalty, top-k, top-p, min-p, then temperature. So the
/// filters look at the model's own probabilities, whatever the temperature (in transformers, which
/// divides by the temperature first, a higher one makes top-p and min-p keep more).
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// What logits are divided by: above 1 flattens the distribution, below sharpens it, and at 0 the
    /// likeliest token is taken, whatever the filters. Default: 0.
    pub temperature: f32,
    /// Only so many of the likeliest tokens are left. 0, the default: all.
    pub top_k: usize,
    /// Only the likeliest tokens are left that together have this probability, among those that
    /// top-k leaves (Holtzman and others, "The curious case of neural text degeneration", 2020). From
    /// above 0 to 1. Default: 1, all.
    pub top_p: f32,
    /// Only tokens are left that are at least this many times as likely as the likeliest (Nguyen and
    /// others, "Turning up the heat: min-p sampling", 2024). From 0 to 1. Default: 0, all.
    pub min_p: f32,
    /// What makes tokens of the window less likely: their logits, where positive, are divided by it,
    /// else multiplied; each token once, however often it stands there (Keskar and others, "CTRL",
    /// 2019, as transformers has it). From 0.01 to 100; below 1 they become likelier. Default: 1,
    /// nothing.
    pub repetition_penalty: f32,
    /// How many of the last tokens the penalty is for; `usize::MAX` for all. Default: 64.
    pub repetition_window: usize,
    /// Where random numbers begin. The same seed, options and logits give the same tokens on every
    /// machine. Default: 0.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
            seed: 0,
        }
    }
}

impl Sampling {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the value, its range and what was found.
    pub fn check(&self) -> Result<()> {
        let refuse = |name, found: f32, expected: &str| {
            Err(Error::parameter(name, format!("expected {expected}, found {found}")))
        };
        // NaN is in no range.
        if !(0.0..f32::INFINITY).contains(&self.temperature) {
            let expected = "a number from 0 (always the likeliest token) upwards";
            return refuse("temperature", self.temperature, expected);
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return refuse("top_p", self.top_p, "a probability above 0, up to 1 (all tokens)");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return refuse("min_p", self.min_p, "a number from 0 (all tokens) to 1");
        }
        if !(0.01..=100.0).contains(&self.repetition_penalty) {
            let expected = "a number from 0.01 to 100, where 1 means no penalty";
            return refuse("repetition_penalty", self.repetition_penalty, expected);
        }
        Ok(())
    }

    fn filters(&self) -> Filters {
        Filters {
            top_k: (self.top_k > 0).then_some(self.top_k),
            top_p: (self.top_p < 1.0).then_some(self.top_p),
            min_p: (self.min_p > 0.0).then_some(self.min_p),
        }
    }
}

/// Chooses tokens, one after the other, as its [`Sampling`] says. Its buffers are used again.
#[derive(Debug, Clone)]
pub struct Sampler {
    options: Sampling,
    random: SplitMix64,
    /// A bit for every token of the window.
    seen: Vec<u64>,
    survey: Survey,
    selection: Selection,
    weights: Weights,
}

impl Sampler {
    /// A sampler that stands at the beginning of its seed.
    ///
    /// # Errors
    /// Those of [`Sampling::check`].
    pub fn new(options: &Sampling) -> Result<Self> {
        options.check()?;
        Ok(Self {
            options: options.clone(),
            random: SplitMix64(options.seed),
            seen: Vec::new(),
            survey: Survey::default(),
            selection: Selection::default(),
            weights: Weights::default(),
        })
    }

    /// The next token, by the `logits` of all tokens and the tokens so far. A logit of −∞ is a token
    /// that may not come. The repetition penalty is left in `logits`.
    ///
    /// # Errors
    /// [`Error::Logits`] where there are none, one is NaN or +∞, or all are −∞.
    pub fn sample(&mut self, logits: &mut [f32], history: &[u32]) -> Result<u32> {
        self.penalise(logits, history);
        self.survey.take(logits);
        self.check(logits)?;
        let place = if self.options.temperature > 0.0 {
            self.draw(logits)
        } else {
            self.survey.first_at_peak(logits)
        };
        place
            .and_then(|place| u32::try_from(place).ok())
            .ok_or_else(|| Error::Logits { reason: "no token has a probability".to_owned() })
    }

    fn draw(&mut self, logits: &[f32]) -> Option<usize> {
        let unit = unit(self.random.next());
        let (peak, temperature) = (self.survey.peak, self.options.temperature);
        let filters = self.options.filters();
        if filters.none() {
            self.weights.fill(logits, peak, temperature);
            return self.weights.draw(unit);
        }
        self.selection.apply(logits, &self.survey, filters);
        self.weights.fill(&self.selection.logits, peak, temperature);
        let place = self.weights.draw(unit)?;
        self.selection.ids.get(place).and_then(|id| usize::try_from(*id).ok())
    }

    fn penalise(&mut self, logits: &mut [f32], history: &[u32]) {
        let penalty = self.options.repetition_penalty;
        let window = &history[history.len().saturating_sub(self.options.repetition_window)..];
        // No penalty leaves every bit as it is.
        if penalty.to_bits() == 1f32.to_bits() || window.is_empty() {
            return;
        }
        self.seen.clear();
        self.seen.resize(logits.len().div_ceil(64), 0);
        for token in window {
            let Ok(place) = usize::try_from(*token) else { continue };
            // Tokens without a logit are none of the model's.
            let (Some(logit), Some(seen)) = (logits.get_mut(place), self.seen.get_mut(place / 64))
            else {
                continue;
            };
            let bit = 1 << (place % 64);
            if *seen & bit == 0 {
                *seen |= bit;
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }

    fn check(&self, logits: &[f32]) -> Result<()> {
        let refuse = |reason: String| Err(Error::Logits { reason });
        if !self.survey.usable {
            let bad = logits.iter().enumerate().find(|(_, x)| x.is_nan() || **x >= f32::INFINITY);
            return refuse(bad.map_or_else(String::new, |(token, logit)| {
                format!(
                    "the logit of token {token} is {logit}; every one must be a number, or -inf for \
                     a token that may not come"
                )
            }));
        }
        if self.survey.peak > f32::NEG_INFINITY {
            return Ok(());
        }
        refuse(if logits.is_empty() {
            "there are no logits".to_owned()
        } else {
            format!("all {} tokens are masked; no text fits the constraint here", logits.len())
        })
    }
}
