//! The markers of passages that a model writes into its answer, as in `[2]` or `[1, 3]`.

use std::ops::Range;

/// Longer ones are text.
const MOST_BYTES: usize = 32;

/// A marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    /// Its bytes, with the white space in front of it.
    pub(super) span: Range<usize>,
    /// The numbers in it.
    pub(super) numbers: Vec<usize>,
}

/// The markers in `text`, in order.
pub(super) fn markers(text: &str) -> Vec<Marker> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text.get(at..).and_then(|rest| rest.find(['[', '【'])).map(|i| at + i) {
        let width = text.get(open..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        let inner = text.get(open + width..).unwrap_or_default();
        let close = inner.find([']', '】']).filter(|length| *length <= MOST_BYTES);
        let read = close.and_then(|length| {
            Some((numbers(inner.get(..length)?)?, length, inner.get(length..)?.chars().next()?))
        });
        let Some((numbers, length, bracket)) = read else {
            at = open + width;
            continue;
        };
        let end = open + width + length + bracket.len_utf8();
        let start = text.get(..open).map_or(open, |before| before.trim_end().len());
        found.push(Marker { span: start..end, numbers });
        at = end;
    }
    found
}

/// `1, 2` or `Passage 3`; none where there is anything else.
fn numbers(inner: &str) -> Option<Vec<usize>> {
    let lower = inner.trim().to_lowercase();
    let lower = ["passages", "passage", "sources", "source"]
        .iter()
        .find_map(|word| lower.strip_prefix(word))
        .unwrap_or(&lower);
    lower
        .split([',', ';'])
        .map(|part| {
            let digits = part.trim().trim_start_matches('#');
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        })
        .collect()
}

/// `text` without its markers, and each of them with the place where it stood in what is left.
pub(in crate::rag) fn without_markers(text: &str) -> (String, Vec<(usize, Vec<usize>)>) {
    let mut plain = String::with_capacity(text.len());
    let mut places = Vec::new();
    let mut at = 0;
    for marker in markers(text) {
        plain.push_str(text.get(at..marker.span.start).unwrap_or_default());
        places.push((plain.len(), marker.numbers));
        at = marker.span.end;
    }
    plain.push_str(text.get(at..).unwrap_or_default());
    (plain, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_taken_out_and_their_places_kept() {
        let (plain, places) = without_markers("He ran [1]. She sat[2, 3]【4】, [Passage 5] then.");
        assert_eq!(plain, "He ran. She sat, then.");
        let expected = [(6, vec![1]), (15, vec![2, 3]), (15, vec![4]), (16, vec![5])];
        assert_eq!(places, expected);
    }

    #[test]
    fn brackets_with_anything_else_are_text() {
        for text in ["[sic]", "[]", "[1", "a[i]", "[1 or 2]", "[99999999999999999999999]", "[-1]"] {
            assert_eq!(without_markers(text), (text.to_owned(), vec![]));
        }
        assert_eq!(without_markers("[[1]]").1, [(1, vec![1])]);
    }
}
