//! The forward pass of BERT (Devlin 2018) and XLM-RoBERTa (Conneau 2019) in f64, as plain as it can
//! be, on small random weights: what the importer must reproduce.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const HIDDEN: usize = 16;
const HEADS: usize = 2;
const INNER: usize = 32;
const LAYERS: usize = 2;
const POSITIONS: usize = 40;
const EPSILON: f64 = 1e-5;

type Matrix = Vec<Vec<f64>>;

pub struct Model {
    kind: &'static str,
    words: Vec<&'static str>,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Model {
    /// Weights from a small generator: the same at every run.
    pub fn random(kind: &'static str) -> Self {
        let words = if kind == "bert" {
            vec!["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "green", "blue"]
        } else {
            vec![
                "<s>",
                "<pad>",
                "</s>",
                "<unk>",
                "\u{2581}a",
                "\u{2581}red",
                "\u{2581}green",
                "\u{2581}blue",
            ]
        };
        let mut state = 88_172_645_463_325_252u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        let mut tensors = BTreeMap::new();
        let mut put = |name: String, dims: &[usize], offset: f32| {
            let values = (0..dims.iter().product()).map(|_| next() + offset).collect();
            tensors.insert(name, (dims.to_vec(), values));
        };
        let e = "embeddings.";
        put(format!("{e}word_embeddings.weight"), &[words.len(), HIDDEN], 0.0);
        put(format!("{e}position_embeddings.weight"), &[POSITIONS, HIDDEN], 0.0);
        put(format!("{e}token_type_embeddings.weight"), &[2, HIDDEN], 0.0);
        put(format!("{e}LayerNorm.weight"), &[HIDDEN], 1.0);
        put(format!("{e}LayerNorm.bias"), &[HIDDEN], 0.0);
        for layer in 0..LAYERS {
            let p = format!("encoder.layer.{layer}.");
            for (name, outputs, inputs) in [
                ("attention.self.query", HIDDEN, HIDDEN),
                ("attention.self.key", HIDDEN, HIDDEN),
                ("attention.self.value", HIDDEN, HIDDEN),
                ("attention.output.dense", HIDDEN, HIDDEN),
                ("intermediate.dense", INNER, HIDDEN),
                ("output.dense", HIDDEN, INNER),
            ] {
                put(format!("{p}{name}.weight"), &[outputs, inputs], 0.0);
                put(format!("{p}{name}.bias"), &[outputs], 0.0);
            }
            for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
                put(format!("{p}{name}.weight"), &[HIDDEN], 1.0);
                put(format!("{p}{name}.bias"), &[HIDDEN], 0.0);
            }
        }
        Self { kind, words, tensors }
    }

    fn offset(&self) -> usize {
        // RoBERTa's positions begin after its padding id, 1.
        if self.kind == "bert" { 0 } else { 2 }
    }

    pub fn window(&self) -> usize {
        POSITIONS - self.offset()
    }

    /// Weights, configuration and tokenizer as published models have them.
    pub fn write(&self, folder: &Path) {
        let mut header = serde_json::Map::new();
        let mut data = Vec::new();
        for (name, (dims, values)) in &self.tensors {
            let start = data.len();
            data.extend(values.iter().flat_map(|x| x.to_le_bytes()));
            let entry = serde_json::json!({
                "dtype": "F32", "shape": dims, "data_offsets": [start, data.len()],
            });
            header.insert(name.clone(), entry);
        }
        let header = serde_json::Value::Object(header).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(&data);
        fs::write(folder.join("model.safetensors"), file).unwrap();
        let config = serde_json::json!({
            "model_type": self.kind, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "intermediate_size": INNER,
            "max_position_embeddings": POSITIONS, "vocab_size": self.words.len(),
            "type_vocab_size": 2, "layer_norm_eps": EPSILON, "hidden_act": "gelu",
            "pad_token_id": usize::from(self.kind != "bert"),
        });
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        fs::write(folder.join("tokenizer.json"), self.tokenizer().to_string()).unwrap();
    }

