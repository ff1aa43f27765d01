//! How alike two texts are by their vectors, whole and token by token.

use super::TokenEmbedding;

/// The cosine of two vectors of unit length; 0 where their lengths differ.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums side by side, which the compiler keeps in one register.
    let mut sums = [0f32; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    if a.len() != b.len() {
        return 0.0;
    }
    for (x, y) in a8.iter().zip(b8) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

/// The rows of a text's token vectors.
pub(crate) fn rows(text: &TokenEmbedding) -> impl Iterator<Item = &[f32]> {
    let width = text.embedding.vector.len().max(1);
    text.vectors.chunks_exact(width)
}

/// For each token of `question`, its cosine with the token of `text` that is most like it; nothing
/// where either has no vectors of tokens.
pub(crate) fn best_matches(question: &TokenEmbedding, text: &TokenEmbedding) -> Vec<f32> {
    if text.vectors.is_empty() {
        return Vec::new();
    }
    rows(question)
        .map(|token| rows(text).map(|other| dot(token, other)).fold(f32::NEG_INFINITY, f32::max))
        .collect()
}

/// Late interaction (Khattab and Zaharia 2020): the mean of the best matches, each with its weight
/// where there are weights that add up to more than 0. None where there are no matches.
pub(crate) fn max_sim(matches: &[f32], weights: &[f32]) -> Option<f32> {
    if matches.is_empty() {
        return None;
    }
    let total: f32 = weights.iter().sum();
    if weights.len() == matches.len() && total > 0.0 {
        let sum: f32 = matches.iter().zip(weights).map(|(best, weight)| best * weight).sum();
        return Some(sum / total);
    }
    Some(matches.iter().sum::<f32>() / matches.len() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Embedding;

    fn text(rows: &[[f32; 2]]) -> TokenEmbedding {
        TokenEmbedding {
            embedding: Embedding { vector: vec![1.0, 0.0], truncated_tokens: 0 },
            vectors: rows.iter().flatten().copied().collect(),
            spans: vec![0..1; rows.len()],
        }
    }

    #[test]
    fn max_sim_is_the_mean_of_the_best_matches() {
        let question = text(&[[1.0, 0.0], [0.0, 1.0]]);
        let other = text(&[[0.6, 0.8], [0.8, 0.6], [-1.0, 0.0]]);
        let matches = best_matches(&question, &other);
        assert_eq!(matches, [0.8, 0.8]);
        assert!((max_sim(&[0.5, 0.8], &[]).unwrap() - 0.65).abs() < 1e-6);
        // (3 * 0.5 + 0.8) / 4.
        assert!((max_sim(&[0.5, 0.8], &[3.0, 1.0]).unwrap() - 0.575).abs() < 1e-6);
        assert!((max_sim(&[0.5, 0.8], &[0.0, 0.0]).unwrap() - 0.65).abs() < 1e-6);
        assert_eq!(max_sim(&best_matches(&question, &text(&[])), &[]), None);
    }

    #[test]
    fn products_are_those_of_the_plain_sum() {
        let a: Vec<f32> = (0..19_u8).map(f32::from).collect();
        // The sum of the first 18 squares: 18 * 19 * 37 / 6.
        assert!((dot(&a, &a) - 2109.0).abs() < 1e-3);
        assert!(dot(&a, &a[1..]).abs() < 1e-6);
    }
}
