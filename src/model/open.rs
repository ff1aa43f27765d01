//! From a name to an encoder: registry, home, runtime and device together.

use super::home::{not_set_up, offline};
use super::manifest::{Manifest, ModelKind};
use super::{Device, Home, Precision, Registry, Runtime, decoder_graph};
use crate::encode::{
    CrossEncoder, CrossEncoderSpec, Encoder, EncoderHandle, EncoderOptions, EncoderSpec,
    Fingerprint, OnnxEncoder,
};
use crate::error::{Error, Result};
use crate::generate::{Decoder, DecoderOptions, DecoderSpec};
use crate::hash::Sha256;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The models of this machine, and how to run them.
#[derive(Debug, Clone)]
pub struct Models {
    home: Home,
    registry: Registry,
    device: Device,
    precision: Option<Precision>,
    threads: Option<usize>,
    offline: bool,
}

impl Models {
    /// The models of `VDB_HOME` (default: the user's cache folder).
    ///
    /// # Errors
    /// Those of [`Home::from_env`] and [`Registry::load`].
    pub fn from_env() -> Result<Self> {
        Self::at(Home::from_env()?)
    }

    /// The models of `home`.
    ///
    /// # Errors
    /// Those of [`Registry::load`].
    pub fn at(home: Home) -> Result<Self> {
        let registry = Registry::load(&home.manifests())?;
        Ok(Self {
            home,
            registry,
            device: Device::default(),
            precision: None,
            threads: None,
            offline: false,
        })
    }

    /// Where models run. Default: auto.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// How many bits they have. Default: 8 on a CPU, 32 on a graphics card.
    #[must_use]
    pub fn precision(mut self, precision: Option<Precision>) -> Self {
        self.precision = precision;
        self
    }

    /// Threads of large batches. Default: all processors.
    #[must_use]
    pub fn threads(mut self, threads: Option<usize>) -> Self {
        self.threads = threads;
        self
    }

