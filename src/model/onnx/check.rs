//! What an ONNX file from elsewhere may ask of the runtime.
//!
//! External data can name any file of the machine, and an operator of a foreign domain can be
//! arbitrary native code. So: external data only from files beside the model, operators only of
//! ONNX and of ONNX Runtime itself.

use super::MICROSOFT;
use super::proto::{Attribute, EXTERNAL, Graph, Model, Node, SparseTensor, Tensor};
use crate::error::{Error, Result};
use prost::Message as _;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Protobuf's own limit.
const MAX_BYTES: u64 = 2 << 30;

/// What a model file that passed the check says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// Files beside the model that hold its weights, in the order of their names.
    pub(crate) weights: BTreeSet<PathBuf>,
    /// The last dimension of each output, where it is declared.
    pub(crate) widths: Vec<(String, Option<usize>)>,
}

/// Checks the model file at `path`.
///
/// # Errors
/// [`Error::Model`] naming what is refused.
pub(crate) fn check(name: &str, path: &Path) -> Result<Inspected> {
    let refuse = |reason: String| Error::Model { name: name.to_owned(), reason };
    let bytes = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if bytes > MAX_BYTES {
        let reason = format!("{} is larger than 2 GiB; use external data", path.display());
        return Err(refuse(reason));
    }
    let data = std::fs::read(path).map_err(Error::io("read", path))?;
    inspect(name, path, &data)
}

/// Checks a model that was read from `path`.
pub(crate) fn inspect(name: &str, path: &Path, data: &[u8]) -> Result<Inspected> {
    let refuse = |reason: String| Error::Model { name: name.to_owned(), reason };
    let model = Model::decode(data)
        .map_err(|e| refuse(format!("{} is not an ONNX model: {e}", path.display())))?;
    let graph =
        model.graph.as_ref().ok_or_else(|| refuse(format!("{} holds no graph", path.display())))?;
    let mut found = Inspected::default();
    for tensor in tensors(&model, graph).map_err(refuse)? {
        if tensor.data_location == EXTERNAL {
            found.weights.insert(beside(path, tensor).map_err(refuse)?);
        }
    }
    for output in &graph.output {
        let shape = output.kind.as_ref().and_then(|k| k.tensor.as_ref()?.shape.as_ref());
        let last = shape.and_then(|s| s.dim.last()?.value).and_then(|n| usize::try_from(n).ok());
        found.widths.push((output.name.clone(), last));
    }
    Ok(found)
}

/// Every tensor of the model, wherever it stands, once every operator is found to be allowed.
fn tensors<'a>(model: &'a Model, graph: &'a Graph) -> Result<Vec<&'a Tensor>, String> {
    let mut graphs = vec![graph];
    let mut nodes: Vec<&Node> = model.functions.iter().flat_map(|f| &f.node).collect();
    let mut attributes: Vec<&Attribute> =
        model.functions.iter().flat_map(|f| &f.attribute).collect();
    let mut tensors: Vec<&Tensor> = Vec::new();
    let mut sparse: Vec<&SparseTensor> = Vec::new();
    // Subgraphs are walked with lists, not by recursion: their depth is the file's choice.
    while !(graphs.is_empty() && nodes.is_empty() && attributes.is_empty()) {
        for graph in graphs.drain(..) {
            nodes.extend(&graph.node);
            tensors.extend(&graph.initializer);
            sparse.extend(&graph.sparse_initializer);
        }
        for node in nodes.drain(..) {
            if !["", "ai.onnx", MICROSOFT].contains(&node.domain.as_str()) {
                return Err(format!(
                    "it uses the operator {}.{}; only ONNX's and ONNX Runtime's own are allowed",
                    node.domain, node.op_type
                ));
            }
            attributes.extend(&node.attribute);
        }
        for attribute in attributes.drain(..) {
            graphs.extend(attribute.g.iter().chain(&attribute.graphs));
            tensors.extend(attribute.t.iter().chain(&attribute.tensors));
            sparse.extend(attribute.sparse_tensor.iter().chain(&attribute.sparse_tensors));
        }
    }
    tensors.extend(sparse.into_iter().flat_map(|s| s.values.iter().chain(&s.indices)));
    Ok(tensors)
}

