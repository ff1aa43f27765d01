use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const MASKED: f32 = f32::NEG_INFINITY;

fn sampler(options: &Sampling) -> Sampler {
    Sampler::new(options).unwrap()
}

fn greedy(logits: &[f32]) -> Result<u32> {
    sampler(&Sampling::default()).sample(&mut logits.to_vec(), &[])
}

/// What the filters must leave, by sorting and adding up everything in 64 bits. `None` where a sum or
/// a quotient is so near its limit that rounding decides.
fn oracle(logits: &[f32], options: &Sampling) -> Option<BTreeSet<u32>> {
    let mut tokens: Vec<(usize, f64)> = logits
        .iter()
        .enumerate()
        .filter(|(_, x)| **x > MASKED)
        .map(|(id, x)| (id, f64::from(*x)))
        .collect();
    // The zeros are equal.
    tokens.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    if options.top_k > 0 {
        tokens.truncate(options.top_k);
    }
    let peak = tokens[0].1;
    let weight = |x: f64| (x - peak).exp();
    let near = |a: f64, b: f64| (a - b).abs() < 1e-5 * b.abs().max(1e-3);
    if options.top_p < 1.0 {
        let total: f64 = tokens.iter().map(|t| weight(t.1)).sum();
        let target = f64::from(options.top_p) * total;
        let mut sum = 0.0;
        let mut left = 0;
        for token in &tokens {
            sum += weight(token.1);
            left += 1;
            if near(sum, target) {
                return None;
            }
            if sum >= target {
                break;
            }
        }
        tokens.truncate(left);
    }
    let least = f64::from(options.min_p);
    if tokens.iter().any(|t| options.min_p > 0.0 && t.1 < peak && near(weight(t.1), least)) {
        return None;
    }
    tokens.retain(|t| t.1 >= peak || weight(t.1) >= least);
    Some(tokens.into_iter().map(|t| u32::try_from(t.0).unwrap()).collect())
}

fn left(logits: &[f32], options: &Sampling) -> Vec<u32> {
    let mut survey = Survey::default();
    survey.take(logits);
    let mut selection = Selection::default();
    // Nothing of an earlier call is left over.
    selection.apply(&[1.0, 2.0, 3.0], &survey_of(&[1.0, 2.0, 3.0]), options.filters());
    selection.apply(logits, &survey, options.filters());
    let expected: Vec<f32> = selection.ids.iter().map(|id| logits[*id as usize]).collect();
    assert_eq!(selection.logits, expected);
    selection.ids
}

fn survey_of(logits: &[f32]) -> Survey {
    let mut survey = Survey::default();
    survey.take(logits);
    survey
}

