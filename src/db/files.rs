//! Ingesting files and folders: ids that stay the same from run to run, and pruning.

use super::collection::Collection;
use super::ingest::{IngestEvent, IngestReport};
use crate::error::{Error, Result};
use crate::store::records::DocumentRecord;
use crate::store::{Kind, keys};
use crate::text::parse::{Format, ParseOptions, WalkOptions, parse_file, walk};
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// How files and folders are read.
#[derive(Debug, Clone, Default)]
pub struct FileOptions {
    /// Which files of a folder are taken.
    pub walk: WalkOptions,
    /// How each is read.
    pub parse: ParseOptions,
    /// Reads every file as this format instead of going by name and content.
    pub format: Option<Format>,
    /// Removes documents that came from the named files and folders earlier and are not there any
    /// more.
    pub prune: bool,
}

impl Collection {
    /// Ingests files and folders; see [`Collection::ingest`]. A file that is skipped (binary,
    /// empty, unreadable) is reported as [`IngestEvent::Failed`] or, where nothing is wrong with
    /// leaving it out, as [`IngestEvent::Skipped`].
    ///
    /// A document's id is its path as seen from the folder that holds the database, so that it does
    /// not depend on where a program is started, and moves with folder and database together.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a path that does not exist, before anything is read; and those of
    /// [`Collection::ingest`].
    pub fn ingest_paths<P: AsRef<Path>>(
        &self,
        paths: &[P],
        options: &FileOptions,
        on_event: &(dyn Fn(IngestEvent<'_>) + Sync),
        stop: &AtomicBool,
    ) -> Result<IngestReport> {
        let base = base_of(self.inner.store.folder());
        let mut roots = Vec::new();
        for path in paths {
            roots.push(absolute(path.as_ref())?);
        }
        let database = absolute(self.inner.store.folder())?;
        let documents = roots.iter().flat_map(|root| walk(root, &options.walk)).filter(|file| {
            // The database may lie inside the folder that is ingested.
            !file.as_ref().is_ok_and(|f| f.starts_with(&database))
        });
        let documents = documents.flat_map(|file| -> Box<dyn Iterator<Item = _> + Send> {
            let file = match file {
                Ok(file) => file,
                Err(error) => return Box::new(std::iter::once(Err(error))),
            };
            let id = document_id(&base, &file);
            match parse_file(&file, &id, options.format, &options.parse) {
                Ok(parsed) => {
                    for warning in &parsed.warnings {
                        on_event(IngestEvent::Warning { origin: &id, message: warning });
                    }
                    Box::new(parsed.documents)
                }
                Err(Error::Skipped { origin, reason }) => {
                    on_event(IngestEvent::Skipped { origin: &origin, reason: &reason });
                    Box::new(std::iter::empty())
                }
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        });
        let (mut report, seen) = self.ingest_seen(documents, on_event, stop)?;
        if options.prune && report.failed > 0 {
            let message = "nothing is pruned, since what failed may still be there";
            on_event(IngestEvent::Warning { origin: "--prune", message });
        } else if options.prune && !report.stopped {
            let roots: Vec<String> = roots.iter().map(|root| document_id(&base, root)).collect();
            report.removed += self.prune(&roots, &seen)?;
        }
        Ok(report)
    }

    /// Removes the documents under `roots` that were not seen.
    fn prune(&self, roots: &[String], seen: &HashSet<String>) -> Result<usize> {
        let prefix = keys::prefix(keys::DOCUMENT, self.inner.record().number);
        let mut gone = Vec::new();
        let store = &self.inner.store;
        for item in store.scan_split_records::<DocumentRecord>(&prefix, Kind::Document) {
            let (_, record) = item?;
            let under = record
                .origin
                .path
                .as_deref()
                .is_some_and(|path| roots.iter().any(|root| is_under(path, root)));
            if under && !seen.contains(&record.id) {
                gone.push(record.id);
            }
        }
        self.remove(&gone)
    }
}

/// Whether the `/`-separated `path` is `root` or lies below it.
fn is_under(path: &str, root: &str) -> bool {
    root.is_empty()
        || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The id of a file's document: its path seen from `base`, else its absolute path; `/` separates.
#[must_use]
pub fn document_id(base: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(base).unwrap_or(file);
    let text = relative.to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' { text.into_owned() } else { text.replace('\\', "/") }
}

/// The folder that holds the database folder.
fn base_of(database: &Path) -> PathBuf {
    let database = std::path::absolute(database).unwrap_or_else(|_| database.to_path_buf());
    let database = database.canonicalize().unwrap_or(database);
    database.parent().map(Path::to_path_buf).unwrap_or(database)
}

/// The absolute path, links in its folders resolved and the last name kept as it is.
fn absolute(path: &Path) -> Result<PathBuf> {
    if !path.exists() {
        return Err(Error::NotFound {
            what: "file or folder",
            name: path.display().to_string(),
            hint: "check the path".to_owned(),
        });
    }
    let full = path.canonicalize().map_err(Error::io("resolve", path))?;
    debug_assert!(!full.components().any(|c| c == Component::ParentDir));
    Ok(full)
}
