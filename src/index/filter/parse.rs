//! The text form of filters.

use super::{Comparison, Filter};
use crate::error::{Error, Result};
use crate::text::Value;
use winnow::ascii::{Caseless, digit1, multispace0, multispace1};
use winnow::combinator::{
    alt, cut_err, delimited, fail, not, opt, preceded, repeat, separated, terminated,
};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::token::{any as any_char, one_of, take_while};

/// Deeper nesting than people write; a parser by recursion needs a bound.
const MAX_DEPTH: usize = 64;
const MAX_BYTES: usize = 64 << 10;
/// Conditions of the whole filter. Those chained by `and` and `or` nest to the left, and a filter is
/// asked, printed and dropped by recursion.
const MAX_CONDITIONS: usize = 1000;

/// What has been met so far.
#[derive(Debug, Clone, Copy, Default)]
struct Met {
    /// Levels around this place.
    depth: usize,
    /// Conditions before it.
    conditions: usize,
}

type Input<'a> = winnow::Stateful<&'a str, Met>;
type Outcome<T> = std::result::Result<T, ErrMode<ContextError>>;

pub(super) fn parse(text: &str) -> Result<Filter> {
    if text.len() > MAX_BYTES {
        return Err(syntax(text, 0, format!("{} bytes; at most {MAX_BYTES} are read", text.len())));
    }
    let mut input = Input { input: text, state: Met::default() };
    let parsed = delimited(multispace0, either, multispace0).parse_next(&mut input);
    let at = text.len() - input.input.len();
    match parsed {
        Ok(filter) if input.input.is_empty() => Ok(filter),
        Ok(_) => Err(syntax(text, at, expected(text, at, "`and`, `or` or the end"))),
        Err(ErrMode::Backtrack(error) | ErrMode::Cut(error)) => {
            let wanted: Vec<String> = error
                .context()
                .filter_map(|context| match context {
                    StrContext::Expected(StrContextValue::Description(what)) => {
                        Some((*what).to_owned())
                    }
                    _ => None,
                })
                .collect();
            let wanted = wanted.first().map_or("a condition such as year >= 2020", |s| s.as_str());
            Err(syntax(text, at, expected(text, at, wanted)))
        }
        Err(ErrMode::Incomplete(_)) => Err(syntax(text, at, "it is incomplete".to_owned())),
    }
}

fn syntax(text: &str, at: usize, message: String) -> Error {
    let before = text.get(..at).unwrap_or(text);
    Error::FilterSyntax { position: before.chars().count() + 1, message }
}

fn expected(text: &str, at: usize, wanted: &str) -> String {
    let rest = text.get(at..).unwrap_or_default();
    let found: String = rest.chars().take_while(|c| !c.is_whitespace()).take(20).collect();
    if found.is_empty() {
        format!("expected {wanted}, found the end")
    } else {
        format!("expected {wanted}, found {found:?}")
    }
}

