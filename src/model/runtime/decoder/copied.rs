//! The cache of decoders that come as ONNX: each call gives out keys and values of all tokens so far,
//! which are handed in again with the next one.
//!
//! The names are those that exporters give: `input_ids`, `attention_mask`, `position_ids`,
//! `past_key_values.L.key` and `.value`, `logits`, `present.L.key` and `.value`.

use super::super::OrtSession;
use super::{DecoderShape, copy};
use ort::memory::Allocator;
use ort::session::{RunOptions, SessionInputValue};
use ort::value::{Tensor, TensorElementType, TensorValueType};

pub(crate) struct Copied {
    pub(super) shape: DecoderShape,
    /// Keys and values of each layer: [1, key-value heads, `length`, head dimensions].
    layers: Vec<Tensor<f32>>,
    pub(super) length: usize,
    /// Of the last run, the rows that were asked for.
    pub(super) logits: Vec<f32>,
}

/// Which of the usual inputs there are, and the names of the cache.
pub(super) struct Outlets {
    has_mask: bool,
    has_positions: bool,
    past: Vec<String>,
    present: Vec<String>,
}

/// What a session declares, if it is a decoder of the usual kind.
pub(super) fn outlets(
    session: &OrtSession,
    context: usize,
) -> Result<(Outlets, DecoderShape), String> {
    let inputs = session.inputs();
    let has = |name: &str| inputs.iter().any(|input| input.name() == name);
    // Each has at least one input.
    let layers = (0..inputs.len())
        .take_while(|layer| {
            has(&format!("past_key_values.{layer}.key"))
                && has(&format!("past_key_values.{layer}.value"))
        })
        .count();
    let name = |when: &str| -> Vec<String> {
        let layer = |layer| ["key", "value"].map(|what| format!("{when}.{layer}.{what}"));
        (0..layers).flat_map(layer).collect()
    };
    let outlets = Outlets {
        has_mask: has("attention_mask"),
        has_positions: has("position_ids"),
        past: name("past_key_values"),
        present: name("present"),
    };
    let known = |name: &str| {
        ["input_ids", "attention_mask", "position_ids"].contains(&name)
            || outlets.past.iter().any(|past| past == name)
    };
    if let Some(other) = inputs.iter().find(|input| !known(input.name())) {
        return Err(format!(
            "it has the input {:?}; decoders with input_ids, attention_mask, position_ids and \
             past_key_values are supported",
            other.name()
        ));
    }
    let outputs = session.outputs();
    let given = |name: &str| outputs.iter().find(|output| output.name() == name);
    if layers == 0 || outlets.present.iter().any(|present| given(present).is_none()) {
        return Err("it has no past_key_values and present values of each layer".to_owned());
    }
    let dimension = |dims: Option<&ort::value::Shape>, at: usize, what: &str| {
        let size = dims.and_then(|dims| dims.get(at)).and_then(|n| usize::try_from(*n).ok());
        size.filter(|n| *n > 0).ok_or_else(|| format!("it does not declare {what}"))
    };
    let key =
        inputs.iter().find(|input| Some(input.name()) == outlets.past.first().map(String::as_str));
    let key = key.map(ort::value::Outlet::dtype);
    if key.and_then(ort::value::ValueType::tensor_type) != Some(TensorElementType::Float32) {
        return Err("its keys and values are not 32-bit floats, which are supported".to_owned());
    }
    let dims = key.and_then(ort::value::ValueType::tensor_shape);
    let logits = given("logits").ok_or("it gives no output \"logits\"")?.dtype().tensor_shape();
    let shape = DecoderShape {
        layers,
        kv_heads: dimension(dims, 1, "its key-value heads")?,
        head_dim: dimension(dims, 3, "the dimensions of its heads")?,
        vocabulary: dimension(logits, 2, "its vocabulary")?,
        context,
    };
    Ok((outlets, shape))
}

impl Copied {
    pub(super) fn new(shape: DecoderShape) -> ort::Result<Self> {
        let layers = (0..shape.layers * 2).map(|_| empty(shape, 0)).collect::<ort::Result<_>>()?;
        Ok(Self { shape, layers, length: 0, logits: Vec::new() })
    }

    pub(super) fn run(
        &mut self,
        session: &mut OrtSession,
        outlets: &Outlets,
        past: usize,
        tokens: &[u32],
        rows: usize,
        options: &RunOptions,
    ) -> ort::Result<()> {
        if past > self.length {
            return Err(ort::Error::new(format!("{past} tokens of {} are wanted", self.length)));
        }
        self.keep(past)?;
        let total = past + tokens.len();
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let row = |values: Vec<i64>| Tensor::from_array(([1, values.len()], values));
        let mut inputs: Vec<(String, SessionInputValue<'_>)> =
            vec![("input_ids".to_owned(), row(ids)?.into())];
        if outlets.has_mask {
            inputs.push(("attention_mask".to_owned(), row(vec![1; total])?.into()));
        }
        if outlets.has_positions {
            let positions = (past..total).map(|at| i64::try_from(at).unwrap_or(i64::MAX));
            inputs.push(("position_ids".to_owned(), row(positions.collect())?.into()));
        }
        for (name, values) in outlets.past.iter().zip(&self.layers) {
            inputs.push((name.clone(), values.into()));
        }
        let mut outputs = session.run_with_options(inputs, options)?;
        let missing = || ort::Error::new("an output is missing");
        let (_, logits) = outputs.get("logits").ok_or_else(missing)?.try_extract_tensor::<f32>()?;
        let wanted = rows * self.shape.vocabulary;
        let logits = logits.get(logits.len().saturating_sub(wanted)..).unwrap_or_default();
        let logits = logits.to_vec();
        let mut layers = Vec::with_capacity(self.layers.len());
        for name in &outlets.present {
            let values = outputs.remove(name).ok_or_else(missing)?;
            layers.push(values.downcast::<TensorValueType<f32>>()?);
        }
        (self.logits, self.layers, self.length) = (logits, layers, total);
        Ok(())
    }

    /// Forgets all but the first `used` tokens.
    fn keep(&mut self, used: usize) -> ort::Result<()> {
        if used == self.length {
            return Ok(());
        }
        let mut kept = Self::new(self.shape)?;
        kept.copy_from(self, used)?;
        (self.layers, self.length) = (kept.layers, kept.length);
        Ok(())
    }

    pub(super) fn copy_from(&mut self, other: &Self, used: usize) -> ort::Result<()> {
        let mut layers = Vec::with_capacity(other.layers.len());
        for from in &other.layers {
            let mut to = empty(self.shape, used)?;
            copy(self.shape, used, (from, other.length), (&mut to, used))?;
            layers.push(to);
        }
        (self.layers, self.length) = (layers, used);
        Ok(())
    }
}

fn empty(shape: DecoderShape, length: usize) -> ort::Result<Tensor<f32>> {
    Tensor::new(&Allocator::default(), [1, shape.kv_heads, length, shape.head_dim])
}
