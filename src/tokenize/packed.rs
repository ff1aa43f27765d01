//! Many short strings of bytes in two allocations.

/// A list of byte strings.
pub(super) struct Packed {
    data: Vec<u8>,
    /// Where each string ends.
    ends: Vec<usize>,
}

impl Packed {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { data: Vec::with_capacity(count * 8), ends: Vec::with_capacity(count) }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.ends.push(self.data.len());
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.data.get(start..end)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back() {
        let mut packed = Packed::with_capacity(3);
        let all: [&[u8]; 4] = [b"one", b"", b"\xFF\x00", b"four"];
        all.iter().for_each(|bytes| packed.push(bytes));
        let back: Vec<&[u8]> = (0..packed.len()).filter_map(|i| packed.get(i)).collect();
        assert_eq!(back, all);
        assert_eq!(packed.get(4), None);
    }
}
