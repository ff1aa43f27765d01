//! GGUF files of a few numbers, written by the specification.

/// A file in the making.
#[derive(Clone)]
pub(crate) struct Sample {
    version: u32,
    values: Vec<Vec<u8>>,
    tensors: Vec<Tensor>,
    alignment: usize,
}

#[derive(Clone)]
struct Tensor {
    name: String,
    dims: Vec<u64>,
    kind: u32,
    bytes: Vec<u8>,
}

impl Sample {
    pub(crate) fn new() -> Self {
        Self { version: 3, values: Vec::new(), tensors: Vec::new(), alignment: 32 }
    }

    pub(crate) fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// A value by the number of its kind and its bytes.
    pub(crate) fn value(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        self.values.push([&text(key), &kind.to_le_bytes()[..], bytes].concat());
        self
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.value(key, 8, &text(value))
    }

    pub(crate) fn number(self, key: &str, value: u32) -> Self {
        self.value(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn float(self, key: &str, value: f32) -> Self {
        self.value(key, 6, &value.to_le_bytes())
    }

    pub(crate) fn texts(self, key: &str, values: &[impl AsRef<str>]) -> Self {
        let texts = values.iter().map(|value| text(value.as_ref()));
        self.value(key, 9, &list(8, values.len() as u64, &texts.collect::<Vec<_>>().concat()))
    }

    pub(crate) fn numbers(self, key: &str, values: &[i32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.value(key, 9, &list(5, values.len() as u64, &bytes))
    }

    /// Tensors begin at multiples of this from here on; it says so as well.
    pub(crate) fn alignment(self, alignment: u32) -> Self {
        let mut aligned = self.number("general.alignment", alignment);
        aligned.alignment = alignment as usize;
        aligned
    }

    /// A tensor by its dimensions, the fastest first, the number of its quantisation, and its bytes.
    pub(crate) fn tensor(mut self, name: &str, dims: &[u64], kind: u32, bytes: &[u8]) -> Self {
        let (name, dims, bytes) = (name.to_owned(), dims.to_vec(), bytes.to_vec());
        self.tensors.push(Tensor { name, dims, kind, bytes });
        self
    }

    /// Without the tensors of this name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.tensors.retain(|tensor| tensor.name != name);
        self
    }

    /// Without the values under this key.
    pub(crate) fn without_key(mut self, key: &str) -> Self {
        let key = text(key);
        self.values.retain(|value| !value.starts_with(&key));
        self
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut file = [&b"GGUF"[..], &self.version.to_le_bytes()].concat();
        for count in [self.tensors.len(), self.values.len()] {
            file.extend((count as u64).to_le_bytes());
        }
        file.extend(self.values.concat());
        let mut data = Vec::new();
        for tensor in &self.tensors {
            file.extend(text(&tensor.name));
            file.extend(u32::try_from(tensor.dims.len()).unwrap().to_le_bytes());
            file.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            file.extend(tensor.kind.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            data.resize(data.len().next_multiple_of(self.alignment.max(1)), 0);
        }
        file.resize(file.len().next_multiple_of(self.alignment.max(1)), 0);
        file.extend(data);
        file
    }
}

/// A length and a text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// Kind, count and bytes of a list.
pub(crate) fn list(kind: u32, count: u64, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat()
}
