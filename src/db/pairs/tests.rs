use super::*;
use crate::db::{CollectionOptions, Database};
use crate::text::{Document, Heading};

const TEXT: &str = "# Bees\n\nBees are insects that live together. They make honey from nectar. A hive \
                    holds many thousands of them.\n\n## What they eat\n\nNectar and pollen are all \
                    that a bee ever eats.\n";

fn heading(level: u8, text: &str, markup: &str) -> Heading {
    let start = TEXT.find(markup).unwrap();
    Heading { level, text: text.to_owned(), span: start..start + markup.len() }
}

fn passage(span: std::ops::Range<usize>, context: &str) -> Passage {
    Passage { number: 7, span, context: context.to_owned() }
}

fn bees() -> Part {
    let second = TEXT.find("## ").unwrap();
    Part {
        title: Some("Bees and hives".to_owned()),
        text: TEXT.to_owned(),
        headings: vec![
            heading(1, "Bees and hives", "# Bees\n"),
            heading(2, "What they eat", "## What they eat\n"),
        ],
        chunks: vec![
            passage(0..second - 2, ""),
            passage(second..TEXT.len() - 1, "Bees and hives\nWhat they eat\n"),
        ],
    }
}

fn options(kinds: &[PairKind]) -> PairOptions {
    PairOptions { kinds: kinds.to_vec(), kept_sentences: 0.0, ..PairOptions::default() }
}

#[test]
fn the_pairs_of_a_small_document() {
    let made = |kind| candidates("bees.md", &bees(), &options(&[kind])).0;
    let [title] = made(PairKind::Title).try_into().unwrap();
    assert_eq!(title.query, "Bees and hives");
    assert!(title.positive.ends_with("holds many thousands of them."), "{title:?}");
    let [eat] = made(PairKind::Heading).try_into().unwrap();
    assert_eq!(eat.query, "Bees and hives: What they eat");
    assert_eq!(eat.positive, "Nectar and pollen are all that a bee ever eats.");
    let [next] = made(PairKind::Neighbour).try_into().unwrap();
    assert!(next.query.starts_with("# Bees") && next.positive.starts_with("## What they eat"));
    // The second passage has two sentences with its heading: too few.
    let [sentence] = made(PairKind::Sentence).try_into().unwrap();
    let whole = "Bees are insects that live together. They make honey from nectar. A hive holds \
                 many thousands of them.";
    assert!(whole.contains(&sentence.query) && !sentence.positive.contains(&sentence.query));
    for other in ["Bees are insects", "They make honey", "A hive holds"] {
        assert!(
            sentence.query.contains(other) || sentence.positive.contains(other),
            "{sentence:?}"
        );
    }
    let all = [title, eat, next, sentence];
    assert!(all.iter().all(|candidate| candidate.group == "bees.md"));
    // A sentence that is kept stands in its passage.
    let kept = PairOptions { kept_sentences: 1.0, ..options(&[PairKind::Sentence]) };
    let (kept, _) = candidates("bees.md", &bees(), &kept);
    assert!(kept[0].positive.contains(&kept[0].query));
    // What is switched off is not made, and what is too short is counted.
    assert!(candidates("bees.md", &bees(), &options(&[])).0.is_empty());
    let long = PairOptions { min_words: 12, ..options(&[PairKind::Heading]) };
    let (none, short) = candidates("bees.md", &bees(), &long);
    assert_eq!((none.len(), short), (0, 1));
}

#[test]
fn a_title_that_the_text_repeats_is_no_part_of_the_answer() {
    for text in [
        "wing flutter . the flutter of thin wings was measured .",
        "# Wing Flutter\n====\nthe flutter of thin wings was measured .",
    ] {
        let part = Part {
            title: Some("Wing flutter".to_owned()),
            text: text.to_owned(),
            chunks: vec![passage(0..text.len(), "")],
            ..Part::default()
        };
        let (made, _) = candidates("1", &part, &options(&[PairKind::Title]));
        assert_eq!(made[0].positive, "the flutter of thin wings was measured .");
    }
}

#[test]
fn a_text_without_capitals_has_sentences() {
    let text = "wing flutter . the flutter of thin wings was measured . it grew with the speed of \
                the stream . theory and measurement agree within 2.5 percent";
    let part = Part {
        title: Some("wing flutter .".to_owned()),
        text: text.to_owned(),
        chunks: vec![passage(0..text.len(), "")],
        ..Part::default()
    };
    let mut found = HashSet::new();
    for seed in 0..40 {
        let options = PairOptions { seed, ..options(&[PairKind::Sentence]) };
        let (made, _) = candidates("1", &part, &options);
        let [made] = made.try_into().unwrap();
        assert!(!made.positive.contains(&made.query), "{made:?}");
        assert_eq!(made.positive.len() + made.query.len() + 1, text.len(), "{made:?}");
        found.insert(made.query);
    }
    let right = [
        "the flutter of thin wings was measured .",
        "it grew with the speed of the stream .",
        "theory and measurement agree within 2.5 percent",
    ];
    assert_eq!(found, right.map(str::to_owned).into());
}