fn wanted(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

fn either(input: &mut Input<'_>) -> Outcome<Filter> {
    let first = both.parse_next(input)?;
    let rest: Vec<Filter> =
        repeat(0.., preceded((multispace0, word("or"), multispace0), cut_err(both)))
            .parse_next(input)?;
    Ok(rest.into_iter().fold(first, Filter::or))
}

fn both(input: &mut Input<'_>) -> Outcome<Filter> {
    let first = condition.parse_next(input)?;
    let rest: Vec<Filter> =
        repeat(0.., preceded((multispace0, word("and"), multispace0), cut_err(condition)))
            .parse_next(input)?;
    Ok(rest.into_iter().fold(first, Filter::and))
}

fn condition(input: &mut Input<'_>) -> Outcome<Filter> {
    if input.state.depth >= MAX_DEPTH {
        return cut_err(fail.context(wanted("at most 64 levels of nesting"))).parse_next(input);
    }
    if input.state.conditions >= MAX_CONDITIONS {
        return cut_err(fail.context(wanted("at most 1000 conditions"))).parse_next(input);
    }
    input.state.depth += 1;
    let parsed = alt((negation, group, exists, comparison)).parse_next(input);
    input.state.depth -= 1;
    parsed
}

fn negation(input: &mut Input<'_>) -> Outcome<Filter> {
    preceded((word("not"), multispace0), cut_err(condition)).map(Filter::not).parse_next(input)
}

fn group(input: &mut Input<'_>) -> Outcome<Filter> {
    delimited(
        ('(', multispace0),
        cut_err(either),
        (multispace0, cut_err(')'.context(wanted("`)`")))),
    )
    .parse_next(input)
}

fn exists(input: &mut Input<'_>) -> Outcome<Filter> {
    delimited(
        (word("exists"), multispace0, '(', multispace0),
        cut_err(name),
        (multispace0, cut_err(')'.context(wanted("`)`")))),
    )
    .map(Filter::Exists)
    .parse_next(input)
    .inspect(|_| input.state.conditions += 1)
}

fn comparison(input: &mut Input<'_>) -> Outcome<Filter> {
    let field = name.parse_next(input)?;
    multispace0.parse_next(input)?;
    cut_err(
        alt((
            preceded((word("is"), multispace1, word("null")), |_: &mut Input<'_>| Ok(()))
                .map(|()| None)
                .map(|_: Option<()>| Tail::IsNull),
            preceded((word("in"), multispace0), cut_err(values)).map(Tail::In),
            (operator, preceded(multispace0, cut_err(value))).map(|(o, v)| Tail::Compare(o, v)),
        ))
        .context(wanted("a comparison (=, !=, <, <=, >, >=, contains, starts with, in, is null)")),
    )
    .map(|tail| match tail {
        Tail::IsNull => Filter::IsNull(field.clone()),
        Tail::In(values) => Filter::In(field.clone(), values),
        Tail::Compare(comparison, value) => Filter::Compare(field.clone(), comparison, value),
    })
    .parse_next(input)
    .inspect(|_| input.state.conditions += 1)
}

enum Tail {
    IsNull,
    In(Vec<Value>),
    Compare(Comparison, Value),
}

const SYMBOLS: [(&str, Comparison); 8] = [
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("!=", Comparison::NotEqual),
    ("<>", Comparison::NotEqual),
    ("==", Comparison::Equal),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

fn operator(input: &mut Input<'_>) -> Outcome<Comparison> {
    for (symbol, comparison) in SYMBOLS {
        if opt(symbol).parse_next(input)?.is_some() {
            return Ok(comparison);
        }
    }
    if opt(word("contains")).parse_next(input)?.is_some() {
        return Ok(Comparison::Contains);
    }
    (word("starts"), multispace1, word("with")).parse_next(input)?;
    Ok(Comparison::StartsWith)
}

fn values(input: &mut Input<'_>) -> Outcome<Vec<Value>> {
    delimited(
        ('('.context(wanted("`(`")), multispace0),
        separated(0.., value, (multispace0, ',', multispace0)),
        (multispace0, cut_err(')'.context(wanted("`,` or `)`")))),
    )
    .parse_next(input)
}

fn value(input: &mut Input<'_>) -> Outcome<Value> {
    alt((
        quoted('"').map(Value::Text),
        quoted('\'').map(Value::Text),
        number,
        word("true").value(Value::Bool(true)),
        word("false").value(Value::Bool(false)),
        word("null").value(Value::Null),
        list,
    ))
    .context(wanted("a value: a number, true, false, null or text in quotes"))
    .parse_next(input)
}

/// A list of plain values, as the builder can hold one.
fn list(input: &mut Input<'_>) -> Outcome<Value> {
    if input.state.depth >= MAX_DEPTH {
        return cut_err(fail.context(wanted("at most 64 levels of nesting"))).parse_next(input);
    }
    input.state.depth += 1;
    let parsed = delimited(
        ('[', multispace0),
        separated(0.., value, (multispace0, ',', multispace0)),
        (multispace0, cut_err(']'.context(wanted("`,` or `]`")))),
    )
    .map(Value::List)
    .parse_next(input);
    input.state.depth -= 1;
    parsed
}

fn number(input: &mut Input<'_>) -> Outcome<Value> {
    let text = (
        opt(one_of(['-', '+'])),
        digit1,
        opt(('.', digit1)),
        opt((one_of(['e', 'E']), opt(one_of(['-', '+'])), digit1)),
    )
        .take()
        .parse_next(input)?;
    if let Ok(integer) = text.parse::<i64>() {
        return Ok(Value::Integer(integer));
    }
    match text.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok(Value::Float(float)),
        _ => cut_err(fail.context(wanted("a number that fits"))).parse_next(input),
    }
}

fn name(input: &mut Input<'_>) -> Outcome<String> {
    alt((quoted('`'), plain_name))
        .context(wanted("a field name, `not`, `exists` or `(`"))
        .parse_next(input)
}

const KEYWORDS: [&str; 10] =
    ["and", "or", "not", "in", "is", "contains", "starts", "exists", "true", "false"];

fn plain_name(input: &mut Input<'_>) -> Outcome<String> {
    (one_of(starts_name), take_while(0.., continues_name))
        .take()
        .verify(|name: &str| !KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(name)))
        .map(str::to_owned)
        .parse_next(input)
}

fn starts_name(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn continues_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Whether a field name can stand without backquotes.
pub(super) fn is_plain_name(name: &str) -> bool {
    name.starts_with(starts_name)
        && name.chars().all(continues_name)
        && !KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(name))
}

/// A word in any case, not the beginning of a longer one.
fn word<'a>(text: &'static str) -> impl Parser<Input<'a>, &'a str, ErrMode<ContextError>> {
    terminated(Caseless(text), not(one_of(continues_name)))
}

