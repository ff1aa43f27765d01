//! The metadata of a GGUF file, read by the published layout and nothing of vdb's.

use std::collections::HashMap;
use std::path::Path;

/// A value, as far as tests need one.
pub enum Value {
    Number(i64),
    Flag(bool),
    Text(String),
    Numbers(Vec<i64>),
    Texts(Vec<String>),
    Other,
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        *head
    }

    fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn text(&mut self) -> String {
        let length = self.long() as usize;
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn value(&mut self, kind: u32) -> Value {
        match kind {
            0 => Value::Number(i64::from(self.take::<1>()[0])),
            1 => Value::Number(i64::from(i8::from_le_bytes(self.take()))),
            2 => Value::Number(i64::from(u16::from_le_bytes(self.take()))),
            3 => Value::Number(i64::from(i16::from_le_bytes(self.take()))),
            4 => Value::Number(i64::from(u32::from_le_bytes(self.take()))),
            5 => Value::Number(i64::from(i32::from_le_bytes(self.take()))),
            7 => Value::Flag(self.take::<1>()[0] != 0),
            8 => Value::Text(self.text()),
            9 => {
                let inner = u32::from_le_bytes(self.take());
                let values: Vec<Value> = (0..self.long()).map(|_| self.value(inner)).collect();
                if inner == 8 {
                    let text = |v| if let Value::Text(text) = v { text } else { unreachable!() };
                    return Value::Texts(values.into_iter().map(text).collect());
                }
                let number = |v| if let Value::Number(number) = v { number } else { 0 };
                Value::Numbers(values.into_iter().map(number).collect())
            }
            6 => {
                self.take::<4>();
                Value::Other
            }
            10..=12 => Value::Number(self.long() as i64),
            other => panic!("kind {other}"),
        }
    }
}

/// Key and value pairs of a file.
pub fn metadata(path: &Path) -> HashMap<String, Value> {
    let bytes = std::fs::read(path).unwrap();
    let mut reader = Reader(&bytes);
    assert_eq!(&reader.take(), b"GGUF");
    assert!(matches!(u32::from_le_bytes(reader.take()), 2 | 3));
    reader.long();
    let count = reader.long();
    let mut pairs = HashMap::new();
    for _ in 0..count {
        let key = reader.text();
        let kind = u32::from_le_bytes(reader.take());
        let value = reader.value(kind);
        pairs.insert(key, value);
    }
    pairs
}
