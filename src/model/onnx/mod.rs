//! Writing ONNX graphs, and checking those that come from elsewhere.

mod check;
mod proto;

#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) use check::inspect;
pub(crate) use check::{Inspected, check};
pub(crate) use proto::DataType;

use crate::error::{Error, Result};
use prost::Message as _;
use proto::{
    Attribute, Dimension, EXTERNAL, Entry, FLOAT_ATTRIBUTE, Graph, INT_ATTRIBUTE, Model, Node,
    OperatorSet, STRING_ATTRIBUTE, Shape, Tensor, TensorType, Type, ValueInfo,
};
use std::io::Write;

/// Operators of this version; ONNX Runtime 1.17 and later know it.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 10;
/// Operators of ONNX Runtime's own.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// Larger tensors go to the weights file, which the runtime maps instead of reading.
const INLINE_BYTES: usize = 4096;
/// Mapped weights start at page boundaries.
const PAGE: usize = 4096;
/// Floats that are turned to bytes at a time.
const CHUNK: usize = 1 << 16;

/// An attribute's value.
pub(crate) enum Value<'a> {
    Float(f32),
    Int(i64),
    Text(&'a str),
}

/// A graph under construction. Every method that makes a value returns its name.
///
/// Large tensors are written to the weights file as they come, so that a model of many gigabytes
/// never lies in memory whole.
pub(crate) struct GraphBuilder<'w> {
    graph: Graph,
    weights: &'w mut dyn Write,
    /// Bytes of the weights file so far.
    written: usize,
    weights_name: String,
    counter: usize,
}

impl<'w> GraphBuilder<'w> {
    /// A graph whose large tensors go to `weights`, a file that will lie beside the model under the
    /// name `weights_name`.
    pub(crate) fn new(name: &str, weights_name: &str, weights: &'w mut dyn Write) -> Self {
        Self {
            graph: Graph { name: name.to_owned(), ..Graph::default() },
            weights,
            written: 0,
            weights_name: weights_name.to_owned(),
            counter: 0,
        }
    }

    /// Declares an input; a name instead of a number stands for any size.
    pub(crate) fn input(&mut self, name: &str, kind: DataType, dims: &[&str]) {
        self.graph.input.push(value_info(name, kind, dims));
    }

    /// Declares an output of a value that a node made.
    pub(crate) fn output(&mut self, name: &str, kind: DataType, dims: &[&str]) {
        self.graph.output.push(value_info(name, kind, dims));
    }

    /// Adds a constant of 32-bit floats.
    pub(crate) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Result<String> {
        let mut bytes = values
            .chunks(CHUNK)
            .map(|some| some.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        self.chunked(name, DataType::Float, dims, values.len() * 4, &mut bytes)
    }

    /// Adds a constant of 64-bit integers.
    pub(crate) fn int64s(&mut self, name: &str, dims: &[usize], values: &[i64]) -> Result<String> {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, DataType::Int64, dims, &bytes)
    }

    /// Adds a constant of little-endian bytes.
    pub(crate) fn tensor(
        &mut self,
        name: &str,
        kind: DataType,
        dims: &[usize],
        bytes: &[u8],
    ) -> Result<String> {
        self.chunked(name, kind, dims, bytes.len(), &mut std::iter::once(bytes.to_vec()))
    }

