//! Pairs of texts that belong together: what encoders are trained on and measured by.

use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Longer lines are not read.
const MAX_LINE: u64 = 64 << 20;

/// Which fields of a record hold what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Default: `query`, `anchor` or `question`.
    pub query: Option<String>,
    /// Default: `positive`, `passage`, `document` or `answer`.
    pub positive: Option<String>,
    /// A text or a list of texts. Default: `negative` or `negatives`.
    pub negative: Option<String>,
    /// Default: `score` or `label`.
    pub score: Option<String>,
    /// A text. Pairs of one group never stand in one batch, and are no hard negatives of each other:
    /// passages of one document, say, which may answer each other's queries. Default: `group`.
    pub group: Option<String>,
}

const QUERY: [&str; 3] = ["query", "anchor", "question"];
const POSITIVE: [&str; 4] = ["positive", "passage", "document", "answer"];
const NEGATIVE: [&str; 2] = ["negative", "negatives"];
const SCORE: [&str; 2] = ["score", "label"];
const GROUP: [&str; 1] = ["group"];

/// A query, a document that answers it, and some that do not; texts by number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    pub(crate) query: u32,
    pub(crate) positive: u32,
    pub(crate) negatives: Vec<u32>,
    /// NaN where there is none.
    pub(crate) score: f32,
    /// The number of its group's name.
    pub(crate) group: Option<u32>,
}

/// Texts by number, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    pub(crate) all: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Texts {
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    /// A text by its number; empty for a number that was not given.
    pub(crate) fn text(&self, number: u32) -> &str {
        let found = usize::try_from(number).ok().and_then(|i| self.all.get(i));
        found.map_or("", String::as_str)
    }

    #[cfg(feature = "train")]
    fn holds(&self, text: &str) -> bool {
        self.numbers.contains_key(text)
    }
}

/// Pairs of a query and a document that answers it, each perhaps with documents that do not, and a
/// score. Every distinct text is held once.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) queries: Texts,
    pub(crate) documents: Texts,
    pub(crate) groups: Texts,
    seen: HashSet<(u32, u32, Vec<u32>)>,
    /// Pairs that were there before, and were left out.
    pub(crate) repeated: usize,
}

