//! Weights between the base's and the trained ones: what was learnt, and less of what was forgotten.
//!
//! The mean of two models of one origin is often better than either outside the training data
//! (WiSE-FT, Wortsman et al. 2022; of encoders for retrieval LM-Cocktail, Xiao et al. 2023).

use super::encoder::TrainableEncoder;
use super::parameters::Parameters;
use crate::error::Result;

/// Brings what was trained to `share` times itself and the rest of the base.
///
/// # Errors
/// Where the base cannot be read again.
pub(super) fn blend(encoder: &TrainableEncoder, share: f64) -> Result<()> {
    if encoder.lora.is_some() {
        return shrink(&encoder.parameters, share);
    }
    let base = TrainableEncoder::open(&encoder.spec, None, 0)?;
    for (own, base) in encoder.parameters.all.iter().zip(&base.parameters.all) {
        let values = own.to_vec()?.into_iter().zip(base.to_vec()?);
        own.set(values.map(|(own, base)| between(base, own, share)).collect())?;
    }
    Ok(())
}

/// An adapter is what was learnt and nothing else: the share of it is that of its second matrix.
fn shrink(parameters: &Parameters, share: f64) -> Result<()> {
    for place in &parameters.adapters {
        if let Some(up) = parameters.all.get(place.down + 1) {
            let values = up.to_vec()?.into_iter();
            up.set(values.map(|own| between(0.0, own, share)).collect())?;
        }
    }
    Ok(())
}

fn between(base: f32, own: f32, share: f64) -> f32 {
    let (base, own) = (f64::from(base), f64::from(own));
    #[expect(clippy::cast_possible_truncation, reason = "a weight is one")]
    let mixed = (base + share * (own - base)) as f32;
    mixed
}
