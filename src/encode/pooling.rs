//! From token vectors to one vector of unit length.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// How token vectors become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over the text's tokens, special tokens included (Sentence-BERT, Reimers 2019).
    #[default]
    Mean,
    /// The first token's vector.
    Cls,
}

impl FromStr for Pooling {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "mean" => Ok(Self::Mean),
            "cls" => Ok(Self::Cls),
            _ => Err(Error::parameter("pooling", format!("{name:?}; there are mean and cls"))),
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
        })
    }
}

impl Pooling {
    /// Pools the token vectors of one text, `length` rows of `width`, and scales the result to unit
    /// length.
    pub(super) fn pool(self, tokens: &[f32], width: usize, length: usize) -> Vec<f32> {
        let mut sum = vec![0f32; width];
        let rows = match self {
            Self::Mean => length,
            Self::Cls => 1,
        };
        for row in tokens.chunks_exact(width).take(rows) {
            sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
        }
        scale_to_unit(&mut sum);
        sum
    }
}

/// The mean's divisor drops out here. A zero vector stays zero and is refused at the door.
pub(super) fn scale_to_unit(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "elements of a unit vector")]
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}
