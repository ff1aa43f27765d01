//! Backups: a copy of one generation with the sha256 of every file, checked before it is used again.

use super::gate::Gate;
use super::{Access, MANIFEST, Store, snapshot, tree};
use crate::error::{Error, Result};
use crate::hash::sha256_of;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use tempfile::TempDir;

/// Lists the files of a backup.
const LIST: &str = "BACKUP";
const VERSION: u32 = 1;
/// A list of a million files is smaller.
const MAX_LIST_BYTES: u64 = 256 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct List {
    version: u32,
    pub(super) files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    bytes: u64,
    sha256: String,
}

impl List {
    /// Parses the list that was read from `path`; every file of it is below its folder.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self> {
        let damaged = |detail: String| Error::corrupted(path.display().to_string(), detail);
        let list: Self = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        if list.version > VERSION {
            return Err(Error::NewerFormat {
                what: path.display().to_string(),
                found: list.version,
                supported: VERSION,
            });
        }
        if list.version != VERSION {
            return Err(damaged(format!("there is no format version {}", list.version)));
        }
        let plain = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
        match list.files.iter().find(|entry| !plain(&entry.path)) {
            Some(entry) => {
                Err(damaged(format!("it lists {}, which is outside", entry.path.display())))
            }
            None => Ok(list),
        }
    }
}

/// Copies the database in `folder` to the new folder `to`, as of its last commit. Whoever has it open
/// goes on; a commit waits while files are copied. Returns the number of bytes copied.
///
/// # Errors
/// [`Error::NotFound`] where there is no database, [`Error::Parameter`] where `to` is there already,
/// [`Error::Io`].
pub(crate) fn backup(folder: &Path, to: &Path) -> Result<u64> {
    if !folder.join(MANIFEST).exists() {
        super::refuse_unless_free(folder, false)?;
    }
    let (parent, draft) = draft_beside(to)?;
    let mut list = List { version: VERSION, files: Vec::new() };
    for path in Gate::hold(folder, || snapshot::copy(folder, draft.path(), false))? {
        list.files.push(Entry { path, bytes: 0, sha256: String::new() });
    }
    let mut total = 0;
    for entry in &mut list.files {
        let path = draft.path().join(&entry.path);
        entry.bytes = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        entry.sha256 = sha256_of(&path)?;
        total += entry.bytes;
    }
    let path = draft.path().join(LIST);
    let json = serde_json::to_vec_pretty(&list)
        .map_err(|e| Error::parameter("database", format!("a file name is not text: {e}")))?;
    File::create(&path).and_then(|mut f| f.write_all(&json)).map_err(Error::io("write", &path))?;
    put_in_place(draft, folder, &parent, to)?;
    Ok(total)
}

/// Makes the database `folder` from the backup in `from`, once every byte of it has been checked.
///
/// # Errors
/// [`Error::Corrupted`] naming the first file that is not as it was backed up, [`Error::Parameter`]
/// where `folder` is there already, [`Error::NotFound`] where `from` is no backup, [`Error::Io`].
pub(crate) fn restore(from: &Path, folder: &Path) -> Result<()> {
    let list = read_list(from)?;
    let (parent, draft) = draft_beside(folder)?;
    for entry in &list.files {
        let source = from.join(&entry.path);
        snapshot::copy_file(from, draft.path(), &entry.path, false)?;
        let target = draft.path().join(&entry.path);
        if sha256_of(&target)? != entry.sha256 {
            return Err(Error::corrupted(
                source.display().to_string(),
                "it is not what was backed up",
            ));
        }
    }
    let damage = Store::open(draft.path(), Access::Existing)?.verify();
    if let Some(first) = damage.first() {
        return Err(Error::corrupted(
            from.display().to_string(),
            format!("it was damaged before it was backed up: {first}"),
        ));
    }
    put_in_place(draft, from, &parent, folder)
}

fn read_list(from: &Path) -> Result<List> {
    let path = from.join(LIST);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NotFound {
                what: "backup",
                name: from.display().to_string(),
                hint: "make one with `vdb backup FOLDER`".to_owned(),
            });
        }
        Err(e) => return Err(Error::io("open", &path)(e)),
    };
    let mut text = String::new();
    file.take(MAX_LIST_BYTES).read_to_string(&mut text).map_err(Error::io("read", &path))?;
    List::parse(&path, &text)
}

/// A folder to work in on the same disk as `target`, which must not be there yet.
fn draft_beside(target: &Path) -> Result<(PathBuf, TempDir)> {
    let taken = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some());
    if taken || target.is_file() {
        return Err(Error::parameter(
            "target folder",
            format!("{} is there already; name a new one", target.display()),
        ));
    }
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    tree::create_folder(&parent)?;
    let draft =
        TempDir::with_prefix_in(".vdb-", &parent).map_err(Error::io("write in", &parent))?;
    Ok((parent, draft))
}

/// Makes a finished draft durable and gives it the mode of the folder `like` and its name, all at
/// once.
fn put_in_place(draft: TempDir, like: &Path, parent: &Path, target: &Path) -> Result<()> {
    open_like(draft.path(), like)?;
    sync_all(draft.path())?;
    match fs::remove_dir(target) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("replace", target)(e));
        }
        _ => {}
    }
    fs::rename(draft.path(), target).map_err(Error::io("create", target))?;
    // Renamed, so there is nothing left to remove.
    let _ = draft.keep();
    tree::sync_folder(parent)
}

/// Nobody else could read a draft; whoever may read what it was made of may read it now. Its owner
/// may write, even where the other one is on a disk that is for reading only.
#[cfg(unix)]
fn open_like(folder: &Path, like: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(like).map_err(Error::io("read", like))?.permissions().mode();
    let permissions = fs::Permissions::from_mode(mode | 0o700);
    fs::set_permissions(folder, permissions).map_err(Error::io("set the mode of", folder))
}

#[cfg(not(unix))]
fn open_like(_folder: &Path, _like: &Path) -> Result<()> {
    Ok(())
}

fn sync_all(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            File::open(&path).and_then(|f| f.sync_all()).map_err(Error::io("sync", &path))?;
        }
    }
    tree::sync_folder(folder)
}
