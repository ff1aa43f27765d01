//! Rotary position embedding: which elements of a head turn together, and how fast.

/// Which elements of a query or key make a pair that is turned by the position (Su 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// Elements 2i and 2i + 1, as GGUF files of Llama have their rows.
    Neighbours,
    /// Elements i and i + n/2, as Qwen has them, and all safetensors.
    Halves,
}

/// How frequencies differ from the first ones, for contexts longer than those first trained on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scaling {
    None,
    /// All positions divided by this (Chen 2023).
    Linear(f64),
    /// Llama 3.1's: waves longer than `original` / `low` tokens are divided by `factor`, those shorter
    /// than `original` / `high` stay, between them it goes over (Grattafiori 2024;
    /// `rope_type: llama3` in transformers).
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    /// Every frequency divided by its own factor, as GGUF files have it (`rope_freqs.weight`).
    Factors(Vec<f64>),
}

/// The rotation of a decoder's queries and keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rotary {
    /// Frequency i of n/2 is this to the power of -2i/n, before scaling.
    pub(crate) base: f64,
    pub(crate) pairs: Pairs,
    pub(crate) scaling: Scaling,
}

impl Rotary {
    /// The angle by which each pair of a head is turned from a position to the next, in radians:
    /// `head_dim` / 2 of them, in the order of the pairs.
    pub(crate) fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        let dimensions = whole(head_dim);
        let plain = (0..head_dim / 2).map(|pair| self.base.powf(-2.0 * whole(pair) / dimensions));
        match &self.scaling {
            Scaling::None => plain.collect(),
            Scaling::Linear(factor) => plain.map(|frequency| frequency / factor).collect(),
            Scaling::Llama3 { factor, low, high, original } => plain
                .map(|frequency| {
                    let waves = original * frequency / std::f64::consts::TAU;
                    // How much of the frequency stays: nothing below `low` waves, all above `high`.
                    let kept = ((waves - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - kept) * frequency / factor + kept * frequency
                })
                .collect(),
            Scaling::Factors(factors) => {
                plain.zip(factors).map(|(frequency, factor)| frequency / factor).collect()
            }
        }
    }

    /// Whether frequencies of heads of `head_dim` elements are numbers above zero.
    pub(super) fn check(&self, head_dim: usize) -> Result<(), String> {
        let above = |what: &str, x: f64| {
            if x.is_finite() && x > 0.0 { Ok(()) } else { Err(format!("has {what} {x}")) }
        };
        above("a rotary base of", self.base)?;
        match &self.scaling {
            Scaling::None => {}
            Scaling::Linear(factor) => above("a rotary scaling factor of", *factor)?,
            Scaling::Llama3 { factor, low, high, original } => {
                above("a rotary scaling factor of", *factor)?;
                above("a low_freq_factor of", *low)?;
                above("an original context of", *original)?;
                above("a high_freq_factor less low_freq_factor of", high - low)?;
            }
            Scaling::Factors(factors) => {
                if factors.len() != head_dim / 2 {
                    return Err(format!(
                        "has {} rotary factors for {head_dim} dimensions of a head",
                        factors.len()
                    ));
                }
                factors.iter().try_for_each(|factor| above("a rotary factor of", *factor))?;
            }
        }
        let frequencies = self.frequencies(head_dim);
        frequencies.into_iter().try_for_each(|x| above("a rotary frequency of", x))
    }
}

