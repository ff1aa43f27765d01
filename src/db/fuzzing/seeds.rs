//! An export as it is written.

use crate::{CollectionOptions, Database, Document};

pub(crate) fn exports() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let places = database.collection("places", &CollectionOptions::dimensions(2)).unwrap();
    let mut harbour = Document::new("harbour", "where ships rest").vector([0.6, 0.8]);
    harbour = harbour.title("Harbour").field("open", true).field("depth", 7.5).field("n", -3);
    let summit = Document::new("summit", "where eagles rest").vector([1.0, 0.0]);
    places.add([harbour, summit]).unwrap();
    let mut export = Vec::new();
    places.export(&mut export).unwrap();
    let line = export.split_inclusive(|byte| *byte == b'\n').nth(1).unwrap().to_vec();
    vec![export, line]
}