/// Logits with masked ones, equal ones, both zeros and extremes among them.
fn logits(up_to: usize) -> impl Strategy<Value = Vec<f32>> {
    let one = prop_oneof![
        6 => -12f32..12.0,
        2 => (-8i8..8).prop_map(f32::from),
        1 => Just(MASKED),
        1 => prop_oneof![Just(0.0f32), Just(-0.0), Just(-1e30), Just(-80.0)],
    ];
    prop::collection::vec(one, 1..up_to)
        .prop_filter("all masked", |logits| logits.iter().any(|x| *x > MASKED))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn greedy_takes_the_first_of_the_greatest(logits in logits(400)) {
        let mut best = 0;
        for (id, logit) in logits.iter().enumerate() {
            if *logit > logits[best] {
                best = id;
            }
        }
        prop_assert_eq!(greedy(&logits).unwrap() as usize, best);
        // The filters never take the likeliest away.
        let narrow = Sampling { top_k: 1, top_p: 0.01, min_p: 1.0, ..Sampling::default() };
        prop_assert_eq!(sampler(&narrow).sample(&mut logits.clone(), &[]).unwrap() as usize, best);
    }

    #[test]
    fn the_filters_leave_what_sorting_says(
        logits in logits(1500),
        top_k in prop_oneof![Just(0usize), 1usize..40, 1usize..1500],
        top_p in prop_oneof![Just(1.0f32), 0.001f32..1.0, 0.9f32..1.0],
        min_p in prop_oneof![Just(0.0f32), 0.0f32..1.0, 1e-6f32..1e-3, Just(1.0)],
    ) {
        let options = Sampling { temperature: 1.0, top_k, top_p, min_p, ..Sampling::default() };
        if let Some(expected) = oracle(&logits, &options) {
            let found = left(&logits, &options);
            prop_assert!(found.is_sorted());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
        }
    }

    /// Nearly uniform, so that the nucleus is most of the vocabulary.
    #[test]
    fn a_wide_nucleus_is_found_too(
        logits in prop::collection::vec(-0.5f32..0.5, 2_000..4_000),
        top_p in 0.3f32..0.999,
    ) {
        let options = Sampling { temperature: 1.0, top_p, ..Sampling::default() };
        if let Some(expected) = oracle(&logits, &options) {
            let found: BTreeSet<u32> = left(&logits, &options).into_iter().collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_draw_is_one_that_is_left(
        logits in logits(300),
        temperature in prop_oneof![1e-40f32..1e-3, 0.1f32..3.0, 1e3f32..1e30],
        top_k in 0usize..20,
        min_p in 0.0f32..0.5,
        seed in any::<u64>(),
    ) {
        let options = Sampling { temperature, top_k, min_p, seed, ..Sampling::default() };
        let allowed = left(&logits, &options);
        let mut sampler = sampler(&options);
        for _ in 0..20 {
            let token = sampler.sample(&mut logits.clone(), &[]).unwrap();
            prop_assert!(allowed.contains(&token), "{} of {:?}", token, allowed);
        }
    }

    /// Any bits at all: a token with a logit, or an error that says which is bad.
    #[test]
    fn no_logits_make_it_panic(
        bits in prop::collection::vec(any::<u32>(), 0..200),
        history in prop::collection::vec(0u32..300, 0..50),
        temperature in prop_oneof![Just(0.0f32), 0.0f32..2.0],
        top_p in 0.01f32..=1.0,
    ) {
        let mut logits: Vec<f32> = bits.iter().map(|b| f32::from_bits(*b)).collect();
        let options = Sampling {
            temperature, top_p, top_k: 50, repetition_penalty: 1.5, ..Sampling::default()
        };
        match sampler(&options).sample(&mut logits, &history) {
            Ok(token) => prop_assert!(logits[token as usize] > MASKED),
            Err(Error::Logits { reason }) => prop_assert!(!reason.is_empty()),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// As the definition reads, over the set of the last tokens.
    #[test]
    fn the_penalty_is_that_of_ctrl(
        logits in prop::collection::vec(-5f32..5.0, 1..100),
        history in prop::collection::vec(0u32..120, 0..60),
        penalty in 0.5f32..3.0,
        window in prop_oneof![0usize..70, Just(usize::MAX)],
    ) {
        let options = Sampling {
            repetition_penalty: penalty, repetition_window: window, ..Sampling::default()
        };
        let mut found = logits.clone();
        sampler(&options).sample(&mut found, &history).unwrap();
        let last: BTreeSet<usize> =
            history.iter().rev().take(window).map(|t| *t as usize).collect();
        let expected: Vec<f32> = logits
            .iter()
            .enumerate()
            .map(|(id, x)| match (last.contains(&id), *x > 0.0) {
                (false, _) => *x,
                (true, true) => *x / penalty,
                (true, false) => *x * penalty,
            })
            .collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn unusable_logits_are_told() {
    let reason = |logits: &[f32]| match greedy(logits) {
        Err(Error::Logits { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason(&[]).contains("no logits"));
    assert!(reason(&[MASKED; 130]).contains("all 130 tokens are masked"));
    let mut logits = vec![0.0; 200];
    logits[150] = f32::NAN;
    assert!(reason(&logits).contains("token 150 is NaN"));
    logits[150] = f32::INFINITY;
    assert!(reason(&logits).contains("token 150 is inf"));
    logits[150] = MASKED;
    assert_eq!(greedy(&logits).unwrap(), 0);
    // Equal ones: the lowest id, also where they lie in different blocks, and both zeros are equal.
    assert_eq!(greedy(&[MASKED, -0.0, 0.0]).unwrap(), 1);
    logits[70] = 1.0;
    logits[199] = 1.0;
    assert_eq!(greedy(&logits).unwrap(), 70);
}

#[test]
fn options_out_of_range_are_told() {
    let usual = Sampling::default;
    for (options, name) in [
        (Sampling { temperature: -0.1, ..usual() }, "temperature"),
        (Sampling { temperature: f32::NAN, ..usual() }, "temperature"),
        (Sampling { temperature: f32::INFINITY, ..usual() }, "temperature"),
        (Sampling { top_p: 0.0, ..usual() }, "top_p"),
        (Sampling { top_p: 1.01, ..usual() }, "top_p"),
        (Sampling { top_p: f32::NAN, ..usual() }, "top_p"),
        (Sampling { min_p: -0.01, ..usual() }, "min_p"),
        (Sampling { min_p: 1.01, ..usual() }, "min_p"),
        (Sampling { repetition_penalty: 0.0, ..usual() }, "repetition_penalty"),
        (Sampling { repetition_penalty: f32::INFINITY, ..usual() }, "repetition_penalty"),
    ] {
        match Sampler::new(&options) {
            Err(Error::Parameter { name: found, reason }) => {
                assert_eq!(found, name);
                assert!(reason.contains("expected") && reason.contains("found"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    // More than there are tokens is all of them.
    let options = Sampling { temperature: 1.0, top_k: usize::MAX, ..usual() };
    assert_eq!(left(&[1.0, MASKED, 2.0], &options), [0, 2]);
}

/// Pearson's statistic over the draws, and the value that it exceeds once in a million by chance: by
/// Wilson and Hilferty's cube root, with the normal distribution's quantile 4.7534.
fn chi_squared(counts: &[u32], probabilities: &[f64]) -> (f64, f64) {
    let draws: f64 = counts.iter().map(|c| f64::from(*c)).sum();
    let (mut statistic, mut cells) = (0.0, 0.0);
    let (mut rare_expected, mut rare_found) = (0.0, 0.0);
    for (count, probability) in counts.iter().zip(probabilities) {
        let expected = draws * probability;
        // Cells of few draws are taken together, else the statistic's distribution is another.
        if expected < 10.0 {
            rare_expected += expected;
            rare_found += f64::from(*count);
        } else {
            statistic += (f64::from(*count) - expected).powi(2) / expected;
            cells += 1.0;
        }
    }
    if rare_expected >= 10.0 {
        statistic += (rare_found - rare_expected).powi(2) / rare_expected;
        cells += 1.0;
    } else {
        assert!(rare_found < 60.0, "{rare_found} draws where {rare_expected} were expected");
    }
    let freedom: f64 = cells - 1.0;
    let part = 2.0 / (9.0 * freedom);
    (statistic, freedom * (1.0 - part + 4.7534 * part.sqrt()).powi(3))
}

fn frequencies(logits: &[f32], options: &Sampling) -> Vec<u32> {
    let mut sampler = sampler(options);
    let mut counts = vec![0; logits.len()];
    for _ in 0..200_000 {
        let token = sampler.sample(&mut logits.to_vec(), &[]).unwrap();
        counts[token as usize] += 1;
    }
    counts
}

/// Softmax in 64 bits over what the oracle leaves.
fn softmax(logits: &[f32], options: &Sampling) -> Vec<f64> {
    let left = oracle(logits, options).unwrap();
    let weights: Vec<f64> = (0..)
        .zip(logits)
        .map(|(id, x)| {
            let scaled = f64::from(*x) / f64::from(options.temperature);
            if left.contains(&id) { scaled.exp() } else { 0.0 }
        })
        .collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / total).collect()
}

#[test]
fn draws_are_as_frequent_as_softmax_says() {
    // From 3 down to -2, in no order, over several blocks, one of them masked.
    let mut logits: Vec<f32> = (0..200u16).map(|i| 3.0 - f32::from(i * 77 % 200) / 40.0).collect();
    logits[64..128].fill(MASKED);
    let usual = Sampling { temperature: 1.0, seed: 5, ..Sampling::default() };
    for options in [
        Sampling { temperature: 0.4, ..usual.clone() },
        usual.clone(),
        Sampling { temperature: 1.9, ..usual.clone() },
        Sampling { top_k: 37, ..usual.clone() },
        Sampling { temperature: 0.7, top_p: 0.8, ..usual.clone() },
        Sampling { temperature: 1.5, min_p: 0.21, ..usual.clone() },
        Sampling { temperature: 0.8, top_k: 100, top_p: 0.95, min_p: 0.05, ..usual.clone() },
    ] {
        let counts = frequencies(&logits, &options);
        let (statistic, limit) = chi_squared(&counts, &softmax(&logits, &options));
        assert!(statistic < limit, "{options:?}: {statistic} where {limit} is the limit");
        // The test does notice a temperature that is off by a tenth.
        let other = Sampling { temperature: options.temperature * 1.1, ..options };
        let (statistic, limit) = chi_squared(&counts, &softmax(&logits, &other));
        assert!(statistic > limit, "{other:?}: {statistic} where {limit} is the limit");
    }
}

#[test]
fn a_seed_gives_the_same_tokens_on_every_machine() {
    let logits: Vec<f32> = (0..1000u32).map(|i| (i * 389 % 997) as f32 / 125.0).collect();
    let tokens = |options: &Sampling| -> Vec<u32> {
        let mut sampler = sampler(options);
        (0..16).map(|_| sampler.sample(&mut logits.clone(), &[]).unwrap()).collect()
    };
    let options = Sampling { temperature: 0.8, seed: 7, ..Sampling::default() };
    assert_eq!(tokens(&options), ALL);
    assert_eq!(tokens(&Sampling { top_k: 40, ..options.clone() }), TOP_K);
    assert_eq!(tokens(&Sampling { top_p: 0.6, ..options.clone() }), TOP_P);
    assert_ne!(tokens(&Sampling { seed: 8, ..options }), ALL);
}

// By a program in Python that draws with its own SplitMix64 from softmax in 64 bits, tokens in the
// order of their ids.
const ALL: [u32; 16] =
    [387, 23, 894, 574, 443, 246, 456, 328, 128, 410, 97, 953, 907, 858, 856, 538];
const TOP_K: [u32; 16] =
    [387, 23, 856, 551, 428, 205, 451, 346, 123, 410, 82, 938, 879, 838, 838, 510];
const TOP_P: [u32; 16] =
    [387, 23, 884, 561, 433, 233, 451, 328, 123, 410, 92, 943, 897, 856, 843, 533];
