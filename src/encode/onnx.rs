//! Encoders on ONNX Runtime.

use super::batch::{mask, padded, plan, plan_close};
use super::pooling::{Pooling, scale_to_unit};
use super::sessions::Sessions;
use super::{Embedding, Encoder, Fingerprint, InputKind, TokenEmbedding};
use crate::error::{Error, Result};
use crate::hash::{Sha256, sha256_of};
use crate::model::calibrate::{Inputs, inputs};
use crate::model::graph::{IMPORTER, Recipe, graph};
use crate::model::import::{BertConfig, Head};
use crate::model::runtime::Session;
use crate::model::{Device, Precision, Runtime, onnx};
use crate::text::tokenizer::TokenSpans;
use crate::threads;
use crate::tokenize::EncoderTokenizer;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where an encoder's files are and how its vectors are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderSpec {
    /// The model's name, for people.
    pub name: String,
    /// `model.safetensors`, or a ready `.onnx` file.
    pub weights: PathBuf,
    /// `config.json`; not needed for a ready ONNX file.
    pub config: Option<PathBuf>,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// How token vectors become one.
    pub pooling: Pooling,
    /// Put in front of every query.
    pub query_prefix: String,
    /// Put in front of every document.
    pub document_prefix: String,
    /// Tokens of one input, special tokens and prefix included.
    pub window: usize,
    /// Elements of a vector.
    pub dimensions: usize,
    /// sha256 of the weights, in hexadecimal. Of a ready ONNX file whose weights lie in files
    /// beside it: the sha256 of all their sums.
    pub weights_sha256: String,
    /// sha256 of the tokenizer, in hexadecimal.
    pub tokenizer_sha256: String,
}

/// How an encoder is run.
#[derive(Debug, Clone)]
pub struct EncoderOptions {
    /// Default: 8 bits.
    pub precision: Precision,
    /// Default: auto.
    pub device: Device,
    /// Threads of large batches. Default: all processors.
    pub threads: Option<usize>,
    /// Folder in which built graphs are kept.
    pub graphs: PathBuf,
}

