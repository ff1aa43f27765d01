//! Files as memory. The one place that names memmap2.

use crate::error::{Error, Result};
use memmap2::Mmap;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// A file that is mapped, not read: its pages come when they are looked at, and may go again.
pub(crate) struct Mapped(Mmap);

impl Mapped {
    /// Maps a file that nobody changes while it is mapped. Segments and what lies in `VDB_HOME` are
    /// renamed into place whole and never written again; a file of the user's own must be left alone
    /// as long as it is in use, as with every program that maps it: one that is cut short meanwhile
    /// ends the process.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        #[expect(unsafe_code, reason = "a mapping is how large files open without being read")]
        // SAFETY: the mapping is for reading, and the file stays as it is while it is mapped (see
        // above).
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
        Ok(Self(map))
    }

    /// Asks for large pages, where the file comes from the disk; small ones do as well.
    pub(crate) fn prefer_huge_pages(&self) {
        #[cfg(target_os = "linux")]
        let _ = self.0.advise(memmap2::Advice::HugePage);
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
