//! What is trained on: pairs of texts that belong together, from files.

use super::loss::Loss;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
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
}

const QUERY: [&str; 3] = ["query", "anchor", "question"];
const POSITIVE: [&str; 4] = ["positive", "passage", "document", "answer"];
const NEGATIVE: [&str; 2] = ["negative", "negatives"];
const SCORE: [&str; 2] = ["score", "label"];

/// A query, a document that answers it, and some that do not; texts by number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) query: u32,
    pub(super) positive: u32,
    pub(super) negatives: Vec<u32>,
    pub(super) score: f32,
}

/// Texts by number, each once; queries and documents are numbered apart.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) all: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    fn holds(&self, text: &str) -> bool {
        self.numbers.contains_key(text)
    }
}

/// The pairs of a file.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub(super) pairs: Vec<Pair>,
    pub(super) queries: Texts,
    pub(super) documents: Texts,
    /// Pairs that were there before, and were left out.
    pub(super) repeated: usize,
}

impl Pairs {
    /// Reads JSON lines, or CSV or TSV with a header, by the name's ending; `.gz` after it is unpacked.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] naming the line that is no record or lacks a field, and for a
    /// file without pairs.
    pub(super) fn read(path: &Path, fields: &Fields) -> Result<Self> {
        let origin = path.display().to_string();
        let reader = crate::unpack::open(path).map_err(Error::io("read", path))?;
        let name = path.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let mut pairs = Self::default();
        let mut seen = HashSet::new();
        let mut add = |line: u64, record: &Map<String, Value>| {
            let refuse = |reason| Error::Parse { origin: origin.clone(), line: Some(line), reason };
            pairs.add(record, fields, &mut seen).map_err(refuse)
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
                if read.map_err(Error::io("read", path))? == 0 {
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

    fn add(
        &mut self,
        record: &Map<String, Value>,
        fields: &Fields,
        seen: &mut HashSet<(u32, u32, Vec<u32>)>,
    ) -> Result<(), String> {
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
            None | Some((_, Value::Null)) => f64::NAN,
            Some((name, value)) => value
                .as_f64()
                .or_else(|| value.as_str().and_then(|s| s.trim().parse().ok()))
                .filter(|score| score.is_finite())
                .ok_or_else(|| format!("field {name:?}: expected a number, found {value}"))?,
        };
        let (query, positive) = (self.queries.number(query), self.documents.number(positive));
        let negatives: Vec<u32> = negatives.iter().map(|n| self.documents.number(n)).collect();
        if !seen.insert((query, positive, negatives.clone())) {
            self.repeated += 1;
            return Ok(());
        }
        #[expect(clippy::cast_possible_truncation, reason = "a score needs no more")]
        self.pairs.push(Pair { query, positive, negatives, score: score as f32 });
        Ok(())
    }

    /// Whether this is enough for a loss and batches of `batch` pairs.
    ///
    /// # Errors
    /// [`Error::Parameter`] saying what is missing.
    pub(super) fn suit(&self, loss: Loss, batch: usize) -> Result<()> {
        let refuse = |reason: String| Err(Error::parameter("train", reason));
        if loss.needs_company() {
            if batch < 2 {
                return Err(Error::parameter(
                    "batch",
                    format!(
                        "{batch}; this loss compares each pair with the others of its batch, so a \
                         batch needs at least 2 pairs"
                    ),
                ));
            }
            if self.pairs.len() < 2 {
                return refuse(
                    "one pair is too few: this loss compares each pair with others".to_owned(),
                );
            }
            let first = self.pairs.first().map(|p| p.query);
            if self.pairs.iter().all(|p| Some(p.query) == first) {
                return refuse(
                    "all queries are the same; nothing can be learnt from telling their documents \
                     apart"
                        .to_owned(),
                );
            }
            if self.pairs.iter().all(|p| Some(p.positive) == self.pairs.first().map(|p| p.positive))
            {
                return refuse(
                    "all positives are the same; there is nothing to tell apart".to_owned(),
                );
            }
        }
        let without = self.pairs.iter().filter(|p| p.negatives.is_empty()).count();
        if loss.needs_negatives() && without > 0 {
            return refuse(format!(
                "{without} of {} pairs have no negative, which this loss needs",
                self.pairs.len()
            ));
        }
        let unscored = self.pairs.iter().filter(|p| p.score.is_nan()).count();
        if loss.needs_scores() && unscored > 0 {
            return refuse(format!(
                "{unscored} of {} pairs have no score, which this loss needs",
                self.pairs.len()
            ));
        }
        Ok(())
    }

    /// Pairs whose query or positive `other` holds too.
    pub(super) fn overlap(&self, other: &Self) -> usize {
        let known = |texts: &Texts, number: u32, others: &Texts| {
            let text = usize::try_from(number).ok().and_then(|i| texts.all.get(i));
            text.is_some_and(|text| others.holds(text))
        };
        let shared = |pair: &&Pair| {
            known(&self.queries, pair.query, &other.queries)
                || known(&self.documents, pair.positive, &other.documents)
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
    fn data_that_does_not_suit_a_loss_is_refused() {
        let reason = |lines: &[u8], loss: Loss, batch: usize| {
            read("a.jsonl", lines).unwrap().suit(loss, batch).unwrap_err().to_string()
        };
        let one = b"{\"query\":\"a\",\"positive\":\"b\"}\n";
        let same = b"{\"query\":\"a\",\"positive\":\"b\"}\n{\"query\":\"a\",\"positive\":\"c\"}\n";
        assert!(reason(one, Loss::default(), 8).contains("one pair is too few"));
        assert!(reason(same, Loss::default(), 8).contains("all queries are the same"));
        assert!(reason(same, Loss::default(), 1).contains("at least 2 pairs"));
        assert!(reason(same, Loss::MarginMse, 8).contains("2 of 2 pairs have no negative"));
        assert!(reason(same, Loss::Cosent { scale: 20.0 }, 8).contains("all queries are the same"));
        let scored =
            b"{\"query\":\"a\",\"positive\":\"b\"}\n{\"query\":\"x\",\"positive\":\"c\"}\n";
        assert!(reason(scored, Loss::Cosent { scale: 20.0 }, 8).contains("have no score"));
        let found = read("a.jsonl", scored).unwrap();
        assert!(found.suit(Loss::default(), 2).is_ok());
        assert_eq!(found.overlap(&read("b.jsonl", one).unwrap()), 1);
    }
}