impl EncoderSpec {
    /// Reads a folder that holds an encoder: `tokenizer.json`, and either `model.safetensors` with a
    /// `config.json` of the BERT family, or a ready ONNX model (`model.onnx`, `onnx/model.onnx`); where
    /// both are there, the former, from which the faster graph is made. Pooling and
    /// window come from sentence-transformers' `1_Pooling/config.json` and
    /// `sentence_bert_config.json` where they are there (else mean, and 512 tokens or the model's
    /// positions), and prefixes from the prompts of `config_sentence_transformers.json`. A ready model needs no `config.json` where it declares the width of its output.
    ///
    /// # Errors
    /// [`Error::NotFound`] naming the missing file; [`Error::Model`] for one that is not understood.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let refuse = |reason: String| Error::Model { name: name.clone(), reason };
        let find = |names: &[&str]| names.iter().map(|n| folder.join(n)).find(|p| p.is_file());
        let missing = |file: &str| Error::NotFound {
            what: "model file",
            name: folder.join(file).display().to_string(),
            hint: "a model folder holds tokenizer.json, and model.onnx or model.safetensors with \
                   config.json"
                .to_owned(),
        };
        let tokenizer = find(&["tokenizer.json"]).ok_or_else(|| missing("tokenizer.json"))?;
        let config = find(&["config.json"]);
        let read = |path: &Path| std::fs::read_to_string(path).map_err(Error::io("read", path));
        let read_json = |path: &Path| -> Result<serde_json::Value> {
            serde_json::from_str(&read(path)?)
                .map_err(|e| refuse(format!("{} is not JSON: {e}", path.display())))
        };
        let described = config.as_deref().map(read_json).transpose()?.unwrap_or_default();
        let positions = number(&described, "max_position_embeddings").unwrap_or(512);
        // Of an architecture that we know, how many of them an input can have.
        let known = config.as_deref().map(read).transpose()?;
        let known = known.map(|json| BertConfig::parse(&name, &json));
        let mut window = 512.min(match &known {
            Some(Ok(config)) => config.positions(),
            _ => positions,
        });
        let published = find(&["model.safetensors"]);
        let weights = published
            .clone()
            .filter(|_| matches!(known, Some(Ok(_))))
            .or_else(|| find(&["model.onnx", "onnx/model.onnx"]))
            .or(published)
            .ok_or_else(|| missing("model.safetensors"))?;
        let (dimensions, weights_sha256) = if is_ready(&weights) {
            let ready = onnx::check(&name, &weights)?;
            let names: Vec<&str> = ready.widths.iter().map(|(name, _)| name.as_str()).collect();
            let output = embedding_output(&names);
            let declared = ready.widths.iter().find(|(n, _)| Some(n.as_str()) == output);
            let width = declared.and_then(|(_, width)| *width);
            let dimensions = width.or_else(|| number(&described, "hidden_size"));
            let dimensions = dimensions.ok_or_else(|| missing("config.json"))?;
            (dimensions, sha256_of_all(&weights, &ready)?)
        } else {
            let config = known.ok_or_else(|| missing("config.json"))??;
            (config.dimensions(), sha256_of(&weights)?)
        };
        let mut pooling = Pooling::Mean;
        if let Some(path) = find(&["1_Pooling/config.json"]) {
            let says = read_json(&path)?;
            let set = |key: &str| says.get(key).and_then(serde_json::Value::as_bool) == Some(true);
            pooling = match (set("pooling_mode_mean_tokens"), set("pooling_mode_cls_token")) {
                (true, false) => Pooling::Mean,
                (false, true) => Pooling::Cls,
                _ => {
                    return Err(refuse(format!(
                        "{} asks for a pooling other than mean or cls",
                        path.display()
                    )));
                }
            };
        }
        if let Some(path) = find(&["sentence_bert_config.json"]) {
            window = number(&read_json(&path)?, "max_seq_length").unwrap_or(window).min(window);
        }
        let prompts = match find(&["config_sentence_transformers.json"]) {
            Some(path) => read_json(&path)?.get("prompts").cloned().unwrap_or_default(),
            None => serde_json::Value::Null,
        };
        let prompt = |names: &[&str]| {
            let found = names.iter().find_map(|name| prompts.get(name));
            found.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
        };
        Ok(Self {
            weights_sha256,
            tokenizer_sha256: sha256_of(&tokenizer)?,
            name,
            weights,
            config,
            tokenizer,
            pooling,
            query_prefix: prompt(&["query"]),
            document_prefix: prompt(&["document", "passage"]),
            window,
            dimensions,
        })
    }

    /// What its configuration says, which the rest of the description must not contradict.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Io`].
    pub(super) fn architecture(&self) -> Result<BertConfig> {
        let refuse = |reason: String| Error::Model { name: self.name.clone(), reason };
        let Some(path) = &self.config else {
            return Err(refuse("safetensors weights need a config.json".to_owned()));
        };
        let json = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let config = BertConfig::parse(&self.name, &json)?;
        if self.window > config.positions() || config.dimensions() != self.dimensions {
            return Err(refuse(format!(
                "it is said to have a window of {} and {} dimensions; its config.json allows \
                 {} and {}",
                self.window,
                self.dimensions,
                config.positions(),
                config.dimensions()
            )));
        }
        Ok(config)
    }

    /// What its graph is built from.
    pub(super) fn recipe<'a>(&'a self, config: &'a BertConfig, precision: Precision) -> Recipe<'a> {
        Recipe {
            name: &self.name,
            weights: &self.weights,
            weights_sha256: &self.weights_sha256,
            config,
            head: Head::Tokens,
            precision,
            tokenizer_sha256: &self.tokenizer_sha256,
            window: self.window,
        }
    }

    /// Inputs of texts, by which activations are watched.
    pub(super) fn calibration_inputs(
        &self,
        tokenizer: &EncoderTokenizer,
        texts: &[String],
    ) -> Result<Vec<Inputs>> {
        let read = |text: &String| {
            let (ids, _) = truncated(tokenizer.ids(text)?, self.window)?;
            Ok(inputs(&ids, None))
        };
        texts.iter().map(read).collect()
    }

    /// What an encoder of this description will say that its vectors are made of.
    #[must_use]
    pub fn fingerprint(&self, precision: Precision) -> Fingerprint {
        let precision = if is_ready(&self.weights) {
            "onnx".to_owned()
        } else {
            format!("{precision} v{IMPORTER}")
        };
        Fingerprint {
            model: self.name.clone(),
            weights: self.weights_sha256.clone(),
            tokenizer: self.tokenizer_sha256.clone(),
            pooling: self.pooling.to_string(),
            query_prefix: self.query_prefix.clone(),
            document_prefix: self.document_prefix.clone(),
            window: self.window,
            precision,
            dimensions: self.dimensions,
        }
    }
}

