//! Reasoning and the answer that it ends with.

/// What leads to an answer in reasoning (Wei et al. 2022).
const LEAD: &str = "answer is";

/// Reasoning, and the answer behind the last "the answer is"; none where there is no such phrase, or
/// nothing behind it.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let lower = text.to_ascii_lowercase();
    let at = lower.rfind(LEAD)?;
    let answer = text.get(at + LEAD.len()..)?.trim_start_matches([':', ' ', '\n', '*']);
    let line = answer.lines().next().unwrap_or_default();
    // A full stop ends it, but not the one inside a number.
    let end = line.char_indices().find(|(i, c)| {
        *c == '.'
            && line.get(i + 1..).is_none_or(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    let answer = line.get(..end.map_or(line.len(), |(i, _)| i)).unwrap_or_default();
    let answer = answer.trim_matches(['*', '"', ' ']);
    if answer.is_empty() {
        return None;
    }
    let before = text.get(..at).unwrap_or_default().trim_end();
    let before = ["So the", "The", "the", "Therefore, the", "so the"]
        .iter()
        .find_map(|lead| before.strip_suffix(lead))
        .unwrap_or(before);
    Some((before.trim(), answer))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn the_last_answer_counts() {
        let text =
            "He has 3.5 left. The answer is wrong at first. So the answer is 3.5.\n\nQuestion:";
        let (reasoning, answer) = split(text).unwrap();
        assert_eq!(answer, "3.5");
        assert_eq!(reasoning, "He has 3.5 left. The answer is wrong at first.");
        assert_eq!(split("The answer is: **Paris**").unwrap(), ("", "Paris"));
        assert_eq!(split("Dr. Who. The answer is 05/01/2021").unwrap().1, "05/01/2021");
        assert_eq!(split("no such phrase"), None);
        assert_eq!(split("The answer is ."), None);
    }
}
