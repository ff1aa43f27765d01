//! The files of a folder. The one place that names the ignore crate.

use crate::error::{Error, Result};
use ignore::{DirEntry, WalkBuilder};
use std::path::{Path, PathBuf};

/// Which files of a folder are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// Also files and folders whose names begin with a dot.
    pub hidden: bool,
    /// Also what `.gitignore` and `.ignore` files exclude.
    pub ignored: bool,
}

/// The files below `root`, in the order of their names; `root` itself where it is a file. Links are
/// not followed. What cannot be read is an error of its own and the walk goes on.
pub fn walk(
    root: &Path,
    options: &WalkOptions,
) -> impl Iterator<Item = Result<PathBuf>> + Send + use<> {
    let rules = !options.ignored;
    let walk = WalkBuilder::new(root)
        .hidden(!options.hidden)
        .parents(rules)
        .ignore(rules)
        .git_ignore(rules)
        .git_exclude(rules)
        .git_global(false)
        .require_git(false)
        .follow_links(false)
        // Nobody means the repository's own objects, hidden files or not.
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_name(std::cmp::Ord::cmp)
        .build();
    let root = root.to_path_buf();
    walk.filter_map(move |entry| match entry {
        Ok(entry) => is_file(&entry).then(|| Ok(entry.into_path())),
        Err(error) => {
            let path = path_of(&error).unwrap_or(&root).to_path_buf();
            let source = error
                .into_io_error()
                .unwrap_or_else(|| std::io::Error::other("it cannot be listed"));
            Some(Err(Error::Io { action: "read", path, source }))
        }
    })
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_file())
        // What the caller names is followed even where it is a link.
        || (entry.depth() == 0 && entry.path().is_file())
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        _ => None,
    }
}
