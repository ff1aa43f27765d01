use super::*;
use crate::model::gguf::sample::Sample;
use crate::model::import::llama::samples;
use serde_json::json;

fn of_gguf(sample: &Sample) -> Result<DecoderWeights> {
    DecoderWeights::of_gguf(Gguf::of_bytes("file", sample.finish())?)
}

fn of_safetensors(json: &serde_json::Value, bytes: Vec<u8>) -> Result<DecoderWeights> {
    DecoderWeights::of_bytes("m", &json.to_string(), bytes)
}

#[track_caller]
fn refused<T>(outcome: Result<T>, because: &str) {
    let error = outcome.err().expect("it is refused").to_string();
    assert!(error.contains(because), "{error}");
}

#[test]
fn every_part_comes_in_its_shape() {
    for name in ["llama", "qwen2", "qwen3"] {
        let config = samples::config_of(name);
        let weights = of_gguf(&samples::gguf(name, &config)).unwrap();
        assert_eq!(weights.config(), &config);
        let gguf = weights.gguf().unwrap();
        for part in Part::all(&config) {
            let stored = gguf.read_f32(&part.in_gguf()).unwrap();
            if let [rows, columns] = *part.dims(&config) {
                let matrix = weights.matrix(part).unwrap();
                assert_eq!(matrix, Matrix { rows, columns, values: stored }, "{part:?}");
                refused(weights.vector(part), "is a matrix");
            } else {
                assert_eq!(weights.vector(part).unwrap(), stored, "{part:?}");
                refused(weights.matrix(part), "is a vector");
            }
        }
        let parts: HashSet<Part> = Part::all(&config).collect();
        assert_eq!(parts.len(), gguf.tensors().count(), "{name}");
    }
}

#[test]
fn blocks_are_what_the_file_has_in_8_bits() {
    let config = samples::config();
    let weights = of_gguf(&samples::gguf("llama", &config)).unwrap();
    let blocks = weights.blocks(Part::Embedding).unwrap().unwrap();
    let matrix = weights.matrix(Part::Embedding).unwrap();
    assert_eq!((blocks.rows, blocks.columns), (matrix.rows, matrix.columns));
    let scaled = blocks.codes.iter().enumerate();
    let made = scaled.map(|(at, code)| (f32::from(*code) - 128.0) * blocks.scales[at / 32]);
    assert_eq!(made.collect::<Vec<_>>(), matrix.values);
    // A tied head is the same; other kinds have none.
    assert_eq!(weights.blocks(Part::Head).unwrap(), Some(blocks));
    assert_eq!(weights.matrix(Part::Head).unwrap(), matrix);
    assert_eq!(weights.blocks(Part::Query(1)).unwrap(), None);
    refused(weights.blocks(Part::Query(2)), "no tensor \"blk.2.attn_q.weight\"");
    refused(weights.matrix(Part::QueryBias(0)), "no tensor");
}

#[test]
fn a_head_of_its_own_is_read() {
    let config = DecoderConfig { tied: false, ..samples::config() };
    let weights = of_gguf(&samples::gguf("llama", &config)).unwrap();
    let head = weights.matrix(Part::Head).unwrap();
    assert_ne!(head, weights.matrix(Part::Embedding).unwrap());
    assert_eq!(head.values, weights.gguf().unwrap().read_f32("output.weight").unwrap());
}

#[test]
fn safetensors_hold_the_same_parts() {
    for (name, class) in [
        ("llama", "LlamaForCausalLM"),
        ("qwen2", "Qwen2ForCausalLM"),
        ("qwen3", "Qwen3ForCausalLM"),
    ] {
        let config = samples::config_of(name);
        let json = samples::json(class, &config, json!({}));
        let whole = of_safetensors(&json, samples::safetensors(&config, "F32")).unwrap();
        let short = of_safetensors(&json, samples::safetensors(&config, "BF16")).unwrap();
        assert!(whole.gguf().is_none());
        for part in Part::all(&config) {
            let [whole, short] = [&whole, &short].map(|weights| weights.values(part).unwrap());
            assert_eq!(whole.0, part.dims(&config));
            // A bfloat is a float whose lower bits are cut off.
            let cut: Vec<u32> = whole.1.iter().map(|x| x.to_bits() & 0xffff_0000).collect();
            let bits: Vec<u32> = short.1.iter().map(|x| x.to_bits()).collect();
            assert_eq!(bits, cut, "{part:?}");
        }
        assert_eq!(whole.blocks(Part::Embedding).unwrap(), None);
    }
}