    /// Says in errors that the network is off. Encoders never use it either way.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Where the files are.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// What is known.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn set_registry(&mut self, registry: Registry) {
        self.registry = registry;
    }

    /// An encoder by its manifest's name or by the folder that holds it. Nothing of it is loaded
    /// before it is needed.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name without a manifest; those of [`EncoderSpec::from_folder`].
    pub fn encoder(&self, name: &str) -> Result<EncoderHandle> {
        if let Some(folder) = self.folder(name) {
            let folder = folder.canonicalize().map_err(Error::io("resolve", folder))?;
            let mut spec = EncoderSpec::from_folder(&folder)?;
            // Its path is how it is found again.
            spec.name = folder.display().to_string();
            return Ok(self.handle(spec, None));
        }
        let manifest = self.registry.encoder(name)?;
        Ok(self.handle(self.spec(manifest)?, Some(manifest.clone())))
    }

    /// Where the files of an encoder are, by its manifest's name or by the folder that holds it, for
    /// who reads them himself.
    ///
    /// # Errors
    /// Those of [`Models::encoder`], and [`Error::NotSetUp`] where the files are not here.
    pub fn encoder_spec(&self, name: &str) -> Result<EncoderSpec> {
        if let Some(folder) = self.folder(name) {
            return EncoderSpec::from_folder(folder);
        }
        let manifest = self.registry.encoder(name)?;
        self.require(manifest)?;
        self.spec(manifest)
    }

    /// The encoder that made the vectors of a collection.
    ///
    /// # Errors
    /// Those of [`Models::encoder`].
    pub fn encoder_of(&self, fingerprint: &Fingerprint) -> Result<EncoderHandle> {
        let stored = fingerprint.precision.split(' ').next().and_then(|p| p.parse().ok());
        self.clone().precision(self.precision.or(stored)).encoder(&fingerprint.model)
    }

    /// A re-ranker by its manifest's name or by the folder that holds it, loaded; its graph is built
    /// where that was not done before.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name without a manifest, [`Error::NotSetUp`] with the command that
    /// fetches it; those of [`CrossEncoderSpec::from_folder`] and [`CrossEncoder::open`].
    pub fn reranker(&self, name: &str) -> Result<CrossEncoder> {
        let spec = self.reranker_spec(name)?;
        CrossEncoder::open(&self.runtime()?, &spec, &self.encoder_options())
    }

    /// Where the files of a re-ranker are, by its manifest's name or by the folder that holds it, for
    /// who reads them himself.
    ///
    /// # Errors
    /// Those of [`Models::reranker`].
    pub fn reranker_spec(&self, name: &str) -> Result<CrossEncoderSpec> {
        if let Some(folder) = self.folder(name) {
            return CrossEncoderSpec::from_folder(folder);
        }
        let manifest = self.registry.reranker(name)?;
        self.require(manifest)?;
        let lacks = |what: &str| lacks(manifest, what);
        let section = manifest.reranker.as_ref().ok_or_else(|| lacks("section [reranker]"))?;
        let (folder, files) = (self.home.place(manifest), manifest.files());
        let find = |name: &str| {
            let file = files.iter().find(|file| file.name == name).ok_or_else(|| lacks(name))?;
            Ok((folder.join(name), file.sha256.clone()))
        };
        let (weights, weights_sha256) = find("model.safetensors")?;
        let (tokenizer, tokenizer_sha256) = find("tokenizer.json")?;
        let (config, _) = find("config.json")?;
        Ok(CrossEncoderSpec {
            name: manifest.name.clone(),
            weights,
            config,
            tokenizer,
            window: section.window,
            weights_sha256,
            tokenizer_sha256,
        })
    }

    /// The folder that a name is the path of: one that looks like a path, or that no manifest has.
    fn folder<'n>(&self, name: &'n str) -> Option<&'n Path> {
        let folder = Path::new(name);
        let path = name.contains(['/', '\\', '.']) || self.registry.get(name).is_err();
        (path && folder.is_dir()).then_some(folder)
    }

    fn encoder_options(&self) -> EncoderOptions {
        let (device, precision) = self.device_and_precision();
        EncoderOptions { precision, device, threads: self.threads, graphs: self.home.graphs() }
    }

    /// A decoder by its manifest's name, by its GGUF file, or by the folder that holds it, loaded; its
    /// graph is built where that was not done before.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name without a manifest, [`Error::NotSetUp`] with the command that
    /// fetches it; those of [`Decoder::open`].
    pub fn decoder(&self, name: &str) -> Result<Decoder> {
        let spec = self.decoder_spec(name)?;
        let (device, precision) = self.device_and_precision();
        let options =
            DecoderOptions { precision, device, threads: self.threads, graphs: self.home.graphs() };
        Decoder::open(&self.runtime()?, &spec, &options)
    }

    fn decoder_spec(&self, name: &str) -> Result<DecoderSpec> {
        let path = Path::new(name);
        if path.exists() && (name.contains(['/', '\\', '.']) || self.registry.get(name).is_err()) {
            return Ok(DecoderSpec {
                name: name.to_owned(),
                weights: path.to_path_buf(),
                identity: decoder_graph::identity(path)?,
            });
        }
        let manifest = self.registry.decoder(name)?;
        self.require(manifest)?;
        let folder = self.home.place(manifest);
        let files = manifest.files();
        // One GGUF file holds all; else all files of the folder are the model.
        let is_gguf = |name: &str| Path::new(name).extension().is_some_and(|e| e == "gguf");
        let (weights, identity) = if let Some(file) = files.iter().find(|f| is_gguf(&f.name)) {
            (folder.join(&file.name), file.sha256.clone())
        } else {
            let mut all = Sha256::default();
            files.iter().for_each(|file| all.update(format!("{} {}\n", file.name, file.sha256)));
            (folder, all.hex())
        };
        Ok(DecoderSpec { name: manifest.name.clone(), weights, identity })
    }

    fn spec(&self, manifest: &Manifest) -> Result<EncoderSpec> {
        let lacks = |what: &str| lacks(manifest, what);
        let section = manifest.encoder.as_ref().ok_or_else(|| lacks("section [encoder]"))?;
        let folder = self.home.place(manifest);
        let files = manifest.files();
        let find = |names: &[&str]| {
            files.iter().find(|f| names.contains(&f.name.as_str())).map(|f| (*f).clone())
        };
        let weights = find(&["model.safetensors", "model.onnx"])
            .ok_or_else(|| lacks("model.safetensors or model.onnx"))?;
        let tokenizer = find(&["tokenizer.json"]).ok_or_else(|| lacks("tokenizer.json"))?;
        Ok(EncoderSpec {
            name: manifest.name.clone(),
            weights: folder.join(&weights.name),
            config: find(&["config.json"]).map(|f| folder.join(f.name)),
            tokenizer: folder.join(&tokenizer.name),
            pooling: section.pooling()?,
            query_prefix: section.query_prefix.clone(),
            document_prefix: section.document_prefix.clone(),
            window: section.window,
            dimensions: section.dimensions,
            weights_sha256: weights.sha256,
            tokenizer_sha256: tokenizer.sha256,
        })
    }

    fn handle(&self, spec: EncoderSpec, manifest: Option<Manifest>) -> EncoderHandle {
        let options = self.encoder_options();
        let fingerprint = spec.fingerprint(options.precision);
        let models = self.clone();
        EncoderHandle::lazy(fingerprint, move || {
            if let Some(manifest) = &manifest {
                models.require(manifest)?;
            }
            let encoder = OnnxEncoder::open(&models.runtime()?, &spec, &options)?;
            let encoder: Arc<dyn Encoder> = Arc::new(encoder);
            Ok(encoder)
        })
    }

    /// Auto takes CUDA where its runtime was set up and 8 bits, which only the CPU has, are not asked
    /// for.
    fn device_and_precision(&self) -> (Device, Precision) {
        let cuda_there = || {
            let missing = self.registry.runtime(true).and_then(|m| self.home.missing(m));
            missing.is_ok_and(|missing| missing.is_empty())
        };
        let device = match (self.device, self.precision) {
            (Device::Auto, Some(Precision::Int8)) => Device::Cpu,
            (Device::Auto, _) if cuda_there() => Device::Auto,
            (Device::Auto, _) => Device::Cpu,
            (named, _) => named,
        };
        let usual = if device == Device::Cpu { Precision::Int8 } else { Precision::Fp32 };
        (device, self.precision.unwrap_or(usual))
    }

    /// The library for the device, loaded.
    ///
    /// # Errors
    /// [`Error::NotSetUp`] or [`Error::Device`] where it is not there, [`Error::Model`] where it
    /// does not load.
    pub fn runtime(&self) -> Result<Runtime> {
        Runtime::load(&self.library()?)
    }

    /// The file of the library for the device.
    ///
    /// # Errors
    /// [`Error::NotSetUp`], or [`Error::Device`] for CUDA.
    pub fn library(&self) -> Result<PathBuf> {
        let (device, _) = self.device_and_precision();
        let manifest = self.registry.runtime(device != Device::Cpu)?;
        if device == Device::Cuda {
            self.require(manifest).map_err(|error| Error::Device {
                device: "cuda".to_owned(),
                reason: error.to_string(),
            })?;
        } else {
            self.require(manifest)?;
        }
        let file = manifest
            .files()
            .into_iter()
            .find(|f| f.name.starts_with("libonnxruntime.") || f.name == "onnxruntime.dll")
            .ok_or_else(|| not_set_up(manifest))?;
        self.home.file(manifest, &file.name)
    }

    /// What a set-up brings: the runtime for the device, and the default encoder.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn defaults(&self) -> Result<Vec<&Manifest>> {
        let cuda = self.device == Device::Cuda;
        Ok(vec![self.registry.runtime(cuda)?, self.registry.encoder(super::DEFAULT_ENCODER)?])
    }

    fn require(&self, manifest: &Manifest) -> Result<()> {
        if self.home.missing(manifest)?.is_empty() {
            return Ok(());
        }
        Err(if self.offline && manifest.kind != ModelKind::Runtime {
            offline(manifest)
        } else {
            not_set_up(manifest)
        })
    }
}

fn lacks(manifest: &Manifest, what: &str) -> Error {
    Error::Model { name: manifest.name.clone(), reason: format!("its manifest has no {what}") }
}
