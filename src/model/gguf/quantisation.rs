//! The ways in which GGUF stores values: every one by name, those that can be read.

use super::dequant;

/// Bytes of whole blocks, and room for their values.
type Widen = fn(&[u8], &mut [f32]);

/// A way of storing values: so many together in so many bytes.
#[derive(Debug)]
pub(crate) struct Quantisation {
    number: u32,
    name: &'static str,
    values: u64,
    bytes: u64,
    widen: Option<Widen>,
}

/// Numbers, names and sizes as ggml has them, and the `gguf` package 0.19 (`GGML_QUANT_SIZES`).
static ALL: [Quantisation; 34] = [
    read(0, "F32", 1, 4, dequant::f32),
    read(1, "F16", 1, 2, dequant::f16),
    read(2, "Q4_0", 32, 18, dequant::q4_0),
    read(3, "Q4_1", 32, 20, dequant::q4_1),
    read(6, "Q5_0", 32, 22, dequant::q5_0),
    read(7, "Q5_1", 32, 24, dequant::q5_1),
    read(Q8_0, "Q8_0", 32, 34, dequant::q8_0),
    known(9, "Q8_1", 32, 40),
    known(10, "Q2_K", 256, 84),
    known(11, "Q3_K", 256, 110),
    read(12, "Q4_K", 256, 144, dequant::q4_k),
    read(13, "Q5_K", 256, 176, dequant::q5_k),
    read(14, "Q6_K", 256, 210, dequant::q6_k),
    known(15, "Q8_K", 256, 292),
    known(16, "IQ2_XXS", 256, 66),
    known(17, "IQ2_XS", 256, 74),
    known(18, "IQ3_XXS", 256, 98),
    known(19, "IQ1_S", 256, 50),
    known(20, "IQ4_NL", 32, 18),
    known(21, "IQ3_S", 256, 110),
    known(22, "IQ2_S", 256, 82),
    known(23, "IQ4_XS", 256, 136),
    known(24, "I8", 1, 1),
    known(25, "I16", 1, 2),
    known(26, "I32", 1, 4),
    known(27, "I64", 1, 8),
    known(28, "F64", 1, 8),
    known(29, "IQ1_M", 256, 56),
    read(30, "BF16", 1, 2, dequant::bf16),
    known(34, "TQ1_0", 256, 54),
    known(35, "TQ2_0", 256, 66),
    known(39, "MXFP4", 32, 17),
    known(40, "NVFP4", 64, 36),
    known(41, "Q1_0", 128, 18),
];

const Q8_0: u32 = 8;

const fn read(
    number: u32,
    name: &'static str,
    values: u64,
    bytes: u64,
    widen: Widen,
) -> Quantisation {
    Quantisation { number, name, values, bytes, widen: Some(widen) }
}

const fn known(number: u32, name: &'static str, values: u64, bytes: u64) -> Quantisation {
    Quantisation { number, name, values, bytes, widen: None }
}

impl Quantisation {
    /// All of them.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = (u32, &'static Self)> {
        ALL.iter().map(|one| (one.number, one))
    }

    /// The one of this number.
    pub(super) fn of(number: u32) -> Option<&'static Self> {
        ALL.iter().find(|one| one.number == number)
    }

    /// Its name, as ggml has it.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Values of a block.
    pub(super) fn values(&self) -> u64 {
        self.values
    }

    /// Bytes of a block.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is 8 bits around zero with a scale for every 32 values.
    pub(crate) fn has_codes(&self) -> bool {
        self.number == Q8_0
    }

    /// Why it cannot be read, where it cannot.
    ///
    /// # Errors
    /// Its name, and what is supported.
    pub(crate) fn readable(&self) -> Result<(), String> {
        if self.widen.is_some() {
            return Ok(());
        }
        Err(format!("has the quantisation {}; {}", self.name, supported()))
    }

    /// The values of whole blocks.
    ///
    /// # Errors
    /// Those of [`Self::readable`].
    pub(super) fn widen(&self, bytes: &[u8], values: &mut [f32]) -> Result<(), String> {
        self.readable()?;
        if let Some(widen) = self.widen {
            widen(bytes, values);
        }
        Ok(())
    }
}

/// What can be read, for messages.
pub(super) fn supported() -> String {
    let names: Vec<&str> =
        ALL.iter().filter(|one| one.widen.is_some()).map(Quantisation::name).collect();
    format!("{} are supported", names.join(", "))
}
