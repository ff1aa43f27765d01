//! The generator behind a server, against servers that follow a script: right ones and every wrong one
//! that we could think of. What is expected is OpenAI's chat protocol as its public reference has it.
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

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vdb::generate::{
    Constraint, Finish, GenerateOptions, Generation, Generator, Message, RemoteGenerator,
    RemoteOptions,
};

/// A request: its head, and its body as JSON.
type Request = (String, Value);

/// Answers one connection after the other by the script; the last part of it is for all that follow.
struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

type Script = Vec<Box<dyn Fn(&mut TcpStream) + Send>>;

impl Server {
    fn new(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for (nth, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&stream) else { continue };
                seen.lock().unwrap().push(request);
                script[nth.min(script.len() - 1)](&mut stream);
            }
        });
        Self { url, requests }
    }

    fn generator(&self) -> RemoteGenerator {
        let mut options = RemoteOptions::new(&self.url, "small");
        options.patience = Duration::from_secs(5);
        options.pause = Duration::from_millis(10);
        options.key = Some("sesame".to_owned());
        RemoteGenerator::new(options).unwrap()
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((head, serde_json::from_slice(&body).unwrap_or_default()))
}

fn send(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

fn delta(text: &str) -> String {
    let event =
        json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
    format!("data: {event}\n\n")
}

const DONE: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
                    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n\
                    data: [DONE]\n\n";

/// A stream of these texts.
fn stream(texts: &'static [&'static str]) -> Box<dyn Fn(&mut TcpStream) + Send> {
    Box::new(move |to| {
        let body = texts.iter().map(|text| delta(text)).collect::<String>() + DONE;
        send(to, "200 OK", "text/event-stream", body.as_bytes());
    })
}

fn answer(
    status: &'static str,
    kind: &'static str,
    body: &'static str,
) -> Box<dyn Fn(&mut TcpStream) + Send> {
    Box::new(move |to| send(to, status, kind, body.as_bytes()))
}

fn ask(generator: &RemoteGenerator, options: &GenerateOptions) -> vdb::Result<Generation> {
    let prompt =
        generator.prompt(&[Message::system("Be brief."), Message::user("Hello?")]).unwrap();
    generator.generate(&prompt, options, &mut |_| ControlFlow::Continue(()))
}

fn refused(script: Script) -> (String, usize) {
    let server = Server::new(script);
    let error = ask(&server.generator(), &GenerateOptions::default()).unwrap_err().to_string();
    assert!(error.contains(&server.url) && !error.contains("sesame"), "{error}");
    (error, server.count())
}