    /// Adds a constant of `length` little-endian bytes, which come piece by piece.
    fn chunked(
        &mut self,
        name: &str,
        kind: DataType,
        dims: &[usize],
        length: usize,
        pieces: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<String> {
        let mut tensor = Tensor {
            dims: dims.iter().map(|d| to_i64(*d)).collect(),
            data_type: kind as i32,
            name: name.to_owned(),
            ..Tensor::default()
        };
        if length <= INLINE_BYTES {
            tensor.raw_data = Some(pieces.flatten().collect());
        } else {
            let start = self.written.next_multiple_of(PAGE);
            self.write(&vec![0; start - self.written])?;
            for piece in pieces {
                self.write(&piece)?;
            }
            let entry = |key: &str, value: String| Entry { key: key.to_owned(), value };
            tensor.external_data = vec![
                entry("location", self.weights_name.clone()),
                entry("offset", start.to_string()),
                entry("length", (self.written - start).to_string()),
            ];
            tensor.data_location = EXTERNAL;
        }
        self.graph.initializer.push(tensor);
        Ok(name.to_owned())
    }

    /// Adds a constant of the same bytes as the constant `of` in another shape; large ones lie in the
    /// weights file once.
    pub(crate) fn reshaped(&mut self, name: &str, dims: &[usize], of: &str) -> Option<String> {
        let tensor = self.graph.initializer.iter().find(|tensor| tensor.name == of)?;
        let tensor = Tensor {
            name: name.to_owned(),
            dims: dims.iter().map(|d| to_i64(*d)).collect(),
            ..tensor.clone()
        };
        self.graph.initializer.push(tensor);
        Some(name.to_owned())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len();
        self.weights.write_all(bytes).map_err(Error::io("write", &self.weights_name))
    }

    /// Adds a node of the standard operators.
    pub(crate) fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Value<'_>)],
    ) -> String {
        self.domain_node("", op, inputs, attributes)
    }

    /// Adds a node of the operator domain `domain` with one output, whose name is returned. An
    /// empty input name leaves an optional input out.
    pub(crate) fn domain_node(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Value<'_>)],
    ) -> String {
        self.counter += 1;
        let output = format!("{op}_{}", self.counter);
        self.push(domain, op, inputs, &[&output], attributes);
        output
    }

    /// Adds a node of the operator domain `domain` whose outputs have these names. An empty name
    /// leaves an optional input or output out.
    pub(crate) fn named_node(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Value<'_>)],
    ) {
        self.push(domain, op, inputs, outputs, attributes);
    }

    /// Gives a value the name of an output.
    pub(crate) fn rename(&mut self, value: &str, name: &str) {
        self.push("", "Identity", &[value], &[name], &[]);
    }

    fn push(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Value<'_>)],
    ) {
        let attribute = attributes
            .iter()
            .map(|(name, value)| {
                let mut attribute = Attribute { name: (*name).to_owned(), ..Attribute::default() };
                match value {
                    Value::Float(f) => {
                        attribute.f = Some(*f);
                        attribute.kind = FLOAT_ATTRIBUTE;
                    }
                    Value::Int(i) => {
                        attribute.i = Some(*i);
                        attribute.kind = INT_ATTRIBUTE;
                    }
                    Value::Text(s) => {
                        attribute.s = Some(s.as_bytes().to_vec());
                        attribute.kind = STRING_ATTRIBUTE;
                    }
                }
                attribute
            })
            .collect();
        self.graph.node.push(Node {
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: outputs.iter().map(|s| (*s).to_owned()).collect(),
            op_type: op.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
    }

    /// The model file; all weights are written.
    pub(crate) fn finish(self) -> Vec<u8> {
        let opset = |domain: &str, version| OperatorSet { domain: domain.to_owned(), version };
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: "vdb".to_owned(),
            graph: Some(self.graph),
            opset_import: vec![opset("", OPSET), opset(MICROSOFT, 1)],
            functions: Vec::new(),
        };
        model.encode_to_vec()
    }
}

fn value_info(name: &str, kind: DataType, dims: &[&str]) -> ValueInfo {
    let dim = dims
        .iter()
        .map(|d| match d.parse() {
            Ok(value) => Dimension { value: Some(value), param: None },
            Err(_) => Dimension { value: None, param: Some((*d).to_owned()) },
        })
        .collect();
    let tensor = TensorType { elem_type: kind as i32, shape: Some(Shape { dim }) };
    ValueInfo { name: name.to_owned(), kind: Some(Type { tensor: Some(tensor) }) }
}

#[expect(clippy::cast_possible_wrap, reason = "a dimension of a tensor in memory fits i64")]
fn to_i64(n: usize) -> i64 {
    n as i64
}
