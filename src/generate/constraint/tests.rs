use super::*;
use crate::generate::{Sampler, Sampling};
use proptest::prelude::*;
use std::sync::OnceLock;

const END: u32 = 0;
const OTHER_END: u32 = 1;
const CONTROL: u32 = 2;

/// Every byte, and tokens that cross the borders of words, of JSON and of characters.
fn tokens() -> Vec<Vec<u8>> {
    let mut tokens = vec![b"<end>".to_vec(), b"<stop>".to_vec(), Vec::new()];
    tokens.extend((0..=255u8).map(|b| vec![b]));
    for text in [
        "th", "the", " the", " t", "cat", " cat", "at s", "sat", ". ", "on", " on the", "é", "日",
        "日本", "{\"", "\":", "\": ", "\", \"", "\"}", "\"name", "name\"", "true", "false", "}}",
        "12", "2024-", "-0", "ab", "abc", "ba", " ", "  ", "\n",
    ] {
        tokens.push(text.as_bytes().to_vec());
    }
    // The end of one character and the start of the next.
    tokens.push(vec![0x9c, 0xac, 0xe6]);
    tokens
}

fn vocabulary() -> &'static Arc<Vocabulary> {
    static SHARED: OnceLock<Arc<Vocabulary>> = OnceLock::new();
    SHARED.get_or_init(|| Arc::new(Vocabulary::new(tokens(), &[END, OTHER_END]).unwrap()))
}

fn matcher(constraint: &Constraint) -> Matcher {
    Matcher::new(constraint, vocabulary()).unwrap()
}

/// The tokens that a matcher lets through.
fn allowed(matcher: &mut Matcher) -> Vec<u32> {
    // With some logits more than there are tokens.
    let mut logits = vec![0.0; tokens().len() + 70];
    matcher.mask(&mut logits).unwrap();
    (0..).zip(&logits).filter(|(_, x)| **x > f32::NEG_INFINITY).map(|(id, _)| id).collect()
}

type Check<'a> = &'a dyn Fn(&[u8]) -> bool;

/// A random text under a constraint. Before every token `fits` is asked of the text so far with each
/// token's bytes behind it, and `ends` whether it may end. `None` where it does not end in time.
fn walk(
    constraint: &Constraint,
    seed: u64,
    fits: Option<Check<'_>>,
    ends: Option<Check<'_>>,
) -> Option<Vec<u8>> {
    let tokens = tokens();
    let mut matcher = matcher(constraint);
    let options = Sampling { temperature: 1.0, seed, ..Sampling::default() };
    let mut sampler = Sampler::new(&options).unwrap();
    let mut text = Vec::new();
    for _ in 0..300 {
        let found = allowed(&mut matcher);
        if let Some(ends) = ends {
            assert_eq!(found.contains(&END), ends(&text), "{:?}", String::from_utf8_lossy(&text));
            assert_eq!(matcher.may_end().unwrap(), ends(&text));
        }
        if let Some(fits) = fits {
            for (id, token) in (0..).zip(&tokens).skip(3) {
                let expected = fits(&[text.as_slice(), token].concat());
                let with = || String::from_utf8_lossy(&text).into_owned();
                assert_eq!(found.contains(&id), expected, "{token:?} behind {:?}", with());
            }
        }
        assert!(!found.contains(&CONTROL));
        let mut logits = vec![f32::NEG_INFINITY; tokens.len()];
        found.iter().for_each(|id| logits[*id as usize] = 0.0);
        let token = sampler.sample(&mut logits, &[]).unwrap();
        matcher.accept(token).unwrap();
        if [END, OTHER_END].contains(&token) {
            assert!(matcher.is_finished());
            return Some(text);
        }
        text.extend_from_slice(&tokens[token as usize]);
        if matcher.is_finished() {
            // Nothing but an end fits, and it is taken.
            assert_eq!(allowed(&mut matcher), [END, OTHER_END]);
            matcher.accept(OTHER_END).unwrap();
            return Some(text);
        }
    }
    None
}

fn texts(constraint: &Constraint, seeds: u64) -> Vec<String> {
    let texts: Vec<String> = (0..seeds)
        .filter_map(|seed| walk(constraint, seed, None, None))
        .map(|text| String::from_utf8(text).unwrap())
        .collect();
    assert!(texts.len() as u64 * 10 > seeds * 9, "{} of {seeds} came to an end", texts.len());
    texts
}

