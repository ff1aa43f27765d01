//! Power cuts: what a disk could hold at any moment, rebuilt from what a run wrote and synced.
//!
//! A file holds what was written before its last fsync, and of what came later all, some or none; a
//! folder's names likewise, each folder on its own. That is less than real file systems promise, so
//! what survives it survives them.

use super::workload::{self, Oracle, Step};
use super::{rounds, shim};
use crate::support::Random;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const STEPS: usize = 60;

/// A workload that tells what it does into a file beside the database, where the recorder sees it in
/// its place.
pub fn work(path: &Path) {
    let mut random = Random(20_261);
    let mut open = None;
    let mut told = File::create(path.with_file_name("TOLD")).unwrap();
    for revision in 0..STEPS {
        let step = Step::random(&mut random, revision);
        for what in ["try", "done"] {
            if what == "done" {
                step.run(path, &mut open).unwrap();
            }
            let line = format!("{}\n", serde_json::json!({ what: step }));
            told.write_all(line.as_bytes()).unwrap();
        }
    }
}

enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

enum Naming {
    Put(PathBuf, usize),
    Take(PathBuf),
    Move(PathBuf, PathBuf),
}

/// A file or folder as it changed: all that was done to it, and how much of that was synced.
#[derive(Default)]
struct Node {
    is_folder: bool,
    changes: Vec<Change>,
    namings: Vec<Naming>,
    synced: usize,
}

/// The disk as the run saw it, and each node's history.
struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    open: HashMap<i32, usize>,
}

/// How much of what was not synced is on the disk all the same.
#[derive(Debug, Clone, Copy)]
enum Luck {
    None,
    All,
    First,
    Some,
}

impl Disk {
    fn new(root: &Path) -> Self {
        let top = Node { is_folder: true, ..Node::default() };
        let names = [(root.to_path_buf(), 0)].into();
        Self { root: root.to_path_buf(), nodes: vec![top], names, open: HashMap::new() }
    }

    fn add(&mut self, is_folder: bool) -> usize {
        self.nodes.push(Node { is_folder, ..Node::default() });
        self.nodes.len() - 1
    }

    fn name(&mut self, naming: Naming) {
        let path = match &naming {
            Naming::Put(path, _) | Naming::Take(path) | Naming::Move(_, path) => path,
        };
        let folder = path.parent().and_then(|p| self.names.get(p)).copied();
        apply(&mut self.names, &naming);
        if let Some(folder) = folder {
            self.nodes[folder].namings.push(naming);
        }
    }

    /// One record of the shim's; returns what was told, if anything was.
    fn step(&mut self, kind: u8, fd: i32, number: i64, bytes: &[u8]) -> Option<String> {
        let path = |bytes: &[u8]| PathBuf::from(String::from_utf8(bytes.to_vec()).unwrap());
        match kind {
            b'o' => {
                let (path, flags) = (path(bytes), i32::try_from(number).unwrap());
                let found = self.names.get(&path).copied();
                let node = found.unwrap_or_else(|| {
                    let node = self.add(false);
                    if flags & 0o100 != 0 {
                        self.name(Naming::Put(path, node));
                    }
                    node
                });
                if flags & 0o1000 != 0 {
                    self.nodes[node].changes.push(Change::Truncate(0));
                }
                self.open.insert(fd, node);
            }
            b'p' => {
                if let Some(node) = self.open.get(&i32::try_from(number).unwrap()).copied() {
                    self.open.insert(fd, node);
                }
            }
            b'w' => {
                let node = self.open[&fd];
                let told = self.names.get(&self.root.join("TOLD")) == Some(&node);
                if told {
                    return Some(String::from_utf8(bytes.to_vec()).unwrap());
                }
                let at = u64::try_from(number).unwrap();
                self.nodes[node].changes.push(Change::Write(at, bytes.to_vec()));
            }
            b't' => {
                let length = u64::try_from(number).unwrap();
                self.nodes[self.open[&fd]].changes.push(Change::Truncate(length));
            }
            b's' => {
                let node = &mut self.nodes[self.open[&fd]];
                node.synced = node.changes.len().max(node.namings.len());
            }
            b'm' => {
                let node = self.add(true);
                self.name(Naming::Put(path(bytes), node));
            }
            b'u' | b'd' => self.name(Naming::Take(path(bytes))),
            b'r' | b'l' => {
                let at = bytes.iter().position(|b| *b == 0).unwrap();
                let (from, to) = (path(&bytes[..at]), path(&bytes[at + 1..]));
                if kind == b'r' {
                    self.name(Naming::Move(from, to));
                } else if let Some(node) = self.names.get(&from).copied() {
                    self.name(Naming::Put(to, node));
                }
            }
            other => panic!("a record of kind {other}"),
        }
        None
    }