/// A whole number of a JSON object.
pub(super) fn number(value: &serde_json::Value, key: &str) -> Option<usize> {
    value.get(key).and_then(serde_json::Value::as_u64).and_then(|n| usize::try_from(n).ok())
}

/// Whether weights are a graph already.
pub(super) fn is_ready(weights: &Path) -> bool {
    weights.extension().is_some_and(|e| e == "onnx")
}

/// The sum of a ready model, with those of the files beside it that hold its weights.
fn sha256_of_all(model: &Path, ready: &onnx::Inspected) -> Result<String> {
    let own = sha256_of(model)?;
    if ready.weights.is_empty() {
        return Ok(own);
    }
    let mut all = Sha256::default();
    all.update(own);
    for file in &ready.weights {
        all.update(sha256_of(file)?);
    }
    Ok(all.hex())
}

/// Which of a model's outputs holds its vectors.
fn embedding_output<'a>(declared: &[&'a str]) -> Option<&'a str> {
    ["sentence_embedding", "last_hidden_state", "token_embeddings"]
        .iter()
        .find_map(|known| declared.iter().find(|name| *name == known))
        .or(declared.first())
        .copied()
}

/// An encoder on ONNX Runtime. Sessions are made at the first call that needs them, kept, and
/// shared by threads: single texts go to one-thread sessions, lists to one that uses all threads.
pub struct OnnxEncoder {
    fingerprint: Fingerprint,
    tokenizer: EncoderTokenizer,
    sessions: Sessions,
    pooling: Pooling,
    overhead: usize,
}

impl OnnxEncoder {
    /// Opens the encoder that `spec` describes, building its graph if that was not done before.
    ///
    /// # Errors
    /// [`Error::Model`] where a file cannot be used, [`Error::Io`], [`Error::Device`].
    pub fn open(runtime: &Runtime, spec: &EncoderSpec, options: &EncoderOptions) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: spec.name.clone(), reason };
        let tokenizer = EncoderTokenizer::open(&spec.name, &spec.tokenizer)?;
        let path = if is_ready(&spec.weights) {
            onnx::check(&spec.name, &spec.weights)?;
            spec.weights.clone()
        } else {
            let config = spec.architecture()?;
            let recipe = spec.recipe(&config, options.precision);
            graph(runtime, &recipe, &options.graphs, &|texts| {
                spec.calibration_inputs(&tokenizer, texts)
            })?
        };
        let prefix = |text: &str| Ok::<_, Error>(tokenizer.ids(text)?.len());
        let overhead = prefix(&spec.document_prefix)?.max(tokenizer.specials());
        let needed = overhead.max(prefix(&spec.query_prefix)?);
        if spec.window <= needed {
            return Err(refuse(format!(
                "a window of {} tokens leaves no room beside {needed} of special tokens and prefix",
                spec.window
            )));
        }
        let threads = options.threads.unwrap_or_else(threads::all);
        Ok(Self {
            fingerprint: spec.fingerprint(options.precision),
            tokenizer,
            sessions: Sessions::new(runtime.clone(), path, options.device, threads),
            pooling: spec.pooling,
            overhead,
        })
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Model { name: self.fingerprint.model.clone(), reason }
    }

    /// The vector of the whole text, of unit length.
    fn pooled(&self, tokens: usize, given: &Given<'_>) -> Vec<f32> {
        match given {
            Given::Whole(row) => {
                let mut vector = row.to_vec();
                scale_to_unit(&mut vector);
                vector
            }
            Given::Tokens(rows) => self.pooling.pool(rows, self.fingerprint.dimensions, tokens),
        }
    }

    /// Runs the model on the texts with these ids, and hands what it gives for each, with the number
    /// of its tokens, to `read`.
    fn run<T>(
        &self,
        session: &mut Session,
        batch: &[&[u32]],
        read_one: impl Fn(usize, &Given<'_>) -> T,
    ) -> Result<Vec<T>> {
        let longest = batch.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let rows = batch.len();
        let ids = padded(batch.iter().copied(), longest);
        let mask = mask(batch.iter().map(|ids| ids.len()), longest);
        let declared = session.inputs();
        let mut inputs = Vec::with_capacity(3);
        for name in declared {
            match name.as_str() {
                "input_ids" => inputs.push(("input_ids", ids.clone())),
                "attention_mask" => inputs.push(("attention_mask", mask.clone())),
                "token_type_ids" => inputs.push(("token_type_ids", vec![0; ids.len()])),
                other => {
                    return Err(self.refuse(format!(
                        "it wants an input {other:?}; input_ids, attention_mask and \
                         token_type_ids are known"
                    )));
                }
            }
        }
        let outputs: Vec<&str> = session.outputs().iter().map(String::as_str).collect();
        let output = embedding_output(&outputs)
            .ok_or_else(|| self.refuse("it declares no output".to_owned()))?
            .to_owned();
        let width = self.fingerprint.dimensions;
        let lengths = batch.iter().map(|ids| ids.len());
        let read = |dims: &[usize], data: &[f32]| match dims {
            [n, d] if *n == rows && *d == width => Ok(data
                .chunks_exact(width)
                .zip(lengths)
                .map(|(row, tokens)| read_one(tokens, &Given::Whole(row)))
                .collect()),
            [n, s, d] if *n == rows && *s == longest && *d == width => Ok(data
                .chunks_exact(longest * width)
                .zip(lengths)
                .map(|(all, tokens)| read_one(tokens, &Given::Tokens(&all[..tokens * width])))
                .collect()),
            _ => {
                Err(format!("its output {output:?} has the shape {dims:?}; {width} wide expected"))
            }
        };
        session
            .run(inputs, rows, longest, &output, read)
            .and_then(|result| result)
            .map_err(|reason| self.refuse(reason))
    }
}

