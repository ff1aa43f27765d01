//! The weights of a decoder, from whichever kind of file.

use super::{DecoderConfig, Part};
use crate::error::{Error, Result};
use crate::model::gguf::Gguf;
use crate::model::import::weights::WeightFiles;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// A configuration is a page of text.
const MAX_CONFIG: u64 = 1 << 20;

/// A decoder's configuration and weights. The files are mapped; they must be left alone as long as
/// they are in use.
pub(crate) struct DecoderWeights {
    config: DecoderConfig,
    source: Source,
    name: String,
}

enum Source {
    Gguf(Gguf),
    Safetensors(WeightFiles),
}

/// A weight that turns `columns` inputs into `rows` outputs.
#[derive(Debug, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Row by row.
    pub(crate) values: Vec<f32>,
}

/// A [`Matrix`] in 8 bits, as a file has it: value = (code - 128) scale.
#[derive(Debug, PartialEq)]
pub(crate) struct Blocks8 {
    pub(crate) rows: usize,
    /// A multiple of 32.
    pub(crate) columns: usize,
    /// Row by row.
    pub(crate) codes: Vec<u8>,
    /// Row by row, one for every 32 codes.
    pub(crate) scales: Vec<f32>,
}

impl DecoderWeights {
    /// Opens a GGUF file, or a folder of `config.json` and safetensors, and checks that every weight is
    /// there in its shape and can be read, and that there is none whose use is unknown.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be opened; [`Error::Model`] with what is missing, damaged or
    /// not supported.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() { Self::of_folder(path) } else { Self::of_gguf(Gguf::open(path)?) }
    }

    /// From an open GGUF file.
    ///
    /// # Errors
    /// [`Error::Model`] as [`Self::open`].
    pub(crate) fn of_gguf(gguf: Gguf) -> Result<Self> {
        let config = DecoderConfig::of_gguf(&gguf)?;
        let name = gguf.name().to_owned();
        let opened = Self { config, source: Source::Gguf(gguf), name };
        opened.check()?;
        Ok(opened)
    }

    fn of_folder(folder: &Path) -> Result<Self> {
        let name = folder.display().to_string();
        let path = folder.join("config.json");
        if !path.is_file() {
            return Err(Error::Model {
                reason: format!(
                    "the folder holds no config.json; {}",
                    gguf_in(folder).map_or_else(
                        || "expected a GGUF file, or a folder with config.json and safetensors"
                            .to_owned(),
                        |file| format!("for its GGUF file, name {}", file.display())
                    )
                ),
                name,
            });
        }
        let mut json = String::new();
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        file.take(MAX_CONFIG).read_to_string(&mut json).map_err(Error::io("read", &path))?;
        let files = WeightFiles::open(&name, folder)?;
        Self::of_safetensors(&name, &json, files)
    }

    /// From a configuration and a safetensors file that has been read.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_bytes(name: &str, json: &str, weights: Vec<u8>) -> Result<Self> {
        let file = crate::model::import::WeightFile::of_bytes(name, weights);
        Self::of_safetensors(name, json, WeightFiles::of(name, vec![file])?)
    }

    /// From a configuration and the weights that it is said to describe.
    fn of_safetensors(name: &str, json: &str, files: WeightFiles) -> Result<Self> {
        let config = DecoderConfig::parse(name, json)?;
        let opened = Self { config, source: Source::Safetensors(files), name: name.to_owned() };
        opened.check()?;
        Ok(opened)
    }

    fn check(&self) -> Result<()> {
        for part in Part::all(&self.config) {
            self.check_part(part)?;
        }
        let known: HashSet<String> =
            Part::all(&self.config).map(|part| self.name_of(part)).collect();
        let mut names: Box<dyn Iterator<Item = &str>> = match &self.source {
            Source::Gguf(gguf) => Box::new(gguf.tensors().map(|(name, _)| name)),
            Source::Safetensors(files) => Box::new(files.names()),
        };
        // A weight that was left out would not be missed, and every answer would be wrong.
        match names.find(|name| !known.contains(*name) && !is_without_effect(name)) {
            Some(name) => Err(self.refuse(format!(
                "it holds a tensor {name:?}, which no supported decoder of {} layers has",
                self.config.layers
            ))),
            None => Ok(()),
        }
    }

    /// Whether a weight is there in its shape and can be read.
    fn check_part(&self, part: Part) -> Result<()> {
        let (name, wanted) = (self.name_of(part), part.dims(&self.config));
        let gguf = match &self.source {
            Source::Gguf(gguf) => gguf,
            Source::Safetensors(files) => return files.check(&name, &wanted),
        };
        let tensor = gguf.tensor(&name).ok_or_else(|| {
            self.refuse(format!(
                "it holds no tensor {name:?}, and its configuration says {} layers",
                self.config.layers
            ))
        })?;
        // Inputs come first there.
        let found: Vec<usize> = tensor.dims.iter().rev().copied().collect();
        if found != wanted {
            return Err(self.refuse(format!(
                "tensor {name:?} has the shape {found:?} (outputs, inputs); the configuration says \
                 {wanted:?}"
            )));
        }
        let readable = tensor.kind.readable();
        readable.map_err(|reason| self.refuse(format!("tensor {name:?} {reason}")))
    }

    /// The sizes of the decoder.
    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The path that was opened, as errors name it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file, where it is one in GGUF, which holds the tokenizer and the chat template too.
    pub(crate) fn gguf(&self) -> Option<&Gguf> {
        match &self.source {
            Source::Gguf(gguf) => Some(gguf),
            Source::Safetensors(_) => None,
        }
    }

    /// A bias, or the weight of a norm.
    ///
    /// # Errors
    /// [`Error::Model`] where the decoder has no such part, or a value of it is not finite.
    pub(crate) fn vector(&self, part: Part) -> Result<Vec<f32>> {
        match self.values(part)? {
            (dims, values) if dims.len() == 1 => Ok(values),
            _ => Err(self.refuse(format!("{:?} is a matrix", self.name_of(part)))),
        }
    }

    /// A matrix. The head of a decoder that has none of its own is its embedding.
    ///
    /// # Errors
    /// As [`Self::vector`].
    pub(crate) fn matrix(&self, part: Part) -> Result<Matrix> {
        let (dims, values) = self.values(part)?;
        let [rows, columns] = self.matrix_dims(part, &dims)?;
        Ok(Matrix { rows, columns, values })
    }

    /// A matrix in 8 bits, where that is how the file has it; nothing else, since rounding what was
    /// rounded before would lose more.
    ///
    /// # Errors
    /// As [`Self::vector`].
    pub(crate) fn blocks(&self, part: Part) -> Result<Option<Blocks8>> {
        let Source::Gguf(gguf) = &self.source else { return Ok(None) };
        let part = self.shared(part);
        let name = self.name_of(part);
        let Some((codes, scales)) = gguf.read_codes(&name)? else { return Ok(None) };
        let [rows, columns] = self.matrix_dims(part, &part.dims(&self.config))?;
        self.finite(&name, &scales)?;
        Ok(Some(Blocks8 { rows, columns, codes, scales }))
    }

    /// Whether [`Self::blocks`] has this matrix.
    pub(crate) fn has_blocks(&self, part: Part) -> bool {
        let Source::Gguf(gguf) = &self.source else { return false };
        gguf.tensor(&self.name_of(self.shared(part))).is_some_and(|found| found.kind.has_codes())
    }

    /// Shape and values of a part.
    fn values(&self, part: Part) -> Result<(Vec<usize>, Vec<f32>)> {
        let part = self.shared(part);
        let (name, dims) = (self.name_of(part), part.dims(&self.config));
        let values = match &self.source {
            Source::Gguf(gguf) => {
                let values = gguf.read_f32(&name)?;
                self.finite(&name, &values)?;
                values
            }
            Source::Safetensors(files) => files.get(&name, &dims)?,
        };
        Ok((dims, values))
    }

    fn matrix_dims(&self, part: Part, dims: &[usize]) -> Result<[usize; 2]> {
        <[usize; 2]>::try_from(dims)
            .map_err(|_| self.refuse(format!("{:?} is a vector", self.name_of(part))))
    }

    fn finite(&self, name: &str, values: &[f32]) -> Result<()> {
        match values.iter().position(|x| !x.is_finite()) {
            Some(bad) => Err(self.refuse(format!(
                "value {bad} of tensor {name:?} is not finite: it is damaged; fetch it again"
            ))),
            None => Ok(()),
        }
    }

    /// The part under whose name a part is stored.
    fn shared(&self, part: Part) -> Part {
        if part == Part::Head && self.config.tied { Part::Embedding } else { part }
    }

    fn name_of(&self, part: Part) -> String {
        match self.source {
            Source::Gguf(_) => part.in_gguf(),
            Source::Safetensors(_) => part.in_safetensors(),
        }
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Model { name: self.name.clone(), reason }
    }
}

/// Whether a tensor says only what the configuration says too: frequencies of the rotation; or is a
/// copy of another: the head of a tied decoder.
fn is_without_effect(name: &str) -> bool {
    // What changes the frequencies is read with the configuration.
    name == "rope_freqs.weight"
        || name.ends_with(".attn_rot_embd")
        || name.ends_with(".rotary_emb.inv_freq")
        || name == Part::Head.in_safetensors()
}

/// The one GGUF file of a folder, for advice.
fn gguf_in(folder: &Path) -> Option<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let mut found = entries.filter(|path| path.extension().is_some_and(|e| e == "gguf"));
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests;
