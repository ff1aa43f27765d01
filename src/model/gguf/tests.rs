//! What the `gguf` package wrote and widened (`tests/golden/blocks.py`), and damage of every kind.

use super::quantisation::Quantisation;
use super::sample::{Sample, list, text};
use super::*;
use proptest::prelude::*;

const BLOCKS: &[u8] = include_bytes!("../../../tests/golden/blocks.gguf");
const VALUES: &[u8] = include_bytes!("../../../tests/golden/blocks.f32");
/// In the order of the file.
const READ: [&str; 11] =
    ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"];

fn open(bytes: Vec<u8>) -> Result<Gguf> {
    Gguf::of_bytes("file", bytes)
}

fn blocks() -> Gguf {
    open(BLOCKS.to_vec()).unwrap()
}

#[track_caller]
fn refused(sample: &Sample, because: &str) {
    let error = open(sample.finish()).err().expect("it is refused");
    assert!(matches!(error, Error::Model { .. }));
    assert!(error.to_string().contains(because), "{error}");
}

#[test]
fn blocks_equal_the_package_to_the_bit() {
    let gguf = blocks();
    let mut wanted = VALUES.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four));
    for name in READ {
        let tensor = gguf.tensor(name).unwrap();
        assert_eq!(tensor.kind.name(), name);
        let values = gguf.read_f32(name).unwrap();
        assert_eq!(values.len(), tensor.elements());
        for (at, value) in values.iter().enumerate() {
            assert_eq!(Some(value.to_bits()), wanted.next(), "{name}, value {at}: {value}");
        }
    }
    assert!(wanted.next().is_none());
    assert_eq!(gguf.tensors().count(), READ.len());
}

#[test]
fn metadata_is_what_the_package_wrote() {
    let gguf = blocks();
    assert_eq!(gguf.unsigned("one.uint8"), Some(200));
    assert_eq!(gguf.unsigned("one.uint16"), Some(60_000));
    assert_eq!(gguf.unsigned("one.uint32"), Some(4_000_000_000));
    assert_eq!(gguf.unsigned("one.uint64"), Some((1 << 63) + 1));
    for negative in ["one.int8", "one.int16", "one.int32", "one.int64"] {
        assert_eq!(gguf.unsigned(negative), None);
        assert!(gguf.has(negative));
    }
    assert_eq!(gguf.float("one.float32"), Some(f64::from(0.1f32)));
    assert_eq!(gguf.float("one.float64"), Some(0.1));
    assert_eq!(gguf.flag("one.bool"), Some(true));
    assert_eq!(gguf.text("one.string"), Some("größer 字 \u{200d}\n"));
    assert_eq!(gguf.text("one.empty"), Some(""));
    assert_eq!(gguf.text("general.architecture"), Some("none"));
    assert_eq!(gguf.texts("many.texts").unwrap(), ["a", "", "ß", "Ġthe"]);
    assert_eq!(gguf.integers("many.integers").unwrap(), [3, -1, i64::from(i32::MAX)]);
    assert_eq!(gguf.integers("many.bytes").unwrap(), [0, 255]);
    // One kind is not taken for another, and what is not there is nothing.
    assert_eq!(gguf.text("one.uint8"), None);
    assert_eq!(gguf.unsigned("one.float32"), None);
    assert_eq!(gguf.texts("many.integers"), None);
    assert_eq!(gguf.integers("many.floats"), None);
    assert_eq!(gguf.texts("many.lists"), None);
    assert_eq!(gguf.integers("many.flags"), None);
    assert_eq!(gguf.unsigned("none"), None);
    assert!(!gguf.has("none") && gguf.tensor("none").is_none());
    assert!(gguf.read_f32("none").unwrap_err().to_string().contains("no tensor \"none\""));
}