#[test]
fn near_passages_of_a_long_document_are_one_group() {
    let text = "one two three four five six. ".repeat(12);
    let length = text.len() / 12;
    let chunks = (0..12).map(|n| passage(n * length..(n + 1) * length, "")).collect();
    let part = Part { text, chunks, ..Part::default() };
    let (made, _) = candidates("long", &part, &options(&[PairKind::Neighbour]));
    // Of eleven neighbours, those over a border between two groups are left out.
    let groups: Vec<&str> = made.iter().map(|candidate| candidate.group.as_str()).collect();
    assert_eq!(groups, [["long 0"; 3], ["long 1"; 3], ["long 2"; 3]].concat());
}

/// A tenth of the documents, whatever others there are, and never none or all.
#[test]
fn the_split_is_by_document_and_stable() {
    let options = PairOptions::default();
    let ids: Vec<String> = (0..2000).map(|n| format!("folder/{n}.md")).collect();
    let all = dev(ids.iter().map(String::as_str), &options);
    assert!((150..250).contains(&all.len()), "{}", all.len());
    let some = dev(ids.iter().take(700).map(String::as_str), &options);
    let right: HashSet<&str> =
        ids.iter().take(700).map(String::as_str).filter(|id| all.contains(id)).collect();
    assert_eq!(some, right);
    let other = PairOptions { seed: 1, ..PairOptions::default() };
    assert_ne!(dev(ids.iter().map(String::as_str), &other), all);
    for share in [0.0, 1.0] {
        let options = PairOptions { dev_share: share, ..PairOptions::default() };
        let two = dev(["a", "b"].into_iter(), &options);
        assert_eq!(two.len(), 1, "{share}");
    }
}

#[test]
fn what_two_documents_share_is_left_out() {
    let candidate = |query: &str, positive: &str| Candidate {
        kind: PairKind::Title,
        query: query.to_owned(),
        positive: positive.to_owned(),
        group: positive.to_owned(),
    };
    let options = PairOptions { per_document: 2, ..PairOptions::default() };
    let mut found = Found::default();
    found.add("a", false, (vec![candidate("Read me", "one")], 0), &options);
    found.add(
        "b",
        false,
        (vec![candidate("read  me", "two"), candidate("b b", "three")], 0),
        &options,
    );
    found.add("c", true, (vec![candidate("c c", "THREE"), candidate("d d", "four")], 1), &options);
    let many = (0..5).map(|n| candidate(&format!("e {n}"), "five")).collect();
    found.add("e", true, (many, 0), &options);
    let made = found.pairs(&options);
    assert_eq!((made.train.len(), made.dev.len()), (1, 3));
    let report = &made.report;
    assert_eq!((report.documents, report.dev_documents), (4, 2));
    assert_eq!((report.ambiguous, report.overlap, report.beyond, report.short), (2, 1, 3, 1));
    assert_eq!(report.dev[&PairKind::Title], 3);
}

#[test]
fn a_collection_gives_pairs_of_whole_documents() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.collection("birds", &CollectionOptions::dimensions(2)).unwrap();
    let all = |_| ControlFlow::Continue(());
    let options = PairOptions::default();
    let refused = || collection.training_pairs(&options, &mut { all }).unwrap_err().to_string();
    assert!(refused().contains("no documents"), "{}", refused());
    for n in 0..40 {
        let text = format!(
            "Bird number {n} sings in spring. Its nest number {n} stands in a high tree. It eats \
             {n} worms on every day."
        );
        let document = Document::new(format!("{n}"), text).title(format!("The bird {n}"));
        collection.add([document.vector([1.0, 0.5])]).unwrap();
        if n == 0 {
            assert!(refused().contains("one document"), "{}", refused());
        }
    }
    let made = collection.training_pairs(&options, &mut { all }).unwrap();
    assert_eq!(made.train.len() + made.dev.len(), 80);
    assert_eq!(made.report.train[&PairKind::Title], made.report.train[&PairKind::Sentence]);
    assert_eq!(made.report.dev.values().sum::<usize>(), made.dev.len());
    // No document is in both, and what is made is the same again.
    let groups: HashSet<&String> = made.train.groups.all.iter().collect();
    assert!(made.dev.groups.all.iter().all(|group| !groups.contains(group)));
    assert_eq!(made.dev.groups.all.len(), made.report.dev_documents);
    let again = collection.training_pairs(&options, &mut { all }).unwrap();
    assert_eq!(again.train.documents.all, made.train.documents.all);
    assert_eq!(again.dev.queries.all, made.dev.queries.all);
    let few = PairOptions { most: 10, ..PairOptions::default() };
    let few = collection.training_pairs(&few, &mut { all }).unwrap();
    assert_eq!(few.train.len() + few.dev.len(), 10);
    let stop = &mut |n| if n == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    assert!(matches!(collection.training_pairs(&options, stop), Err(Error::Stopped)));
    let none = PairOptions { kinds: vec![PairKind::Neighbour], ..PairOptions::default() };
    let error = collection.training_pairs(&none, &mut { all }).unwrap_err().to_string();
    assert!(error.contains("no pair can be made"), "{error}");
}
