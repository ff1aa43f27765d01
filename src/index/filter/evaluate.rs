//! Whether a document's metadata meets a filter.

use super::{Comparison, Filter};
use crate::text::{Metadata, Value};
use std::cmp::Ordering;

impl Filter {
    /// Whether it holds for `metadata`.
    #[must_use]
    pub fn matches(&self, metadata: &Metadata) -> bool {
        match self {
            Self::Compare(field, comparison, value) => metadata
                .get(field)
                .is_some_and(|found| any(found, &|x| holds(x, *comparison, value))),
            Self::In(field, values) => metadata.get(field).is_some_and(|found| {
                any(found, &|x| values.iter().any(|v| holds(x, Comparison::Equal, v)))
            }),
            Self::Exists(field) => metadata.contains_key(field),
            Self::IsNull(field) => metadata.get(field) == Some(&Value::Null),
            Self::And(a, b) => a.matches(metadata) && b.matches(metadata),
            Self::Or(a, b) => a.matches(metadata) || b.matches(metadata),
            Self::Not(inner) => !inner.matches(metadata),
        }
    }
}

/// A list matches where any element does; lists of lists are not looked into.
fn any(found: &Value, test: &dyn Fn(&Value) -> bool) -> bool {
    match found {
        Value::List(items) => items.iter().any(test),
        single => test(single),
    }
}

fn holds(found: &Value, comparison: Comparison, value: &Value) -> bool {
    match comparison {
        Comparison::Contains | Comparison::StartsWith => match (found, value) {
            (Value::Text(text), Value::Text(part)) if comparison == Comparison::Contains => {
                text.contains(part.as_str())
            }
            (Value::Text(text), Value::Text(part)) => text.starts_with(part.as_str()),
            _ => false,
        },
        Comparison::NotEqual => {
            *found != Value::Null && order(found, value) != Some(Ordering::Equal)
        }
        Comparison::Equal => order(found, value) == Some(Ordering::Equal),
        Comparison::Less => order(found, value) == Some(Ordering::Less),
        Comparison::Greater => order(found, value) == Some(Ordering::Greater),
        Comparison::LessOrEqual => order(found, value).is_some_and(Ordering::is_le),
        Comparison::GreaterOrEqual => order(found, value).is_some_and(Ordering::is_ge),
    }
}

/// None for values of different types, and for null.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Integer(a), Value::Float(b)) => integer_to_float(*a, *b),
        (Value::Float(a), Value::Integer(b)) => integer_to_float(*b, *a).map(Ordering::reverse),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Exact, where a conversion would round integers above 2^53.
fn integer_to_float(a: i64, b: f64) -> Option<Ordering> {
    // 2^63, the first float that no i64 reaches.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if b.is_nan() {
        return None;
    }

    if b >= LIMIT {
        return Some(Ordering::Less);
    }
    if b < -LIMIT {
        return Some(Ordering::Greater);
    }
    #[expect(clippy::cast_possible_truncation, reason = "within the range of i64, and whole")]
    let whole = b.floor() as i64;
    Some(a.cmp(&whole).then(if b > b.floor() { Ordering::Less } else { Ordering::Equal }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str) -> bool {
        let metadata: Metadata = [
            ("year", Value::from(2021)),
            ("price", Value::from(9.5)),
            ("lang", Value::from("en")),
            ("open", Value::from(true)),
            ("gone", Value::Null),
            ("tags", Value::from(vec![Value::from("red"), Value::from("fast")])),
            ("big", Value::from(9_007_199_254_740_993i64)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        Filter::parse(filter).unwrap().matches(&metadata)
    }

    /// Expected values follow from the rules in the module's documentation.
    #[test]
    fn comparisons_follow_their_rules() {
        for yes in [
            "year >= 2020 and lang = \"en\"",
            "year = 2021.0",
            "year < 2021.5",
            "price > 9",
            "price <= 9.5",
            "open = true",
            "tags = \"red\" and tags = \"fast\"",
            "tags in (\"blue\", \"red\")",
            "lang contains \"n\" and lang starts with \"e\"",
            "exists(gone) and gone is null",
            "not exists(missing)",
            "not (missing = 1)",
            "lang != \"de\"",
            "big > 9007199254740992.0",
            "year = 1 or year = 2021 and open = true",
        ] {
            assert!(matches(yes), "{yes}");
        }
        for no in [
            "missing = 1",
            "missing != 1",
            "gone = 1",
            "gone != 1",
            "gone < 1",
            "lang = 2021",
            "year = \"2021\"",
            "tags = \"blue\"",
            "big = 9007199254740992.0",
            "missing is null",
            "year > 9223372036854775807.0",
        ] {
            assert!(!matches(no), "{no}");
        }
    }
}
