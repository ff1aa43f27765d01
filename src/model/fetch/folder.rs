//! A source that is a folder of this machine.

use super::install;
use crate::error::{Error, Result};
use crate::hash::sha256_of;
use crate::model::home::Home;
use crate::model::manifest::{FileEntry, Manifest};
use std::path::Path;

/// Copies `wanted` out of `folder`; each gets its name when its sha256 is right.
///
/// # Errors
/// [`Error::Fetch`] naming the file that is missing or another one; [`Error::Io`].
pub(super) fn fetch(
    home: &Home,
    manifest: &Manifest,
    wanted: &[&FileEntry],
    folder: &Path,
) -> Result<()> {
    for file in wanted {
        let from = folder.join(file.path_in(""));
        if !from.is_file() {
            return Err(Error::Fetch {
                what: file.name.clone(),
                reason: format!("{} is not there any more", from.display()),
            });
        }
        let copy = home.temporary().join(format!("{}-{}", manifest.name, file.name));
        std::fs::copy(&from, &copy).map_err(Error::io("copy", &from))?;
        install(home, manifest, file, &copy, &sha256_of(&copy)?)?;
    }
    Ok(())
}