impl Pairs {
    /// Reads JSON lines, or CSV or TSV with a header, by the name's ending; `.gz` after it is unpacked.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] naming the line that is no record or lacks a field, and for a
    /// file without pairs.
    pub fn read(path: &Path, fields: &Fields) -> Result<Self> {
        let origin = path.display().to_string();
        let reader = crate::unpack::open(path).map_err(Error::io("read", path))?;
        let name = path.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let mut pairs = Self::default();
        let mut add = |line: u64, record: &Map<String, Value>| {
            let refuse = |reason| Error::Parse { origin: origin.clone(), line: Some(line), reason };
            pairs.add(record, fields).map_err(refuse)
        };
        let table = |ending: &str| Path::new(name).extension().is_some_and(|e| e == ending);
        if table("csv") || table("tsv") {
            for row in crate::text::parse::rows(BufReader::new(reader), table("tsv")) {
                let refuse = |(line, reason)| Error::Parse { origin: origin.clone(), line, reason };
                let (line, record) = row.map_err(refuse)?;
                add(line, &record)?;
            }
        } else {
            let mut reader = BufReader::new(reader);
            let mut bytes = Vec::new();
            for line in 1.. {
                bytes.clear();
                let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes);
                let read = read.map_err(|e| Error::Parse {
                    origin: origin.clone(),
                    line: Some(line),
                    reason: format!("it cannot be read: {e}"),
                })?;
                if read == 0 {
                    break;
                }
                if bytes.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let record = serde_json::from_slice(&bytes).map_err(|e| Error::Parse {
                    origin: origin.clone(),
                    line: Some(line),
                    reason: format!("expected a JSON object: {e}"),
                })?;
                add(line, &record)?;
            }
        }
        if pairs.pairs.is_empty() {
            return Err(Error::Parse {
                origin,
                line: None,
                reason: "it holds no pairs; each record needs a query and a positive".to_owned(),
            });
        }
        Ok(pairs)
    }

    /// Writes JSON lines that [`Self::read`] reads; packed, where the name ends in `.gz`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        self.write_as(path, &Fields::default())
    }

    /// The same with fields of these names.
    pub(crate) fn write_as(&self, path: &Path, fields: &Fields) -> Result<()> {
        let query = fields.query.as_deref().unwrap_or("query");
        let positive = fields.positive.as_deref().unwrap_or("positive");
        let negatives = fields.negative.as_deref().unwrap_or("negatives");
        let score = fields.score.as_deref().unwrap_or("score");
        let group_name = fields.group.as_deref().unwrap_or("group");
        let mut lines = String::new();
        for pair in &self.pairs {
            let mut record = json!({});
            record[query] = json!(self.queries.text(pair.query));
            record[positive] = json!(self.documents.text(pair.positive));
            if !pair.negatives.is_empty() {
                let texts = pair.negatives.iter().map(|n| self.documents.text(*n));
                record[negatives] = texts.collect();
            }
            if pair.score.is_finite() {
                record[score] = json!(pair.score);
            }
            if let Some(group) = pair.group {
                record[group_name] = json!(self.groups.text(group));
            }
            lines.push_str(&crate::text::sorted(&record).to_string());
            lines.push('\n');
        }
        crate::unpack::write(path, lines.as_bytes()).map_err(Error::io("write", path))
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Adds a pair; false where it was there before.
    pub fn push(
        &mut self,
        query: &str,
        positive: &str,
        negatives: &[&str],
        score: Option<f32>,
    ) -> bool {
        self.put(query, positive, negatives, score, None)
    }

    /// Adds a pair of the group `group` ([`Fields::group`]); false where it was there before.
    pub fn push_of(&mut self, group: &str, query: &str, positive: &str) -> bool {
        self.put(query, positive, &[], None, Some(group))
    }

    fn put(
        &mut self,
        query: &str,
        positive: &str,
        negatives: &[&str],
        score: Option<f32>,
        group: Option<&str>,
    ) -> bool {
        let (query, positive) = (self.queries.number(query), self.documents.number(positive));
        let negatives: Vec<u32> = negatives.iter().map(|n| self.documents.number(n)).collect();
        let new = self.seen.insert((query, positive, negatives.clone()));
        if new {
            let score = score.unwrap_or(f32::NAN);
            let group = group.map(|group| self.groups.number(group));
            self.pairs.push(Pair { query, positive, negatives, score, group });
        } else {
            self.repeated += 1;
        }
        new
    }

    fn add(&mut self, record: &Map<String, Value>, fields: &Fields) -> Result<(), String> {
        let query = text(record, fields.query.as_deref(), &QUERY)?;
        let positive = text(record, fields.positive.as_deref(), &POSITIVE)?;
        let negatives = match find(record, fields.negative.as_deref(), &NEGATIVE) {
            None | Some((_, Value::Null)) => Vec::new(),
            Some((_, Value::String(one))) if one.trim().is_empty() => Vec::new(),
            Some((_, Value::String(one))) => vec![one.as_str()],
            Some((name, Value::Array(many))) => many
                .iter()
                .map(|one| one.as_str().filter(|one| !one.trim().is_empty()))
                .collect::<Option<Vec<&str>>>()
                .ok_or_else(|| format!("field {name:?}: expected a list of texts"))?,
            Some((name, _)) => {
                return Err(format!("field {name:?}: expected a text or a list of texts"));
            }
        };
        let score = match find(record, fields.score.as_deref(), &SCORE) {
            None | Some((_, Value::Null)) => None,
            Some((name, value)) => Some(
                value
                    .as_f64()
                    .or_else(|| value.as_str().and_then(|s| s.trim().parse().ok()))
                    .filter(|score| score.is_finite())
                    .ok_or_else(|| format!("field {name:?}: expected a number, found {value}"))?,
            ),
        };
        let group = match find(record, fields.group.as_deref(), &GROUP) {
            None | Some((_, Value::Null)) => None,
            Some((name, value)) => Some(
                value
                    .as_str()
                    .ok_or_else(|| format!("field {name:?}: expected a text, found {value}"))?,
            ),
        };
        #[expect(clippy::cast_possible_truncation, reason = "a score needs no more")]
        self.put(query, positive, &negatives, score.map(|score| score as f32), group);
        Ok(())
    }

    /// Pairs whose query or positive `other` holds too.
    #[cfg(feature = "train")]
    pub(crate) fn overlap(&self, other: &Self) -> usize {
        let shared = |pair: &&Pair| {
            other.queries.holds(self.queries.text(pair.query))
                || other.documents.holds(self.documents.text(pair.positive))
        };
        self.pairs.iter().filter(shared).count()
    }
}

/// The field that was named, or the first usual one that is there.
fn find<'r>(
    record: &'r Map<String, Value>,
    named: Option<&str>,
    usual: &[&str],
) -> Option<(&'r str, &'r Value)> {
    let get = |name: &str| record.get_key_value(name).map(|(name, value)| (name.as_str(), value));
    match named {
        Some(name) => get(name),
        None => usual.iter().find_map(|name| get(name)),
    }
}

