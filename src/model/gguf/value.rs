//! Values of a GGUF file's metadata. Texts and lists stay where they are; only their place is kept.

use super::header::Reader;
use std::ops::Range;

/// Lists in lists deeper than this are refused; no model has any.
const MAX_DEPTH: usize = 4;

/// What a value is, by its number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Flag,
    Text,
    List,
    U64,
    I64,
    F64,
}

impl Kind {
    /// The kind of this number.
    ///
    /// # Errors
    /// That there is none.
    pub(super) fn of(number: u32) -> Result<Self, String> {
        use Kind::{F32, F64, Flag, I8, I16, I32, I64, List, Text, U8, U16, U32, U64};
        let all = [U8, I8, U16, I16, U32, I32, F32, Flag, Text, List, U64, I64, F64];
        usize::try_from(number).ok().and_then(|at| all.get(at).copied()).ok_or_else(|| {
            format!("a value of kind {number}; kinds 0 to {} are known", all.len() - 1)
        })
    }

    /// Bytes of a value, or of its shortest form.
    fn least(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Flag => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Text => 8,
            Self::List => 12,
        }
    }
}

/// A value of the metadata.
#[derive(Debug)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Flag(bool),
    /// Bytes of the file, which are UTF-8.
    Text(Range<usize>),
    List(List),
}

/// A list, whose elements are all of one kind.
#[derive(Debug)]
pub(super) struct List {
    kind: Kind,
    count: usize,
    bytes: Range<usize>,
}

impl Value {
    /// Reads and checks a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(reader: &mut Reader<'_>, kind: Kind) -> Result<Self, String> {
        Self::parse_within(reader, kind, 0)
    }

    fn parse_within(reader: &mut Reader<'_>, kind: Kind, depth: usize) -> Result<Self, String> {
        Ok(match kind {
            Kind::U8 => Self::Unsigned(u8::from_le_bytes(reader.array()?).into()),
            Kind::U16 => Self::Unsigned(u16::from_le_bytes(reader.array()?).into()),
            Kind::U32 => Self::Unsigned(u32::from_le_bytes(reader.array()?).into()),
            Kind::U64 => Self::Unsigned(u64::from_le_bytes(reader.array()?)),
            Kind::I8 => Self::Signed(i8::from_le_bytes(reader.array()?).into()),
            Kind::I16 => Self::Signed(i16::from_le_bytes(reader.array()?).into()),
            Kind::I32 => Self::Signed(i32::from_le_bytes(reader.array()?).into()),
            Kind::I64 => Self::Signed(i64::from_le_bytes(reader.array()?)),
            Kind::F32 => Self::Float(f32::from_le_bytes(reader.array()?).into()),
            Kind::F64 => Self::Float(f64::from_le_bytes(reader.array()?)),
            Kind::Flag => Self::Flag(flag(reader.array()?)?),
            Kind::Text => {
                let length = reader.text()?.len();
                Self::Text(reader.at - length..reader.at)
            }
            Kind::List => Self::List(List::parse(reader, depth)?),
        })
    }

    pub(super) fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(n) => Some(*n),
            Self::Signed(n) => u64::try_from(*n).ok(),
            _ => None,
        }
    }

    fn signed(&self) -> Option<i64> {
        match self {
            Self::Unsigned(n) => i64::try_from(*n).ok(),
            Self::Signed(n) => Some(*n),
            _ => None,
        }
    }

    pub(super) fn float(&self) -> Option<f64> {
        if let Self::Float(x) = self { Some(*x) } else { None }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(*flag) } else { None }
    }

    pub(super) fn text<'a>(&self, file: &'a [u8]) -> Option<&'a str> {
        let Self::Text(range) = self else { return None };
        std::str::from_utf8(file.get(range.clone())?).ok()
    }

    pub(super) fn texts<'a>(&self, file: &'a [u8]) -> Option<Vec<&'a str>> {
        let list = self.list_of(|kind| kind == Kind::Text)?;
        let mut reader = Reader::new(file.get(list.bytes.clone())?);
        (0..list.count).map(|_| reader.text().ok()).collect()
    }

    pub(super) fn integers(&self, file: &[u8]) -> Option<Vec<i64>> {
        let list = self.list_of(|kind| {
            use Kind::{I8, I16, I32, I64, U8, U16, U32, U64};
            [U8, I8, U16, I16, U32, I32, U64, I64].contains(&kind)
        })?;
        let mut reader = Reader::new(file.get(list.bytes.clone())?);
        (0..list.count).map(|_| Self::parse(&mut reader, list.kind).ok()?.signed()).collect()
    }

    fn list_of(&self, wanted: impl Fn(Kind) -> bool) -> Option<&List> {
        let Self::List(list) = self else { return None };
        wanted(list.kind).then_some(list)
    }
}

impl List {
    /// Kind and count of the elements, then these.
    fn parse(reader: &mut Reader<'_>, depth: usize) -> Result<Self, String> {
        if depth >= MAX_DEPTH {
            return Err(format!("lists in lists, more than {MAX_DEPTH} deep"));
        }
        let kind = Kind::of(reader.u32()?)?;
        let count = reader.u64()?;
        let count = reader.room_for(count, kind.least()).ok_or_else(|| {
            format!(
                "a list is said to have {count} elements, and {} bytes follow: it is damaged or cut \
                 short; fetch it again",
                reader.left()
            )
        })?;
        let start = reader.at;
        match kind {
            Kind::Text | Kind::List | Kind::Flag => {
                for _ in 0..count {
                    Value::parse_within(reader, kind, depth + 1)?;
                }
            }
            // Any bytes are numbers, and there is room for them.
            _ => {
                reader.take(count.saturating_mul(kind.least()))?;
            }
        }
        Ok(Self { kind, count, bytes: start..reader.at })
    }
}

fn flag([byte]: [u8; 1]) -> Result<bool, String> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("a truth value of {other}; 0 and 1 are known")),
    }
}