#[test]
fn json_fits_its_schema() {
    let schema = r##"{
        "type": "object",
        "properties": {
            "zeal": {"type": "integer", "minimum": 0, "maximum": 120},
            "name": {"type": "string", "maxLength": 6},
            "tags": {"type": "array", "items": {"enum": ["a", "bc"]}, "maxItems": 3},
            "inner": {"$ref": "#/$defs/inner"}
        },
        "required": ["zeal", "name", "inner"],
        "additionalProperties": false,
        "$defs": {"inner": {
            "type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
            "additionalProperties": false
        }}
    }"##;
    let mut tagged = 0;
    for text in texts(&Constraint::json_schema(schema).unwrap(), 60) {
        let value: Value = serde_json::from_str(&text).expect(&text);
        let fields = value.as_object().unwrap();
        for key in fields.keys() {
            assert!(["zeal", "name", "tags", "inner"].contains(&key.as_str()), "{text}");
        }
        // In the order of the schema.
        assert!(text.starts_with("{\"zeal\":"), "{text}");
        assert!(fields["zeal"].as_u64().unwrap() <= 120, "{text}");
        assert!(fields["name"].as_str().unwrap().chars().count() <= 6, "{text}");
        let inner = fields["inner"].as_object().unwrap();
        assert!(inner.len() == 1 && inner["ok"].is_boolean(), "{text}");
        if let Some(tags) = fields.get("tags") {
            tagged += 1;
            let tags = tags.as_array().unwrap();
            assert!(tags.len() <= 3 && tags.iter().all(|t| *t == "a" || *t == "bc"), "{text}");
        }
    }
    assert!(tagged > 0);
    // Any JSON at all.
    for text in texts(&Constraint::json_schema(r#"{"type": ["boolean", "null"]}"#).unwrap(), 20) {
        assert!(["true", "false", "null"].contains(&text.as_str()));
    }
}

