//! What the figures in docs/benchmarks.md and the constants of this module are made from; for
//! `bench/answers.rs` and no one else.

use super::citations::{Claim, compared};
use super::confidence::Signs;
use super::evidence::rank;
use super::sources::Reader;
use super::{Passage, Rag};
use crate::encode::{Encoder, EncoderHandle, InputKind};
use crate::error::Result;

/// Figures by which a sentence of an answer counts as supported.
pub const SUPPORT: usize = 13;
/// Figures by which a question counts as answered.
pub const SIGNS: usize = 9;

/// What passages have of a question: the figures that make its confidence. None without a sentence.
///
/// # Errors
/// Where the encoder fails.
pub fn signs(rag: &Rag<'_>, question: &str, passages: &[Passage]) -> Result<Option<[f32; SIGNS]>> {
    let encoder: Option<&dyn Encoder> = rag.encoder.as_ref().map(EncoderHandle::get).transpose()?;
    let reader = Reader { vocabulary: &rag.vocabulary, encoder };
    let (asked, sources) = reader.read(question, passages)?;
    let ranked = rank(&asked, &sources);
    Ok(Signs::of(&asked, &sources, &ranked).map(|signs| signs.row()))
}

/// For each of `claims`, as answers to `question`: the figures of the span of the passages that
/// supports it best.
///
/// # Errors
/// Where the encoder fails.
pub fn support(
    rag: &Rag<'_>,
    question: &str,
    passages: &[Passage],
    claims: &[&str],
) -> Result<Vec<Option<[f32; SUPPORT]>>> {
    let encoder: Option<&dyn Encoder> = rag.encoder.as_ref().map(EncoderHandle::get).transpose()?;
    let reader = Reader { vocabulary: &rag.vocabulary, encoder };
    let (asked, sources) = reader.read(question, passages)?;
    let inputs: Vec<(&str, InputKind)> =
        claims.iter().map(|claim| (*claim, InputKind::Document)).collect();
    let embeddings = reader.embeddings(&inputs)?;
    let figures = claims.iter().zip(&embeddings).map(|(text, embedding)| {
        let words = rag.vocabulary.words(text);
        let claim = Claim { text, words: &words, embedding, named: &[] };
        compared(&claim, &asked, &sources, &rag.contrasts)
    });
    Ok(figures.collect())
}
