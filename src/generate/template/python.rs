//! What templates expect of Python.

use minijinja::value::{Value, ValueKind};
use std::fmt::Write;

/// Values within values.
const MAX_DEPTH: usize = 64;

/// `json.dumps` with `ensure_ascii=False`, as transformers sets it up: a space after commas and
/// colons, or `indent` spaces a level.
pub(super) fn dumps(value: &Value, indent: Option<usize>) -> Result<String, String> {
    let mut out = String::new();
    write_json(value, indent, 0, &mut out)?;
    Ok(out)
}

fn write_json(
    value: &Value,
    indent: Option<usize>,
    depth: usize,
    out: &mut String,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("expected at most {MAX_DEPTH} values within each other for tojson"));
    }
    let text = |text: &str| serde_json::to_string(text).map_err(|e| e.to_string());
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&value.to_string()),
        ValueKind::String => out.push_str(&text(value.as_str().unwrap_or_default())?),
        ValueKind::Seq | ValueKind::Map => {
            let is_map = value.kind() == ValueKind::Map;
            let (open, close) = if is_map { ('{', '}') } else { ('[', ']') };
            out.push(open);
            let mut count = 0;
            for item in value.try_iter().map_err(|e| e.to_string())? {
                separate(count > 0, indent, depth + 1, out);
                count += 1;
                if is_map {
                    let key = item.as_str().map_or_else(|| item.to_string(), ToOwned::to_owned);
                    out.push_str(&text(&key)?);
                    out.push_str(": ");
                    let inner = value.get_item(&item).map_err(|e| e.to_string())?;
                    write_json(&inner, indent, depth + 1, out)?;
                } else {
                    write_json(&item, indent, depth + 1, out)?;
                }
            }
            if count > 0 && indent.is_some() {
                separate(false, indent, depth, out);
            }
            out.push(close);
        }
        other => return Err(format!("expected a value with a form in JSON, found {other}")),
    }
    Ok(())
}

fn separate(after_another: bool, indent: Option<usize>, depth: usize, out: &mut String) {
    match indent {
        None if after_another => out.push_str(", "),
        None => {}
        Some(width) => {
            if after_another {
                out.push(',');
            }
            out.push('\n');
            // A template states the width; none means more than this.
            out.extend(std::iter::repeat_n(' ', width.min(16) * depth));
        }
    }
}

/// A time, in seconds since 1970 in Greenwich, by the directives of Python's `strftime` that stand for
/// parts of date and time in English.
pub(super) fn strftime(format: &str, seconds: u64) -> Result<String, String> {
    const DAYS: [&str; 7] =
        ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (days, second) = (seconds / 86400, seconds % 86400);
    let (year, month, day, of_year) = civil(days);
    // 1 January 1970 was a Thursday.
    let weekday = usize::try_from((days + 3) % 7).ok().and_then(|d| DAYS.get(d)).unwrap_or(&"");
    let name = usize::try_from(month - 1).ok().and_then(|m| MONTHS.get(m)).unwrap_or(&"");
    let short = |text: &'static str| text.get(..3).unwrap_or_default();
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let half = if hour % 12 == 0 { 12 } else { hour % 12 };

    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let done = match rest.next() {
            Some('Y') => write!(out, "{year}"),
            Some('y') => write!(out, "{:02}", year % 100),
            Some('m') => write!(out, "{month:02}"),
            Some('d') => write!(out, "{day:02}"),
            Some('e') => write!(out, "{day:2}"),
            Some('j') => write!(out, "{of_year:03}"),
            Some('B') => write!(out, "{name}"),
            Some('b' | 'h') => write!(out, "{}", short(name)),
            Some('A') => write!(out, "{weekday}"),
            Some('a') => write!(out, "{}", short(weekday)),
            Some('H') => write!(out, "{hour:02}"),
            Some('I') => write!(out, "{half:02}"),
            Some('M') => write!(out, "{minute:02}"),
            Some('S') => write!(out, "{:02}", second % 60),
            Some('p') => write!(out, "{}", if hour < 12 { "AM" } else { "PM" }),
            Some('F') => write!(out, "{year}-{month:02}-{day:02}"),
            Some('T') => write!(out, "{hour:02}:{minute:02}:{:02}", second % 60),
            Some('%') => write!(out, "%"),
            other => {
                let found = other.map(String::from).unwrap_or_default();
                return Err(format!("strftime_now does not know %{found}"));
            }
        };
        done.map_err(|e| e.to_string())?;
    }
    Ok(out)
}

