//! `VDB_HOME`: where runtime and models live, outside every project.
//!
//! ```text
//! runtime/NAME/   libraries of the runtime called NAME
//! models/NAME/    files of the model called NAME
//! graphs/         graphs that were built from models; can be deleted
//! manifests/      the user's own manifests
//! tmp/            downloads under way
//! LOCK            held while something is fetched
//! ```
//! Beside the files of a model lies `verified.json`: size, time and sha256 of each file when it was
//! checked, so that a start need not read 90 MB to know that nothing has changed.

use super::manifest::{FileEntry, Manifest, ModelKind};
use crate::error::{Error, Result};
use crate::hash::sha256_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

const VERIFIED: &str = "verified.json";

/// The folder of runtime and models.
#[derive(Debug, Clone)]
pub struct Home {
    folder: PathBuf,
}

/// What is known of a file since it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    size: u64,
    modified: u128,
    sha256: String,
}

impl Home {
    /// The folder that `VDB_HOME` names, else `vdb` in the user's cache folder.
    ///
    /// # Errors
    /// [`Error::Parameter`] where neither is known.
    pub fn from_env() -> Result<Self> {
        if let Some(folder) = std::env::var_os("VDB_HOME").filter(|f| !f.is_empty()) {
            return Ok(Self::at(PathBuf::from(folder)));
        }
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache = if cfg!(windows) {
            var("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            var("HOME").map(|home| home.join("Library/Caches"))
        } else {
            var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache")))
        };
        cache.map(|cache| Self::at(cache.join("vdb"))).ok_or_else(|| {
            Error::parameter("VDB_HOME", "not set, and the user has no home folder; set it")
        })
    }

    /// The folder `folder`.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where built graphs are kept.
    #[must_use]
    pub fn graphs(&self) -> PathBuf {
        self.folder.join("graphs")
    }

    /// Where the user's own manifests are looked for.
    #[must_use]
    pub fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// Where the files of `manifest` live.
    #[must_use]
    pub fn place(&self, manifest: &Manifest) -> PathBuf {
        let kind = match manifest.kind {
            ModelKind::Encoder | ModelKind::Decoder | ModelKind::Reranker => "models",
            ModelKind::Runtime => "runtime",
        };
        self.folder.join(kind).join(manifest.name.to_lowercase())
    }

    /// The files of `manifest` that are missing or have changed since they were checked; empty means
    /// complete.
    ///
    /// # Errors
    /// [`Error::NotFound`] where it has no files for this platform.
    pub fn missing<'m>(&self, manifest: &'m Manifest) -> Result<Vec<&'m FileEntry>> {
        let files = manifest.files();
        if files.is_empty() {
            return Err(Error::NotFound {
                what: "build",
                name: format!("{} for this platform", manifest.name),
                hint: "write a manifest of your own into VDB_HOME/manifests".to_owned(),
            });
        }
        let folder = self.place(manifest);
        let verified = read_verified(&folder);
        let whole = |file: &FileEntry| {
            let now = seen(&folder.join(&file.name), &file.sha256);
            now.is_some() && now.as_ref() == verified.get(&file.name)
        };
        Ok(files.into_iter().filter(|file| !whole(file)).collect())
    }

    /// The path of a file of `manifest` that is complete.
    ///
    /// # Errors
    /// [`Error::NotSetUp`] with the command that fetches it.
    pub fn file(&self, manifest: &Manifest, name: &str) -> Result<PathBuf> {
        if self.missing(manifest)?.iter().any(|file| file.name == name) {
            return Err(not_set_up(manifest));
        }
        Ok(self.place(manifest).join(name))
    }

    /// Reads every file back and returns what is wrong, in words; empty means all is well.
    ///
    /// # Errors
    /// Only where the check itself cannot be made.
    pub fn check(&self, manifest: &Manifest) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for file in manifest.files() {
            let path = self.place(manifest).join(&file.name);
            if !path.exists() {
                wrong.push(format!("{} is missing", path.display()));
                continue;
            }
            let found = sha256_of(&path)?;
            if found != file.sha256 {
                wrong.push(format!(
                    "{} has the sha256 {found} where {} was expected",
                    path.display(),
                    file.sha256
                ));
            }
        }
        Ok(wrong)
    }

    /// Records that the file has been checked. Called with the home's lock held.
    pub(crate) fn set_verified(&self, manifest: &Manifest, file: &FileEntry) -> Result<()> {
        let folder = self.place(manifest);
        let mut verified = read_verified(&folder);
        if let Some(now) = seen(&folder.join(&file.name), &file.sha256) {
            verified.insert(file.name.clone(), now);
        }
        let path = folder.join(VERIFIED);
        let temporary = folder.join("verified.tmp");
        let json = serde_json::to_vec_pretty(&verified)
            .map_err(|e| Error::parameter("manifest", e.to_string()))?;
        std::fs::write(&temporary, json)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(Error::io("write", &path))
    }
}

/// The error that says how to fetch `manifest`.
pub(crate) fn not_set_up(manifest: &Manifest) -> Error {
    Error::NotSetUp { what: describe(manifest), fix: command(manifest) }
}

/// The error where fetching it is forbidden.
pub(crate) fn offline(manifest: &Manifest) -> Error {
    Error::Offline { what: describe(manifest), fix: command(manifest) }
}

fn describe(manifest: &Manifest) -> String {
    match manifest.kind {
        ModelKind::Encoder => format!("the encoder {}", manifest.name),
        ModelKind::Decoder => format!("the decoder {}", manifest.name),
        ModelKind::Reranker => format!("the re-ranker {}", manifest.name),
        ModelKind::Runtime => format!("the ONNX Runtime library ({})", manifest.name),
    }
}

fn command(manifest: &Manifest) -> String {
    match (manifest.kind, manifest.name.as_str()) {
        (ModelKind::Runtime, "onnxruntime-cuda") => "vdb setup --device cuda".to_owned(),
        (ModelKind::Runtime, _) => "vdb setup".to_owned(),
        (_, name) => format!("vdb models pull {name}"),
    }
}

fn read_verified(folder: &Path) -> BTreeMap<String, Seen> {
    // Missing or damaged: the files count as unchecked and are checked again.
    std::fs::read(folder.join(VERIFIED))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn seen(path: &Path, sha256: &str) -> Option<Seen> {
    let data = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let modified = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    Some(Seen { size: data.len(), modified, sha256: sha256.to_owned() })
}
