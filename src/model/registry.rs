//! The manifests that come with vdb, and the user's own.

use super::manifest::{Manifest, ModelKind};
use crate::error::{Error, Result};
use std::path::Path;

pub(super) const BUILT_IN: [(&str, &str); 7] = [
    ("models/all-minilm-l6-v2.toml", include_str!("../../models/all-minilm-l6-v2.toml")),
    ("models/bge-small-en-v1.5.toml", include_str!("../../models/bge-small-en-v1.5.toml")),
    ("models/multilingual-e5-small.toml", include_str!("../../models/multilingual-e5-small.toml")),
    ("models/ms-marco-minilm-l6-v2.toml", include_str!("../../models/ms-marco-minilm-l6-v2.toml")),
    ("models/smollm2-135m-instruct.toml", include_str!("../../models/smollm2-135m-instruct.toml")),
    ("models/onnxruntime.toml", include_str!("../../models/onnxruntime.toml")),
    ("models/onnxruntime-cuda.toml", include_str!("../../models/onnxruntime-cuda.toml")),
];

/// The encoder that is used where none is named.
pub const DEFAULT_ENCODER: &str = "all-MiniLM-L6-v2";

/// The decoder that is used where none is named.
pub const DEFAULT_DECODER: &str = "SmolLM2-135M-Instruct";

/// All known manifests.
#[derive(Debug, Clone)]
pub struct Registry {
    manifests: Vec<Manifest>,
}

impl Registry {
    /// The built-in manifests, and those in `own` (files ending in `.toml`), which replace built-in
    /// ones of the same name. A folder that does not exist holds none.
    ///
    /// # Errors
    /// [`Error::Parse`] naming the file that is no manifest.
    pub fn load(own: &Path) -> Result<Self> {
        let mut manifests = Vec::new();
        for (origin, text) in BUILT_IN {
            manifests.push(Manifest::parse(origin, text)?);
        }
        let entries = match std::fs::read_dir(own) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self { manifests }),
            Err(e) => return Err(Error::io("read", own)(e)),
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "toml") {
                let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
                let manifest = Manifest::parse(&path.display().to_string(), &text)?;
                manifests.retain(|m| !m.name.eq_ignore_ascii_case(&manifest.name));
                manifests.push(manifest);
            }
        }
        Ok(Self { manifests })
    }

    /// All manifests.
    #[must_use]
    pub fn list(&self) -> &[Manifest] {
        &self.manifests
    }

    /// The manifest of this name, in any case.
    ///
    /// # Errors
    /// [`Error::NotFound`] naming those that there are.
    pub fn get(&self, name: &str) -> Result<&Manifest> {
        self.manifests.iter().find(|m| m.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let known: Vec<&str> = self.manifests.iter().map(|m| m.name.as_str()).collect();
            Error::NotFound {
                what: "model",
                name: name.to_owned(),
                hint: format!("there are: {}", known.join(", ")),
            }
        })
    }

    /// The encoder of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`] also where the name is not an encoder's.
    pub fn encoder(&self, name: &str) -> Result<&Manifest> {
        self.of_kind(ModelKind::Encoder, "encoder", name)
    }

    /// The decoder of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`] also where the name is not a decoder's.
    pub fn decoder(&self, name: &str) -> Result<&Manifest> {
        self.of_kind(ModelKind::Decoder, "decoder", name)
    }

    /// The re-ranker of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`] also where the name is not a re-ranker's.
    pub fn reranker(&self, name: &str) -> Result<&Manifest> {
        self.of_kind(ModelKind::Reranker, "re-ranker", name)
    }

    fn of_kind(&self, kind: ModelKind, what: &'static str, name: &str) -> Result<&Manifest> {
        let manifest = self.get(name)?;
        if manifest.kind == kind {
            return Ok(manifest);
        }
        Err(Error::NotFound {
            what,
            name: name.to_owned(),
            hint: "see `vdb models list`".to_owned(),
        })
    }

    /// The runtime for CPUs or for NVIDIA cards.
    ///
    /// # Errors
    /// [`Error::NotFound`] if a user's manifest took its place.
    pub fn runtime(&self, cuda: bool) -> Result<&Manifest> {
        self.get(if cuda { "onnxruntime-cuda" } else { "onnxruntime" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_built_in_manifests_are_sound() {
        let registry = Registry::load(Path::new("/nonexistent")).unwrap();
        let names: BTreeSet<&str> = registry.list().iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names.len(), BUILT_IN.len());
        assert_eq!(registry.encoder("ALL-minilm-l6-V2").unwrap().name, DEFAULT_ENCODER);
        assert_eq!(registry.decoder("smollm2-135m-INSTRUCT").unwrap().name, DEFAULT_DECODER);
        assert!(registry.encoder("onnxruntime").is_err());
        assert!(registry.encoder(DEFAULT_DECODER).is_err());
        assert!(registry.decoder(DEFAULT_ENCODER).is_err());
        let reranker = registry.reranker("MS-marco-minilm-l6-v2").unwrap();
        assert_eq!(reranker.reranker.as_ref().unwrap().window, 512);
        assert!(registry.reranker(DEFAULT_ENCODER).is_err());
        assert!(registry.encoder("ms-marco-minilm-l6-v2").is_err());
        assert!(registry.get("nothing").unwrap_err().to_string().contains(DEFAULT_ENCODER));
    }

    #[test]
    fn manifests_that_would_do_harm_are_refused() {
        let good = BUILT_IN[0].1;
        for (from, to) in [
            ("name = \"tokenizer.json\"", "name = \"../tokenizer.json\""),
            ("name = \"all-MiniLM-L6-v2\"", "name = \"a/b\""),
            ("be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", "be50"),
            ("pooling = \"mean\"", "pooling = \"max\""),
            ("kind = \"encoder\"", "kind = \"oracle\""),
            ("window = 256", "windows = 256"),
            ("[encoder]", "[reranker]"),
            ("kind = \"encoder\"", "kind = \"reranker\""),
        ] {
            assert!(good.contains(from));
            assert!(Manifest::parse("m", &good.replace(from, to)).is_err(), "{to}");
        }
        let parse = |text: &str| Manifest::parse("m", text).unwrap_err().to_string();
        let other = parse(&good.replace("kind = \"encoder\"", "kind = \"decoder\""));
        assert!(other.contains("only an encoder has a section [encoder]"), "{other}");
    }

    #[test]
    fn a_users_manifest_takes_the_place_of_a_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let own = BUILT_IN[0].1.replace("window = 256", "window = 128");
        std::fs::write(folder.path().join("mine.toml"), own).unwrap();
        let registry = Registry::load(folder.path()).unwrap();
        let manifest = registry.encoder(DEFAULT_ENCODER).unwrap();
        assert_eq!(manifest.encoder.as_ref().unwrap().window, 128);
        assert_eq!(registry.list().len(), BUILT_IN.len());
    }
}
