//! What the fuzz targets see of the keyword index: its own part of tantivy's small files.

use super::Payload;
use super::files::{with_sum, without_sum};

/// A file with its checksum, or one to which the right checksum is added.
pub(crate) fn summed_file(bytes: &[u8], add_sum: bool) {
    let file = if add_sum { with_sum(bytes) } else { bytes.to_vec() };
    let Some(content) = without_sum(file.clone()) else { return };
    assert_eq!(with_sum(&content), file);
    // In a commit this stands inside a file of tantivy's, as a text.
    if let Ok(payload) = serde_json::from_slice::<Payload>(&content) {
        let json = serde_json::to_string(&payload).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Payload>(&json).ok(), Some(payload));
    }
}

/// What stands in such files.
#[cfg(test)]
pub(crate) fn payloads() -> Vec<Vec<u8>> {
    let payload = Payload {
        version: super::VERSION,
        database: [7; 16],
        collection: 1,
        language: "None".to_owned(),
        generation: 9,
    };
    vec![serde_json::to_vec(&payload).unwrap()]
}
