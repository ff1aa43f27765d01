//! Token vectors in little room: neighbours pooled, 8 bits an element.
//!
//! Late interaction loses little when a few neighbouring tokens share one vector, their mean (token
//! pooling: Clavié, Chaffin and Adams 2024, who cluster; neighbours do as well here, and need no
//! search). An element is a signed byte; each vector has its own scale.

use super::similarity::rows;
use super::{Embedding, TokenEmbedding};

/// Bytes of a vector's scale.
const SCALE: usize = 4;

/// The rows of `text`, each `group` of neighbours as one, as bytes.
pub(crate) fn pooled(text: &TokenEmbedding, group: usize) -> Vec<u8> {
    let all: Vec<&[f32]> = rows(text).collect();
    let mut bytes = Vec::new();
    for group in all.chunks(group.max(1)) {
        let mut mean = vec![0f32; text.embedding.vector.len()];
        for row in group {
            mean.iter_mut().zip(*row).for_each(|(sum, x)| *sum += x);
        }
        let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
        let largest = mean.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        let step = largest / 127.0;
        let scale = if length > 0.0 { step / length } else { 0.0 };
        bytes.extend(scale.to_le_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "from -127 to 127 by its scale")]
        bytes.extend(mean.iter().flat_map(|x| {
            let code = if step > 0.0 { (x / step).round() as i8 } else { 0 };
            code.to_le_bytes()
        }));
    }
    bytes
}

/// What [`pooled`] made, for vectors of `dimensions`: none where the bytes are of another length. The
/// text's own vector is not in it, and neither are spans.
pub(crate) fn unpooled(bytes: &[u8], dimensions: usize) -> Option<TokenEmbedding> {
    let width = dimensions + SCALE;
    if !bytes.len().is_multiple_of(width) {
        return None;
    }
    let mut vectors = Vec::with_capacity(bytes.len() / width * dimensions);
    for row in bytes.chunks_exact(width) {
        let (scale, codes) = row.split_first_chunk::<SCALE>()?;
        let scale = f32::from_le_bytes(*scale);
        vectors.extend(codes.iter().map(|code| f32::from(i8::from_le_bytes([*code])) * scale));
    }
    let embedding = Embedding { vector: vec![0.0; dimensions], truncated_tokens: 0 };
    Some(TokenEmbedding { embedding, vectors, spans: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_their_mean_direction() {
        let text = TokenEmbedding {
            embedding: Embedding { vector: vec![1.0, 0.0], truncated_tokens: 0 },
            vectors: vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8],
            spans: vec![0..1, 1..2, 2..3],
        };
        let bytes = pooled(&text, 2);
        assert_eq!(bytes.len(), 2 * (4 + 2));
        let again = unpooled(&bytes, 2).unwrap();
        // The mean of two unit vectors at a right angle points half-way: 1/√2 each.
        let half = std::f32::consts::FRAC_1_SQRT_2;
        for (found, right) in again.vectors.iter().zip([half, half, 0.6, 0.8]) {
            assert!((found - right).abs() < 1.0 / 127.0, "{found} {right}");
        }
        assert_eq!(unpooled(&bytes[1..], 2), None);
        assert_eq!(unpooled(&[], 2).unwrap().vectors, Vec::<f32>::new());
        let opposite = TokenEmbedding { vectors: vec![1.0, 0.0, -1.0, 0.0], ..text };
        assert_eq!(unpooled(&pooled(&opposite, 2), 2).unwrap().vectors, [0.0, 0.0]);
    }
}
