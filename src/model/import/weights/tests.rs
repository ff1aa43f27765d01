use super::*;
use std::collections::BTreeMap;
use std::fs;

/// A file of f32 tensors, by the format's description: the header's length, the header, the values.
fn file(tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape, values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        let offsets = [start, data.len()];
        let said = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": offsets});
        header.insert((*name).to_owned(), said);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat()
}

fn index(entries: &[(&str, &str)]) -> String {
    let map: BTreeMap<&str, &str> = entries.iter().copied().collect();
    serde_json::json!({ "weight_map": map }).to_string()
}

fn reason(outcome: Result<WeightFiles>) -> String {
    outcome.err().unwrap().to_string()
}

#[test]
fn several_files_are_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let open = || WeightFiles::open("m", folder.path());
    assert!(reason(open()).contains("neither model.safetensors nor"));

    write("a.safetensors", &file(&[("x", &[2], &[1.0, 2.0]), ("y", &[1, 2], &[3.0, 4.0])]));
    write("b.safetensors", &file(&[("z", &[1], &[5.0])]));
    let list = [("x", "a.safetensors"), ("y", "a.safetensors"), ("z", "b.safetensors")];
    write(index::NAME, index(&list).as_bytes());
    let weights = open().unwrap();
    assert_eq!(weights.get("x", &[2]).unwrap(), [1.0, 2.0]);
    assert_eq!(weights.get("y", &[1, 2]).unwrap(), [3.0, 4.0]);
    assert_eq!(weights.get("z", &[1]).unwrap(), [5.0]);
    assert_eq!(weights.names().count(), 3);
    assert!(weights.check("x", &[3]).unwrap_err().to_string().contains("[2]"));
    assert!(weights.get("w", &[1]).unwrap_err().to_string().contains("no tensor \"w\""));

    // What one file alone holds is the model, whatever a list beside it says.
    write("model.safetensors", &file(&[("x", &[1], &[9.0])]));
    assert_eq!(open().unwrap().get("x", &[1]).unwrap(), [9.0]);
}

#[test]
fn lists_that_do_not_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let open = || WeightFiles::open("m", folder.path());
    write("a.safetensors", &file(&[("x", &[1], &[1.0])]));
    write("b.safetensors", &file(&[("x", &[1], &[2.0]), ("y", &[1], &[2.0])]));

    write(index::NAME, b"{}");
    assert!(reason(open()).contains("weight_map"));
    write(index::NAME, index(&[("w", "a.safetensors")]).as_bytes());
    assert!(reason(open()).contains("holds tensor \"w\", which is not so"));
    write(index::NAME, index(&[("x", "a.safetensors"), ("y", "b.safetensors")]).as_bytes());
    assert!(reason(open()).contains("two of its files hold a tensor \"x\""));
    for outside in ["../a.safetensors", "/etc/a.safetensors", "..\\a.safetensors", "a.bin"] {
        write(index::NAME, index(&[("x", outside)]).as_bytes());
        assert!(reason(open()).contains("names of safetensors files beside it"), "{outside}");
    }
    write(index::NAME, index(&[("x", "none.safetensors")]).as_bytes());
    assert!(matches!(open().err().unwrap(), Error::Io { .. }));
    write("c.safetensors", b"\x08\0\0\0\0\0\0\0{\"x\":1}");
    write(index::NAME, index(&[("x", "c.safetensors")]).as_bytes());
    assert!(reason(open()).contains("not a safetensors file"));
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let bytes = file(&[("x", &[2], &[1.0, f32::NAN])]);
    let weights = WeightFiles::of("m", vec![WeightFile::of_bytes("m", bytes)]).unwrap();
    let error = weights.get("x", &[2]).unwrap_err().to_string();
    assert!(error.contains("element 1 of tensor \"x\" is not finite"), "{error}");
}