/// Text between two `quote`s, with JSON's escapes, and `\` before either kind of quote.
fn quoted<'a>(quote: char) -> impl Parser<Input<'a>, String, ErrMode<ContextError>> {
    move |input: &mut Input<'a>| {
        one_of(quote).parse_next(input)?;
        let mut text = String::new();
        loop {
            let closing = match quote {
                '"' => "a closing \"",
                '\'' => "a closing '",
                _ => "a closing `",
            };
            let c = cut_err(any_char.context(wanted(closing))).parse_next(input)?;
            if c == quote {
                return Ok(text);
            }
            text.push(if c == '\\' { cut_err(escaped).parse_next(input)? } else { c });
        }
    }
}

fn escaped(input: &mut Input<'_>) -> Outcome<char> {
    let invalid = wanted("an escape: \\\\ \\\" \\' \\` \\/ \\b \\f \\n \\r \\t \\uXXXX");
    let c = one_of(['\\', '"', '\'', '`', '/', 'b', 'f', 'n', 'r', 't', 'u'])
        .context(invalid.clone())
        .parse_next(input)?;
    Ok(match c {
        '\\' | '"' | '\'' | '`' | '/' => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        // The only letter left is `u`.
        _ => {
            let first = hex4.context(invalid.clone()).parse_next(input)?;
            let code = if (0xd800..0xdc00).contains(&first) {
                let second = preceded("\\u", hex4)
                    .verify(|code| (0xdc00..0xe000).contains(code))
                    .context(invalid.clone())
                    .parse_next(input)?;
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            } else {
                first
            };
            match char::from_u32(code) {
                Some(c) => c,
                None => return fail.context(invalid).parse_next(input),
            }
        }
    })
}

fn hex4(input: &mut Input<'_>) -> Outcome<u32> {
    take_while(4..=4, |c: char| c.is_ascii_hexdigit())
        .try_map(|digits| u32::from_str_radix(digits, 16))
        .parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value_strategy() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Integer),
            proptest::num::f64::NORMAL.prop_map(Value::Float),
            any::<String>().prop_map(Value::Text),
        ]
    }

    fn filter_strategy() -> impl Strategy<Value = Filter> {
        let comparison = prop_oneof![
            Just(Comparison::Equal),
            Just(Comparison::NotEqual),
            Just(Comparison::Less),
            Just(Comparison::GreaterOrEqual),
            Just(Comparison::Contains),
            Just(Comparison::StartsWith),
        ];
        let leaf = prop_oneof![
            (any::<String>(), comparison, value_strategy())
                .prop_map(|(f, c, v)| Filter::Compare(f, c, v)),
            ("[a-z]{1,5}", proptest::collection::vec(value_strategy(), 0..4))
                .prop_map(|(f, v)| Filter::In(f, v)),
            "(and|or|not|in|year|a.b)".prop_map(Filter::Exists),
            any::<String>().prop_map(Filter::IsNull),
        ];
        leaf.prop_recursive(5, 30, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| a.or(b)),
                inner.prop_map(Filter::not),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(filter in filter_strategy()) {
            prop_assert_eq!(Filter::parse(&filter.to_string()).unwrap(), filter);
        }

        #[test]
        fn nothing_panics(text in any::<String>(), piece in "[a-z<>=!()\"'`\\\\ ,.0-9-]{0,40}") {
            let _ = Filter::parse(&text);
            let _ = Filter::parse(&piece);
        }
    }

    #[test]
    fn errors_name_the_position_and_what_was_expected() {
        for (text, position, word) in [
            ("", 1, "field name"),
            ("year", 5, "comparison"),
            ("year >= ", 9, "value"),
            ("year >= 2020 and", 17, "field name"),
            ("year >= 2020 lang = 1", 14, "`and`"),
            ("(year = 1", 10, "`)`"),
            ("größe = \"x", 11, "closing"),
            ("year in (1, 2", 14, "`)`"),
            ("year ~ 3", 6, "comparison"),
            ("name = \"\\q\"", 10, "escape"),
        ] {
            match Filter::parse(text) {
                Err(Error::FilterSyntax { position: found, message }) => {
                    assert_eq!(found, position, "{text:?}: {message}");
                    assert!(message.contains(word), "{text:?}: {message}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        for text in
            ["(".repeat(100_000), "not ".repeat(10_000), format!("a = {}", "[".repeat(10_000))]
        {
            assert!(matches!(Filter::parse(&text), Err(Error::FilterSyntax { .. })));
        }
        let chain = |length: usize| vec!["a = 1"; length].join(" and ");
        let most = Filter::parse(&chain(1000)).unwrap();
        assert_eq!(Filter::parse(&most.to_string()).unwrap(), most);
        let groups = vec![format!("({})", chain(300)); 4].join(" and ");
        for text in [chain(1001), groups] {
            let message = Filter::parse(&text).unwrap_err().to_string();
            assert!(message.contains("1000 conditions"), "{message}");
        }
    }
}
