//! Inputs to begin with: of every decoder, some that it reads.

use crate::vector::Metric;
use crate::{db, index, model, store};

pub(super) fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "records" => store::fuzzing::seeds::records(),
        "manifest" => [
            behind(0, store::fuzzing::seeds::manifests()),
            behind(1, store::fuzzing::seeds::manifests()),
            behind(2, store::fuzzing::seeds::backup_lists()),
            behind(5, index::fuzzing::seeds::segment_lists()),
            behind(7, index::fuzzing::seeds::summed_files()),
        ]
        .concat(),
        "segment" => {
            // New ones last, so that the files that are there keep their names.
            let metrics = (0u8..).zip(Metric::ALL).map(|(nth, metric)| {
                let files = index::fuzzing::seeds::segments(metric);
                [behind(2 * nth, files.clone()), behind(2 * nth + 1, files)].concat()
            });
            metrics.flatten().collect()
        }
        "filter" => FILTERS.map(|text| text.as_bytes().to_vec()).to_vec(),
        "jsonl" => [
            behind(0, texts(&JSONL)),
            behind(2, texts(&JSON)),
            behind(4, texts(&CSV)),
            behind(6, texts(&[&CSV[0].replace(',', "\t")])),
            behind(1, texts(&JSONL)),
            behind(5, texts(&CSV)),
            behind(8, db::fuzzing::seeds::exports()),
        ]
        .concat(),
        "text" => (0..4u8)
            .flat_map(|format| encoded(TEXTS[usize::from(format)], format))
            .map(|(format, text)| [&[format, 16, 8], text.as_slice()].concat())
            .collect(),
        "models" => [
            behind(0, model::fuzzing::seeds::manifests()),
            behind(1, model::fuzzing::seeds::graphs()),
            behind(2, model::fuzzing::seeds::weights()),
        ]
        .concat(),
        "decoders" => [
            behind(0, model::fuzzing::seeds::ggufs()),
            behind(1, model::fuzzing::seeds::decoder_folders()),
        ]
        .concat(),
        _ => Vec::new(),
    }
}

/// Every input with the byte in front that chooses its decoder.
fn behind(choice: u8, inputs: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    inputs.into_iter().map(|input| [&[choice], input.as_slice()].concat()).collect()
}

fn texts(texts: &[impl AsRef<str>]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_ref().as_bytes().to_vec()).collect()
}

const FILTERS: [&str; 12] = [
    "year >= 2020 and lang = \"en\"",
    "a = 1 or b != 2.5 and not c <> -3e-2",
    "not (x < 1 or y <= 2) and z > 3",
    "tags in (\"red\", 'blue', null, true, 7)",
    "exists(a.b-c) and `odd name` is null",
    "t contains \"\\u00e9\\n\" or t starts with '\\'x'",
    "list = [1, [2.0, \"x\"], []]",
    "((((a = 1))))",
    "not not not a == false",
    "a=1and b=2or c=3",
    "größe = \"\\ud83d\\ude00\"",
    "year >= 2020 and",
];

const JSONL: [&str; 2] = [
    "{\"_id\":\"a\",\"title\":\"T\",\"text\":\"one two\",\"n\":1.5,\"o\":{\"p\":{\"q\":[1,null,{\"r\":2}]}}}\n\
     \n{\"id\":7,\"content\":\"x\"}\n[1]\n{\"text\":true}\nnot json\n",
    "{\"body\":\"a long line that is more than sixty-four bytes, which is the limit in one form\"}\n{}\n",
];

const JSON: [&str; 3] = [
    "[{\"text\":\"one\",\"id\":\"a\"},{\"text\":\"two\"},3]",
    "{\"name\":\"no text\",\"deep\":{\"a\":[{\"b\":1}]}}",
    "{\"content\":\"one\",\"title\":\"t\"}",
];

const CSV: [&str; 2] = [
    "id,title,text,year,open\n1,T,\"one, \"\"two\"\"\nthree\",2020,true\n2,U,x,007,\n3,short\n",
    "text\n\"a quote that is never closed, and so takes the rest of the file for itself\nand more\n",
];

const TEXTS: [&str; 4] = [
    "One sentence. Another one! And a question?\n\nA second paragraph, näher an Ümläuten.\n\n\
     Третий абзац. 第四段。これは文です。\n",
    "---\ntitle: A title\nlang: en\n---\n# Guide\n\n## Install\n\nRun it. `code` and *more*.\n\n\
     ```\nlet a = 1;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nSetext\n======\n\n- item\n  - nested\n",
    "<!DOCTYPE html><html lang=en><head><title>T</title><meta name=author content=A></head><body>\
     <nav>menu</nav><h1>Head</h1><p>One &amp; two<br>three<table><tr><td>a<td>b</table>\
     <pre>  kept\n</pre><script>no</script><ul><li>x<li>y</ul><b><i>mixed</b></i></body></html>",
    "fn main() {\n    let a = 1;\n\n    if a > 0 {\n        call(a);\n    }\n}\n",
];

/// The text in UTF-8, in both orders of UTF-16 with a mark and without, and cut to single bytes.
fn encoded(text: &str, format: u8) -> Vec<(u8, Vec<u8>)> {
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let single: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
    let mut all = vec![text.as_bytes().to_vec(), single];
    if format == 0 {
        all.extend([[&[0xff, 0xfe], &*little].concat(), [&[0xfe, 0xff], &*big].concat(), little]);
        all.push([b"\xef\xbb\xbf", text.as_bytes()].concat());
    }
    all.into_iter().map(|bytes| (format, bytes)).collect()
}
