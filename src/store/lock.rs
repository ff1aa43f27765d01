//! One process at a time: an advisory lock of our own that can say who holds it.
//!
//! The operating system drops the lock with the process, so a crash leaves no stale lock behind;
//! the text in the file is only there to name the holder.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// A holder that is just closing needs a moment.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the database in `folder`.
    pub(super) fn take(folder: &Path, patience: Duration) -> Result<Self> {
        let path = folder.join("LOCK");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let read = (&mut file).take(200).read_to_string(&mut holder);
                    let holder = match read {
                        Ok(n) if n > 0 => holder.trim().to_owned(),
                        _ => "another process".to_owned(),
                    };
                    return Err(Error::Locked { path: folder.to_path_buf(), holder });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(Error::Io { action: "lock", path, source });
                }
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "process {} on {}", std::process::id(), host()))
            .map_err(Error::io("write", &path))?;
        Ok(Self { _file: file })
    }
}

/// This machine's name, as far as it is easily known.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this machine".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::take(folder.path(), PATIENCE).unwrap();
        let message = Lock::take(folder.path(), PATIENCE).unwrap_err().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        drop(held);
        Lock::take(folder.path(), PATIENCE).unwrap();
    }
}