    /// `WordPiece` for BERT, Unigram for XLM-RoBERTa.
    fn tokenizer(&self) -> serde_json::Value {
        let special = |content: &str, id: usize| {
            serde_json::json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        };
        let template = |first: &str, first_id: usize, last: &str, last_id: usize| {
            serde_json::json!({
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": first, "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}},
                    {"SpecialToken": {"id": last, "type_id": 0}},
                ],
                "pair": [
                    {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}},
                ],
                "special_tokens": {
                    first: {"id": first, "ids": [first_id], "tokens": [first]},
                    last: {"id": last, "ids": [last_id], "tokens": [last]},
                },
            })
        };
        let words = &self.words;
        if self.kind == "bert" {
            let vocab: serde_json::Map<String, serde_json::Value> =
                words.iter().enumerate().map(|(i, w)| ((*w).to_owned(), i.into())).collect();
            serde_json::json!({
                "version": "1.0", "truncation": {"direction": "Right", "max_length": 5,
                    "strategy": "LongestFirst", "stride": 0},
                "padding": null,
                "added_tokens": (0..4).map(|i| special(words[i], i)).collect::<Vec<_>>(),
                "normalizer": {"type": "BertNormalizer", "clean_text": true,
                    "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
                "pre_tokenizer": {"type": "BertPreTokenizer"},
                "post_processor": template("[CLS]", 2, "[SEP]", 3),
                "decoder": null,
                "model": {"type": "WordPiece", "unk_token": "[UNK]",
                    "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                    "vocab": vocab},
            })
        } else {
            let vocab: Vec<serde_json::Value> = words
                .iter()
                .enumerate()
                .map(|(i, w)| serde_json::json!([w, if i < 4 { 0.0 } else { -1.0 }]))
                .collect();
            serde_json::json!({
                "version": "1.0", "truncation": null, "padding": null,
                "added_tokens": (0..4).map(|i| special(words[i], i)).collect::<Vec<_>>(),
                "normalizer": null,
                "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}",
                    "prepend_scheme": "always", "split": true},
                "post_processor": template("<s>", 0, "</s>", 2),
                "decoder": null,
                "model": {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": false},
            })
        }
    }

    /// Ids with special tokens, for texts of known words; other words are unknown ones. (Unigram has
    /// one unknown token for a whole unknown word and the mark before it.)
    fn ids(&self, text: &str) -> Vec<usize> {
        let (first, last, unknown) = if self.kind == "bert" { (2, 3, 1) } else { (0, 2, 3) };
        let known =
            |word: &str| self.words.iter().position(|w| w.trim_start_matches('\u{2581}') == word);
        let words = text.split(' ').map(|word| known(word).unwrap_or(unknown));
        std::iter::once(first).chain(words).chain([last]).collect()
    }

    fn matrix(&self, name: &str) -> Matrix {
        let (dims, values) = &self.tensors[name];
        values.chunks(dims[1]).map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect()
    }

    fn vector(&self, name: &str) -> Vec<f64> {
        self.tensors[name].1.iter().map(|x| f64::from(*x)).collect()
    }

    fn linear(&self, x: &Matrix, name: &str) -> Matrix {
        let weight = self.matrix(&format!("{name}.weight"));
        let bias = self.vector(&format!("{name}.bias"));
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(p, q)| p * q).sum() };
        x.iter()
            .map(|row| weight.iter().zip(&bias).map(|(w, b)| dot(row, w) + b).collect())
            .collect()
    }

    fn norm(&self, x: &Matrix, name: &str) -> Matrix {
        let weight = self.vector(&format!("{name}.weight"));
        let bias = self.vector(&format!("{name}.bias"));
        x.iter()
            .map(|row| {
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                let variance =
                    row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
                let scale = (variance + EPSILON).sqrt();
                let entries = row.iter().zip(weight.iter().zip(&bias));
                entries.map(|(v, (w, b))| (v - mean) / scale * w + b).collect()
            })
            .collect()
    }

    /// Mean of the last layer, of unit length.
    pub fn embed(&self, text: &str) -> Vec<f32> {
        let ids = self.ids(text);
        let words = self.matrix("embeddings.word_embeddings.weight");
        let positions = self.matrix("embeddings.position_embeddings.weight");
        let types = self.matrix("embeddings.token_type_embeddings.weight");
        let sum: Matrix = ids
            .iter()
            .enumerate()
            .map(|(i, id)| {
                (0..HIDDEN)
                    .map(|k| words[*id][k] + positions[i + self.offset()][k] + types[0][k])
                    .collect()
            })
            .collect();
        let mut x = self.norm(&sum, "embeddings.LayerNorm");
        for layer in 0..LAYERS {
            let p = format!("encoder.layer.{layer}.");
            let [q, k, v] = ["query", "key", "value"]
                .map(|n| self.linear(&x, &format!("{p}attention.self.{n}")));
            let size = HIDDEN / HEADS;
            let mut context = vec![vec![0.0; HIDDEN]; ids.len()];
            for head in 0..HEADS {
                let part = head * size..(head + 1) * size;
                for i in 0..ids.len() {
                    let scores: Vec<f64> = (0..ids.len())
                        .map(|j| {
                            let pairs = q[i][part.clone()].iter().zip(&k[j][part.clone()]);
                            let dot: f64 = pairs.map(|(a, b)| a * b).sum();
                            (dot / (size as f64).sqrt()).exp()
                        })
                        .collect();
                    let total: f64 = scores.iter().sum();
                    for (j, score) in scores.iter().enumerate() {
                        for d in part.clone() {
                            context[i][d] += score / total * v[j][d];
                        }
                    }
                }
            }
            let add = |a: Matrix, b: &Matrix| -> Matrix {
                let rows = a.into_iter().zip(b);
                rows.map(|(r, s)| r.into_iter().zip(s).map(|(p, q)| p + q).collect()).collect()
            };
            let attended = self.linear(&context, &format!("{p}attention.output.dense"));
            let y = self.norm(&add(attended, &x), &format!("{p}attention.output.LayerNorm"));
            let mut wide = self.linear(&y, &format!("{p}intermediate.dense"));
            wide.iter_mut().flatten().for_each(|v| *v *= 0.5 * (1.0 + erf(*v / 2f64.sqrt())));
            let narrow = self.linear(&wide, &format!("{p}output.dense"));
            x = self.norm(&add(narrow, &y), &format!("{p}output.LayerNorm"));
        }
        let mut mean = vec![0.0; HIDDEN];
        for row in &x {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += v);
        }
        let length = mean.iter().map(|v| v * v).sum::<f64>().sqrt();
        mean.into_iter().map(|v| (v / length) as f32).collect()
    }
}

/// The error function by its Taylor series, which converges for the small arguments here.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}
