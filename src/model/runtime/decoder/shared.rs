//! The cache of our own graphs: the same memory is bound to the inputs of what was and to the outputs of
//! what will be, so that nothing of it is copied when a token is added, and forgetting tokens is a
//! smaller number.

use super::super::OrtSession;
use super::{DecoderShape, copy};
use ort::memory::Allocator;
use ort::session::{IoBinding, RunOptions};
use ort::value::{PrimitiveTensorElementType, Tensor};
use std::fmt::Debug;

pub(crate) struct Shared {
    binding: IoBinding,
    pub(super) shape: DecoderShape,
    layers: Vec<Held>,
    /// Tokens that there is room for.
    pub(super) room: usize,
    ids: Tensor<i64>,
    seqlens: Tensor<i32>,
    total: Tensor<i32>,
    start: Tensor<i64>,
    logits: Tensor<f32>,
    rows: usize,
}

/// Keys or values of one layer: [1, key-value heads, room, head dimensions].
struct Held {
    past: String,
    present: String,
    values: Tensor<f32>,
}

impl Shared {
    pub(super) fn new(session: &OrtSession, shape: DecoderShape, room: usize) -> ort::Result<Self> {
        let mut binding = session.create_binding()?;
        let mut layers = Vec::new();
        for layer in 0..shape.layers {
            for what in ["key", "value"] {
                let mut held = Held {
                    past: format!("past.{layer}.{what}"),
                    present: format!("present.{layer}.{what}"),
                    values: empty(shape, room)?,
                };
                held.bind(&mut binding)?;
                layers.push(held);
            }
        }
        let mut cache = Self {
            shape,
            layers,
            room,
            ids: Tensor::from_array(([1usize, 1], vec![0]))?,
            seqlens: Tensor::from_array(([1usize], vec![0]))?,
            total: Tensor::from_array((Vec::<i64>::new(), vec![0]))?,
            start: Tensor::from_array(([1usize], vec![-1]))?,
            logits: rows_of_logits(shape, 1)?,
            rows: 1,
            binding,
        };
        cache.binding.bind_input("input_ids", &cache.ids)?;
        cache.binding.bind_input("seqlens_k", &cache.seqlens)?;
        cache.binding.bind_input("total", &cache.total)?;
        cache.binding.bind_input("logits_start", &cache.start)?;
        cache.binding.bind_output("logits", &mut cache.logits)?;
        Ok(cache)
    }

    pub(super) fn run(
        &mut self,
        session: &mut OrtSession,
        past: usize,
        tokens: &[u32],
        rows: usize,
        options: &RunOptions,
    ) -> ort::Result<()> {
        // Tensors of another shape are bound anew.
        if self.ids.shape().num_elements() != tokens.len() {
            self.ids = Tensor::from_array(([1, tokens.len()], vec![0; tokens.len()]))?;
            self.binding.bind_input("input_ids", &self.ids)?;
        }
        let (_, ids) = self.ids.try_extract_tensor_mut::<i64>()?;
        ids.iter_mut().zip(tokens).for_each(|(id, token)| *id = i64::from(*token));
        if self.rows != rows {
            self.logits = rows_of_logits(self.shape, rows)?;
            self.binding.bind_output("logits", &mut self.logits)?;
            self.rows = rows;
        }
        let total = i32::try_from(past + tokens.len()).unwrap_or(i32::MAX);
        set(&mut self.seqlens, total - 1)?;
        set(&mut self.total, total)?;
        set(&mut self.start, i64::try_from(rows).map_or(-1, |rows| -rows))?;
        session.run_binding_with_options(&self.binding, options).map(drop)
    }

    pub(super) fn logits(&mut self) -> ort::Result<&mut [f32]> {
        self.logits.try_extract_tensor_mut::<f32>().map(|(_, logits)| logits)
    }

    pub(super) fn grow(&mut self, used: usize, room: usize) -> ort::Result<()> {
        for held in &mut self.layers {
            let mut values = empty(self.shape, room)?;
            copy(self.shape, used, (&held.values, self.room), (&mut values, room))?;
            held.values = values;
            held.bind(&mut self.binding)?;
        }
        self.room = room;
        Ok(())
    }

    pub(super) fn copy_from(&mut self, other: &Self, used: usize) -> ort::Result<()> {
        for (to, from) in self.layers.iter_mut().zip(&other.layers) {
            copy(self.shape, used, (&from.values, other.room), (&mut to.values, self.room))?;
        }
        Ok(())
    }
}

impl Held {
    fn bind(&mut self, binding: &mut IoBinding) -> ort::Result<()> {
        binding.bind_input(self.past.as_str(), &self.values)?;
        binding.bind_output(self.present.as_str(), &mut self.values)
    }
}

fn empty(shape: DecoderShape, room: usize) -> ort::Result<Tensor<f32>> {
    // Only a tensor that an allocator made can be bound to an output.
    Tensor::new(&Allocator::default(), [1, shape.kv_heads, room, shape.head_dim])
}

fn rows_of_logits(shape: DecoderShape, rows: usize) -> ort::Result<Tensor<f32>> {
    Tensor::new(&Allocator::default(), [1, rows, shape.vocabulary])
}

fn set<T: PrimitiveTensorElementType + Debug>(tensor: &mut Tensor<T>, value: T) -> ort::Result<()> {
    let (_, values) = tensor.try_extract_tensor_mut::<T>()?;
    if let Some(first) = values.first_mut() {
        *first = value;
    }
    Ok(())
}
