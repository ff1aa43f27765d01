use super::*;
use crate::text::Value;
use proptest::prelude::*;
use std::fs;

fn read(bytes: &[u8], format: Option<Format>) -> (Vec<Result<Document>>, Vec<String>) {
    read_with(bytes, format, &ParseOptions::default())
}

fn read_with(
    bytes: &[u8],
    format: Option<Format>,
    options: &ParseOptions,
) -> (Vec<Result<Document>>, Vec<String>) {
    let reader = std::io::Cursor::new(bytes.to_vec());
    match parse_reader(reader, "input", "in", format, options) {
        Ok(parsed) => (parsed.documents.collect(), parsed.warnings),
        Err(error) => (vec![Err(error)], Vec::new()),
    }
}

fn one(bytes: &[u8], format: Format) -> Document {
    let (mut documents, _) = read(bytes, Some(format));
    assert_eq!(documents.len(), 1);
    documents.remove(0).unwrap()
}

#[test]
fn jsonl_goes_on_after_a_bad_line_and_names_it() {
    let lines = b"{\"_id\": \"a\", \"title\": \"T\", \"text\": \"one\", \"year\": 2001, \"o\": {\"p\": [1, null]}}\n\
        not json\n\n[1]\n{\"id\": 7, \"body\": \"two\"}\n{\"id\": \"x\"}\n{\"text\": \"\xff\"}\n{\"text\": \"last\"}";
    let (found, _) = read(lines, Some(Format::Jsonl));
    let shown: Vec<String> = found
        .iter()
        .map(|d| match d {
            Ok(d) => format!("{}: {}", d.id, d.text),
            Err(e) => e.to_string(),
        })
        .collect();
    assert_eq!(shown[0], "a: one");
    assert!(shown[1].starts_with("input:2: not JSON"), "{}", shown[1]);
    assert!(shown[2].starts_with("input:4: not an object"), "{}", shown[2]);
    assert_eq!(shown[3], "7: two");
    assert!(shown[4].contains("input:6: no field text, content or body"), "{}", shown[4]);
    assert!(shown[5].starts_with("input:7: not JSON"), "{}", shown[5]);
    assert_eq!(shown[6], "in#8: last");
    let first = found[0].as_ref().unwrap();
    assert_eq!(first.title.as_deref(), Some("T"));
    assert_eq!(first.metadata["year"], Value::Integer(2001));
    assert_eq!(first.metadata["o.p"], Value::List(vec![Value::Integer(1), Value::Null]));
}

#[test]
fn named_fields_are_used_and_missed() {
    let options = ParseOptions {
        text_field: Some("abstract".to_owned()),
        id_field: Some("doi".to_owned()),
        ..ParseOptions::default()
    };
    let lines = b"{\"doi\": \"10/1\", \"abstract\": \"x\"}\n{\"doi\": \"10/2\"}\n";
    let (found, _) = read_with(lines, Some(Format::Jsonl), &options);
    assert_eq!(found[0].as_ref().unwrap().id, "10/1");
    let message = found[1].as_ref().unwrap_err().to_string();
    assert_eq!(message, "input:2: no field \"abstract\"; there are: doi");
}

#[test]
fn a_line_beyond_the_limit_is_refused_and_the_next_is_read() {
    let options = ParseOptions { max_line_bytes: 64, ..ParseOptions::default() };
    let long = format!("{{\"text\": \"{}\"}}\n{{\"text\": \"ok\"}}\n", "x".repeat(200_000));
    let (found, _) = read_with(long.as_bytes(), Some(Format::Jsonl), &options);
    assert!(found[0].as_ref().unwrap_err().to_string().contains("input:1: longer than 64"));
    assert_eq!(found[1].as_ref().unwrap().text, "ok");
    let open = format!("text,n\n\"never closed\n{}", "a,1\n".repeat(100_000));
    let (found, _) = read_with(open.as_bytes(), Some(Format::Csv), &options);
    assert_eq!(found.len(), 1);
    let message = found[0].as_ref().unwrap_err().to_string();
    assert!(message.contains("is a quote left open?"), "{message}");
    let options = ParseOptions { max_file_bytes: 1000, ..ParseOptions::default() };
    let (found, _) = read_with(&[b'x'; 2000], Some(Format::Text), &options);
    assert!(found[0].as_ref().unwrap_err().to_string().contains("--max-file-size"));
}

#[test]
fn csv_types_its_cells_and_names_ragged_rows() {
    let csv = b"id,text,year,price,open,zip,note\n1,\"a, \"\"b\"\"\",2020,1.5,true,01234,\n\
        2,short\n3,c,-7,1e3,False,9,word\n";
    let (found, _) = read(csv, Some(Format::Csv));
    let first = found[0].as_ref().unwrap();
    assert_eq!((first.id.as_str(), first.text.as_str()), ("1", "a, \"b\""));
    assert_eq!(first.metadata["year"], Value::Integer(2020));
    assert_eq!(first.metadata["price"], Value::Float(1.5));
    assert_eq!(first.metadata["open"], Value::Bool(true));
    assert_eq!(first.metadata["zip"], Value::Text("01234".to_owned()));
    assert_eq!(first.metadata["note"], Value::Null);
    let ragged = found[1].as_ref().unwrap_err().to_string();
    assert_eq!(ragged, "input:3: 2 fields where the header has 7; row skipped");
    assert_eq!(found[2].as_ref().unwrap().metadata["price"], Value::Float(1000.0));
    let document = one(b"text\tn\nx\t1\n", Format::Tsv);
    assert_eq!(document.metadata["n"], Value::Integer(1));
}

