//! Filters on metadata: a typed builder, and the same as text.
//!
//! ```
//! use vdb::Filter;
//!
//! let built = Filter::field("year").ge(2020).and(Filter::field("lang").eq("en"));
//! let parsed = Filter::parse(r#"year >= 2020 and lang = "en""#)?;
//! assert_eq!(built, parsed);
//! # Ok::<(), vdb::Error>(())
//! ```
//!
//! A comparison with a field that is missing, null or of another type is false, `!=` too; `not` turns
//! false into true. Integers and floats compare by value. A list matches where any of its elements
//! does.

mod evaluate;
mod parse;

use crate::error::Result;
use crate::text::Value;
use std::collections::BTreeSet;
use std::fmt;

/// A condition on a document's metadata.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// A comparison of a field with a value.
    Compare(String, Comparison, Value),
    /// The field equals one of the values.
    In(String, Vec<Value>),
    /// The field is there, null included.
    Exists(String),
    /// The field is there and null.
    IsNull(String),
    /// Both hold.
    And(Box<Filter>, Box<Filter>),
    /// At least one holds.
    Or(Box<Filter>, Box<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`: there, not null, and different.
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `contains`: a text with this part.
    Contains,
    /// `starts with`: a text that begins so.
    StartsWith,
}

impl Comparison {
    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Contains => "contains",
            Self::StartsWith => "starts with",
        }
    }
}

/// A field, waiting for its condition.
#[derive(Debug, Clone)]
#[must_use = "a field alone is no filter"]
pub struct FieldFilter(String);

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident => $comparison:ident),* $(,)?) => {
        $($(#[$doc])* #[must_use] pub fn $name(self, value: impl Into<Value>) -> Filter {
            Filter::Compare(self.0, Comparison::$comparison, value.into())
        })*
    };
}

impl FieldFilter {
    comparisons! {
        /// The field equals `value`.
        eq => Equal,
        /// The field is there, not null, and differs from `value`.
        ne => NotEqual,
        /// The field is less than `value`.
        lt => Less,
        /// The field is at most `value`.
        le => LessOrEqual,
        /// The field is greater than `value`.
        gt => Greater,
        /// The field is at least `value`.
        ge => GreaterOrEqual,
        /// The field is a text that contains `value`.
        contains => Contains,
        /// The field is a text that starts with `value`.
        starts_with => StartsWith,
    }

    /// The field equals one of `values`.
    #[must_use]
    pub fn is_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> Filter {
        Filter::In(self.0, values.into_iter().map(Into::into).collect())
    }

    /// The field is there, null included.
    #[must_use]
    pub fn exists(self) -> Filter {
        Filter::Exists(self.0)
    }

    /// The field is there and null.
    #[must_use]
    pub fn is_null(self) -> Filter {
        Filter::IsNull(self.0)
    }
}

impl Filter {
    /// Begins a condition on the field `name`; nested fields have dotted names.
    pub fn field(name: impl Into<String>) -> FieldFilter {
        FieldFilter(name.into())
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    /// At least one holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self::Or(Box::new(self), Box::new(other))
    }

    /// It does not hold.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "it reads like `and` and `or` beside it")]
    pub fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    /// Parses the text form: `=`, `!=`, `<`, `<=`, `>`, `>=`, `contains`, `starts with`,
    /// `in (…, …)`, `is null`, `exists(field)`, combined with `and`, `or`, `not` and parentheses;
    /// `and` binds stronger than `or`. Texts stand in double or single quotes, field names with
    /// spaces or signs in backquotes.
    ///
    /// # Errors
    /// [`crate::Error::FilterSyntax`] with the position and what was expected there.
    pub fn parse(text: &str) -> Result<Self> {
        parse::parse(text)
    }

    /// The fields that it looks at.
    #[must_use]
    pub fn fields(&self) -> BTreeSet<&str> {
        let mut fields = BTreeSet::new();
        let mut pending = vec![self];
        while let Some(filter) = pending.pop() {
            match filter {
                Self::Compare(field, ..)
                | Self::In(field, _)
                | Self::Exists(field)
                | Self::IsNull(field) => {
                    fields.insert(field.as_str());
                }
                Self::And(a, b) | Self::Or(a, b) => pending.extend([&**a, &**b]),
                Self::Not(inner) => pending.push(inner),
            }
        }
        fields
    }
}

/// Text that parses back to the same filter, as long as it is not larger than what is parsed. It has
/// no more parentheses than it needs, or the depth of a long chain would be more than is parsed.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(field, comparison, value) => {
                write!(f, "{} {} {}", Name(field), comparison.symbol(), Literal(value))
            }
            Self::In(field, values) => {
                write!(f, "{} in (", Name(field))?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { ", " } else { "" }, Literal(value))?;
                }
                f.write_str(")")
            }
            Self::Exists(field) => write!(f, "exists({})", Name(field)),
            Self::IsNull(field) => write!(f, "{} is null", Name(field)),
            // Chains nest to the left, and `and` binds stronger.
            Self::And(a, b) => {
                let left = Operand(a, matches!(**a, Self::Or(..)));
                let right = Operand(b, matches!(**b, Self::And(..) | Self::Or(..)));
                write!(f, "{left} and {right}")
            }
            Self::Or(a, b) => write!(f, "{a} or {}", Operand(b, matches!(**b, Self::Or(..)))),
            Self::Not(inner) => {
                let inner = Operand(inner, matches!(**inner, Self::And(..) | Self::Or(..)));
                write!(f, "not {inner}")
            }
        }
    }
}

/// A filter inside another, and whether it needs parentheses there.
struct Operand<'a>(&'a Filter, bool);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1 { write!(f, "({})", self.0) } else { self.0.fmt(f) }
    }
}

struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if parse::is_plain_name(self.0) {
            f.write_str(self.0)
        } else {
            write!(f, "`{}`", self.0.replace('\\', "\\\\").replace('`', "\\`"))
        }
    }
}

struct Literal<'a>(&'a Value);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // JSON's escapes are those that the parser knows.
            Value::Float(x) => write!(f, "{x:?}"),
            other => write!(f, "{}", other.to_json()),
        }
    }
}
