//! From the files of a decoder to what runs: session, tokenizer and chat template.

use super::{ChatTemplate, DecoderOptions, DecoderSpec};
use crate::error::{Error, Result};
use crate::model::decoder_graph::Recipe;
use crate::model::gguf::Gguf;
use crate::model::import::{DecoderForm, DecoderShape, DecoderWeights};
use crate::model::runtime::{DecoderSession, SessionOptions};
use crate::model::{Precision, Runtime, onnx};
use crate::threads;
use crate::tokenize::{DecoderTokenizer, Marks, Parts};
use serde_json::Value;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

/// The largest file of JSON or of a template that is read: tokenizers have 20 MB.
const MAX_BYTES: u64 = 64 << 20;

pub(super) struct Opened {
    pub(super) session: DecoderSession,
    pub(super) tokenizer: DecoderTokenizer,
    /// Or why there is none: plain text can be gone on from all the same.
    pub(super) template: Result<ChatTemplate, String>,
}

/// Opens a GGUF file, a folder with safetensors, or a folder with a `model.onnx`. Outliers of its
/// activations are smoothed out where `smooth`.
pub(super) fn open(
    runtime: &Runtime,
    spec: &DecoderSpec,
    options: &DecoderOptions,
    smooth: bool,
) -> Result<Opened> {
    let ready = spec.weights.join("model.onnx");
    let given = ready.is_file();
    let settings = SessionOptions {
        device: options.device,
        threads: options.threads.unwrap_or_else(threads::all),
        spinning: true,
        optimise: given,
    };
    if given {
        onnx::check(&spec.name, &ready)?;
        let folder = Folder::read(spec)?;
        let (tokenizer, template) = folder.tokenizer()?;
        let session = runtime.ready_decoder(&ready, folder.context()?, &settings)?;
        check_tokens(spec, &tokenizer, session.shape().vocabulary)?;
        return Ok(Opened { session, tokenizer, template });
    }
    let weights = DecoderWeights::open(&spec.weights)?;
    let form = match options.precision {
        Precision::Fp32 => DecoderForm::Fp32,
        Precision::Int8 => DecoderForm::Int8,
    };
    let recipe = Recipe { identity: &spec.identity, form, smooth, cache: &options.graphs };
    let shape = DecoderShape::of(weights.config());
    let texts = || {
        let (tokenizer, template) = match weights.gguf() {
            Some(gguf) => of_gguf(spec, gguf),
            None => Folder::read(spec)?.tokenizer(),
        }?;
        check_tokens(spec, &tokenizer, shape.vocabulary)?;
        Ok((tokenizer, template))
    };
    let Some(path) = recipe.find() else {
        let (tokenizer, template) = texts()?;
        let path = recipe.build(runtime, &weights, &|text| tokenizer.encode(text))?;
        let session = runtime.decoder(&path, shape, &settings)?;
        return Ok(Opened { session, tokenizer, template });
    };
    // The tokenizer takes half as long as the session, on one thread.
    let (session, texts) = std::thread::scope(|scope| {
        let texts = scope.spawn(texts);
        (runtime.decoder(&path, shape, &settings), texts.join())
    });
    let (tokenizer, template) = texts.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(Opened { session: session?, tokenizer, template })
}

/// Every token must have its row: one that has none would be read from beyond the matrix. A matrix may
/// have more.
fn check_tokens(spec: &DecoderSpec, tokenizer: &DecoderTokenizer, rows: usize) -> Result<()> {
    let found = tokenizer.vocabulary();
    if found <= rows {
        return Ok(());
    }
    Err(Error::Model {
        name: spec.name.clone(),
        reason: format!(
            "its tokenizer does not match: expected at most {rows} tokens, as many as its embedding \
             has rows, found {found}; use the tokenizer that was published with it"
        ),
    })
}

type Texts = (DecoderTokenizer, Result<ChatTemplate, String>);

