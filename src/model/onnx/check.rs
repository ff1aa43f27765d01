//! What an ONNX file from elsewhere may ask of the runtime.
//!
//! External data can name any file of the machine, and an operator of a foreign domain can be
//! arbitrary native code. So: external data only from files beside the model, operators only of
//! ONNX and of ONNX Runtime itself.

use super::MICROSOFT;
use super::proto::{EXTERNAL, Graph, Model, Node, Tensor};
use crate::error::{Error, Result};
use prost::Message as _;
use std::path::{Component, Path};

/// Protobuf's own limit.
const MAX_BYTES: u64 = 2 << 30;

/// Checks the model file at `path`.
///
/// # Errors
/// [`Error::Model`] naming what is refused.
pub(crate) fn check(name: &str, path: &Path) -> Result<()> {
    let refuse = |reason: String| Err(Error::Model { name: name.to_owned(), reason });
    let bytes = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    if bytes > MAX_BYTES {
        return refuse(format!("{} is larger than 2 GiB; use external data", path.display()));
    }
    let data = std::fs::read(path).map_err(Error::io("read", path))?;
    let model = match Model::decode(data.as_slice()) {
        Ok(model) => model,
        Err(e) => return refuse(format!("{} is not an ONNX model: {e}", path.display())),
    };
    let Some(graph) = &model.graph else {
        return refuse(format!("{} holds no graph", path.display()));
    };
    let mut pending: Vec<&Graph> = vec![graph];
    let mut nodes: Vec<&Node> = model.functions.iter().flat_map(|f| &f.node).collect();
    let mut tensors: Vec<&Tensor> = Vec::new();
    // Subgraphs are walked with a list, not by recursion: their depth is the file's choice.
    loop {
        while let Some(graph) = pending.pop() {
            nodes.extend(&graph.node);
            tensors.extend(&graph.initializer);
        }
        if nodes.is_empty() {
            break;
        }
        for node in std::mem::take(&mut nodes) {
            if !["", "ai.onnx", MICROSOFT].contains(&node.domain.as_str()) {
                return refuse(format!(
                    "it uses the operator {}.{}; only ONNX's and ONNX Runtime's own are allowed",
                    node.domain, node.op_type
                ));
            }
            for attribute in &node.attribute {
                pending.extend(attribute.g.iter().chain(&attribute.graphs));
                tensors.extend(attribute.t.iter().chain(&attribute.tensors));
            }
        }
    }
    for tensor in tensors.into_iter().filter(|t| t.data_location == EXTERNAL) {
        let location = tensor.external_data.iter().find(|e| e.key == "location");
        let location = location.map_or("", |e| e.value.as_str());
        let mut parts = Path::new(location).components();
        let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        let file = path.parent().map(|folder| folder.join(location));
        // A link beside the model can lead anywhere, too.
        let regular = file
            .as_deref()
            .and_then(|f| f.symlink_metadata().ok())
            .is_some_and(|m| m.is_file() || (m.is_symlink() && is_hub_link(file.as_deref(), path)));
        if !plain || !regular {
            return refuse(format!(
                "weights of {:?} are said to lie in {location:?}; only a file beside the model is \
                 read",
                tensor.name
            ));
        }
    }
    Ok(())
}

/// Model hubs' caches link every file of a snapshot into one folder of blobs: a link is followed
/// where the model itself is such a link and both lead into the same folder.
fn is_hub_link(file: Option<&Path>, model: &Path) -> bool {
    let folder = |path: &Path| {
        path.is_symlink().then(|| path.canonicalize().ok()?.parent().map(Path::to_path_buf))?
    };
    match (file.and_then(folder), folder(model)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DataType, GraphBuilder, proto::Entry};
    use super::*;

    fn model(change: impl FnOnce(&mut Model)) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let mut graph = GraphBuilder::new("g", "model.weights");
        graph.input("x", DataType::Float, &["b", "4"]);
        let big = graph.floats("w", &[4, 512], &vec![0.5; 2048]);
        let y = graph.node("MatMul", &["x", &big], &[]);
        graph.output(&y, DataType::Float, &["b", "512"]);
        let serialized = graph.finish();
        let mut decoded = Model::decode(serialized.model.as_slice()).unwrap();
        change(&mut decoded);
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, decoded.encode_to_vec()).unwrap();
        std::fs::write(folder.path().join("model.weights"), serialized.weights).unwrap();
        (folder, path)
    }

    #[test]
    fn our_own_graphs_pass() {
        let (_folder, path) = model(|_| {});
        check("m", &path).unwrap();
    }

    #[test]
    fn foreign_operators_and_foreign_files_are_refused() {
        let nested = |model: &mut Model| {
            let inner = Node { domain: "evil".to_owned(), ..Node::default() };
            let graph = Graph { node: vec![inner], ..Graph::default() };
            let attribute = super::super::proto::Attribute { g: Some(graph), ..Default::default() };
            model.graph.as_mut().unwrap().node[0].attribute.push(attribute);
        };
        let (_folder, path) = model(nested);
        assert!(check("m", &path).unwrap_err().to_string().contains("evil"));
        for location in ["/etc/passwd", "../secret", "sub/file", "missing", ""] {
            let (_folder, path) = model(|model| {
                let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
                tensor.external_data =
                    vec![Entry { key: "location".to_owned(), value: location.to_owned() }];
            });
            assert!(check("m", &path).is_err(), "{location}");
        }
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
