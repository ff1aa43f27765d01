//! A model of the user's own, taken up under a name.

use super::manifest::{FileEntry, Manifest, Source};
use super::{FetchOptions, Models, Registry, fetch};
use crate::encode::EncoderSpec;
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::atomic::AtomicBool;

impl Models {
    /// Takes up the encoder in `folder` under `name`: a manifest is written and its files are copied
    /// into `VDB_HOME`, so that [`Models::encoder`] finds it by that name, wherever the folder goes.
    /// `licence` is an SPDX identifier, or words where there is none. A second time, the files of the
    /// folder as they are now take the place of the first ones.
    ///
    /// # Errors
    /// Those of [`EncoderSpec::from_folder`]; [`Error::Parameter`] for a name that cannot be one or that
    /// another model has, and for an ONNX model whose weights lie in other files; [`Error::Io`].
    pub fn add(&mut self, folder: &Path, name: &str, licence: Option<String>) -> Result<Manifest> {
        let folder = folder.canonicalize().map_err(Error::io("resolve", folder))?;
        let Some(path) = folder.to_str() else {
            return Err(Error::parameter(
                "folder",
                format!("{} is not UTF-8, which a manifest has to be", folder.display()),
            ));
        };
        self.check_new(name, &folder)?;
        let spec = EncoderSpec::from_folder(&folder)?;
        let description = format!("Encoder of {} dimensions from {path}.", spec.dimensions);
        let licence = licence.unwrap_or_else(|| "unknown".to_owned());
        let files = files(&spec, &folder)?;
        let manifest =
            Manifest::of_encoder(&spec, (name, description, licence), path.to_owned(), files)?;
        let manifests = self.home().manifests();
        let place = manifests.join(format!("{}.toml", name.to_lowercase()));
        let unfinished = place.with_extension("unfinished");
        std::fs::create_dir_all(&manifests).map_err(Error::io("create", &manifests))?;
        let silent =
            FetchOptions { offline: false, on_event: &|_| {}, stop: &AtomicBool::new(false) };
        fetch(self.home(), &manifest, &silent)?;
        std::fs::write(&unfinished, manifest.to_text()?)
            .and_then(|()| std::fs::rename(&unfinished, &place))
            .map_err(Error::io("write", &place))?;
        self.set_registry(Registry::load(&manifests)?);
        Ok(manifest)
    }

    /// Whether a model from `folder`, which need not be there yet, can be called `name`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a name that cannot be one or that another model has.
    pub fn check_new(&self, name: &str, folder: &Path) -> Result<()> {
        Manifest::check_name(name).map_err(|reason| Error::parameter("name", reason))?;
        let Ok(known) = self.registry().get(name) else { return Ok(()) };
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        let same = |source: &Source| matches!(source, Source::Folder { path } if Path::new(path) == folder);
        if known.sources.iter().any(same) {
            return Ok(());
        }
        let reason = format!("a model {:?} is known already; choose another name", known.name);
        Err(Error::parameter("name", reason))
    }

    /// Deletes the files of a model, and its manifest where that is the user's own; one that comes with
    /// vdb can be pulled again.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown name, [`Error::Io`].
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let manifest = self.registry().get(name)?;
        let own = manifest.sources.iter().any(|s| matches!(s, Source::Folder { .. }));
        let place = self.home().place(manifest);
        let manifests = self.home().manifests();
        if own {
            let path = manifests.join(format!("{}.toml", manifest.name.to_lowercase()));
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        match std::fs::remove_dir_all(&place) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &place)(e));
            }
            _ => {}
        }
        self.set_registry(Registry::load(&manifests)?);
        Ok(())
    }
}

/// What of a folder makes the model.
fn files(spec: &EncoderSpec, folder: &Path) -> Result<Vec<FileEntry>> {
    let is_graph = spec.weights.extension().is_some_and(|ending| ending == "onnx");
    if is_graph && !super::onnx::check(&spec.name, &spec.weights)?.weights.is_empty() {
        return Err(Error::parameter(
            "folder",
            format!(
                "the weights of {} lie in other files; use the model by its folder",
                spec.weights.display()
            ),
        ));
    }
    let mut files = Vec::new();
    let paths = [Some(&spec.weights), spec.config.as_ref(), Some(&spec.tokenizer)];
    for path in paths.into_iter().flatten() {
        files.push(FileEntry::of(folder, path)?);
    }
    Ok(files)
}