/// Numbers, names and sizes of all quantisations, as the package lists them.
#[test]
fn quantisations_are_those_of_the_package() {
    let gguf = blocks();
    let names = gguf.texts("sizes.names").unwrap();
    let numbers = gguf.integers("sizes.numbers").unwrap();
    let wanted: Vec<(u64, &str, u64, u64)> = names
        .iter()
        .zip(numbers.as_chunks::<3>().0)
        .map(|(name, numbers)| {
            let [number, values, bytes] = numbers.map(i64::cast_unsigned);
            (number, *name, values, bytes)
        })
        .collect();
    let mut found: Vec<(u64, &str, u64, u64)> = Quantisation::all()
        .map(|(number, one)| (number.into(), one.name(), one.values(), one.bytes()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, wanted);
    let readable = Quantisation::all().filter(|(_, one)| one.readable().is_ok());
    let mut readable: Vec<&str> = readable.map(|(_, one)| one.name()).collect();
    readable.sort_unstable();
    let mut all = READ;
    all.sort_unstable();
    assert_eq!(readable, all);
}

#[test]
fn codes_are_the_values_in_8_bits() {
    let gguf = blocks();
    let (codes, scales) = gguf.read_codes("Q8_0").unwrap().unwrap();
    let values = gguf.read_f32("Q8_0").unwrap();
    assert_eq!(codes.len(), values.len());
    assert_eq!(scales.len() * 32, values.len());
    for (at, value) in values.iter().enumerate() {
        let made = (f32::from(codes[at]) - 128.0) * scales[at / 32];
        assert_eq!(made.to_bits(), value.to_bits(), "value {at}");
    }
    assert!(gguf.read_codes("Q4_0").unwrap().is_none());
    assert!(gguf.read_codes("none").is_err());
}

#[test]
fn a_file_is_mapped_where_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, BLOCKS).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(gguf.name(), path.display().to_string());
    gguf.look_at_all();
    assert_eq!(gguf.read_f32("Q6_K").unwrap(), blocks().read_f32("Q6_K").unwrap());
    std::fs::write(&path, b"").unwrap();
    let error = Gguf::open(&path).err().unwrap().to_string();
    assert!(error.contains("not a GGUF file") && error.contains("model.gguf"), "{error}");
    let missing = Gguf::open(&folder.path().join("none.gguf")).err().unwrap();
    assert!(matches!(missing, Error::Io { action: "open", .. }));
}

/// A file that is cut anywhere is refused, but for the padding behind the last tensor.
#[test]
fn a_file_that_is_cut_short_is_refused() {
    let end = blocks().tensors().map(|(_, tensor)| tensor.bytes.end).max().unwrap();
    for length in 0..end {
        let error = open(BLOCKS[..length].to_vec()).err();
        let error = error.unwrap_or_else(|| panic!("{length} bytes of {end}")).to_string();
        let wanted = if length < 4 { "not a GGUF file" } else { "cut short" };
        assert!(error.contains(wanted), "{length} bytes: {error}");
    }
    for length in end..=BLOCKS.len() {
        open(BLOCKS[..length].to_vec()).unwrap().look_at_all();
    }
}

