//! What a page will cost the parser, told from its tags alone before the parser sees them.
//!
//! The standard makes a parser look through all open elements at many tags, open every formatting
//! element that was left open again in the next paragraph, and compare each attribute with those
//! before it. On pages that people write this costs nothing; 25 kB that are made for it took 750 MB,
//! and 64 MiB would take hours.

/// Deeper than any page; the walk over the tree is not what minds.
const MAX_DEPTH: usize = 10_000;

/// In elements looked at, of which a second is enough for 300 million.
const MAX_EFFORT: usize = 1_000_000_000;
/// An element that is opened again is made and kept: one may cost as much as this many looked at, or
/// the memory runs out before the time does.
const REOPENED: usize = 1000;
/// So many pairs of attributes are compared in the time that one element is looked at.
const ATTRIBUTE_PAIRS: usize = 25;

/// Elements that have no end, or whose end may be left out.
const OPEN_ENDED: [&str; 31] = [
    "area", "base", "body", "br", "col", "colgroup", "dd", "dt", "embed", "head", "hr", "html",
    "img", "input", "li", "link", "meta", "optgroup", "option", "p", "param", "rp", "rt", "source",
    "tbody", "td", "tfoot", "th", "thead", "tr", "wbr",
];

/// Elements that, left open, are opened again behind the end of what they stand in.
const FORMATTING: [&str; 14] = [
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
];

/// Why the page is too much; none where it is not.
pub(super) fn too_much(text: &str) -> Option<String> {
    let mut effort = 0usize;
    let mut depth = 0usize;
    let mut formatting: Vec<&str> = Vec::new();
    // Attributes of all these tags end up in one element.
    let mut of_page = 0usize;
    for tag in text.split('<').skip(1) {
        let closes = tag.starts_with('/');
        let tag = tag.trim_start_matches('/');
        if !tag.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let tag = tag.split('>').next().unwrap_or_default();
        let name = name_of(tag).to_ascii_lowercase();
        let mut attributes = attributes(tag);
        if name == "html" || name == "body" {
            of_page = of_page.saturating_add(attributes);
            attributes = of_page;
        }
        effort = effort
            .saturating_add(depth)
            .saturating_add(formatting.len() * REOPENED)
            .saturating_add(attributes.saturating_mul(attributes) / ATTRIBUTE_PAIRS);
        if effort > MAX_EFFORT {
            return Some("its elements are left open or repeated in a way no page has".to_owned());
        }
        if FORMATTING.contains(&name.as_str()) {
            format(&mut formatting, tag, &name, closes);
        }
        if OPEN_ENDED.contains(&name.as_str()) {
            continue;
        }
        depth = if closes { depth.saturating_sub(1) } else { depth + 1 };
        if depth > MAX_DEPTH {
            return Some(format!("its elements are nested more than {MAX_DEPTH} deep"));
        }
    }
    None
}

/// Adds a formatting element to those that are open, or takes it out.
fn format<'a>(open: &mut Vec<&'a str>, tag: &'a str, name: &str, closes: bool) {
    let same_name = |other: &&str| name_of(other).eq_ignore_ascii_case(name);
    // These two never lie in themselves.
    let alone = name == "a" || name == "nobr";
    if (closes || alone)
        && let Some(at) = open.iter().rposition(same_name)
    {
        open.remove(at);
    }
    // Of those that are all the same, three are opened again.
    if !closes && open.iter().filter(|other| **other == tag).count() < 3 {
        open.push(tag);
    }
}

fn name_of(tag: &str) -> &str {
    let end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
    &tag[..end]
}

/// At most so many attributes stand in the tag.
fn attributes(tag: &str) -> usize {
    tag.bytes().filter(|byte| byte.is_ascii_whitespace() || *byte == b'/').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_take_the_parser_long_is_told_before() {
        let many = |n: usize, tag: &dyn Fn(usize) -> String| (0..n).map(tag).collect::<String>();
        let open = many(2000, &|i| format!("<b a{i}>"));
        for page in [
            "<div>".repeat(10_001),
            format!("<p>{open}{}", "<p>x".repeat(2000)),
            format!("{}{}", "<span>".repeat(9000), "</p>".repeat(200_000)),
            format!("<a {}>", many(200_000, &|i| format!("a{i} "))),
            many(10_000, &|i| format!("<html a{i}=1 b{i}/c{i}>")),
        ] {
            assert!(too_much(&page).is_some(), "{}", &page[..40]);
        }
        let table = format!("<table>{}", "<tr><td><b>x</b><td><i>y".repeat(9000));
        let words = "word ".repeat(10_000);
        for page in [
            "<b>".repeat(5000) + &"<p>x".repeat(100_000),
            "<a name=x>".repeat(5000) + &"<p>x".repeat(100_000),
            format!("<p title='{words}'>"),
            format!("<b>{table}"),
            "<P>One <BR> two <Font color=red>three</FONT>".repeat(100_000),
        ] {
            assert_eq!(too_much(&page), None, "{}", &page[..40]);
        }
    }
}
