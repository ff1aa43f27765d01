//! What the figures in docs/benchmarks.md and the constants of this module are made from; for
//! `bench/answers.rs` and no one else.

use super::citations::{Claim, compared};
use super::comparison::compare;
use super::confidence::{self, Signs};
use super::evidence::{self, rows};
use super::sources::Reader;
use super::{Passage, Rag};
use crate::encode::{Encoder, EncoderHandle, InputKind};
use crate::error::Result;

/// Figures by which a sentence of an answer counts as supported.
pub const SUPPORT: usize = 13;
/// Figures by which a question counts as answered.
pub const SIGNS: usize = confidence::FIGURES;
/// Figures by which a sentence is ranked as evidence.
pub const EVIDENCE: usize = evidence::FIGURES;

/// What passages have of a question: the figures that make its confidence. None without a sentence.
///
/// # Errors
/// Where the encoder fails.
pub fn signs(rag: &Rag<'_>, question: &str, passages: &[Passage]) -> Result<Option<[f32; SIGNS]>> {
    let encoder: Option<&dyn Encoder> = rag.encoder.as_ref().map(EncoderHandle::get).transpose()?;
    let reader = Reader { vocabulary: &rag.vocabulary, encoder };
    let (asked, sources) = reader.read(question, passages)?;
    let compared = compare(&asked, &sources);
    let rarity = rag.rarity(&asked.words, &sources)?;
    Ok(Signs::of(&asked, &sources, &compared, &rarity).map(|signs| signs.row()))
}

/// Each sentence of the passages, and the figures by which it is ranked as evidence.
///
/// # Errors
/// Where the encoder fails.
pub fn evidence(
    rag: &Rag<'_>,
    question: &str,
    passages: &[Passage],
) -> Result<Vec<(String, [f32; EVIDENCE])>> {
    let encoder: Option<&dyn Encoder> = rag.encoder.as_ref().map(EncoderHandle::get).transpose()?;
    let reader = Reader { vocabulary: &rag.vocabulary, encoder };
    let (asked, sources) = reader.read(question, passages)?;
    let rows = rows(&asked, &sources, &compare(&asked, &sources));
    Ok(sources.iter().map(|source| source.text().to_owned()).zip(rows).collect())
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