#[test]
fn a_regular_expression_matches_the_whole() {
    // 1 or 2 letters, a dash, a slash, digits in threes.
    let fits = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        let letters = text.chars().take_while(|c| ['a', 'b'].contains(c)).count();
        if letters == text.len() {
            return letters <= 2;
        }
        let Some(digits) = text[letters..].strip_prefix("-/") else {
            return (1..=2).contains(&letters) && &text[letters..] == "-";
        };
        (1..=2).contains(&letters)
            && digits.len() <= 6
            && digits.chars().all(|c| c.is_ascii_digit())
    };
    let ends = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        text.split_once("-/").is_some_and(|(_, digits)| [3, 6].contains(&digits.len()))
    };
    for expression in [r"[ab]{1,2}-/([0-9]{3}){1,2}", r"^[ab]{1,2}-\/(\d{3}){1,2}$"] {
        // \d is any digit of any script.
        let expression = expression.replace(r"\d", "[0-9]");
        let constraint = Constraint::regex(&expression).unwrap();
        for seed in 0..15 {
            let text = walk(&constraint, seed, Some(&fits), Some(&ends)).unwrap();
            assert!(ends(&text));
        }
    }
    assert_eq!(texts(&Constraint::regex(r"^\$\\$").unwrap(), 1), [r"$\"]);
    assert_eq!(texts(&Constraint::regex("a\nb\tc\"/").unwrap(), 1), ["a\nb\tc\"/"]);
    assert_eq!(without_anchors(r"^a\$"), r"a\$");
    assert_eq!(without_anchors(r"^a\\$"), r"a\\");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Every token, at every place: allowed where the text with it is the start of a choice.
    #[test]
    fn a_choice_is_one_of_the_texts(
        choices in prop::collection::vec("[abth日é\"\\\\\n ]{1,6}", 1..6),
        seed in any::<u64>(),
    ) {
        let constraint = Constraint::choice(&choices).unwrap();
        let fits = |text: &[u8]| choices.iter().any(|c| c.as_bytes().starts_with(text));
        let ends = |text: &[u8]| choices.iter().any(|c| c.as_bytes() == text);
        let text = walk(&constraint, seed, Some(&fits), Some(&ends)).unwrap();
        prop_assert!(choices.iter().any(|c| c.as_bytes() == text));
    }

    #[test]
    fn a_quotation_by_characters_is_a_part_of_a_text(
        one in "[abth日本é ]{0,12}", two in "[a-c日\"\\\\]{1,8}", seed in any::<u64>(),
    ) {
        // White space alone is nothing to quote from.
        let given: Vec<String> =
            [one, two].into_iter().filter(|given| !given.trim().is_empty()).collect();
        let constraint = Constraint::quotation(&given, Unit::Characters).unwrap();
        // From the start of any character.
        let fits = |text: &[u8]| given.iter().any(|given| {
            given.char_indices().any(|(at, _)| given.as_bytes()[at..].starts_with(text))
        });
        let ends = |text: &[u8]| !text.is_empty() && std::str::from_utf8(text).is_ok();
        let text = walk(&constraint, seed, Some(&fits), Some(&ends)).unwrap();
        let text = String::from_utf8(text).unwrap();
        prop_assert!(given.iter().any(|given| given.contains(&text)));
    }

    #[test]
    fn a_quotation_is_of_whole_words(
        text in "[abth日é .,!_]{1,20}", seed in any::<u64>(),
    ) {
        prop_assume!(!text.trim().is_empty());
        let constraint = Constraint::substrings(&text).unwrap();
        let kind = |c: char| (c.is_whitespace(), c.is_alphanumeric() || c == '_');
        let mut borders = vec![0];
        let characters: Vec<(usize, char)> = text.char_indices().collect();
        for pair in characters.windows(2) {
            if kind(pair[0].1) != kind(pair[1].1) {
                borders.push(pair[1].0);
            }
        }
        borders.push(text.len());
        let at_border = |part: &[u8]| borders.iter().any(|start| {
            text.as_bytes()[*start..].starts_with(part)
        });
        let whole = |part: &[u8]| !part.is_empty() && borders.iter().any(|start| {
            text.as_bytes()[*start..].starts_with(part) && borders.contains(&(start + part.len()))
        });
        let quotation = walk(&constraint, seed, Some(&at_border), Some(&whole)).unwrap();
        prop_assert!(whole(&quotation));
    }

    /// Nothing that is given makes it panic or hang; what it does not like is told in a line.
    #[test]
    fn no_grammar_makes_it_panic(text in "[a-c(){}\\[\\]|*+?^$.\\\\/\":,%0-9 \n]{0,40}") {
        for made in [
            Constraint::regex(&text),
            Constraint::grammar(&text),
            Constraint::grammar(&format!("start: {text}")),
            Constraint::json_schema(&text),
            Constraint::json_schema(&format!("{{\"pattern\": {}}}", quoted(&text))),
        ] {
            match made {
                Ok(constraint) => {
                    if let Ok(mut matcher) = Matcher::new(&constraint, vocabulary()) {
                        let mut logits = vec![0.0; tokens().len()];
                        if let Err(error) = matcher.mask(&mut logits) {
                            prop_assert!(matches!(error, Error::Constraint { .. }), "{}", error);
                        }
                    }
                }
                Err(Error::Parameter { reason, .. }) => {
                    prop_assert!(!reason.is_empty() && !reason.contains('\n'), "{}", reason);
                    prop_assert!(!reason.contains("a defect of"), "{} of {:?}", reason, text);
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}

#[test]
fn a_grammar_derives_its_texts() {
    let grammar = "start: \"(\" WORD (\", \" WORD)* \")\"\nWORD: /[ab]{1,3}/";
    for text in texts(&Constraint::grammar(grammar).unwrap(), 30) {
        let words = text.strip_prefix('(').unwrap().strip_suffix(')').unwrap();
        assert!(words.split(", ").all(|word| {
            (1..=3).contains(&word.len()) && word.chars().all(|c| "ab".contains(c))
        }));
    }
}

#[test]
fn what_is_wrong_with_a_grammar_is_told() {
    for (made, parts) in [
        (Constraint::json_schema("{"), ["json schema", "not JSON"]),
        (Constraint::json_schema("[1]"), ["json schema", "expected an object"]),
        (Constraint::json_schema(r#"{"type": "strin"}"#), ["json schema", "strin"]),
        (Constraint::json_schema(r#"{"not": {"type": "string"}}"#), ["json schema", "not"]),
        (Constraint::json_schema(r##"{"$ref": "#/nowhere"}"##), ["json schema", "nowhere"]),
        (Constraint::json_schema(r#"{"pattern": "a("}"#), ["json schema", "unclosed group"]),
        (Constraint::json_schema(r#"{"x-guidance": 1}"#), ["json schema", "x-guidance"]),
        (Constraint::regex("a(b"), ["regular expression", "unclosed group"]),
        (Constraint::regex(r"a\"), ["regular expression", "incomplete escape"]),
        (Constraint::regex(r"a\b"), ["regular expression", "look"]),
        (Constraint::regex("^$"), ["regular expression", "empty"]),
        (Constraint::regex(&"(".repeat(100_000)), ["regular expression", "200 brackets"]),
        (Constraint::choice::<&str>([]), ["choice", "no text"]),
        (Constraint::choice(["a", ""]), ["choice", "empty"]),
        (Constraint::substrings(" \n"), ["quotation", "no text"]),
        (Constraint::substrings(&"word ".repeat(60_000)), ["quotation", "65536 bytes"]),
        (Constraint::grammar(""), ["grammar", "empty"]),
        (Constraint::grammar("start: A"), ["grammar", "A"]),
        (Constraint::grammar("begin: \"a\""), ["grammar", "start"]),
        (Constraint::grammar("start: \"a\" )"), ["grammar", "1"]),
        (Constraint::grammar(&"[".repeat(100_000)), ["grammar", "200 brackets"]),
    ] {
        let reason = match made {
            Err(error @ Error::Parameter { .. }) => error.to_string(),
            other => panic!("{other:?} where {parts:?} was expected"),
        };
        assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
        assert!(!reason.contains('\n') && reason.len() < 700, "{reason}");
    }
}

#[test]
fn a_token_that_does_not_fit_changes_nothing() {
    let mut matcher = matcher(&Constraint::choice(["ab", "ac"]).unwrap());
    let byte = |b: u8| u32::from(b) + 3;
    for wrong in [byte(b'b'), END, CONTROL, 9_999, u32::MAX] {
        let error = matcher.accept(wrong).unwrap_err();
        assert!(error.to_string().contains(&format!("token {wrong} does not fit")), "{error}");
    }
    assert_eq!(allowed(&mut matcher).len(), 2, "a and ab");
    matcher.accept(byte(b'a')).unwrap();
    assert!(!matcher.may_end().unwrap() && !matcher.is_finished());
    matcher.accept(byte(b'c')).unwrap();
    assert!(matcher.may_end().unwrap() && matcher.is_finished());
    assert!(matcher.accept(byte(b'c')).is_err());
    matcher.accept(END).unwrap();
    let error = matcher.mask(&mut [0.0; 9]).unwrap_err();
    assert!(error.to_string().contains("found 9"), "{error}");
}

#[test]
fn a_quotation_has_a_token_at_least() {
    let mut matcher = matcher(&Constraint::substrings("the cat").unwrap());
    let found = allowed(&mut matcher);
    assert!(!found.contains(&END) && !found.contains(&OTHER_END));
    assert!(!matcher.may_end().unwrap());
    assert!(matcher.accept(END).is_err());
    matcher.accept(found[0]).unwrap();
}

#[test]
fn no_token_that_fits_is_an_error() {
    let vocabulary = Arc::new(Vocabulary::new([b"".to_vec(), b"b".to_vec()], &[0]).unwrap());
    for made in [Constraint::choice(["a"]), Constraint::substrings("a")] {
        let mut matcher = Matcher::new(&made.unwrap(), &vocabulary).unwrap();
        let error = matcher.mask(&mut [0.0; 2]).unwrap_err();
        assert!(error.to_string().contains("no token of the vocabulary fits here"), "{error}");
    }
    // After an end that is all there is.
    let reason = |tokens: &[&str], ends: &[u32]| {
        let tokens = tokens.iter().map(|t| t.as_bytes());
        Vocabulary::new(tokens, ends).unwrap_err().to_string()
    };
    assert!(reason(&["a"], &[]).contains("found none"));
    assert!(reason(&["a"], &[1]).contains("token 1 ends a text, but there are 1 tokens"));
    assert!(reason(&[], &[0]).contains("there are 0 tokens"));
}

#[test]
fn what_leaves_no_choice_is_tokenised() {
    // Longest first, as a tokenizer might.
    let encode: Encode = Box::new(|text| {
        let tokens = tokens();
        let (mut rest, mut found) = (text.as_bytes(), Vec::new());
        while !rest.is_empty() {
            let (id, token) = (0..)
                .zip(&tokens)
                .skip(3)
                .filter(|(_, token)| rest.starts_with(token))
                .max_by_key(|(_, token)| token.len())
                .unwrap();
            found.push(id);
            rest = &rest[token.len()..];
        }
        found
    });
    let vocabulary =
        Arc::new(Vocabulary::with_tokenizer(tokens(), &[END, OTHER_END], encode).unwrap());
    let constraint = Constraint::choice(["the cat sat on the. Yes", "the cat sat on the. No"]);
    let mut forced = Matcher::new(&constraint.unwrap(), &vocabulary).unwrap();
    let mut text = Vec::new();
    for token in forced.forced().unwrap() {
        forced.accept(token).unwrap();
        text.extend_from_slice(&tokens()[token as usize]);
    }
    // All but what the next word may be joined to.
    assert!(b"the cat sat on the. ".starts_with(text.as_slice()) && text.len() > 10, "{text:?}");
    // Then every token that the mask lets through goes on from there.
    for token in allowed(&mut forced) {
        let with = [text.as_slice(), &tokens()[token as usize]].concat();
        assert!(
            b"the cat sat on the. Yes".starts_with(&with)
                || b"the cat sat on the. No".starts_with(&with)
        );
    }
    // Without a tokenizer there are none.
    let mut free = matcher(&Constraint::choice(["the cat"]).unwrap());
    assert!(free.forced().unwrap().is_empty());

    // A tokenizer that makes another text of it is not believed.
    let wrong: Encode = Box::new(|_| vec![7, 8, 9]);
    let vocabulary = Arc::new(Vocabulary::with_tokenizer(tokens(), &[END], wrong).unwrap());
    let constraint = Constraint::choice(["the cat"]).unwrap();
    let mut matcher = Matcher::new(&constraint, &vocabulary).unwrap();
    let bytes: Vec<u8> =
        matcher.forced().unwrap().iter().flat_map(|id| tokens()[*id as usize].clone()).collect();
    assert!(b"the cat".starts_with(&bytes), "{bytes:?}");
}

/// Grammars of a size or kind that could take for ever: an answer comes, whichever it is, on a thread
/// with the usual stack.
#[test]
fn hard_grammars_come_to_an_end() {
    let nested = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(190), close.repeat(190))
    };
    for made in [
        Constraint::regex("a{1000}{1000}{1000}"),
        Constraint::regex("(a|b){1,1000}{1,1000}c"),
        Constraint::regex("((a?){100}){100}"),
        Constraint::regex("[ab]*a[ab]{25}c"),
        Constraint::regex(&format!("a{}", "?+".repeat(10_000))),
        Constraint::regex(&nested("(", "a", ")")),
        Constraint::grammar(&nested("start: (", "\"a\"", ")")),
        Constraint::grammar(&format!("start: {}", nested("(", "\"a\"", ")"))),
        Constraint::grammar("start: start \"a\" | start start | \"b\""),
        Constraint::json_schema(&nested("{\"items\": ", "{\"type\": \"null\"}", "}")),
        Constraint::json_schema(r##"{"$ref": "#"}"##),
        Constraint::json_schema(r#"{"type": "string", "minLength": 100000000}"#),
    ] {
        let Ok(constraint) = made else { continue };
        let Ok(mut matcher) = Matcher::new(&constraint, vocabulary()) else { continue };
        let mut logits = vec![0.0; tokens().len()];
        for _ in 0..30 {
            let Ok(()) = matcher.mask(&mut logits) else { break };
            let Some(token) = logits.iter().rposition(|x| *x > f32::NEG_INFINITY) else { break };
            if matcher.accept(u32::try_from(token).unwrap()).is_err() {
                break;
            }
            logits.fill(0.0);
        }
    }
}

/// As long a text as may be quoted from, on a thread with the usual stack.
#[test]
fn a_long_text_can_be_quoted_from() {
    let words: Vec<String> = (0..MAX_QUOTED / 8).map(|i| format!("w{i:06} ")).collect();
    let letters: String =
        (0..MAX_QUOTED).map(|i| char::from(b'a' + u8::try_from(i * i % 25).unwrap())).collect();
    for (constraint, text) in [
        (Constraint::substrings(&words.concat()), "w000777 w000778 "),
        (Constraint::quotation([&letters], Unit::Characters), &letters[5_000..5_040]),
    ] {
        let mut matcher = matcher(&constraint.unwrap());
        for byte in text.bytes() {
            assert!(!allowed(&mut matcher).is_empty());
            matcher.accept(u32::from(byte) + 3).unwrap();
        }
        assert!(matcher.may_end().unwrap());
    }
}

#[test]
fn vocabularies_and_constraints_are_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Vocabulary>();
    shared::<Constraint>();
    moved::<Matcher>();
    assert_eq!(vocabulary().len(), tokens().len());
    assert!(!vocabulary().is_empty());
    assert!(format!("{:?}", vocabulary()).contains("size"));
}