/// The file that holds an external tensor, which must lie beside the model.
fn beside(model: &Path, tensor: &Tensor) -> Result<PathBuf, String> {
    // Of several locations one reader takes the first and another the last: there may be but one.
    let locations: Vec<&str> = tensor
        .external_data
        .iter()
        .filter(|e| e.key == "location")
        .map(|e| e.value.as_str())
        .collect();
    if let [location] = locations[..] {
        let mut parts = Path::new(location).components();
        let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        let file = model.with_file_name(location);
        // A link beside the model can lead anywhere, too.
        let regular = file
            .symlink_metadata()
            .is_ok_and(|m| m.is_file() || (m.is_symlink() && is_hub_link(&file, model)));
        if plain && regular {
            return Ok(file);
        }
    }
    Err(format!(
        "weights of {:?} are said to lie in {locations:?}; only a file beside the model is read",
        tensor.name
    ))
}

/// Model hubs' caches link every file of a snapshot into one folder of blobs: a link is followed
/// where the model itself is such a link and both lead into the same folder.
fn is_hub_link(file: &Path, model: &Path) -> bool {
    let folder = |path: &Path| {
        path.is_symlink().then(|| path.canonicalize().ok()?.parent().map(Path::to_path_buf))?
    };
    match (folder(file), folder(model)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::{Entry, Function};
    use super::super::{DataType, GraphBuilder};
    use super::*;

    fn model(change: impl FnOnce(&mut Model)) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let mut weights = Vec::new();
        let mut graph = GraphBuilder::new("g", "model.weights", &mut weights);
        graph.input("x", DataType::Float, &["b", "4"]);
        let big = graph.floats("w", &[4, 512], &vec![0.5; 2048]).unwrap();
        let y = graph.node("MatMul", &["x", &big], &[]);
        graph.output(&y, DataType::Float, &["b", "512"]);
        let serialized = graph.finish();
        let mut decoded = Model::decode(serialized.as_slice()).unwrap();
        change(&mut decoded);
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, decoded.encode_to_vec()).unwrap();
        std::fs::write(folder.path().join("model.weights"), weights).unwrap();
        (folder, path)
    }

    #[test]
    fn our_own_graphs_pass() {
        let (_folder, path) = model(|_| {});
        let found = check("m", &path).unwrap();
        assert_eq!(found.weights, [path.with_file_name("model.weights")].into());
        assert_eq!(found.widths.len(), 1);
        assert_eq!(found.widths[0].1, Some(512));
    }

    #[test]
    fn foreign_operators_and_foreign_files_are_refused() {
        let nested = |model: &mut Model| {
            let inner = Node { domain: "evil".to_owned(), ..Node::default() };
            let graph = Graph { node: vec![inner], ..Graph::default() };
            let attribute = Attribute { g: Some(graph), ..Default::default() };
            model.graph.as_mut().unwrap().node[0].attribute.push(attribute);
        };
        let (_folder, path) = model(nested);
        assert!(check("m", &path).unwrap_err().to_string().contains("evil"));
        let named = |location: &str| Entry { key: "location".into(), value: location.into() };
        for location in ["/etc/passwd", "../secret", "sub/file", "missing", ""] {
            let (_folder, path) = model(|model| {
                let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
                tensor.external_data = vec![named(location)];
            });
            assert!(check("m", &path).is_err(), "{location}");
        }
        // Behind a harmless one.
        let (_folder, path) = model(|model| {
            let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
            tensor.external_data.push(named("/etc/passwd"));
        });
        assert!(check("m", &path).unwrap_err().to_string().contains("passwd"));
        // In every other place where ONNX allows a tensor.
        let outside = || Tensor {
            data_location: EXTERNAL,
            external_data: vec![named("/etc/passwd")],
            ..Tensor::default()
        };
        let sparse = |values, indices| SparseTensor { values, indices };
        let attributes = [
            Attribute { t: Some(outside()), ..Attribute::default() },
            Attribute { tensors: vec![outside()], ..Attribute::default() },
            Attribute {
                sparse_tensor: Some(sparse(Some(outside()), None)),
                ..Attribute::default()
            },
            Attribute {
                sparse_tensors: vec![sparse(None, Some(outside()))],
                ..Attribute::default()
            },
        ];
        for attribute in attributes {
            let of_node = attribute.clone();
            let (_folder, path) = model(|model| {
                model.graph.as_mut().unwrap().node[0].attribute.push(of_node);
            });
            assert!(check("m", &path).is_err(), "{attribute:?}");
            let (_folder, path) = model(|model| {
                let function = Function { attribute: vec![attribute], ..Function::default() };
                model.functions.push(function);
            });
            assert!(check("m", &path).is_err());
        }
        let (_folder, path) = model(|model| {
            let graph = model.graph.as_mut().unwrap();
            graph.sparse_initializer.push(sparse(Some(outside()), None));
        });
        assert!(check("m", &path).is_err());
    }

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        for bytes in [&b""[..], b"not a model at all", &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(check("m", &path), Err(Error::Model { .. })));
        }
    }
}