fn of_gguf(spec: &DecoderSpec, gguf: &Gguf) -> Result<Texts> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let missing = |name: &str| Error::Model {
        name: spec.name.clone(),
        reason: format!("its metadata have no {}, so it has no tokenizer", key(name)),
    };
    let id = |name: &str| gguf.unsigned(&key(name));
    let tokenizer = DecoderTokenizer::from_gguf(&Parts {
        name: &spec.name,
        model: gguf.text(&key("model")).ok_or_else(|| missing("model"))?,
        pre: gguf.text(&key("pre")).unwrap_or("default"),
        tokens: gguf.texts(&key("tokens")).ok_or_else(|| missing("tokens"))?,
        token_types: gguf.integers(&key("token_type")).unwrap_or_default(),
        merges: gguf.texts(&key("merges")).ok_or_else(|| missing("merges"))?,
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        eot: id("eot_token_id"),
        eom: id("eom_token_id"),
        add_bos: gguf.flag(&key("add_bos_token")),
    })?;
    let template = template(gguf.text("tokenizer.chat_template"), &tokenizer);
    Ok((tokenizer, template))
}

fn template(source: Option<&str>, tokenizer: &DecoderTokenizer) -> Result<ChatTemplate, String> {
    let source = source.ok_or("it comes without a chat template")?;
    ChatTemplate::new(tokenizer.name(), source, &tokenizer.special_tokens())
        .map_err(|e| e.to_string())
}

/// The files beside the weights of a model that was published in a folder.
struct Folder<'a> {
    spec: &'a DecoderSpec,
    config: Value,
    generation: Value,
    tokenizer_config: Value,
}

impl<'a> Folder<'a> {
    fn read(spec: &'a DecoderSpec) -> Result<Self> {
        let json = |name: &str| -> Result<Value> {
            let Some(bytes) = read(&spec.weights.join(name))? else { return Ok(Value::Null) };
            serde_json::from_slice(&bytes).map_err(|e| Error::Model {
                name: spec.name.clone(),
                reason: format!("its {name} is not JSON: {e}"),
            })
        };
        Ok(Self {
            spec,
            config: json("config.json")?,
            generation: json("generation_config.json")?,
            tokenizer_config: json("tokenizer_config.json")?,
        })
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Model { name: self.spec.name.clone(), reason }
    }

    fn tokenizer(&self) -> Result<Texts> {
        let path = self.spec.weights.join("tokenizer.json");
        let bytes =
            read(&path)?.ok_or_else(|| self.refuse(format!("{} is missing", path.display())))?;
        let mut ends = self.ids("eos_token_id");
        ends.dedup();
        let marks = Marks { bos: self.ids("bos_token_id").first().copied(), ends };
        let tokenizer = DecoderTokenizer::from_json(&self.spec.name, &bytes, &marks)?;
        let template = template(self.template()?.as_deref(), &tokenizer);
        Ok((tokenizer, template))
    }

    /// Special tokens by what the files call them: one id or a list.
    fn ids(&self, name: &str) -> Vec<u32> {
        let values = [&self.generation, &self.config].into_iter().filter_map(|file| file.get(name));
        let ids = values.flat_map(|value| match value {
            Value::Array(list) => list.clone(),
            one => vec![one.clone()],
        });
        ids.filter_map(|id| id.as_u64()).filter_map(|id| u32::try_from(id).ok()).collect()
    }

    /// The template stands in a file of its own, or in tokenizer_config.json: alone, or as one of
    /// several with names.
    fn template(&self) -> Result<Option<String>> {
        if let Some(bytes) = read(&self.spec.weights.join("chat_template.jinja"))? {
            let text = String::from_utf8(bytes);
            return text
                .map(Some)
                .map_err(|_| self.refuse("its chat_template.jinja is not UTF-8".to_owned()));
        }
        let found = match self.tokenizer_config.get("chat_template") {
            Some(Value::Array(list)) => list
                .iter()
                .find(|one| one.get("name").and_then(Value::as_str) == Some("default"))
                .and_then(|one| one.get("template")),
            found => found,
        };
        Ok(found.and_then(Value::as_str).map(str::to_owned))
    }

    /// Tokens of the longest input.
    fn context(&self) -> Result<usize> {
        ["max_position_embeddings", "n_positions", "n_ctx"]
            .iter()
            .find_map(|name| self.config.get(name)?.as_u64())
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| (1..=1 << 24).contains(n))
            .ok_or_else(|| {
                self.refuse("its config.json names no max_position_embeddings".to_owned())
            })
    }
}

/// The bytes of a file; `None` where it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("open", path)(e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::Model {
            name: path.display().to_string(),
            reason: format!("it has more than {MAX_BYTES} bytes, the limit"),
        });
    }
    Ok(Some(bytes))
}
