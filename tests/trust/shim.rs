//! Runs a part of this program under `shim.c`, which fails or records what it does to files.

use super::role;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The shim, compiled once; none where there is no C compiler for Linux.
pub fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let folder = tempfile::tempdir().ok()?;
        let (source, library) = (folder.path().join("shim.c"), folder.path().join("shim.so"));
        std::fs::write(&source, include_str!("shim.c")).ok()?;
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-lpthread");
        compile.status().ok()?.success().then_some((folder, library))
    });
    built.as_ref().map(|(_, library)| library.as_path())
}

/// A part under the shim, which watches the folder that `path` is in.
pub fn under(name: &str, path: &Path) -> Command {
    let mut command = role(name, path);
    command.env("LD_PRELOAD", library().unwrap()).env("SHIM_DIR", path.parent().unwrap());
    command
}