fn text<'r>(
    record: &'r Map<String, Value>,
    named: Option<&str>,
    usual: &[&str],
) -> Result<&'r str, String> {
    let expected = || match named {
        Some(name) => format!("{name:?}"),
        None => usual.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" or "),
    };
    let Some((name, value)) = find(record, named, usual) else {
        let known: Vec<&str> = record.keys().map(String::as_str).take(8).collect();
        return Err(format!("no field {}; it has {}", expected(), known.join(", ")));
    };
    match value.as_str().map(str::trim) {
        Some("") => Err(format!("field {name:?} is empty")),
        Some(text) => Ok(text),
        None => Err(format!("field {name:?}: expected a text, found {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, bytes: &[u8]) -> Result<Pairs> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Pairs::read(&path, &Fields::default())
    }

    #[test]
    fn lines_tables_and_packed_files_give_the_same_pairs() {
        let lines =
            b"{\"query\":\"a\",\"positive\":\"b\"}\n\n{\"question\":\"c\",\"answer\":\" d \"}\n\
            {\"query\":\"a\",\"positive\":\"b\",\"negatives\":[\"d\",\"e\"],\"score\":0.5}\n\
            {\"query\":\"a\",\"positive\":\"b\"}\n";
        let found = read("pairs.jsonl", lines).unwrap();
        assert_eq!((found.pairs.len(), found.repeated), (3, 1));
        assert_eq!(found.pairs[2].negatives, [1, 2]);
        assert_eq!(found.documents.all, ["b", "d", "e"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl.gz");
        crate::unpack::write(&path, lines).unwrap();
        let packed = Pairs::read(&path, &Fields::default()).unwrap();
        assert_eq!(packed.pairs[2].negatives, found.pairs[2].negatives);
        let table = b"query,positive,negative,score\na,b,,0.25\n\"c, d\",e,f,1\n";
        let table = read("pairs.csv", table).unwrap();
        assert_eq!(table.queries.all, ["a", "c, d"]);
        assert_eq!(table.pairs[1].negatives, [2]);
        assert!((table.pairs[0].score - 0.25).abs() < 1e-9);
    }

    #[test]
    fn bad_lines_are_named() {
        for (name, bytes, words) in [
            (
                "a.jsonl",
                &b"{\"query\":\"a\",\"positive\":\"b\"}\n{\"query\":\"a\"}\n"[..],
                "a.jsonl:2: no field \"positive\"",
            ),
            (
                "a.jsonl",
                b"{\"query\":\"a\",\"positive\":\"b\"}\n[1]\n",
                "a.jsonl:2: expected a JSON object",
            ),
            (
                "a.jsonl",
                b"{\"query\":\" \",\"positive\":\"b\"}",
                "a.jsonl:1: field \"query\" is empty",
            ),
            ("a.jsonl", b"{\"query\":3,\"positive\":\"b\"}", "expected a text, found 3"),
            ("a.jsonl", b"", "it holds no pairs"),
            ("a.csv", b"query,positive\na\n", "a.csv:2: "),
            ("a.csv", b"query,text\na,b\n", "a.csv:2: no field \"positive\""),
            (
                "a.jsonl",
                b"{\"query\":\"a\",\"positive\":\"b\",\"score\":\"high\"}",
                "expected a number",
            ),
        ] {
            let error = read(name, bytes).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut pairs = Pairs::default();
        assert!(pairs.push("a", "b \"c\"\n", &[], None));
        assert!(pairs.push("a", "d", &["b", "e"], Some(0.5)));
        assert!(!pairs.push("a", "d", &["b", "e"], None));
        assert!(pairs.push_of("one", "f", "g"));
        let folder = tempfile::tempdir().unwrap();
        for name in ["pairs.jsonl", "pairs.jsonl.gz"] {
            let path = folder.path().join(name);
            pairs.write(&path).unwrap();
            let again = Pairs::read(&path, &Fields::default()).unwrap();
            assert_eq!((again.len(), again.repeated), (3, 0));
            assert_eq!(again.documents.all, ["b \"c\"", "d", "b", "e", "g"]);
            assert_eq!(again.pairs[1], pairs.pairs[1]);
            assert_eq!(again.pairs[2].group, Some(0));
        }
        let named = |name: &str| Some(name.to_owned());
        let fields = Fields { query: named("ask"), group: named("of"), ..Fields::default() };
        let path = folder.path().join("named.jsonl");
        pairs.write_as(&path, &fields).unwrap();
        assert_eq!(Pairs::read(&path, &fields).unwrap().pairs[2].group, Some(0));
        assert!(Pairs::read(&path, &Fields::default()).is_err());
        std::fs::write(folder.path().join("no.jsonl.gz"), "no gzip").unwrap();
        let error = Pairs::read(&folder.path().join("no.jsonl.gz"), &Fields::default());
        assert!(error.unwrap_err().to_string().contains(":1: it cannot be read"));
    }
}
