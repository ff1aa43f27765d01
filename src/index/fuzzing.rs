//! What the fuzz targets see of the indexes: the files that vdb itself writes and reads.

use super::exact::Best;
use super::sealed::{self, Prepared, Sealed};
use super::state::{State, sum_of};
use super::{Among, Bitmap, Effort, Neighbour, Stamp};
use crate::vector::{Metric, Rotation, Space};
use std::io::Write as _;
use std::path::Path;

#[cfg(test)]
pub(crate) mod seeds;

#[cfg(feature = "keyword")]
pub(crate) use super::keyword::summed_file;

pub(crate) const STAMP: Stamp = Stamp { database: [7; 16], collection: 1 };
pub(crate) const DIMENSIONS: usize = 4;
const LIMIT: usize = 5;

/// The list of segments, whole or without its line with the checksum.
pub(crate) fn segment_list(text: &str, add_sum: bool) {
    let text = if add_sum { format!("{}\n{text}", sum_of(text)) } else { text.to_owned() };
    let parse = |text: &str| State::parse(Path::new("SEGMENTS"), text, STAMP, DIMENSIONS).ok();
    if let Some(state) = parse(&text) {
        if let Some(dead) = state.dead(1 << 16) {
            let mut again = state.clone();
            again.set_dead(&dead);
            assert_eq!(again.dead(1 << 16), Some(dead));
        }
        let written = state.to_text().unwrap_or_default();
        assert_eq!(parse(&written), Some(state), "what is read is written the same");
    }
}

/// A sealed segment: opened, and then searched in every way. The one place that changes with the
/// format of segments, together with its seeds.
pub(crate) fn segment(file: &[u8], metric: Metric, make_sum_right: bool) {
    let mut file = file.to_vec();
    if make_sum_right {
        sealed::make_sums_right(&mut file);
    }
    let Ok(mut on_disk) = tempfile::NamedTempFile::new_in(folder()) else { return };
    if on_disk.write_all(&file).is_err() {
        return;
    }
    let space = Space { dimensions: DIMENSIONS, metric };
    let Ok(sealed) = Sealed::open(on_disk.path(), space, STAMP) else { return };
    let query = Prepared::new(&[0.5, -0.5, 0.5, -0.5], &Rotation::new(DIMENSIONS));
    let dead: Bitmap = sealed.ids().iter().copied().filter(|id| id % 3 == 0).collect();
    let allowed: Bitmap = sealed.ids().iter().copied().filter(|id| id % 2 == 0).collect();
    for allowed in [None, Some(&allowed)] {
        let among = Among { dead: &dead, allowed };
        let may = |id: u32| among.holds(id);
        let mut best = Best::new(LIMIT);
        if sealed.search(&query, &mut best, LIMIT, Effort::Candidates(16), among).is_ok() {
            check(&best.into_sorted(), may);
        }
        if let Ok(found) = sealed.search_exact(&query, LIMIT, among) {
            assert!(found.into_iter().all(may));
        }
        // A search scans what is as small as this; the graph is walked all the same.
        let mut visits = usize::MAX;
        if sealed.has_graph()
            && let Ok(found) =
                sealed.walk(&query, LIMIT, 16, Some(0), &mut visits, |row| row % 2 == 0)
        {
            assert!(found.len() <= LIMIT);
        }
    }
    let whole = sealed.check().is_ok();
    assert_eq!(sealed.codes().all(|point| point.is_ok()), whole);
}

fn check(found: &[Neighbour], may: impl Fn(u32) -> bool) {
    assert!(found.len() <= LIMIT);
    assert!(found.is_sorted());
    assert!(found.iter().all(|neighbour| may(neighbour.id)));
}

/// In memory, where the system has a folder that is.
fn folder() -> std::path::PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() }
}
