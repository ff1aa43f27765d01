//! Whether an answer is the right one.

/// An answer for comparison: a number in one form ("$1,200.50" and "1200.5" are one), anything else as
/// SQuAD's evaluation has it (Rajpurkar et al. 2016): lower case, without punctuation and articles,
/// words a space apart.
#[must_use]
pub fn normal(answer: &str) -> String {
    if let Some(number) = number(answer) {
        return number.to_string();
    }
    let plain: String =
        answer.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let words = plain.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the"));
    words.collect::<Vec<_>>().join(" ")
}

/// The number that an answer is, with a sign of money before it, and a percent sign, a full stop or a
/// unit behind it; none where it is more than a number.
#[must_use]
pub fn number(answer: &str) -> Option<f64> {
    let text = answer.trim().trim_end_matches('.').trim();
    let (sign, text) = match text.strip_prefix(['-', '−']) {
        Some(rest) => (-1.0, rest.trim_start()),
        None => (1.0, text),
    };
    let text = text.trim_start_matches(['$', '€', '£']).trim_end_matches('%').trim();
    let digits =
        text.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '.' | 'e' | '+' | '-'));
    if !digits || !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let number: f64 = text.replace(',', "").parse().ok()?;
    number.is_finite().then_some(sign * number)
}

/// The last number in a text, as GSM8K's answers are read where no phrase leads to them.
#[must_use]
pub fn last_number(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, ',' | '.');
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = text.get(..end)?.rfind(|c: char| !is_part(c)).map_or(0, |at| {
        at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    let found = text.get(start..end)?;
    let signed = text.get(..start).is_some_and(|before| before.ends_with('-'));
    let start = if signed { start - 1 } else { start };
    text.get(start..end).filter(|_| found.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether an answer is one of the right ones: as a number within a thousandth, as PAL's evaluation has
/// it, else in its [`normal`] form.
#[must_use]
pub fn is_exact(answer: &str, right: &[&str]) -> bool {
    right.iter().any(|right| match (number(answer), number(right)) {
        (Some(found), Some(right)) => (found - right).abs() <= 1e-3 * right.abs().max(1e-9),
        _ => normal(answer) == normal(right),
    })
}

/// The part of words that an answer shares with the right one that it is most like, from 0 to 1: the
/// harmonic mean of precision and recall (SQuAD's F1).
#[must_use]
pub fn f1(answer: &str, right: &[&str]) -> f64 {
    let found = normal(answer);
    let found: Vec<&str> = found.split(' ').filter(|word| !word.is_empty()).collect();
    let one = |right: &&str| {
        let right = normal(right);
        let mut left: Vec<&str> = right.split(' ').filter(|word| !word.is_empty()).collect();
        if found.is_empty() || left.is_empty() {
            return if found.len() == left.len() { 1.0 } else { 0.0 };
        }
        let all = left.len();
        let mut shared = 0.0;
        for word in &found {
            if let Some(at) = left.iter().position(|other| other == word) {
                left.swap_remove(at);
                shared += 1.0;
            }
        }
        2.0 * shared / (found.len() + all) as f64
    };
    right.iter().map(one).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the rules that are named above; "the cat sat" and "cat" share one word of two and one: 2/3.
    #[test]
    fn answers_are_compared_as_the_benchmarks_do() {
        assert_eq!(normal("The  Quick, brown fox."), "quick brown fox");
        assert_eq!(normal("$1,200.50"), normal("1200.5"));
        assert_eq!(normal("-3."), "-3");
        assert_eq!(
            (number("12 apples"), number("five"), number(""), number("1.2.3")),
            (None, None, None, None)
        );
        assert_eq!(
            (number("50%"), number("−7"), number("1e3")),
            (Some(50.0), Some(-7.0), Some(1000.0))
        );
        assert!(
            is_exact("355687428096000.0", &["355687428096000"])
                && is_exact("The cat", &["dog", "cat!"])
        );
        assert!(!is_exact("10", &["11"]) && !is_exact("10 apples", &["10"]));
        assert!((f1("the cat sat", &["cat"]) - 2.0 / 3.0).abs() < 1e-9);
        assert!((f1("cat cat", &["cat"]) - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!((f1("", &["cat"]), f1("dog", &["cat", "dog"]), f1("", &[""])), (0.0, 1.0, 1.0));
        assert_eq!(last_number("So 3 + 4 = 7, and $1,234.5 is left."), Some("1,234.5"));
        assert_eq!((last_number("it is -5"), last_number("none")), (Some("-5"), None));
        assert_eq!(last_number("für 12€"), Some("12"));
    }
}
