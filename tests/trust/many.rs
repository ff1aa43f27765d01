//! Many processes at one database.

use super::{role, rounds, workload};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};
use vdb::{Database, Document};

/// Opens for writing when told to, says how that went, and holds it until told to let go.
pub fn hold(path: &Path) {
    let mut lines = std::io::stdin().lock().lines();
    lines.next();
    let opened = Database::open_existing(path);
    match &opened {
        Ok(_) => println!("won {}", std::process::id()),
        Err(error) => println!("{error}"),
    }
    std::io::stdout().flush().unwrap();
    lines.next();
}

pub fn one_of_twenty_writers_wins() {
    let times = rounds(3, 50);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(workload::open_at(&path).unwrap());
    for time in 0..times {
        let mut children: Vec<_> = (0..20).map(|_| role("hold", &path).spawn().unwrap()).collect();
        for child in &mut children {
            child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        }
        let said: Vec<String> = children
            .iter_mut()
            .map(|child| {
                let mut line = String::new();
                BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
                line
            })
            .collect();
        let winners: Vec<&String> = said.iter().filter(|s| s.starts_with("won")).collect();
        assert_eq!(winners.len(), 1, "time {time}: {said:?}");
        let holder = winners[0].trim().replace("won", "process");
        for line in said.iter().filter(|s| !s.starts_with("won")) {
            assert!(line.contains(&format!("in use by {holder} on ")), "time {time}: {line}");
        }
        for mut child in children {
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success());
        }
    }
    println!("{times} times");
}

const IDS: [&str; 4] = ["a", "b", "c", "d"];

/// Commits the same number in every document, told afterwards, until its input ends.
pub fn write(path: &Path) {
    let stop = std::thread::spawn(|| std::io::stdin().lock().read_to_end(&mut Vec::new()));
    let (database, collection) = workload::open_at(path).unwrap();
    for n in 0usize.. {
        let documents = IDS.map(|id| Document::new(id, format!("the number is {n}")));
        collection.add(documents).unwrap();
        if n % 50 == 49 {
            database.compact().unwrap();
        }
        println!("{n}");
        if stop.is_finished() {
            return;
        }
    }
}

/// Reads whole states until its input ends; says how many.
pub fn read(path: &Path) {
    let stop = std::thread::spawn(|| std::io::stdin().lock().read_to_end(&mut Vec::new()));
    let (mut reads, mut last) = (0, 0);
    while !stop.is_finished() {
        let database = Database::open_read_only(path).unwrap();
        let collection = database.existing_collection("c", &crate::support::words()).unwrap();
        let contents = workload::contents(&collection);
        let texts: Vec<&String> = contents.values().collect();
        assert!(texts.len() == IDS.len() && texts.iter().all(|t| *t == texts[0]), "{contents:?}");
        let n: usize = texts[0].rsplit(' ').next().unwrap().parse().unwrap();
        assert!(n >= last, "{n} after {last}");
        last = n;
        let hits = collection.query(&format!("number {n}")).run().unwrap();
        assert!(hits.len() == IDS.len() && hits.iter().all(|h| h.text == *texts[0]), "{hits:?}");
        if reads % 16 == 0 {
            assert_eq!(database.verify(), Vec::<String>::new());
            assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
        }
        reads += 1;
    }
    println!("{reads}");
}

pub fn readers_beside_a_writer() {
    let length = Duration::from_secs(rounds(5, 600) as u64);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut writer = role("write", &path).spawn().unwrap();
    let mut told = BufReader::new(writer.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    let drain = std::thread::spawn(move || told.lines().map_while(Result::ok).count());
    let readers: Vec<_> = (0..8).map(|_| role("read", &path).spawn().unwrap()).collect();
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut reads = 0;
    for reader in readers {
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        reads += String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().unwrap();
    }
    let output = writer.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let commits = drain.join().unwrap();
    assert!(reads > 0 && commits > 0, "{reads} reads, {commits} commits");
    println!("{reads} reads beside {commits} commits");
    workload::check(&path, &expected(&path), "after the readers");
}

fn expected(path: &Path) -> workload::Oracle {
    workload::contents(&workload::open_at(path).unwrap().1)
}
