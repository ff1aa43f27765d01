//! The program in what a model wrote.

use crate::sandbox::{Ended, Run};

/// What stands between the first fences, else the text from its first line of code on.
pub(super) fn code(text: &str) -> String {
    if let Some((_, after)) = text.split_once("```") {
        let body = after.split_once('\n').map_or("", |(_, body)| body);
        let body = body.split_once("```").map_or(body, |(body, _)| body);
        return body.trim_end().to_owned();
    }
    let starts = ["def ", "import ", "from ", "#"];
    let is_code = |line: &&str| starts.iter().any(|start| line.starts_with(start));
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.iter().position(is_code).unwrap_or(0);
    lines.get(first..).unwrap_or_default().join("\n").trim_end().to_owned()
}

/// The answer that a program gave: its value, a whole number without ".0"; what it printed last, where it
/// has no value.
pub(super) fn answer(run: &Run) -> Option<String> {
    let Ended::Value(value) = &run.ended else { return None };
    if value.is_none {
        let last = run.output.lines().rfind(|line| !line.trim().is_empty())?;
        return Some(last.trim().to_owned());
    }
    let whole = value.number.and_then(|_| value.text.strip_suffix(".0"));
    Some(whole.unwrap_or(&value.text).to_owned())
}

/// What is told of a program that failed: the end of its traceback, or which limit it met.
pub(super) fn failure(run: &Run) -> Option<String> {
    match &run.ended {
        Ended::Value(_) => None,
        Ended::Failed(traceback) => {
            let lines: Vec<&str> = traceback.lines().collect();
            let last = lines.get(lines.len().saturating_sub(4)..).unwrap_or_default();
            Some(last.join("\n"))
        }
        Ended::Stopped(why) => Some(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn programs_are_found_in_what_stands_around_them() {
        let program = "def solution():\n    return 1";
        for text in [
            format!("Sure!\n```python\n{program}\n```\nDone."),
            format!("```\n{program}\n"),
            format!("Here it is:\n{program}\n"),
            program.to_owned(),
        ] {
            assert_eq!(code(&text), program, "{text}");
        }
        assert_eq!(code("6 * 7"), "6 * 7");
        assert_eq!(code("```"), "");
    }
}
