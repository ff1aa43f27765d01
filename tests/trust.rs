//! The store's promise, tried the hard way: processes killed, files damaged, many at once.
//!
//! Nothing acknowledged is lost, nothing half done is seen, and what is damaged is an error or a
//! repair, never a wrong answer. The short form runs always; `VDB_LONG=1` is the long one
//! (docs/testing.md). This program is its own helper: with `VDB_ROLE` set it plays one part.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    reason = "a test or benchmark may fail loudly"
)]

#[path = "trust/damage.rs"]
mod damage;
#[path = "trust/faults.rs"]
mod faults;
#[path = "trust/full.rs"]
mod full;
#[path = "trust/kill.rs"]
mod kill;
#[path = "trust/many.rs"]
mod many;
#[cfg(unix)]
#[path = "trust/power.rs"]
mod power;
#[path = "trust/shim.rs"]
mod shim;
mod support;
#[path = "trust/workload.rs"]
mod workload;

use libtest_mimic::{Arguments, Trial};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() {
    if let Ok(role) = std::env::var("VDB_ROLE") {
        let path = PathBuf::from(std::env::var_os("VDB_PATH").unwrap());
        match role.as_str() {
            "work" => kill::work(&path),
            "answer" => damage::answer(&path),
            "fault" => faults::fault(&path),
            "full" => full::full(&path),
            "hold" => many::hold(&path),
            #[cfg(unix)]
            "power" => power::work(&path),
            "write" => many::write(&path),
            "read" => many::read(&path),
            other => panic!("no role {other}"),
        }
        return;
    }
    let arguments = Arguments::from_args();
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let tests = vec![
        test("killed_at_random_moments", kill::killed_at_random_moments),
        test("damaged_at_random_places", damage::damaged_at_random_places),
        test("every_call_fails_once", faults::every_call_fails_once)
            .with_ignored_flag(shim::library().is_none()),
        #[cfg(unix)]
        test("power_cut_at_every_sync", power::power_cut_at_every_sync)
            .with_ignored_flag(shim::library().is_none()),
        test("a_full_disk_is_refused_and_forgotten", full::a_full_disk_is_refused_and_forgotten)
            .with_ignored_flag(!full::can_mount()),
        test("one_of_twenty_writers_wins", many::one_of_twenty_writers_wins),
        test("readers_beside_a_writer", many::readers_beside_a_writer),
        test("a_database_is_a_map", workload::a_database_is_a_map),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

/// `short`, or `long` with `VDB_LONG=1`.
fn rounds(short: usize, long: usize) -> usize {
    if std::env::var_os("VDB_LONG").is_some_and(|v| v == "1") { long } else { short }
}

/// This program in one of its parts.
fn role(role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env("VDB_ROLE", role)
        .env("VDB_PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