/// A small whole number as a float.
fn whole(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rotary(base: f64, scaling: Scaling) -> Rotary {
        Rotary { base, pairs: Pairs::Halves, scaling }
    }

    fn llama3(factor: f64) -> Scaling {
        Scaling::Llama3 { factor, low: 1.0, high: 4.0, original: 8192.0 }
    }

    /// By hand: 10,000 to the powers 0, -1/4, -1/2, -3/4.
    #[test]
    fn frequencies_are_powers_of_the_base() {
        let plain = rotary(10_000.0, Scaling::None).frequencies(8);
        let slow = rotary(10_000.0, Scaling::Linear(4.0)).frequencies(8);
        let own = rotary(10_000.0, Scaling::Factors(vec![1.0, 2.0, 4.0, 8.0])).frequencies(8);
        let close = |found: &[f64], wanted: [f64; 4]| {
            assert_eq!(found.len(), 4);
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found / wanted - 1.0).abs() < 1e-14, "{found} {wanted}");
            }
        };
        close(&plain, [1.0, 0.1, 0.01, 0.001]);
        close(&slow, [0.25, 0.025, 0.0025, 0.00025]);
        close(&own, [1.0, 0.05, 0.0025, 0.000_125]);
    }

    /// Llama 3.2 1B's, by transformers 4.57.1 (`_compute_llama3_parameters`, run in float64).
    #[test]
    fn llama3_equals_the_reference() {
        let found = rotary(500_000.0, llama3(32.0)).frequencies(64);
        assert_eq!(found.len(), 32);
        for (pair, wanted) in [
            (0, 1.0),
            (1, 0.663_601_237_696_088_5),
            (14, 0.003_211_445_994_752_591_3),
            (15, 0.001_290_547_928_209_264),
            (16, 0.000_429_556_796_559_368_16),
            (17, 9.708_287_802_627_67e-5),
            (18, 1.946_163_818_483_112_5e-5),
            (19, 1.291_476_718_704_739e-5),
            (31, 9.418_306_725_434_911e-8),
        ] {
            assert!((found[pair] / wanted - 1.0).abs() < 1e-12, "pair {pair}: {}", found[pair]);
        }
    }

    proptest! {
        /// Between the bounds the frequency lies between both forms, and nowhere does it jump.
        #[test]
        fn llama3_goes_over_without_a_jump(base in 1e3..1e6f64, factor in 1.5..40f64) {
            let plain = rotary(base, Scaling::None).frequencies(256);
            let scaled = rotary(base, llama3(factor)).frequencies(256);
            for (pair, (plain, scaled)) in plain.iter().zip(&scaled).enumerate() {
                let wave = std::f64::consts::TAU / plain;
                let wanted = if wave < 8192.0 / 4.0 {
                    *plain..=*plain
                } else if wave > 8192.0 {
                    plain / factor..=plain / factor
                } else {
                    plain / factor..=*plain
                };
                let near = |x: &f64, y: &f64| (x / y - 1.0).abs() < 1e-9;
                let within = wanted.contains(scaled)
                    || near(scaled, wanted.start())
                    || near(scaled, wanted.end());
                prop_assert!(within, "pair {pair}: {scaled} of {plain}");
            }
            prop_assert!(scaled.is_sorted_by(|a, b| a > b), "the order of the pairs stays");
        }
    }

    #[test]
    fn numbers_without_sense_are_refused() {
        let refused = |base: f64, scaling: Scaling| rotary(base, scaling).check(8).unwrap_err();
        assert!(rotary(10_000.0, llama3(8.0)).check(8).is_ok());
        for base in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(refused(base, Scaling::None).contains("base"), "{base}");
        }
        assert!(refused(1e300, Scaling::Linear(1e300)).contains("frequency"));
        assert!(refused(1e4, Scaling::Linear(0.0)).contains("factor"));
        assert!(refused(1e4, llama3(f64::NAN)).contains("factor"));
        let equal = Scaling::Llama3 { factor: 8.0, low: 4.0, high: 4.0, original: 8192.0 };
        assert!(refused(1e4, equal).contains("high_freq_factor"));
        assert!(refused(1e4, Scaling::Factors(vec![1.0; 3])).contains("3 rotary factors"));
        assert!(refused(1e4, Scaling::Factors(vec![1.0, 1.0, 0.0, 1.0])).contains("factor"));
    }
}
