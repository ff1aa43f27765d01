//! Points as codes in memory: what a segment is built from.

use crate::vector::code::{CodeError, encode};
use crate::vector::{Memory, Rotation};

use crate::vector::dot_i8;

/// A point's code with its scale and squared length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code<'a> {
    pub(super) scale: f32,
    pub(super) square: f32,
    pub(super) first: &'a [i8],
    pub(super) rest: &'a [u8],
}

/// Codes of one rotation, by row.
#[derive(Debug)]
pub(super) struct Codes {
    padded: usize,
    memory: Memory,
    ids: Vec<u32>,
    factors: Vec<[f32; 2]>,
    first: Vec<i8>,
    rest: Vec<u8>,
    error: CodeError,
}

impl Codes {
    pub(super) fn new(padded: usize, memory: Memory) -> Self {
        Self {
            padded,
            memory,
            ids: Vec::new(),
            factors: Vec::new(),
            first: Vec::new(),
            rest: Vec::new(),
            error: CodeError::default(),
        }
    }

    /// Encodes `vector`.
    pub(super) fn push(&mut self, id: u32, vector: &[f32], rotation: &Rotation) {
        let row = self.ids.len();
        let rotated = rotation.apply(vector);
        self.first.resize((row + 1) * self.padded, 0);
        let rest = self.memory.rest_bytes(self.padded);
        self.rest.resize((row + 1) * rest, 0);
        let (scale, error) =
            encode(&rotated, &mut self.first[row * self.padded..], &mut self.rest[row * rest..]);
        self.ids.push(id);
        self.factors.push([scale, crate::vector::dot(vector, vector)]);
        self.widen_error(error);
    }

    /// Takes a code over as it is: encoding what was decoded would lose a little each time.
    pub(super) fn push_code(&mut self, id: u32, code: Code<'_>) {
        self.ids.push(id);
        self.factors.push([code.scale, code.square]);
        self.first.extend_from_slice(code.first);
        self.rest.extend_from_slice(code.rest);
    }

    /// The codes leave out at least this much.
    pub(super) fn widen_error(&mut self, error: CodeError) {
        self.error = self.error.max(error);
    }

    pub(super) fn error(&self) -> CodeError {
        self.error
    }

    /// What one of them leaves out at most.
    #[inline]
    pub(super) fn error_of(&self, code: Code<'_>) -> CodeError {
        self.error.at_scale(code.scale, self.padded, !code.rest.is_empty())
    }

    /// What a segment of these keeps.
    pub(super) fn memory(&self) -> Memory {
        self.memory
    }

    pub(super) fn padded(&self) -> usize {
        self.padded
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub(super) fn get(&self, row: u32) -> Code<'_> {
        let row = row as usize;
        let rest = self.memory.rest_bytes(self.padded);
        let [scale, square] = self.factors[row];
        Code {
            scale,
            square,
            first: &self.first[row * self.padded..][..self.padded],
            rest: &self.rest[row * rest..][..rest],
        }
    }

    /// The largest squared length.
    pub(super) fn largest(&self) -> f32 {
        self.factors.iter().fold(0.0, |largest, [_, square]| square.max(largest))
    }

    /// The one more coordinate of each row, with which all are as long as the longest.
    pub(super) fn lifts(&self) -> Vec<f32> {
        let largest = self.largest();
        self.factors.iter().map(|[_, square]| (largest - square).max(0.0).sqrt()).collect()
    }

    /// Every point by row.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, Code<'_>)> {
        (0..).zip(&self.ids).map(|(row, id)| (*id, self.get(row)))
    }

    /// Squared distance of two rows by their first levels.
    #[inline]
    pub(super) fn distance(&self, a: u32, b: u32) -> f32 {
        let ([scale_a, square_a], [scale_b, square_b]) =
            (self.factors[a as usize], self.factors[b as usize]);
        let first = |row: u32| &self.first[row as usize * self.padded..][..self.padded];
        (square_a + square_b - 2.0 * scale_a * scale_b * dot_i8(first(a), first(b))).max(0.0)
    }

    /// Asks for a row before it is needed.
    #[inline]
    pub(super) fn prefetch(&self, row: u32) {
        crate::vector::prefetch(&self.first[row as usize * self.padded..][..self.padded]);
    }
}