    /// What could be on the disk now, written into the folder `to`.
    fn image(&self, to: &Path, luck: Luck, random: &mut Random) {
        // Names, folder by folder; a folder that has no name has no contents.
        let mut names: BTreeMap<PathBuf, usize> = [(self.root.clone(), 0)].into();
        let mut pending = vec![0];
        let mut seen = vec![false; self.nodes.len()];
        while let Some(folder) = pending.pop() {
            if std::mem::replace(&mut seen[folder], true) {
                continue;
            }
            let node = &self.nodes[folder];
            let later = node.namings.len() - node.synced.min(node.namings.len());
            // Names do not change places among themselves: later ones go by order.
            let kept = match luck {
                Luck::None => 0,
                Luck::All => later,
                Luck::First | Luck::Some => random.below(later + 1),
            };
            for naming in &node.namings[..node.namings.len() - later + kept] {
                apply(&mut names, naming);
            }
            pending.extend(names.values().copied().filter(|n| self.nodes[*n].is_folder));
        }
        for (path, node) in &names {
            let node = &self.nodes[*node];
            let target = to.join(path.strip_prefix(&self.root).unwrap());
            // A name whose folder is gone is gone with it.
            let parent_is_there = target.parent().is_some_and(Path::exists) || *path == self.root;
            if !parent_is_there {
                continue;
            }
            if node.is_folder {
                fs::create_dir_all(&target).unwrap();
                continue;
            }
            let file =
                OpenOptions::new().create(true).truncate(true).write(true).open(&target).unwrap();
            let synced = node.synced.min(node.changes.len());
            let first = random.below(node.changes.len() - synced + 1);
            for (i, change) in node.changes.iter().enumerate() {
                let kept = i < synced
                    || match luck {
                        Luck::None => false,
                        Luck::All => true,
                        Luck::First => i < synced + first,
                        Luck::Some => random.below(2) == 0,
                    };
                match change {
                    Change::Write(at, bytes) if kept => file.write_all_at(bytes, *at).unwrap(),
                    Change::Truncate(length) if kept => file.set_len(*length).unwrap(),
                    _ => {}
                }
            }
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
    match naming {
        Naming::Put(path, node) => drop(names.insert(path.clone(), *node)),
        Naming::Take(path) => drop(names.remove(path)),
        Naming::Move(from, to) => {
            let moved: Vec<PathBuf> =
                names.keys().filter(|p| p.starts_with(from)).cloned().collect();
            for old in moved {
                let node = names.remove(&old).unwrap();
                let rest = old.strip_prefix(from).unwrap();
                let new = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                names.insert(new, node);
            }
        }
    }
}

pub fn power_cut_at_every_sync() {
    let wanted = rounds(40, 100_000);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("w");
    fs::create_dir(&root).unwrap();
    let log = folder.path().join("log");
    let mut child = shim::under("power", &root.join("db")).env("SHIM_LOG", &log).spawn().unwrap();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let log = fs::read(log).unwrap();
    let records = records(&log);
    let syncs = records.iter().filter(|r| r.0 == b's').count();
    let step = (2 * syncs).div_ceil(wanted).max(1);
    let mut disk = Disk::new(&root);
    let (mut oracle, mut pending) = (Oracle::new(), None);
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut boundaries, mut images) = (0, 0);
    for (at, (kind, fd, number, bytes)) in records.iter().enumerate() {
        // Before a sync, and after it.
        for after in [false, true] {
            if after && let Some(line) = disk.step(*kind, *fd, *number, bytes) {
                let value: Value = serde_json::from_str(&line).unwrap();
                let said: Step = serde_json::from_value(
                    value.as_object().unwrap().values().next().unwrap().clone(),
                )
                .unwrap();
                if value.get("try").is_some() {
                    pending = Some(said);
                } else {
                    said.apply(&mut oracle);
                    pending = None;
                }
            }
            if *kind != b's' {
                continue;
            }
            boundaries += 1;
            if boundaries % step != 0 {
                continue;
            }
            let luck = [Luck::None, Luck::Some, Luck::First, Luck::All][images % 4];
            images += 1;
            let place = tempfile::tempdir().unwrap();
            disk.image(place.path(), luck, &mut random);
            let told = format!("record {at} of {}, after {after}, {luck:?}", records.len());
            let path = place.path().join("db");
            let found = {
                let opened = workload::open_at(&path);
                let (_database, collection) = opened.unwrap_or_else(|e| panic!("{told}: {e}"));
                workload::contents(&collection)
            };
            let mut right = oracle.clone();
            if found != right
                && let Some(step) = &pending
            {
                step.apply(&mut right);
            }
            workload::check(&path, &right, &told);
        }
    }
    println!("{images} images at {boundaries} boundaries of {syncs} syncs, {STEPS} steps");
    assert!(images >= wanted.min(boundaries) / 2, "{images} images");
}

type Record<'a> = (u8, i32, i64, &'a [u8]);

fn records(mut log: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    while let Some((head, rest)) = log.split_first_chunk::<17>() {
        let fd = i32::from_ne_bytes(head[1..5].try_into().unwrap());
        let number = i64::from_ne_bytes(head[5..13].try_into().unwrap());
        let length = u32::from_ne_bytes(head[13..].try_into().unwrap()) as usize;
        records.push((head[0], fd, number, &rest[..length]));
        log = &rest[length..];
    }
    assert!(log.is_empty() && !records.is_empty());
    records
}
