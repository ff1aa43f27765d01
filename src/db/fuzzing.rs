//! What the fuzz targets see of the database: the lines of an export.

use super::collection::Inner;
use super::options::check_dimensions;
use super::transfer::Lines;
use super::whole::Whole;
use crate::vector::{Metric, Space};

#[cfg(test)]
pub(crate) mod seeds;

/// Reads an export as an import does, but for the database that it would go into.
pub(crate) fn import(mut input: &[u8]) {
    let mut lines = Lines { input: &mut input, line: 0, origin: "fuzz" };
    let space = match lines.header() {
        Ok(record) => {
            let _ = Inner::check_index_settings(&record);
            let _ = check_dimensions(record.dimensions as usize);
            record.space()
        }
        // Lines that no header stands in front of are looked at, too.
        Err(_) => Space { dimensions: 2, metric: Metric::Cosine },
    };
    // A line that is no document ends an import; here the next one is read.
    let mut before = lines.line;
    loop {
        match lines.document() {
            Ok(Some(whole)) => {
                let _ = whole.check(space);
                comes_back(&whole);
            }
            Ok(None) => return,
            Err(_) => assert!(lines.line > before, "every step reads a line"),
        }
        before = lines.line;
    }
}

/// Numbers keep every bit on the way out and in.
fn comes_back(whole: &Whole) {
    let json = serde_json::to_vec(whole).unwrap_or_default();
    let again = serde_json::from_slice::<Whole>(&json);
    assert_eq!(again.ok().as_ref(), Some(whole), "a line that is read is written the same");
}
