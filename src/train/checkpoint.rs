//! What a run needs to go on where it was broken off.
//!
//! `checkpoint-STEP/` beside the result holds the weights that are trained, the optimiser's moments
//! and a record of the run. It is written under another name, synced, and renamed, so that a folder of
//! that name is always whole; older ones are removed afterwards. The order of the data and what
//! dropout leaves out follow from the seed and the number of the step, so nothing more is kept.

use super::measure::DevQuality;
use super::optimizer::Moments;
use super::parameters::Parameters;
use crate::error::{Error, Result};
use crate::model::import::{NamedTensor, WeightFile, write_weights};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const PREFIX: &str = "checkpoint-";
const UNFINISHED: &str = ".unfinished-checkpoint";

/// The record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps that were made.
    pub(super) step: u64,
    /// What decides the run: settings, data and base, summed up. A run goes on only with the same.
    pub(super) identity: String,
    /// Dev figures of the base, where there is a dev set.
    pub(super) before: Option<DevQuality>,
    pub(super) best: Option<Best>,
    /// Evaluations since the best one.
    pub(super) without_gain: usize,
    /// Loss, learning rate and gradient norm of each step, and dev figures by step.
    pub(super) losses: Vec<f64>,
    pub(super) dev: Vec<(u64, DevQuality)>,
    /// Seconds that were spent.
    pub(super) seconds: f64,
}

/// The best weights so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Best {
    pub(super) step: u64,
    pub(super) quality: DevQuality,
}

/// What is trained, under its own names.
pub(super) fn trained(parameters: &Parameters) -> Result<Vec<NamedTensor>> {
    let trained = parameters.all.iter().filter(|p| p.trained);
    trained.map(|p| Ok((p.name.clone(), p.values.dims().to_vec(), p.to_vec()?))).collect()
}

fn write(path: &Path, tensors: &[NamedTensor]) -> Result<()> {
    write_weights(path, tensors, HashMap::new())?;
    sync(path)
}

fn sync(path: &Path) -> Result<()> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("sync", path))
}

/// Reads what [`trained`] names into the parameters.
pub(super) fn read(path: &Path, parameters: &Parameters) -> Result<()> {
    each(path, parameters, "", |_, values, parameter| parameter.set(values))
}

/// Hands each trained tensor of the file, by `prefix` and name, to `take`.
fn each(
    path: &Path,
    parameters: &Parameters,
    prefix: &str,
    mut take: impl FnMut(usize, Vec<f32>, &super::parameters::Parameter) -> Result<()>,
) -> Result<()> {
    let trained = || parameters.all.iter().enumerate().filter(|(_, p)| p.trained);
    let Some((_, first)) = trained().next() else { return Ok(()) };
    let file = WeightFile::read("checkpoint", path)?;
    let weights = file.weights(&[prefix], &first.name)?;
    for (index, parameter) in trained() {
        take(index, weights.get(&parameter.name, parameter.values.dims())?, parameter)?;
    }
    Ok(())
}

/// Writes a checkpoint into `folder` and removes older ones.
///
/// # Errors
/// [`Error::Io`]; what was there before is still whole then.
pub(super) fn save(
    folder: &Path,
    state: &State,
    parameters: &Parameters,
    moments: &Moments,
) -> Result<()> {
    let temporary = folder.join(UNFINISHED);
    if let Err(error) = fill(&temporary, state, parameters, moments) {
        // A full disk has more need of the room.
        let _ = fs::remove_dir_all(&temporary);
        return Err(error);
    }
    let place = folder.join(format!("{PREFIX}{}", state.step));
    if place.exists() {
        fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
    }
    fs::rename(&temporary, &place).map_err(Error::io("create", &place))?;
    sync(folder)?;
    for (step, older) in all(folder)? {
        if step != state.step {
            fs::remove_dir_all(&older).map_err(Error::io("remove", &older))?;
        }
    }
    Ok(())
}

fn fill(temporary: &Path, state: &State, parameters: &Parameters, moments: &Moments) -> Result<()> {
    if temporary.exists() {
        fs::remove_dir_all(temporary).map_err(Error::io("remove", temporary))?;
    }
    fs::create_dir_all(temporary).map_err(Error::io("create", temporary))?;
    write(&temporary.join("weights.safetensors"), &trained(parameters)?)?;
    for (name, all) in [("first", &moments.first), ("second", &moments.second)] {
        let own = parameters.all.iter().zip(all).filter(|(p, _)| p.trained);
        let tensors = own
            .map(|(p, m)| (p.name.clone(), p.values.dims().to_vec(), m.clone()))
            .collect::<Vec<_>>();
        write(&temporary.join(format!("{name}.safetensors")), &tensors)?;
    }
    let path = temporary.join("state.json");
    let json = serde_json::to_vec(state).map_err(|e| Error::corrupted("state", e.to_string()))?;
    fs::write(&path, json).map_err(Error::io("write", &path))?;
    sync(&path)
}

/// The checkpoints in `folder`, by step.
fn all(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", folder)(e)),
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let step = entry.file_name().to_str()?.strip_prefix(PREFIX)?.parse().ok()?;
            Some((step, entry.path()))
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// The last checkpoint in `folder`.
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupted`] for a record that does not parse.
pub(super) fn last(folder: &Path) -> Result<Option<(PathBuf, State)>> {
    let Some((_, place)) = all(folder)?.pop() else { return Ok(None) };
    let path = place.join("state.json");
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let state = serde_json::from_slice(&bytes)
        .map_err(|e| Error::corrupted(path.display().to_string(), e.to_string()))?;
    Ok(Some((place, state)))
}

/// Brings weights and moments to where they were in the checkpoint `place`.
///
/// # Errors
/// [`Error::Io`], [`Error::Model`] where a file is not what was written.
pub(super) fn load(
    place: &Path,
    state: &State,
    parameters: &Parameters,
    moments: &mut Moments,
) -> Result<()> {
    read(&place.join("weights.safetensors"), parameters)?;
    moments.steps = state.step;
    for (name, own) in [("first", &mut moments.first), ("second", &mut moments.second)] {
        let path = place.join(format!("{name}.safetensors"));
        each(&path, parameters, "", |index, values, _| {
            if let Some(own) = own.get_mut(index) {
                *own = values;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Keeps the weights as they are as the best so far.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn save_best(folder: &Path, parameters: &Parameters) -> Result<()> {
    let temporary = folder.join(".unfinished-best");
    write(&temporary, &trained(parameters)?)?;
    let place = folder.join("best.safetensors");
    fs::rename(&temporary, &place).map_err(Error::io("create", &place))?;
    sync(folder)
}

/// Brings the weights to the best so far.
///
/// # Errors
/// [`Error::Io`], [`Error::Model`].
pub(super) fn load_best(folder: &Path, parameters: &Parameters) -> Result<()> {
    read(&folder.join("best.safetensors"), parameters)
}

/// Removes what only a run that goes on would need.
pub(super) fn clear(folder: &Path) -> Result<()> {
    for (_, place) in all(folder)? {
        fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
    }
    let best = folder.join("best.safetensors");
    if best.exists() {
        fs::remove_file(&best).map_err(Error::io("remove", &best))?;
    }
    Ok(())
}
