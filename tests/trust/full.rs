//! A disk that is full for a while: a small file system of its own, filled up by another file.

use super::role;
use super::workload::{self, Oracle};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;
use vdb::{CollectionOptions, Database, Document, Error, Mode};

/// Mounts a file system in memory that goes with the process that runs in it.
const MOUNT: &str = r#"mount -t tmpfs -o size=64m tmpfs "$VDB_PATH" && exec "$@""#;

fn inside(folder: &Path, program: &Command) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"])
        .arg(program.get_program());
    command.args(program.get_args()).env("VDB_PATH", folder).env("VDB_ROLE", "full");
    command
}

/// Whether this system lets us mount one.
pub fn can_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut command = inside(folder.path(), &Command::new("true"));
    command.output().is_ok_and(|output| output.status.success())
}

pub fn a_full_disk_is_refused_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let output = inside(folder.path(), &role("full", folder.path())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3 refused\n", "{said}");
}

/// Leaves about a mebibyte free.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut length = 0u64;
    let piece = vec![7u8; 1 << 16];
    while file.write_all(&piece).is_ok() {
        length += piece.len() as u64;
    }
    file.set_len(length - (1 << 20)).unwrap();
}

fn is_full<T>(done: vdb::Result<T>) -> bool {
    match done {
        Err(Error::Io { source, .. }) => source.kind() == ErrorKind::StorageFull,
        _ => false,
    }
}

pub fn full(folder: &Path) {
    let path = folder.join("db");
    let (database, collection) = workload::open_at(&path).unwrap();
    let document = |i: usize| (format!("d{i}"), format!("d{i} harbour revision{i} river"));
    let add = |i: usize| {
        let (id, text) = document(i);
        collection.add([Document::new(id, text)])
    };
    for i in 0..20 {
        add(i).unwrap();
    }
    let mut oracle: Oracle = (0..20).map(document).collect();
    let before = workload::answers(&collection, Mode::Hybrid).unwrap();

    let filler = folder.join("filler");
    fill(&filler);
    let refused = [
        is_full(add(20)),
        is_full(collection.remove(&["d3"])),
        is_full(database.collection("other", &CollectionOptions::dimensions(2))),
    ];
    assert_eq!(refused, [true; 3]);
    let error = add(20).unwrap_err().to_string();
    assert!(error.contains("MiB free") && error.contains("free some room"), "{error}");
    assert_eq!(workload::contents(&collection), oracle);
    assert_eq!(workload::answers(&collection, Mode::Hybrid).unwrap(), before);
    assert_eq!(database.verify(), Vec::<String>::new());

    // Without opening it again.
    fs::remove_file(filler).unwrap();
    add(20).unwrap();
    assert_eq!(collection.remove(&["d3"]).unwrap(), 1);
    oracle.extend([document(20)]);
    oracle.remove("d3");
    assert_eq!(workload::contents(&collection), oracle);
    drop((database, collection));
    assert!(Database::open_existing(&path).unwrap().verify().is_empty());
    workload::check(&path, &oracle, "after the disk was full");
    println!("{} refused", refused.len());
}
