//! How deep lists may lie in one another. Reading one takes stack for every level, and the depth is
//! the file's choice: two bytes of a record for each.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::cell::Cell;

/// An export, in which every list is an object with a list in it, is read back down to this depth:
/// JSON's own parser ends at 128 levels.
pub(super) const MAX_LISTS: usize = 32;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// One level more, as long as it lives.
struct Level;

impl Level {
    fn enter() -> Result<Self, String> {
        let depth = DEPTH.get();
        if depth >= MAX_LISTS {
            return Err(format!("lists lie in one another more than {MAX_LISTS} deep"));
        }
        DEPTH.set(depth + 1);
        Ok(Self)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}

pub(super) fn serialize<T: Serialize, S: Serializer>(
    items: &Vec<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let _level = Level::enter().map_err(ser::Error::custom)?;
    items.serialize(serializer)
}

pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let _level = Level::enter().map_err(de::Error::custom)?;
    Vec::deserialize(deserializer)
}