#[test]
fn json_is_a_list_of_records_or_one_document() {
    let (found, _) =
        read(br#"[{"id": 1, "text": "a"}, {"id": 2, "text": "b"}, 3]"#, Some(Format::Json));
    assert_eq!(found[1].as_ref().unwrap().id, "2");
    assert!(found[2].as_ref().unwrap_err().to_string().contains("element 3"));
    let document = one(br#"{"name": "vdb", "deps": {"sled": "0.34"}}"#, Format::Json);
    assert!(document.text.contains("\"sled\""));
    assert_eq!(document.metadata["deps.sled"], Value::Text("0.34".to_owned()));
    let (found, _) = read(b"{\n\"a\": }", Some(Format::Json));
    assert!(found[0].as_ref().unwrap_err().to_string().starts_with("input:2: not JSON"));
    let (found, _) = read("[".repeat(100_000).as_bytes(), Some(Format::Json));
    assert!(found[0].is_err());
}

/// As of all objects in the order of their names, whatever the order of the input: a document that
/// was stored by one build is the same in another, which keeps its maps in another order.
#[test]
fn fields_are_taken_in_the_order_of_their_names() {
    let document = one(
        br#"{"z": [{"d": 1, "c": [{"b": 2, "a": 3}]}], "a.b": 1, "text": "t", "a": {"b": 2}}"#,
        Format::Jsonl,
    );
    let nested = Value::List(vec![Value::Text(r#"{"c":[{"a":3,"b":2}],"d":1}"#.to_owned())]);
    assert_eq!(document.metadata["z"], nested);
    // "a" comes before "a.b", which stays.
    assert_eq!(document.metadata["a.b"], Value::Integer(1));
    let reversed = one(br#"{"a": {"b": 2}, "text": "t", "a.b": 1}"#, Format::Jsonl);
    assert_eq!(reversed.metadata["a.b"], Value::Integer(1));

    let document = one(br#"{"n": {"y": 1, "x": 2}, "m": [3]}"#, Format::Json);
    assert_eq!(
        document.text,
        "{\n  \"m\": [\n    3\n  ],\n  \"n\": {\n    \"x\": 2,\n    \"y\": 1\n  }\n}"
    );

    let (documents, _) = read(br#"{"q": 1, "c": 2, "p": 3}"#, Some(Format::Jsonl));
    let error = documents[0].as_ref().unwrap_err().to_string();
    assert!(error.ends_with("--text-field: c, p, q"), "{error}");
    let (documents, _) = read(br#"{"id": {"b": 1, "a": 2}, "text": "t"}"#, Some(Format::Jsonl));
    let error = documents[0].as_ref().unwrap_err().to_string();
    assert!(error.contains(r#"the id is {"a":2,"b":1}"#), "{error}");
}

#[test]
fn markdown_keeps_its_text_and_gives_up_headings_and_front_matter() {
    let text = "---\ntitle: \"The Book\"\nlang: en\ntags:\n  - x\n---\n# One `two`\n\ntext\n\n```\n# no heading\n```\n\nUnder\n-----\n";
    let document = one(text.as_bytes(), Format::Markdown);
    assert_eq!(document.text, text);
    assert_eq!(document.title.as_deref(), Some("The Book"));
    assert_eq!(document.metadata["lang"], Value::Text("en".to_owned()));
    let headings: Vec<(u8, &str)> =
        document.headings.iter().map(|h| (h.level, h.text.as_str())).collect();
    assert_eq!(headings, [(1, "One two"), (2, "Under")]);
    assert!(text[document.headings[0].span.clone()].starts_with("# One"));
    assert!(document.origin.verbatim);
}

#[test]
fn html_is_reduced_to_what_people_read() {
    let html = b"<!doctype html><html lang=en><head><title> A  page </title><style>p{}</style>\
        <meta name=description content='about'></head><body><nav>menu</nav><h1>Top</h1>\
        <p>One &amp; <b>two</b>\n three</p><script>alert(1)</script><ul><li>x</li><li>y</li></ul>\
        <table><tr><td>a</td><td>b</td></tr></table><pre>  keep\n  this</pre></body></html>";
    let (mut found, _) = read(html, None);
    let document = found.remove(0).unwrap();
    assert_eq!(document.text, "Top\n\nOne & two three\n\nx\ny\n\na\tb\n\n  keep\n  this");
    assert_eq!(document.title.as_deref(), Some("A page"));
    assert_eq!(document.metadata["lang"], Value::Text("en".to_owned()));
    assert_eq!(&document.text[document.headings[0].span.clone()], "Top");
    let nested = |depth| format!("{}deep{}", "<div>".repeat(depth), "</div>".repeat(depth));
    assert_eq!(one(nested(5000).as_bytes(), Format::Html).text, "deep");
    let (found, _) = read(nested(1_000_000).as_bytes(), Some(Format::Html));
    assert!(found[0].as_ref().unwrap_err().to_string().contains("nested"));
    let flat = format!("{}<br>", "<p>word<li>item<b>bold</b>".repeat(20_000));
    assert!(one(flat.as_bytes(), Format::Html).text.contains("item"));
}

#[test]
fn encodings_are_recognised() {
    let text = "Größe: naïve café, Ωμέγα";
    let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let latin: Vec<u8> = "Größe, naïve café, Müller".chars().map(|c| c as u8).collect();
    let ascii_le: Vec<u8> = "plain words".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = |mark: &[u8], rest: &[u8]| [mark, rest].concat();
    for (bytes, expected, warned) in [
        (text.as_bytes().to_vec(), text, 0),
        (marked(b"\xef\xbb\xbf", text.as_bytes()), text, 0),
        (marked(&[0xff, 0xfe], &le), text, 0),
        (marked(&[0xfe, 0xff], &be), text, 0),
        (ascii_le, "plain words", 0),
        (latin, "Größe, naïve café, Müller", 1),
        (b"caf\xc3\xa9 \xff \xc3\xbc".to_vec(), "café \u{fffd} ü", 1),
    ] {
        let (mut found, warnings) = read(&bytes, Some(Format::Text));
        assert_eq!(found.remove(0).unwrap().text, expected);
        assert_eq!(warnings.len(), warned, "{warnings:?}");
    }
}

/// Gives one byte at a time, as a slow pipe may.
struct Trickle(std::io::Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn a_slow_pipe_is_recognised_like_a_file() {
    let marked = [b"\xef\xbb\xbf".as_slice(), b"{\"text\": \"one\"}\n{\"text\": \"two\"}"].concat();
    let reader = Trickle(std::io::Cursor::new(marked));
    let options = ParseOptions::default();
    let parsed = parse_reader(reader, "pipe", "p", Some(Format::Jsonl), &options).unwrap();
    let texts: Vec<String> = parsed.documents.map(|d| d.unwrap().text).collect();
    assert_eq!(texts, ["one", "two"]);
    let reader = Trickle(std::io::Cursor::new(b"text\0\x01\x02".to_vec()));
    assert!(parse_reader(reader, "pipe", "p", None, &options).is_err());
}

#[test]
fn what_holds_no_text_is_skipped_with_a_reason() {
    for (bytes, reason) in [
        (&b""[..], "empty"),
        (b" \n\t ", "white space"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"PK\x03\x04rest", "zip"),
        (b"abc\0def\0\0\x01", "binary"),
        (b"<html><body><script>x</script></body></html>", "readable"),
    ] {
        match &read(bytes, None).0[0] {
            Err(Error::Skipped { reason: found, .. }) => assert!(found.contains(reason), "{found}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_folder_is_walked_by_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("b.md", "x");
    write("a/z.txt", "x");
    write("a/y.rs", "x");
    write(".hidden.txt", "x");
    write("target/out.txt", "x");
    write(".gitignore", "target/\n");
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
    let names = |options: &WalkOptions| -> Vec<String> {
        walk(root, options)
            .map(|p| p.unwrap().strip_prefix(root).unwrap().display().to_string())
            .collect()
    };
    assert_eq!(names(&WalkOptions::default()), ["a/y.rs", "a/z.txt", "b.md"]);
    let all = names(&WalkOptions { hidden: true, ignored: true });
    assert_eq!(all, [".gitignore", ".hidden.txt", "a/y.rs", "a/z.txt", "b.md", "target/out.txt"]);
    let document = parse_file(&root.join("a/y.rs"), "a/y.rs", None, &ParseOptions::default());
    let document = document.unwrap().documents.next().unwrap().unwrap();
    assert_eq!(document.metadata["language"], Value::Text("rust".to_owned()));
}

proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400),
                       text in "[<>a-z/\"'&;#{}\\[\\]:,0-9\n-]{0,200}") {
        for format in [Format::Text, Format::Markdown, Format::Html, Format::Json, Format::Jsonl,
                       Format::Csv, Format::Tsv, Format::Source] {
            let _ = read(&bytes, Some(format));
            let _ = read(text.as_bytes(), Some(format));
        }
        let _ = read(&bytes, None);
    }
}

/// Every nested name repeats the names around it: two long lines of these would be terabytes.
#[test]
fn nested_names_are_bounded() {
    let leaves: Vec<String> = (0..5000).map(|i| format!("\"{i}\":1")).collect();
    let line = format!("{{\"text\":\"t\",\"{}\":{{{}}}}}\n", "n".repeat(8000), leaves.join(","));
    for format in [Format::Jsonl, Format::Json] {
        let message = read(line.as_bytes(), Some(format)).0[0].as_ref().unwrap_err().to_string();
        assert!(message.contains("names take"), "{message}");
    }
}
