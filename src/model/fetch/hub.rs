//! Files of a model hub's repository, over HTTPS, resumed where they were left.

use super::super::home::Home;
use super::super::manifest::{FileEntry, Manifest};
use super::{FetchEvent, FetchOptions, install};
use crate::error::{Error, Result};
use crate::hash::sha256_of;
use crate::http::{Answer, Client, Patience};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

/// The hub that the built-in manifests mean; `VDB_HUB` names a mirror.
const HUB: &str = "https://huggingface.co";
/// Attempts at one file, each resuming the one before.
const ATTEMPTS: u32 = 3;
/// A file of unknown size is not read beyond this.
const MAX_FILE: u64 = 16 << 30;

pub(super) fn fetch(
    home: &Home,
    manifest: &Manifest,
    files: &[&FileEntry],
    repository: &str,
    revision: &str,
    options: &FetchOptions<'_>,
) -> Result<()> {
    let hub = std::env::var("VDB_HUB").unwrap_or_else(|_| HUB.to_owned());
    let patience = Patience { connect: Duration::from_secs(20), answer: Duration::from_mins(1) };
    let client = Client::new(patience);
    for file in files {
        let path = file.path_in("");
        let url = format!("{}/{repository}/resolve/{revision}/{path}", hub.trim_end_matches('/'));
        let part = home.temporary().join(format!("{}.part", file.sha256));
        let bytes = file.size.unwrap_or(0);
        (options.on_event)(FetchEvent::Started { what: &file.name, bytes });
        let mut attempt = 0;
        let sha256 = loop {
            attempt += 1;
            match download(&client, &url, &part, file, options) {
                Ok(sha256) if sha256 == file.sha256 || attempt > 1 => break sha256,
                // What was resumed may have been bad from the start.
                Ok(_) => {
                    let _ = std::fs::remove_file(&part);
                }
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_secs(1 << attempt)),
            }
        };
        install(home, manifest, file, &part, &sha256)?;
    }
    Ok(())
}

/// Brings `part` to its full length and returns the sha256 of the whole.
fn download(
    client: &Client,
    url: &str,
    part: &Path,
    file: &FileEntry,
    options: &FetchOptions<'_>,
) -> Result<String> {
    let refuse = |reason: String| Error::Fetch { what: file.name.clone(), reason };
    let mut out = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(part)
        .map_err(Error::io("open", part))?;
    let mut have = out.metadata().map_err(Error::io("read", part))?.len();
    if file.size.is_some_and(|size| have > size) {
        out.set_len(0).map_err(Error::io("write", part))?;
        have = 0;
    }
    if have == 0 || file.size != Some(have) {
        let range = format!("bytes={have}-");
        let headers = [("Range", range.as_str())];
        let headers = if have > 0 { &headers[..] } else { &[] };
        let answer = client.get(url, headers).map_err(|e| refuse(format!("{url}: {e}")))?;
        match answer.status {
            206 if have > 0 && starts_at(&answer, have) => {}
            // A server without ranges sends all of it again.
            200 | 206 => {
                out.set_len(0).map_err(Error::io("write", part))?;
                have = 0;
                if answer.status == 206 {
                    return Err(refuse(format!("{url}: the server sent another part than asked")));
                }
            }
            // Nothing after what we have: it is whole, or longer than it should be.
            416 => {}
            status => return Err(refuse(format!("{url}: HTTP status {status}"))),
        }
        if answer.status != 416 {
            let limit = file.size.unwrap_or(MAX_FILE);
            append(answer.into_reader(), &mut out, have, limit, options).map_err(|e| match e {
                AppendError::Stopped => Error::Stopped,
                AppendError::Read(e) => refuse(format!("{url}: the connection broke: {e}")),
                AppendError::Write(e) => Error::io("write", part)(e),
                AppendError::TooLong => refuse(format!("{url}: it is longer than {limit} bytes")),
            })?;
        }
    }
    sha256_of(part)
}

fn starts_at(answer: &Answer, offset: u64) -> bool {
    let range = answer.header("Content-Range");
    range.is_some_and(|range| range.trim().starts_with(&format!("bytes {offset}-")))
}

enum AppendError {
    Stopped,
    Read(std::io::Error),
    Write(std::io::Error),
    TooLong,
}

fn append(
    mut body: impl Read,
    out: &mut File,
    have: u64,
    limit: u64,
    options: &FetchOptions<'_>,
) -> Result<(), AppendError> {
    out.seek(SeekFrom::Start(have)).map_err(AppendError::Write)?;
    let mut total = have;
    let mut buffer = vec![0; 1 << 18];
    loop {
        if options.stopped() {
            return Err(AppendError::Stopped);
        }
        let read = body.read(&mut buffer).map_err(AppendError::Read)?;
        if read == 0 {
            break;
        }
        total += read as u64;
        if total > limit {
            return Err(AppendError::TooLong);
        }
        out.write_all(&buffer[..read]).map_err(AppendError::Write)?;
        (options.on_event)(FetchEvent::Progress { bytes: total });
    }
    if total < limit && limit != MAX_FILE {
        let cut = format!("it ended after {total} of {limit} bytes");
        return Err(AppendError::Read(std::io::Error::other(cut)));
    }
    Ok(())
}