/// Only the right answer or an error, whatever a bit of the header becomes. (Bits of the tensors are
/// other weights.)
#[test]
fn flipped_bits_are_refused_or_read() {
    let header = blocks().tensors().map(|(_, tensor)| tensor.bytes.start).min().unwrap();
    let mut refused = 0;
    for at in 0..header {
        for bit in 0..8 {
            let mut bytes = BLOCKS.to_vec();
            bytes[at] ^= 1 << bit;
            match open(bytes) {
                Ok(gguf) => gguf.look_at_all(),
                Err(Error::Model { .. }) => refused += 1,
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
    }
    assert!(refused > header / 2, "{refused} of {} are refused", header * 8);
}

/// Lengths, counts, dimensions and offsets that no machine has room for: an allocation by one of them
/// would end this process.
#[test]
fn absurd_numbers_allocate_nothing() {
    let header = blocks().tensors().map(|(_, tensor)| tensor.bytes.start).min().unwrap();
    for at in 0..header - 8 {
        for number in [u64::MAX, 1 << 63, 1 << 47, u64::MAX / 4 + 8, 1 << 40] {
            let mut bytes = BLOCKS.to_vec();
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            if let Ok(gguf) = open(bytes) {
                gguf.look_at_all();
            }
        }
    }
}

#[test]
fn other_files_and_versions_are_named() {
    refused(&Sample::new().version(1), "version 1; versions 2 and 3 are supported");
    refused(&Sample::new().version(4), "version 4");
    refused(&Sample::new().version(3u32.swap_bytes()), "big-endian");
    assert!(open(Sample::new().version(2).finish()).is_ok());
    assert!(open(Sample::new().finish()).is_ok(), "a file without anything");
    let other = open(b"PK\x03\x04 and more bytes than a header has".to_vec()).err().unwrap();
    assert!(other.to_string().contains("does not begin with the letters GGUF"));
}

#[test]
fn metadata_without_sense_is_refused() {
    let with = |kind: u32, bytes: &[u8]| Sample::new().value("key", kind, bytes);
    refused(&with(13, &[0; 8]), "metadata \"key\": a value of kind 13");
    refused(&with(7, &[2]), "a truth value of 2");
    refused(&with(9, &list(7, 2, &[1, 7])), "a truth value of 7");
    refused(&with(9, &list(99, 1, &[0; 8])), "a value of kind 99");
    refused(&with(8, &[2, 0, 0, 0, 0, 0, 0, 0, 0xc3, 0x28]), "not UTF-8");
    refused(&with(9, &list(8, 1, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff])), "not UTF-8");
    refused(&with(9, &list(0, u64::MAX, &[])), "18446744073709551615 elements, and");
    refused(&with(9, &list(10, 1 << 61, &[])), "elements");
    refused(&with(8, &u64::MAX.to_le_bytes()), "said to have 18446744073709551615 bytes");
    refused(
        &Sample::new().number("key", 1).number("key", 1),
        "metadata \"key\" stands there twice",
    );
    let mut deep = list(0, 1, &[1]);
    for _ in 0..4 {
        deep = list(9, 1, &deep);
    }
    refused(&with(9, &deep), "deep");
    // A key without UTF-8.
    let mut bytes = Sample::new().number("key", 1).finish();
    bytes[4 + 4 + 16 + 8] = 0xff;
    assert!(open(bytes).err().unwrap().to_string().contains("key 0 of its metadata"));
    let long = "x".repeat(70_000);
    refused(&Sample::new().number(&long, 1), "more than 65535 bytes");
    for alignment in [0, 3, 48] {
        let sample = Sample::new().number("general.alignment", alignment);
        refused(&sample, &format!("general.alignment is {alignment}; powers of two"));
    }
    refused(&Sample::new().float("general.alignment", 32.0), "not a whole number");
}

#[test]
fn counts_that_cannot_be_are_refused() {
    for (at, what) in [(8, "tensors"), (16, "metadata values")] {
        for count in [1u64, 65_537, 1 << 40, u64::MAX] {
            let mut bytes = Sample::new().finish();
            bytes.truncate(24);
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
            let error = open(bytes).err().unwrap().to_string();
            assert!(error.contains(&format!("counts {count} {what}")), "{error}");
        }
    }
}

#[test]
fn tensors_without_sense_are_refused() {
    let with = |dims: &[u64], kind: u32| Sample::new().tensor("t", dims, kind, &[0; 64]);
    assert!(open(with(&[4, 2, 2, 1], 0).finish()).is_ok());
    refused(&with(&[17], 0), "has 68 bytes from 0 after the header on, and the file has");
    refused(&with(&[], 0), "has 0 dimensions");
    refused(&with(&[1, 1, 1, 1, 1], 0), "has 5 dimensions");
    refused(&with(&[4, 0], 0), "leave no values");
    refused(&with(&[1 << 32, 1 << 32], 0), "too many values");
    refused(&with(&[1 << 62], 0), "too many values");
    refused(&with(&[u64::MAX, 2], 0), "too many values");
    refused(&with(&[16], 2), "rows of 16 values, which its quantisation Q4_0 stores 32 together");
    refused(&with(&[31, 2], 8), "Q8_0");
    // Unknown kinds with their number, and what can be read.
    refused(&with(&[4], 99), "number 99, which is unknown; F32, F16, Q4_0, Q4_1");
    let named = with(&[4], 0).tensor("t", &[4], 0, &[0; 16]);
    refused(&named, "tensor \"t\" stands there twice");
    refused(&Sample::new().tensor(&"n".repeat(300), &[1], 0, &[0; 4]), "more than 256 bytes");
    // The second tensor begins at 32, which is no multiple of 64.
    let two = Sample::new().tensor("a", &[1], 0, &[0; 4]).tensor("b", &[1], 0, &[0; 4]);
    assert!(open(two.clone().finish()).is_ok());
    let shifted = two.number("general.alignment", 64);
    refused(&shifted, "begins 32 bytes after the header, which is no multiple of 64");
}

#[test]
fn known_quantisations_that_cannot_be_read_are_named() {
    let gguf = open(Sample::new().tensor("t", &[256], 10, &[0; 84]).finish()).unwrap();
    let error = gguf.read_f32("t").unwrap_err().to_string();
    assert!(error.contains("tensor \"t\" has the quantisation Q2_K; F32, F16, Q4_0"), "{error}");
    assert!(error.contains("Q6_K, BF16 are supported"), "{error}");
    assert_eq!(gguf.read("t").unwrap(), [0; 84]);
}

#[test]
fn another_alignment_moves_the_tensors() {
    for alignment in [1, 8, 256, 4096] {
        let sample = Sample::new().alignment(alignment).text("pad", "xyz");
        let sample = sample.tensor("a", &[1], 0, &1.5f32.to_le_bytes());
        let sample = sample.tensor("b", &[2], 1, &[0, 0x3c, 0, 0xc0]);
        let gguf = open(sample.finish()).unwrap();
        assert_eq!(gguf.read_f32("a").unwrap(), [1.5]);
        assert_eq!(gguf.read_f32("b").unwrap(), [1.0, -2.0]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is written by the specification is read again.
    #[test]
    fn what_is_written_is_read(
        texts in proptest::collection::vec(".{0,20}", 0..8),
        numbers in proptest::collection::vec(any::<i32>(), 0..8),
        one in any::<u32>(),
        float in any::<f32>(),
        key in "[a-z.]{1,20}",
        values in proptest::collection::vec(any::<f32>(), 1..20),
    ) {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let sample = Sample::new()
            .texts("#texts", &texts)
            .numbers("#numbers", &numbers)
            .number(&key, one)
            .float("#float", float)
            .text("#text", &key)
            .tensor(&key, &[values.len() as u64], 0, &bytes);
        let gguf = open(sample.finish()).unwrap();
        prop_assert_eq!(gguf.texts("#texts").unwrap(), texts);
        let wide: Vec<i64> = numbers.iter().map(|n| i64::from(*n)).collect();
        prop_assert_eq!(gguf.integers("#numbers").unwrap(), wide);
        prop_assert_eq!(gguf.unsigned(&key), Some(u64::from(one)));
        prop_assert_eq!(gguf.text("#text"), Some(key.as_str()));
        let found = gguf.float("#float").unwrap();
        let float = f64::from(float);
        prop_assert!(found.to_bits() == float.to_bits() || (found.is_nan() && float.is_nan()));
        let bits = |all: &[f32]| all.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&gguf.read_f32(&key).unwrap()), bits(&values));
    }

    /// Blocks do not depend on each other, and widening follows the scale: twice the scale (and
    /// offset) is exactly twice the values, since both are powers of two apart.
    #[test]
    fn values_follow_their_scales(at in 3usize..READ.len(), random in any::<u64>()) {
        let gguf = blocks();
        let name = READ[at];
        let (_, kind) = Quantisation::all().find(|(_, one)| one.name() == name).unwrap();
        let size = usize::try_from(kind.bytes()).unwrap();
        let values = usize::try_from(kind.values()).unwrap();
        let stored = gguf.read(name).unwrap();
        let nth = usize::try_from(random % (stored.len() / size) as u64).unwrap();
        let mut block = stored[nth * size..(nth + 1) * size].to_vec();
        let mut alone = vec![0.0; values];
        kind.widen(&block, &mut alone).unwrap();
        let all = gguf.read_f32(name).unwrap();
        prop_assert_eq!(&alone[..], &all[nth * values..(nth + 1) * values]);

        let halves: &[usize] = match name {
            "Q4_1" | "Q5_1" | "Q4_K" | "Q5_K" => &[0, 2],
            "Q6_K" => &[208],
            _ => &[0],
        };
        // Exponents from 1 to 29 can be raised by one.
        let raised = |half: u8| (1..30).contains(&(half >> 2 & 31));
        prop_assume!(halves.iter().all(|half| raised(block[half + 1])));
        for half in halves {
            block[half + 1] += 4;
        }
        let mut twice = vec![0.0; values];
        kind.widen(&block, &mut twice).unwrap();
        for (one, two) in alone.iter().zip(&twice) {
            prop_assert_eq!((one * 2.0).to_bits(), two.to_bits());
        }
    }

    /// Any bytes behind a right beginning: an error, or a file that can be looked at.
    #[test]
    fn any_bytes_are_refused_or_read(
        counts in (0u64..3, 0u64..3),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let counts = [counts.0.to_le_bytes(), counts.1.to_le_bytes()].concat();
        let file = [&b"GGUF\x03\0\0\0"[..], &counts, &text("k"), &bytes].concat();
        if let Ok(gguf) = open(file) {
            gguf.look_at_all();
        }
    }
}
