//! Writing ONNX graphs, and checking those that come from elsewhere.

mod check;
mod proto;

#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) use check::inspect;
pub(crate) use check::{Inspected, check};
pub(crate) use proto::DataType;

use prost::Message as _;
use proto::{
    Attribute, Dimension, EXTERNAL, Entry, FLOAT_ATTRIBUTE, Graph, INT_ATTRIBUTE, Model, Node,
    OperatorSet, STRING_ATTRIBUTE, Shape, Tensor, TensorType, Type, ValueInfo,
};

/// Operators of this version; ONNX Runtime 1.17 and later know it.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 10;
/// Operators of ONNX Runtime's own.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// Larger tensors go to the weights file, which the runtime maps instead of reading.
const INLINE_BYTES: usize = 4096;
/// Mapped weights start at page boundaries.
const PAGE: usize = 4096;

/// An attribute's value.
pub(crate) enum Value<'a> {
    Float(f32),
    Int(i64),
    Text(&'a str),
}

/// A graph under construction. Every method that makes a value returns its name.
pub(crate) struct GraphBuilder {
    graph: Graph,
    weights: Vec<u8>,
    weights_name: String,
    counter: usize,
}

/// A finished graph: the model file, and the weights file that must lie beside it under the name
/// that was given.
pub(crate) struct Serialized {
    pub(crate) model: Vec<u8>,
    pub(crate) weights: Vec<u8>,
}

impl GraphBuilder {
    pub(crate) fn new(name: &str, weights_name: &str) -> Self {
        Self {
            graph: Graph { name: name.to_owned(), ..Graph::default() },
            weights: Vec::new(),
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

    pub(crate) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, DataType::Float, dims, bytes)
    }

    pub(crate) fn int64s(&mut self, name: &str, dims: &[usize], values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, DataType::Int64, dims, bytes)
    }

    /// Adds a constant of little-endian bytes.
    pub(crate) fn tensor(
        &mut self,
        name: &str,
        kind: DataType,
        dims: &[usize],
        bytes: Vec<u8>,
    ) -> String {
        let mut tensor = Tensor {
            dims: dims.iter().map(|d| to_i64(*d)).collect(),
            data_type: kind as i32,
            name: name.to_owned(),
            ..Tensor::default()
        };
        if bytes.len() <= INLINE_BYTES {
            tensor.raw_data = Some(bytes);
        } else {
            self.weights.resize(self.weights.len().next_multiple_of(PAGE), 0);
            let entry = |key: &str, value: String| Entry { key: key.to_owned(), value };
            tensor.external_data = vec![
                entry("location", self.weights_name.clone()),
                entry("offset", self.weights.len().to_string()),
                entry("length", bytes.len().to_string()),
            ];
            tensor.data_location = EXTERNAL;
            self.weights.extend_from_slice(&bytes);
        }
        self.graph.initializer.push(tensor);
        name.to_owned()
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
        self.push(domain, op, inputs, &output, attributes);
        output
    }

    /// Gives a value the name of an output.
    pub(crate) fn rename(&mut self, value: &str, name: &str) {
        self.push("", "Identity", &[value], name, &[]);
    }

    fn push(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        output: &str,
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
            output: vec![output.to_owned()],
            op_type: op.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
    }

    pub(crate) fn finish(self) -> Serialized {
        let opset = |domain: &str, version| OperatorSet { domain: domain.to_owned(), version };
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: "vdb".to_owned(),
            graph: Some(self.graph),
            opset_import: vec![opset("", OPSET), opset(MICROSOFT, 1)],
            functions: Vec::new(),
        };
        Serialized { model: model.encode_to_vec(), weights: self.weights }
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