#[test]
fn a_folder_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    };
    let open = || DecoderWeights::open(folder.path());
    refused(open(), "the folder holds no config.json; expected a GGUF file, or a folder with");
    let config = samples::config();
    write("model.gguf", &samples::gguf("llama", &config).finish());
    refused(open(), "for its GGUF file, name");
    let weights = DecoderWeights::open(&folder.path().join("model.gguf")).unwrap();
    assert!(weights.name().ends_with("model.gguf"));
    write(
        "config.json",
        samples::json("LlamaForCausalLM", &config, json!({})).to_string().as_bytes(),
    );
    refused(open(), "neither model.safetensors nor model.safetensors.index.json");
    write("model.safetensors", &samples::safetensors(&config, "F32"));
    let weights = open().unwrap();
    assert_eq!(weights.name(), folder.path().display().to_string());
    assert_eq!(weights.vector(Part::FinalNorm).unwrap().len(), config.hidden);
    refused(DecoderWeights::open(&folder.path().join("model.safetensors")), "not a GGUF file");
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    let config = samples::config();
    let plain = || samples::gguf("llama", &config);
    for part in Part::all(&config).filter(|part| *part != Part::Embedding) {
        let name = part.in_gguf();
        refused(of_gguf(&plain().without(&name)), &format!("no tensor {name:?}"));
    }
    let floats = |count: usize| vec![0; count * 4];
    let norm = "blk.1.attn_norm.weight";
    let other = plain().without(norm).tensor(norm, &[64], 0, &floats(64));
    refused(of_gguf(&other), "has the shape [64] (outputs, inputs); the configuration says [32]");
    let turned = "blk.0.ffn_up.weight";
    let other = plain().without(turned).tensor(turned, &[64, 32], 0, &floats(2048));
    refused(of_gguf(&other), "has the shape [32, 64]");
    let unread = plain().without(turned).tensor(turned, &[32, 64], 20, &[0; 64 * 18]);
    refused(of_gguf(&unread), "\"blk.0.ffn_up.weight\" has the quantisation IQ4_NL; F32, F16");
    for (name, count) in [
        ("blk.0.attn_output.bias", 32),
        ("blk.0.attn_q_norm.weight", 32),
        ("blk.0.ffn_gate_inp.weight", 32),
        ("blk.2.attn_norm.weight", 32),
        ("something.else", 1),
    ] {
        let more = plain().tensor(name, &[count as u64], 0, &floats(count));
        refused(of_gguf(&more), &format!("{name:?}, which no supported decoder of 2 layers has"));
    }
    let harmless = plain().tensor("blk.0.attn_rot_embd", &[1], 0, &floats(1));
    assert!(of_gguf(&harmless).is_ok());
    // One bias makes three.
    let bias = plain().tensor("blk.0.attn_q.bias", &[64], 0, &floats(64));
    refused(of_gguf(&bias), "no tensor \"blk.0.attn_k.bias\"");
}

#[test]
fn safetensors_that_do_not_fit_are_named() {
    let config = samples::config();
    let bytes = || samples::safetensors(&config, "F32");
    let json = |more| samples::json("LlamaForCausalLM", &config, more);
    refused(of_safetensors(&json(json!({"vocab_size": 6})), bytes()), "configuration says [6, 32]");
    refused(of_safetensors(&json(json!({"num_hidden_layers": 3})), bytes()), "model.layers.2");
    refused(
        of_safetensors(&json(json!({"num_hidden_layers": 1})), bytes()),
        "which no supported decoder of 1 layers has",
    );
    let untied = json(json!({"tie_word_embeddings": false}));
    refused(of_safetensors(&untied, bytes()), "no tensor \"lm_head.weight\"");
    // Tied, with a copy of the embedding beside it.
    let copied = samples::safetensors(&DecoderConfig { tied: false, ..config.clone() }, "F32");
    assert!(of_safetensors(&json(json!({})), copied).is_ok());
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let config = samples::config();
    let name = "blk.0.attn_norm.weight";
    let mut bytes = vec![0; 128];
    bytes[8..12].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let sample = samples::gguf("llama", &config).without(name).tensor(name, &[32], 0, &bytes);
    let weights = of_gguf(&sample).unwrap();
    refused(weights.vector(Part::AttentionNorm(0)), "value 2 of tensor \"blk.0.attn_norm.weight\"");
    // An infinite scale, in both forms.
    let name = "token_embd.weight";
    let mut bytes = vec![0; 34 * 5];
    bytes[34..36].copy_from_slice(&[0, 0x7c]);
    let sample = samples::gguf("llama", &config).without(name).tensor(name, &[32, 5], 8, &bytes);
    let weights = of_gguf(&sample).unwrap();
    refused(weights.matrix(Part::Embedding), "is not finite");
    refused(weights.blocks(Part::Embedding), "value 1 of tensor \"token_embd.weight\"");
}
