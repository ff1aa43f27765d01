use super::properties::{Threes, check};
use super::*;
use crate::text::tokenizer::Words;
use proptest::prelude::*;

fn options(max_tokens: usize, overlap_tokens: usize) -> ChunkOptions {
    ChunkOptions { max_tokens, overlap_tokens, ..ChunkOptions::default() }
}

fn texts(document: &Document, chunks: &[Chunk]) -> Vec<String> {
    chunks.iter().map(|c| document.text[c.span.clone()].to_owned()).collect()
}

proptest! {
    #[test]
    fn nothing_is_lost_and_everything_fits(
        text in "(\\PC{0,20}[ .\n#|`]{0,3}){0,40}",
        title in proptest::option::of("\\PC{0,200}"),
        max_tokens in 16usize..80, overlap in 0usize..12, overhead in 0usize..6) {
        let mut document = Document::new("d", text);
        document.title = title;
        check(&document, &Words, overhead, &options(max_tokens, overlap));
        check(&document, &Threes, overhead, &options(max_tokens, overlap));
    }

    #[test]
    fn headings_anywhere_do_no_harm(
        text in "([a-z]{1,8}[ .\n]{1,2}){0,200}",
        marks in proptest::collection::vec((0usize..600, 1u8..5, "[A-Za-z ]{0,40}"), 0..8)) {
        let mut document = Document::new("d", text);
        let mut marks = marks;
                marks.reverse();
        document.headings = marks
            .into_iter()
            .filter(|(at, ..)| *at < document.text.len())
            .map(|(at, level, text)| Heading { level, text, span: at..at + 1 })
            .collect();
        check(&document, &Words, 2, &options(32, 0));
    }
}

#[test]
fn sizes_are_balanced() {
    let text = "word ".repeat(300);
    let document = Document::new("d", text);
    let chunks = chunk(&document, &Words, 0, &options(256, 0)).unwrap();
    let tokens: Vec<usize> = chunks.iter().map(|c| c.tokens).collect();
    assert_eq!(tokens, [150, 150]);
}

#[test]
fn cuts_prefer_paragraphs_then_sentences() {
    let sentence = "one two three four five six seven eight nine ten. ";
    let paragraphs = format!("{}\n\n{}", sentence.repeat(2), sentence.repeat(2));
    let document = Document::new("d", paragraphs);
    let chunks = chunk(&document, &Words, 0, &options(30, 0)).unwrap();
    assert_eq!(texts(&document, &chunks), [sentence.repeat(2).trim(), sentence.repeat(2).trim()]);
    let document = Document::new("d", sentence.repeat(4));
    let chunks = chunk(&document, &Words, 0, &options(24, 0)).unwrap();
    assert!(texts(&document, &chunks).iter().all(|t| t.ends_with("ten.")), "{chunks:?}");
}

#[test]
fn a_chunk_carries_title_and_headings_and_says_nothing_twice() {
    let mut document =
        Document::new("d", "# Guide\n\n## Install\n\nRun it. Run it again.\n").title("Handbook");
    document.headings = vec![
        Heading { level: 1, text: "Guide".to_owned(), span: 0..7 },
        Heading { level: 2, text: "Install".to_owned(), span: 9..19 },
    ];
    let one = ChunkOptions { min_tokens: 0, ..options(64, 0) };
    let chunks = chunk(&document, &Words, 0, &one).unwrap();
    assert_eq!(chunks[1].context, "Handbook\nGuide\n");
    assert_eq!(chunks[1].heading, ["Guide", "Install"]);
    assert_eq!(texts(&document, &chunks)[1], "## Install\n\nRun it. Run it again.");
    // Joined, since a heading alone says little.
    let chunks = chunk(&document, &Words, 0, &options(64, 0)).unwrap();
    assert_eq!(chunks.len(), 1);

    let repeated = Document::new("d", "wing theory . the wing is thin").title("wing theory .");
    let chunks = chunk(&repeated, &Words, 0, &options(64, 0)).unwrap();
    assert_eq!(chunks[0].context, "");
}

#[test]
fn code_and_tables_are_cut_between_lines() {
    let code = "```\nlet a = b. C = d. E = f. G\nlet h = i. J = k. L = m. N\n```\n";
    let document = Document::new("d", code.repeat(8));
    let chunks = chunk(&document, &Words, 0, &options(20, 0)).unwrap();
    for text in texts(&document, &chunks) {
        assert!(text.starts_with("let") || text.starts_with("```"), "{text:?}");
    }
}

#[test]
fn overlap_repeats_the_end_of_the_chunk_before() {
    let document = Document::new("d", "one two three four five six seven eight ".repeat(10));
    let chunks = chunk(&document, &Words, 0, &options(32, 8)).unwrap();
    for pair in chunks.windows(2) {
        let shared = &document.text[pair[1].span.start..pair[0].span.end];
        assert_eq!(shared.split_whitespace().count(), 8, "{shared:?}");
    }
}

/// The first chunk under the second heading has fewer tokens than the next one repeats; the rest of
/// them would be those of the first heading.
#[test]
fn overlap_repeats_no_more_than_the_chunk_before() {
    let text = format!("# A\n\n{}\n\n# B\n\nb b b b\n\n{}", "a ".repeat(12), "c ".repeat(15));
    let at = text.find("# B").unwrap();
    let mut document = Document::new("d", text);
    let heading = |text: &str, at| Heading { level: 1, text: text.to_owned(), span: at..at + 3 };
    document.headings = vec![heading("A", 0), heading("B", at)];
    let options = ChunkOptions { min_tokens: 0, ..options(18, 8) };
    check(&document, &Words, 0, &options);
    let chunks = chunk(&document, &Words, 0, &options).unwrap();
    let below_b = chunks.iter().filter(|chunk| chunk.heading == ["B"]);
    assert!(
        below_b.clone().count() > 1 && below_b.clone().all(|c| c.span.start >= at),
        "{chunks:?}"
    );
}

/// Megabytes without a space, as one unknown word, or of full stops, which would take hours if any
/// step were quadratic.
#[test]
fn hostile_texts_are_cut_in_reasonable_time() {
    for text in ["x".repeat(8 << 20), "\u{200b}".repeat(1 << 20), ". ".repeat(1 << 20)] {
        let document = Document::new("d", text);
        let chunks = chunk(&document, &Words, 2, &options(256, 0)).unwrap();
        assert!(chunks.iter().all(|c| c.span.len() <= 256 * MAX_BYTES_PER_TOKEN));
    }
}
