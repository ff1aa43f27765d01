//! Free room on the disk, looked at before a commit writes anything.
//!
//! A write that fails half way leaves unknown what is on the disk, so that nothing more is accepted
//! until the next open. A full disk is the failure that can be seen coming, and is refused while
//! nothing has happened yet: searches go on, and so does writing once there is room.

use crate::error::{Error, Result};
use std::io::{self, ErrorKind};
use std::path::Path;

/// What a commit writes for each byte that it was given: the record, pages that sled writes anew
/// around it, and the entry in the keyword index, with a margin.
const TIMES: u64 = 4;
/// What any commit may write, however small: a few of sled's segments of 512 KiB, its snapshot, the
/// files of an index.
const ALWAYS: u64 = 8 << 20;

/// The room that a commit of `bytes` is given.
pub(super) fn wanted(bytes: u64) -> u64 {
    bytes.saturating_mul(TIMES).saturating_add(ALWAYS)
}

/// Refuses a commit of `bytes` where the file system of `folder` has not room enough.
///
/// # Errors
/// [`Error::Io`] of the kind `StorageFull`. What the system cannot tell is no reason to refuse.
pub(super) fn check(folder: &Path, bytes: u64) -> Result<()> {
    let Ok(disk) = fs4::statvfs(folder) else { return Ok(()) };
    // Some network file systems say nothing of their size.
    if disk.total_space() == 0 { Ok(()) } else { compare(folder, disk.available_space(), bytes) }
}

fn compare(folder: &Path, free: u64, bytes: u64) -> Result<()> {
    let wanted = wanted(bytes);
    if free >= wanted {
        return Ok(());
    }
    let mebibytes = |n: u64| n.div_ceil(1 << 20);
    let why = format!(
        "the disk has {} MiB free and the commit may need {} MiB",
        free >> 20,
        mebibytes(wanted)
    );
    let source = io::Error::new(ErrorKind::StorageFull, why);
    Err(Error::Io { action: "write to", path: folder.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_does_not_fit_is_refused_with_both_numbers() {
        let folder = Path::new("db");
        compare(folder, 12 << 20, 1 << 20).unwrap();
        let error = compare(folder, (12 << 20) - 1, 1 << 20).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("11 MiB free") && said.contains("need 12 MiB"), "{said}");
        assert!(said.contains("free some room"), "{said}");
        assert!(compare(folder, u64::MAX - 1, u64::MAX).is_err(), "no sum overflows");
        check(&std::env::temp_dir(), 0).unwrap();
        check(Path::new("/nowhere/at/all"), u64::MAX).unwrap();
    }
}