/// Year, month, day and day of the year, the last three from 1 on, of days since 1970.
fn civil(mut days: u64) -> (u64, u64, u64, u64) {
    // The calendar repeats after 400 years.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let of_year = days + 1;
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1, of_year)
}

/// The source without `{% generation %}` and its end, by which transformers marks what a model has
/// said for training; they write nothing.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let word =
            tag.trim_start_matches(['{', '%', '-', '+']).trim_end_matches(['}', '%', '-', '+']);
        let replacement = match word.trim() {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        match replacement {
            // White space control stays where it is.
            Some(replacement) => out.push_str(&tag.replacen(word.trim(), replacement, 1)),
            None => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: Python 3.11, `datetime.fromtimestamp(t, timezone.utc).strftime(...)`.
    #[test]
    fn dates_are_pythons() {
        let format = "%Y-%m-%d %y %e %j %B %b %A %a %H:%M:%S %I %p %% %F %T";
        for (seconds, expected) in [
            (
                0,
                "1970-01-01 70  1 001 January Jan Thursday Thu 00:00:00 12 AM % 1970-01-01 00:00:00",
            ),
            (
                951_782_399,
                "2000-02-28 00 28 059 February Feb Monday Mon 23:59:59 11 PM % 2000-02-28 23:59:59",
            ),
            (
                951_825_600,
                "2000-02-29 00 29 060 February Feb Tuesday Tue 12:00:00 12 PM % 2000-02-29 12:00:00",
            ),
            (
                1_735_689_599,
                "2024-12-31 24 31 366 December Dec Tuesday Tue 23:59:59 11 PM % 2024-12-31 23:59:59",
            ),
            (
                4_107_542_400,
                "2100-03-01 00  1 060 March Mar Monday Mon 00:00:00 12 AM % 2100-03-01 00:00:00",
            ),
            (
                13_569_465_600,
                "2400-01-01 00  1 001 January Jan Saturday Sat 00:00:00 12 AM % 2400-01-01 00:00:00",
            ),
        ] {
            assert_eq!(strftime(format, seconds).unwrap(), expected);
        }
        assert_eq!(strftime("%d %b %Y", 1_721_952_000).unwrap(), "26 Jul 2024");
        assert!(strftime("%Q", 0).is_err());
        assert!(strftime("%", 0).is_err());
    }

    /// Expected values: Python's json.dumps with ensure_ascii=False.
    #[test]
    fn json_is_pythons() {
        let value = Value::from_serialize(serde_json::json!([
            {"name": "größe", "n": [1, 2.5, -3], "none": null, "empty": {}, "list": []},
            true, "a\"b\\c\n\t\u{1}\u{7f}</s>",
        ]));
        let expected = "[{\"name\": \"größe\", \"n\": [1, 2.5, -3], \"none\": null, \"empty\": {}, \
                        \"list\": []}, true, \"a\\\"b\\\\c\\n\\t\\u0001\u{7f}</s>\"]";
        assert_eq!(dumps(&value, None).unwrap(), expected);
        let value = Value::from_serialize(serde_json::json!({"a": [1, {"b": []}]}));
        let indented = "{\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    }\n  ]\n}";
        assert_eq!(dumps(&value, Some(2)).unwrap(), indented);
        assert!(dumps(&Value::UNDEFINED, None).is_err());
        let mut deep = Value::from(1);
        for _ in 0..100 {
            deep = Value::from(vec![deep]);
        }
        assert!(dumps(&deep, None).is_err());
    }

    #[test]
    fn generation_tags_go() {
        assert_eq!(
            without_generation_tags("a{%- generation -%}b{% endgeneration %}{% if x %}{%"),
            "a{%- if true -%}b{% endif %}{% if x %}{%"
        );
        assert_eq!(without_generation_tags("{{ generation }}"), "{{ generation }}");
    }
}