impl Encoder for OnnxEncoder {
    fn dimensions(&self) -> usize {
        self.fingerprint.dimensions
    }

    fn window(&self) -> usize {
        self.fingerprint.window
    }

    fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    fn tokens(&self) -> &dyn TokenSpans {
        &self.tokenizer
    }

    fn overhead(&self) -> usize {
        self.overhead
    }

    fn provider(&self) -> Result<String> {
        self.sessions.provider().map(str::to_owned)
    }

    fn encode(&self, texts: &[&str], kind: InputKind) -> Result<Vec<Embedding>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let prefix = self.prefix(kind);
        let tokenized = texts
            .iter()
            .map(|text| {
                let ids = if prefix.is_empty() {
                    self.tokenizer.ids(text)?
                } else {
                    self.tokenizer.ids(&format!("{prefix}{text}"))?
                };
                truncated(ids, self.fingerprint.window)
            })
            .collect::<Result<Vec<(Vec<u32>, usize)>>>()?;
        let lengths: Vec<usize> = tokenized.iter().map(|(ids, _)| ids.len()).collect();
        let (order, batches) = plan(&lengths);
        let mut embeddings: Vec<Option<Embedding>> = vec![None; texts.len()];
        let mut session = self.sessions.take(texts.len() == 1)?;
        for batch in batches {
            let members = &order[batch];
            let ids: Vec<&[u32]> = members.iter().map(|i| tokenized[*i].0.as_slice()).collect();
            let vectors = self.run(&mut session, &ids, |n, given| self.pooled(n, given))?;
            for (i, vector) in members.iter().zip(vectors) {
                embeddings[*i] = Some(Embedding { vector, truncated_tokens: tokenized[*i].1 });
            }
        }
        embeddings
            .into_iter()
            .map(|e| e.ok_or_else(|| self.refuse("it gave too few vectors".to_owned())))
            .collect()
    }

    fn encode_tokens(&self, texts: &[(&str, InputKind)]) -> Result<Vec<TokenEmbedding>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let inputs =
            texts.iter().map(|(text, kind)| self.input(text, *kind)).collect::<Result<Vec<_>>>()?;
        let lengths: Vec<usize> = inputs.iter().map(|input| input.ids.len()).collect();
        let (order, batches) = plan_close(&lengths);
        let mut embeddings: Vec<Option<TokenEmbedding>> = vec![None; texts.len()];
        let mut session = self.sessions.take(texts.len() == 1)?;
        for batch in batches {
            let members: Vec<(usize, &Input)> =
                order[batch].iter().filter_map(|i| Some((*i, inputs.get(*i)?))).collect();
            let ids: Vec<&[u32]> = members.iter().map(|(_, input)| input.ids.as_slice()).collect();
            let given = self.run(&mut session, &ids, |n, given| {
                let rows = match given {
                    Given::Whole(_) => Vec::new(),
                    Given::Tokens(rows) => rows.to_vec(),
                };
                (self.pooled(n, given), rows)
            })?;
            for ((i, input), (vector, rows)) in members.into_iter().zip(given) {
                embeddings[i] = Some(self.token_embedding(input, vector, &rows));
            }
        }
        embeddings
            .into_iter()
            .map(|e| e.ok_or_else(|| self.refuse("it gave too few vectors".to_owned())))
            .collect()
    }
}

