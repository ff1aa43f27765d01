//! What goes in: a document with its metadata, and where it came from.

use super::nesting::MAX_LISTS;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// Metadata of a document: field name to value. Nested objects are flattened to dotted names.
pub type Metadata = BTreeMap<String, Value>;

/// A metadata value: JSON's, less objects (which are flattened).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// An explicit null.
    Null,
    /// true or false.
    Bool(bool),
    /// A whole number that fits 64 bits.
    Integer(i64),
    /// Any other number; always finite.
    Float(f64),
    /// A string.
    Text(String),
    /// A list; a filter on the field matches where any element does. Lists are stored up to 32 deep
    /// in one another.
    List(#[serde(with = "super::nesting")] Vec<Value>),
}

impl Value {
    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(b) => (*b).into(),
            Self::Integer(i) => (*i).into(),
            Self::Float(f) => (*f).into(),
            Self::Text(s) => s.as_str().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
        }
    }
}

macro_rules! value_from {
    ($($from:ty => |$x:ident| $to:expr),* $(,)?) => {
        $(impl From<$from> for Value { fn from($x: $from) -> Self { $to } })*
    };
}
value_from! {
    bool => |x| Self::Bool(x),
    i32 => |x| Self::Integer(x.into()),
    u32 => |x| Self::Integer(x.into()),
    i64 => |x| Self::Integer(x),
    f64 => |x| if x.is_finite() { Self::Float(x) } else { Self::Null },
    &str => |x| Self::Text(x.to_owned()),
    String => |x| Self::Text(x),
    Vec<Value> => |x| Self::List(x),
}

/// Adds a JSON value to `metadata` under `name`, flattening objects into dotted names. Fields are taken
/// in the order of their names, so that of two that get the same dotted name it is always the same one
/// that stays.
pub fn flatten_json(metadata: &mut Metadata, name: &str, value: &serde_json::Value) {
    if let serde_json::Value::Object(fields) = value {
        // Whether a map of serde_json is in that order itself depends on its features, which any crate
        // of a build can turn on.
        let mut fields: Vec<_> = fields.iter().collect();
        fields.sort_unstable_by_key(|(key, _)| *key);
        for (key, inner) in fields {
            let dotted = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            flatten_json(metadata, &dotted, inner);
        }
    } else {
        metadata.insert(name.to_owned(), from_json(value, 0));
    }
}

/// A value inside `lists` lists.
fn from_json(value: &serde_json::Value, lists: usize) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(i) => Value::Integer(i),
            None => n.as_f64().map_or(Value::Null, Value::from),
        },
        serde_json::Value::String(s) => Value::Text(s.clone()),
        serde_json::Value::Array(items) if lists < MAX_LISTS => {
            Value::List(items.iter().map(|item| from_json(item, lists + 1)).collect())
        }
        // An object inside a list has no dotted name, and lists lie in one another just so deep; the
        // JSON text keeps them readable.
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            Value::Text(sorted(value).to_string())
        }
    }
}

/// The value with the fields of all its objects in the order of their names, in which vdb stores and
/// prints JSON. serde_json's own order is this or that of the input, as its features are.
pub(crate) fn sorted(value: &serde_json::Value) -> serde_json::Value {
    let mut value = value.clone();
    value.sort_all_objects();
    value
}

/// How the stored text relates to the file that it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The file, relative to the ingested folder's parent or as the caller named it.
    pub path: Option<String>,
    /// 1-based line of the file at which the stored text starts, where lines are known: 1 for a
    /// text file, the record's line in a JSONL or CSV file.
    pub line: Option<u64>,
    /// Whether the stored text is the file's own text, so that lines inside it are the file's.
    pub verbatim: bool,
}

/// A document to add: text, an id that identifies it in its collection, and what is known of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Identifies the document; adding another one with the same id replaces it.
    pub id: String,
    /// A title, put in front of every chunk when it is embedded.
    pub title: Option<String>,
    /// The text that is searched, and that chunk spans point into.
    pub text: String,
    /// Fields to filter on.
    pub metadata: Metadata,
    /// Where the text came from.
    pub origin: Origin,
    /// Where headings stand in `text`, in order.
    pub headings: Vec<Heading>,
    /// Whether the text is source code, which is cut between lines and not between sentences.
    pub source_code: bool,
    /// The caller's own vector for the whole text. The document is then one chunk, and no encoder
    /// is asked.
    pub vector: Option<Vec<f32>>,
}

impl Document {
    /// A document of plain text.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Self {
        Self { id: id.into(), text: text.into(), ..Self::default() }
    }

    /// Sets the title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets one metadata field.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Brings the caller's own vector: the document becomes one chunk and no encoder is asked.
    #[must_use]
    pub fn vector(mut self, vector: impl Into<Vec<f32>>) -> Self {
        self.vector = Some(vector.into());
        self
    }
}

/// A heading inside a document's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// 1 is the outermost.
    pub level: u8,
    /// The heading's words, without markup.
    pub text: String,
    /// Byte span of the heading, markup included, in the document's text.
    pub span: Range<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit is told at both ends, so that nothing is stored that cannot be read.
    #[test]
    fn lists_in_lists_are_bounded() {
        let nested =
            |depth: usize| (0..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]));
        let json = serde_json::to_string(&nested(MAX_LISTS)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), nested(MAX_LISTS));
        assert!(serde_json::to_string(&nested(MAX_LISTS + 1)).is_err());
        assert!(serde_json::from_str::<Value>(&format!("{{\"List\":[{json}]}}")).is_err());
        // Refusals leave nothing behind that would be counted.
        assert!(serde_json::from_str::<Value>(&json).is_ok());

        let mut metadata = Metadata::new();
        let deep = serde_json::from_str(&format!("{}1{}", "[".repeat(100), "]".repeat(100)));
        flatten_json(&mut metadata, "deep", &deep.unwrap());
        assert!(serde_json::to_string(&metadata).unwrap().contains("[[[1]]]"));
    }
}
