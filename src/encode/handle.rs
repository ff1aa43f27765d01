//! An encoder that is loaded when it is first needed, and only then.

use super::{Encoder, Fingerprint};
use crate::error::Result;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

type Load = Box<dyn FnOnce() -> Result<Arc<dyn Encoder>> + Send>;

/// A shared encoder, perhaps not loaded yet. Its fingerprint is known either way, so that a
/// collection can be checked against it without touching the model.
#[derive(Clone)]
pub struct EncoderHandle {
    shared: Arc<Shared>,
}

struct Shared {
    fingerprint: Fingerprint,
    encoder: OnceLock<Arc<dyn Encoder>>,
    load: Mutex<Option<Load>>,
}

impl EncoderHandle {
    /// An encoder that `load` brings at the first call that needs it.
    pub fn lazy(
        fingerprint: Fingerprint,
        load: impl FnOnce() -> Result<Arc<dyn Encoder>> + Send + 'static,
    ) -> Self {
        let load: Load = Box::new(load);
        let shared = Shared { fingerprint, encoder: OnceLock::new(), load: Mutex::new(Some(load)) };
        Self { shared: Arc::new(shared) }
    }

    /// What decides the vectors.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.shared.fingerprint
    }

    /// The encoder, loaded now if it was not yet.
    ///
    /// # Errors
    /// Whatever loading it fails with; [`crate::Error::Model`] at every call after a failed one.
    pub fn get(&self) -> Result<&dyn Encoder> {
        if let Some(encoder) = self.shared.encoder.get() {
            return Ok(encoder.as_ref());
        }
        let mut load = self.shared.load.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(encoder) = self.shared.encoder.get() {
            return Ok(encoder.as_ref());
        }
        let Some(load) = load.take() else {
            return Err(crate::Error::Model {
                name: self.shared.fingerprint.model.clone(),
                reason: "it could not be loaded before; open the collection again".to_owned(),
            });
        };
        let encoder = load()?;
        Ok(self.shared.encoder.get_or_init(|| encoder).as_ref())
    }
}

impl From<Arc<dyn Encoder>> for EncoderHandle {
    fn from(encoder: Arc<dyn Encoder>) -> Self {
        let fingerprint = encoder.fingerprint().clone();
        let shared =
            Shared { fingerprint, encoder: OnceLock::from(encoder), load: Mutex::new(None) };
        Self { shared: Arc::new(shared) }
    }
}

impl<E: Encoder + 'static> From<E> for EncoderHandle {
    fn from(encoder: E) -> Self {
        let encoder: Arc<dyn Encoder> = Arc::new(encoder);
        encoder.into()
    }
}

impl fmt::Debug for EncoderHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncoderHandle")
            .field("fingerprint", &self.shared.fingerprint)
            .field("loaded", &self.shared.encoder.get().is_some())
            .finish()
    }
}