/// What the model gives for one text: one row for all of it, or one a token.
enum Given<'a> {
    Whole(&'a [f32]),
    Tokens(&'a [f32]),
}

/// A text as the model reads it.
struct Input {
    ids: Vec<u32>,
    /// The bytes of the text that each id stands for; empty for special tokens and prefix.
    spans: Vec<Range<usize>>,
    truncated: usize,
}

impl OnnxEncoder {
    fn prefix(&self, kind: InputKind) -> &str {
        match kind {
            InputKind::Query => &self.fingerprint.query_prefix,
            InputKind::Document => &self.fingerprint.document_prefix,
        }
    }

    fn input(&self, text: &str, kind: InputKind) -> Result<Input> {
        let prefix = self.prefix(kind);
        let (ids, spans) = if prefix.is_empty() {
            self.tokenizer.ids_and_spans(text)?
        } else {
            self.tokenizer.ids_and_spans(&format!("{prefix}{text}"))?
        };
        let within = |span: Range<usize>| {
            span.start.saturating_sub(prefix.len())..span.end.saturating_sub(prefix.len())
        };
        let mut spans: Vec<Range<usize>> = spans.into_iter().map(within).collect();
        let (ids, truncated) = truncated(ids, self.fingerprint.window)?;
        if truncated > 0 {
            // The special token at the end stands in the place of a word.
            spans.truncate(ids.len().saturating_sub(1));
            spans.push(0..0);
        }
        Ok(Input { ids, spans, truncated })
    }

    fn token_embedding(&self, input: &Input, vector: Vec<f32>, rows: &[f32]) -> TokenEmbedding {
        let mut vectors = Vec::with_capacity(rows.len());
        let mut spans = Vec::new();
        for (row, span) in rows.chunks_exact(self.fingerprint.dimensions).zip(&input.spans) {
            if span.is_empty() {
                continue;
            }
            let start = vectors.len();
            vectors.extend_from_slice(row);
            scale_to_unit(&mut vectors[start..]);
            spans.push(span.clone());
        }
        let embedding = Embedding { vector, truncated_tokens: input.truncated };
        TokenEmbedding { embedding, vectors, spans }
    }
}

impl std::fmt::Debug for OnnxEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxEncoder")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// Cuts ids to the window, keeping the special token at the end, and counts what was cut.
#[expect(clippy::unnecessary_wraps, reason = "it is mapped over results")]
pub(super) fn truncated(mut ids: Vec<u32>, window: usize) -> Result<(Vec<u32>, usize)> {
    let cut = ids.len().saturating_sub(window);
    if cut > 0
        && let Some(last) = ids.last().copied()
    {
        ids.truncate(window - 1);
        ids.push(last);
    }
    Ok((ids, cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{DataType, GraphBuilder};

    #[test]
    fn a_ready_model_is_known_by_all_its_weights() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut weights = Vec::new();
        let mut graph = GraphBuilder::new("g", "model.weights", &mut weights);
        graph.input("input_ids", DataType::Int64, &["batch", "sequence"]);
        // More than fits the model file.
        let words = graph.floats("words", &[4, 512], &vec![0.5; 2048]).unwrap();
        let vectors = graph.node("Gather", &[&words, "input_ids"], &[]);
        graph.output(&vectors, DataType::Float, &["batch", "sequence", "512"]);
        let model = graph.finish();
        std::fs::write(at("model.onnx"), &model).unwrap();
        std::fs::write(at("tokenizer.json"), "{}").unwrap();

        let message = EncoderSpec::from_folder(folder.path()).unwrap_err().to_string();
        assert!(message.contains("model.weights"), "{message}");
        std::fs::write(at("model.weights"), &weights).unwrap();
        let first = EncoderSpec::from_folder(folder.path()).unwrap();
        assert_eq!((first.dimensions, first.window), (512, 512));
        assert_eq!(first, EncoderSpec::from_folder(folder.path()).unwrap());
        weights[0] ^= 1;
        std::fs::write(at("model.weights"), &weights).unwrap();
        let second = EncoderSpec::from_folder(folder.path()).unwrap();
        assert_ne!(first.weights_sha256, second.weights_sha256);
    }
}
