//! Numbers in digits and in English words, brought to one form.

use crate::index::Word;

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 8] =
    ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const LARGE: [(&str, u64); 4] =
    [("dozen", 12), ("hundred", 100), ("thousand", 1_000), ("million", 1_000_000)];

/// The number that begins at word `at`, in digits, and how many words it takes.
pub(super) fn read(
    text: &str,
    words: &[Word],
    at: usize,
    english: bool,
) -> Option<(String, usize)> {
    let word = words.get(at)?;
    let surface = text.get(word.span.clone())?;
    if surface.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(digits(text, words, at, surface));
    }
    if english { spelled(text, words, at) } else { None }
}

/// `1,000` and `3.50` are each read as two words.
fn digits(text: &str, words: &[Word], at: usize, surface: &str) -> (String, usize) {
    let mut number = surface.to_lowercase();
    let mut taken = 1;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    while plain(number.rsplit('.').next().unwrap_or_default()) {
        let (Some(last), Some(next)) = (words.get(at + taken - 1), words.get(at + taken)) else {
            break;
        };
        let gap = text.get(last.span.end..next.span.start).unwrap_or_default();
        let more = text.get(next.span.clone()).unwrap_or_default();
        match gap {
            "," if plain(more) && more.len() == 3 => number.push_str(more),
            "." if plain(more) && !number.contains('.') => {
                number.push('.');
                number.push_str(more);
            }
            _ => break,
        }
        taken += 1;
    }
    // "007" and "7" are the same.
    let trimmed = number.trim_start_matches('0');
    let whole = if trimmed.is_empty() || trimmed.starts_with('.') { "0" } else { "" };
    (format!("{whole}{trimmed}"), taken)
}

fn spelled(text: &str, words: &[Word], at: usize) -> Option<(String, usize)> {
    let mut total: u64 = 0;
    let mut taken = 0;
    // The least that a next part may stand for: "twenty" may go on with 1 to 9, not with "thirty".
    let mut room = u64::MAX;
    while let Some(word) = words.get(at + taken) {
        let surface = text.get(word.span.clone())?.to_lowercase();
        if taken > 0 {
            let last = words.get(at + taken - 1)?;
            let gap = text.get(last.span.end..word.span.start)?;
            if !matches!(gap, " " | "-") {
                break;
            }
        }
        if let Some(unit) = UNITS.iter().position(|known| *known == surface) {
            let unit = unit as u64;
            if unit >= room {
                break;
            }
            total += unit;
            room = 0;
        } else if let Some(ten) = TENS.iter().position(|known| *known == surface) {
            let ten = (ten as u64 + 2) * 10;
            if ten >= room {
                break;
            }
            total += ten;
            room = 10;
        } else if let Some((_, size)) = LARGE.iter().find(|(known, _)| *known == surface) {
            if taken == 0 || total >= *size {
                // "hundreds of" and the like count as words.
                break;
            }
            total = total.checked_mul(*size)?;
            room = *size;
        } else {
            break;
        }
        taken += 1;
    }
    (taken > 0).then(|| (total.to_string(), taken))
}