#[test]
fn a_stream_becomes_text_and_the_request_is_that_of_the_protocol() {
    let server = Server::new(vec![stream(&["Good ", "mör", "ning"])]);
    let generator = server.generator();
    let stop = vec!["\n".to_owned()];
    let options = GenerateOptions { max_tokens: 7, stop, ..GenerateOptions::default() };
    let prompt = generator
        .prompt(&[Message::system("Be brief."), Message::user(""), Message::user("system\u{1e}x")])
        .unwrap();
    let mut told = Vec::new();
    let done = generator
        .generate(&prompt, &options, &mut |text| {
            told.push(text.to_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((done.text.as_str(), done.finish), ("Good mörning", Finish::Stop));
    assert_eq!(told.concat(), done.text);
    assert_eq!((done.prompt_tokens, done.generated_tokens), (9, 3));
    assert!(done.first_token > Duration::ZERO && done.first_token <= done.total);
    let requests = server.requests.lock().unwrap();
    let (head, body) = &requests[0];
    assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer sesame"), "{head}");
    assert_eq!(
        body["messages"],
        json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": ""},
            {"role": "user", "content": "system\u{1e}x"},
        ])
    );
    assert_eq!((&body["model"], &body["max_tokens"]), (&json!("small"), &json!(7)));
    assert_eq!((&body["stop"], &body["stream"]), (&json!(["\n"]), &json!(true)));
    assert_eq!(body["temperature"], json!(0.0));
    assert!(!format!("{generator:?}").contains("sesame"));
}

#[test]
fn stop_texts_lengths_schemas_and_servers_that_do_not_stream() {
    let server = Server::new(vec![stream(&["one EN", "D two"])]);
    let mut options =
        GenerateOptions { stop: vec!["END".to_owned()], ..GenerateOptions::default() };
    let done = ask(&server.generator(), &options).unwrap();
    assert_eq!((done.text.as_str(), done.finish), ("one ", Finish::Stop));

    let whole = "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"short\"},\
                 \"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1}}";
    let server = Server::new(vec![answer("200 OK", "application/json", whole)]);
    let schema = "{\"type\": \"object\", \"properties\": {\"n\": {\"type\": \"integer\"}}}";
    options = GenerateOptions {
        constraint: Some(Constraint::json_schema(schema).unwrap()),
        ..GenerateOptions::default()
    };
    let done = ask(&server.generator(), &options).unwrap();
    assert_eq!((done.text.as_str(), done.finish), ("short", Finish::Length));
    let sent = server.requests.lock().unwrap()[0].1["response_format"].clone();
    assert_eq!(sent["type"], "json_schema");
    assert_eq!(sent["json_schema"]["schema"], serde_json::from_str::<Value>(schema).unwrap());
    options.constraint = Some(Constraint::regex("[0-9]+").unwrap());
    let error = ask(&server.generator(), &options).unwrap_err().to_string();
    assert!(error.contains("JSON schema only"), "{error}");
    assert_eq!(server.count(), 1, "nothing is asked that cannot be said");
}

#[test]
fn what_may_pass_is_tried_again() {
    let busy = "{\"error\":{\"message\":\"too many\"}}";
    let server = Server::new(vec![
        answer("429 Too Many Requests\r\nRetry-After: 0", "application/json", busy),
        answer("503 Service Unavailable", "text/plain", "loading"),
        stream(&["there"]),
    ]);
    let done = ask(&server.generator(), &GenerateOptions::default()).unwrap();
    assert_eq!((done.text.as_str(), server.count()), ("there", 3));
    let (error, count) =
        refused(vec![answer("500 Internal Server Error", "text/plain", "out of memory")]);
    assert!(error.contains("500 (out of memory)") && error.contains("4 times"), "{error}");
    assert_eq!(count, 4);
    let page = "<html><body>Bad gateway</body></html>";
    let (error, _) = refused(vec![answer("502 Bad Gateway", "text/html", page)]);
    assert!(error.contains("502 (a page of HTML)"), "{error}");
}

#[test]
fn what_will_not_pass_is_told_at_once() {
    let wrong = "{\"error\":{\"message\":\"bad key\",\"code\":401}}";
    for (script, words) in [
        (answer("401 Unauthorized", "application/json", wrong), "401 (bad key): the key"),
        (answer("404 Not Found", "text/plain", "no"), "no such model"),
        (
            answer("400 Bad Request", "application/json", "{\"error\":\"too long\"}"),
            "400 (too long)",
        ),
        (answer("200 OK", "text/html", "<!DOCTYPE html>"), "found a page of HTML"),
        (answer("200 OK", "application/json", "{\"id\": 1}"), "without choices"),
        (answer("200 OK", "application/json", ""), "found nothing"),
        (answer("200 OK", "application/json", "{\"error\":{\"message\":\"no slot\"}}"), "no slot"),
        (answer("200 OK", "text/event-stream", "data: {\"choi\n\n"), "found {\"choi"),
        (answer("200 OK", "text/event-stream", "\u{0}\u{1}garbage\n"), "found garbage"),
        (answer("200 OK", "text/event-stream", ""), "ended in the middle"),
        (
            answer(
                "200 OK",
                "text/event-stream",
                "data: {\"error\":{\"message\":\"lost it\"}}\n\n",
            ),
            "lost it",
        ),
        (
            Box::new(|to: &mut TcpStream| {
                send(to, "200 OK", "text/event-stream", delta("half").as_bytes())
            }) as Box<dyn Fn(&mut TcpStream) + Send>,
            "ended in the middle",
        ),
    ] {
        let (error, count) = refused(vec![script]);
        assert!(error.contains(words) && count == 1, "{error} {count}");
    }
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let silent = || -> Box<dyn Fn(&mut TcpStream) + Send> {
        Box::new(|to: &mut TcpStream| {
            // Keeps the connection open.
            std::thread::spawn({
                let to = to.try_clone().unwrap();
                move || {
                    std::thread::sleep(Duration::from_secs(20));
                    drop(to);
                }
            });
        })
    };
    let halting = || -> Box<dyn Fn(&mut TcpStream) + Send> {
        Box::new(|to: &mut TcpStream| {
            send(to, "200 OK", "text/event-stream", delta("well").as_bytes());
            let to = to.try_clone().unwrap();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(20));
                drop(to);
            });
        })
    };
    let began = Instant::now();
    for script in [silent(), halting()] {
        let server = Server::new(vec![script]);
        let mut options = RemoteOptions::new(&server.url, "small");
        options.patience = Duration::from_millis(300);
        options.attempts = 1;
        let generator = RemoteGenerator::new(options).unwrap();
        let error = ask(&generator, &GenerateOptions::default()).unwrap_err().to_string();
        assert!(error.contains("timeout"), "{error}");
    }
    for script in [silent(), halting()] {
        let server = Server::new(vec![script]);
        let options = GenerateOptions {
            time_limit: Some(Duration::from_millis(300)),
            ..GenerateOptions::default()
        };
        let done = ask(&server.generator(), &options).unwrap();
        assert_eq!(done.finish, Finish::TimeLimit);
        assert!(done.text.is_empty() || done.text == "well");
    }
    for script in [silent(), halting()] {
        let server = Server::new(vec![script]);
        let generator = server.generator();
        let prompt = generator.prompt(&[Message::user("Hello?")]).unwrap();
        let mut calls = 0;
        let done = generator.generate(&prompt, &GenerateOptions::default(), &mut |_| {
            calls += 1;
            if calls > 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(done.unwrap().finish, Finish::Cancelled);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    // Nobody listens there any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut options = RemoteOptions::new(format!("http://{port}/v1"), "small");
    options.attempts = 2;
    options.pause = Duration::from_millis(5);
    let generator = RemoteGenerator::new(options).unwrap();
    let error = ask(&generator, &GenerateOptions::default()).unwrap_err().to_string();
    assert!(error.contains("is the server running") && error.contains("2 times"), "{error}");
}

#[test]
fn addresses_and_prompts_that_cannot_be_are_refused() {
    for url in ["", "localhost:8080", "ftp://here", "http://", "http:///v1"] {
        let error = RemoteGenerator::new(RemoteOptions::new(url, "m")).unwrap_err().to_string();
        assert!(error.contains("expected one like"), "{error}");
    }
    assert!(RemoteGenerator::new(RemoteOptions::new("http://here", " ")).is_err());
    let mut options = RemoteOptions::new("https://here/v1/", "m");
    options.key = Some("a\nb".to_owned());
    let error = RemoteGenerator::new(options.clone()).unwrap_err().to_string();
    assert!(error.contains("no header") && !error.contains("a\nb"), "{error}");
    options.key = None;
    options.context = 10;
    let generator = RemoteGenerator::new(options).unwrap();
    assert_eq!(generator.url(), "https://here/v1/chat/completions");
    let prompt = generator.prompt(&[Message::user("x".repeat(100))]).unwrap();
    let error = generator
        .generate(&prompt, &GenerateOptions::default(), &mut |_| ControlFlow::Continue(()))
        .unwrap_err();
    assert!(matches!(error, vdb::Error::ContextExceeded { tokens: 38, context: 10 }), "{error}");
}

#[test]
fn the_command_line_asks_a_server_unless_it_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new(vec![stream(&["Hello ", "you"])]);
    let run = |more: &[&str]| {
        let usual = ["generate", "Hello?", "--generator", &server.url, "--generator-model", "tiny"];
        std::process::Command::new(env!("CARGO_BIN_EXE_vdb"))
            .args([&usual[..], more].concat())
            .current_dir(folder.path())
            .env("VDB_GENERATOR_KEY", "sesame")
            .env_remove("VDB_OFFLINE")
            .output()
            .unwrap()
    };
    let output = run(&[]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello you\n");
    {
        let requests = server.requests.lock().unwrap();
        assert_eq!(requests[0].1["model"], "tiny");
        assert!(requests[0].0.contains("sesame"));
    }
    let output = run(&["--offline"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("network access is off"), "{said}");
    let output = run(&["--raw"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("template"));
    assert_eq!(server.count(), 1);
}
