//! A record's fields as a document.

use super::{ParseOptions, Source};
use crate::error::Result;
use crate::text::{Document, Metadata, flatten_json, sorted};
use serde_json::{Map, Value};

/// Bytes of field names, nested ones written out: as many as the longest line has.
pub(crate) const MAX_NAMES: usize = 16 << 20;

/// Makes a document of a record that begins at `line`. Fields that are neither id, title nor text
/// become metadata.
pub(super) fn document(
    mut fields: Map<String, Value>,
    line: u64,
    source: &Source,
    options: &ParseOptions,
) -> Result<Document> {
    let missing = |name: &str| {
        source.error(Some(line), format!("no field {name:?}; there are: {}", known(&fields)))
    };
    let pick = |named: Option<&String>, usual: &[&'static str]| match named {
        Some(name) if fields.contains_key(name) => Ok(Some(name.clone())),
        Some(name) => Err(missing(name)),
        None => Ok(usual.iter().find(|u| fields.contains_key(**u)).map(|u| (*u).to_owned())),
    };
    let id_field = pick(options.id_field.as_ref(), &["_id", "id"])?;
    let title_field = match &options.title_field {
        // A record without a title is nothing to complain about.
        Some(name) => fields.contains_key(name).then(|| name.clone()),
        None => pick(None, &["title"])?,
    };
    let Some(text_field) = pick(options.text_field.as_ref(), &["text", "content", "body"])? else {
        return Err(source.error(
            Some(line),
            format!(
                "no field text, content or body; name one of these with --text-field: {}",
                known(&fields)
            ),
        ));
    };
    let mut take = |field: &Option<String>| field.as_ref().and_then(|name| fields.remove(name));
    let id = take(&id_field);
    let title = take(&title_field);
    let text = take(&Some(text_field.clone()));
    let text = match text {
        Some(Value::String(text)) => text,
        Some(Value::Null) | None => String::new(),
        Some(other @ (Value::Number(_) | Value::Bool(_))) => other.to_string(),
        Some(_) => {
            return Err(source.error(
                Some(line),
                format!("field {text_field:?} is a list or an object; text is expected"),
            ));
        }
    };
    let id = match id {
        Some(Value::String(id)) if !id.is_empty() => id,
        Some(Value::Number(id)) => id.to_string(),
        None | Some(Value::Null) => format!("{}#{line}", source.id),
        Some(other) => {
            return Err(source.error(
                Some(line),
                format!(
                    "the id is {}; a text that is not empty or a number is expected",
                    sorted(&other)
                ),
            ));
        }
    };
    let mut document = Document::new(id, text);
    if let Some(Value::String(title)) = title
        && !title.trim().is_empty()
    {
        document.title = Some(title);
    }
    document.metadata = metadata(&Value::Object(fields), Some(line), source)?;
    document.origin = source.origin(line, false);
    Ok(document)
}

/// The first names of fields, for people.
fn known(fields: &Map<String, Value>) -> String {
    let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
    names.sort_unstable();
    names.truncate(20);
    names.join(", ")
}

/// The fields of an object, those inside others under dotted names.
pub(super) fn metadata(fields: &Value, line: Option<u64>, source: &Source) -> Result<Metadata> {
    let bytes = names(0, fields);
    if bytes > MAX_NAMES {
        let reason = format!("its fields' names take {bytes} bytes; at most {MAX_NAMES} are read");
        return Err(source.error(line, reason));
    }
    let mut metadata = Metadata::new();
    flatten_json(&mut metadata, "", fields);
    Ok(metadata)
}

/// Bytes of the names that [`flatten_json`] makes of `value`: every one repeats those around it, so a
/// few bytes can ask for any number of them.
fn names(prefix: usize, value: &Value) -> usize {
    let Value::Object(fields) = value else { return prefix };
    fields.iter().fold(0, |sum, (key, inner)| {
        sum.saturating_add(names(prefix.saturating_add(key.len() + 1), inner))
    })
}
