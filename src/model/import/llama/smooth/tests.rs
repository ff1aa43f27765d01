use super::super::samples;
use super::*;
use crate::model::gguf::Gguf;
use crate::model::import::llama::DecoderConfig;

/// Channels of which one is fifty times the others, in each value of each layer.
fn ranges(config: &DecoderConfig) -> Vec<Vec<Range>> {
    let widths = [config.hidden, config.hidden, config.intermediate];
    let channel = |nth: usize| if nth == 5 { 50.0 } else { 1.0 + (nth % 3) as f32 };
    let value = |width: usize| {
        (0..width).map(|nth| Range { low: -channel(nth), high: 0.5 }).collect::<Vec<_>>()
    };
    (0..config.layers).flat_map(|_| widths.map(value)).collect()
}

fn sample(config: &DecoderConfig) -> DecoderWeights {
    let json = samples::json("LlamaForCausalLM", config, serde_json::json!({}));
    DecoderWeights::of_bytes("sample", &json.to_string(), samples::safetensors(config, "F32"))
        .unwrap()
}

fn close(a: f32, b: f32) {
    assert!((a - b).abs() <= 1e-5 * a.abs().max(b.abs()).max(1e-3), "{a} and {b}");
}

/// Each way through a layer multiplies by the same numbers as before: norm and matrix after it, up
/// and down.
#[test]
fn smoothing_leaves_the_function_as_it_was() {
    let config = samples::config();
    let weights = sample(&config);
    let smoothing = Smoothing::of(&weights, &ranges(&config)).unwrap();
    let plain = Folded { weights: &weights, smoothing: None };
    let smooth = Folded { weights: &weights, smoothing: Some(&smoothing) };
    for layer in 0..config.layers {
        let products = [
            (Part::AttentionNorm(layer), Part::Query(layer)),
            (Part::AttentionNorm(layer), Part::Key(layer)),
            (Part::FeedForwardNorm(layer), Part::Gate(layer)),
        ];
        for (norm, part) in products {
            let [before, after] =
                [plain, smooth].map(|w| (w.vector(norm).unwrap(), w.matrix(part).unwrap()));
            assert_ne!(before.0, after.0, "{norm:?} takes part");
            for (at, (a, b)) in before.1.values.iter().zip(&after.1.values).enumerate() {
                let column = at % before.1.columns;
                close(a * before.0[column], b * after.0[column]);
            }
        }
        // From an input of the norm through the middle to an output.
        let way = |w: Folded<'_>, through: usize| {
            let norm = w.vector(Part::FeedForwardNorm(layer)).unwrap();
            let [up, down] =
                [Part::Up(layer), Part::Down(layer)].map(|part| w.matrix(part).unwrap());
            norm[5] * up.values[through * up.columns + 5] * down.values[down.columns + through]
        };
        for through in 0..config.intermediate {
            close(way(plain, through), way(smooth, through));
        }
    }
    let last = |w: Folded<'_>| w.vector(Part::FinalNorm).unwrap();
    assert_eq!(last(plain), last(smooth));
}

/// The large channel is smaller against the others.
#[test]
fn outliers_go_into_the_weights() {
    let config = samples::config();
    let weights = sample(&config);
    let smoothing = Smoothing::of(&weights, &ranges(&config)).unwrap();
    let scales = smoothing.rows(Part::AttentionNorm(0)).unwrap();
    assert!(scales[5] > 3.0 * scales[4] && scales[5] > 3.0 * scales[6], "{scales:?}");
}

#[test]
fn ranges_of_another_decoder_are_refused() {
    let config = samples::config();
    let weights = sample(&config);
    let mut ranges = ranges(&config);
    ranges.pop();
    assert!(Smoothing::of(&weights, &ranges).is_err());
    ranges.push(vec![Range::EMPTY; 3]);
    assert!(Smoothing::of(&weights, &ranges).is_err());
}

/// What the file has in 8 bits is not rounded here, so nothing is moved into it.
#[test]
fn weights_in_8_bits_are_left_alone() {
    let config = samples::config();
    let mut sample = samples::gguf("llama", &config);
    for part in [Part::Down(0), Part::Query(1), Part::Key(1), Part::Value(1), Part::Key(0)] {
        let dims = part.dims(&config);
        let inputs_first: Vec<u64> = dims.iter().rev().map(|dim| *dim as u64).collect();
        // A half, then 32 codes.
        let block: Vec<u8> = [0x00, 0x2c].into_iter().chain((0..32).map(|i| i * 5)).collect();
        let bytes = block.repeat(dims.iter().product::<usize>() / 32);
        let name = part.in_gguf();
        sample = sample.without(&name).tensor(&name, &inputs_first, 8, &bytes);
    }
    let gguf = Gguf::of_bytes("file", sample.finish()).unwrap();
    let weights = DecoderWeights::of_gguf(gguf).unwrap();
    let smoothing = Smoothing::of(&weights, &ranges(&config)).unwrap();
    for part in [Part::Down(0), Part::Query(1), Part::Key(1), Part::Value(1)] {
        assert!(weights.has_blocks(part) && smoothing.columns(part).is_none(), "{part:?}");
    }
    assert!(smoothing.rows(Part::Up(0)).is_none() && smoothing.rows(Part::Up(1)).is_some());
    assert!(smoothing.rows(Part::AttentionNorm(1)).is_none());
    // Beside others that are not, one is rounded with them.
    assert!(smoothing.columns(Part::Key(0)).is_some());
    assert!(smoothing.columns(Part::Gate(0)).is_some());
}
