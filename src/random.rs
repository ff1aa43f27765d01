//! Random numbers that are the same on every machine: SplitMix64 (Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators", 2014), which passes the tests of BigCrush and is one
//! addition and two multiplications a number.

/// What the state grows by with each number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers; the state is the seed.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The number at place `counter`, from 1, of the sequence of seed 0.
#[cfg(feature = "train")]
pub(crate) fn mix(counter: u64) -> u64 {
    SplitMix64(counter.wrapping_sub(1).wrapping_mul(STEP)).next()
}

/// From 0, which is possible, to 1, which is not: the upper 53 bits, as many as a float holds.
#[cfg(any(feature = "models", feature = "files"))]
pub(crate) fn unit(number: u64) -> f64 {
    (number >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of seed 1234567, as Rosetta Code lists them for this generator.
    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = SplitMix64(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(expected.map(|_| random.next()), expected);
    }

    #[cfg(feature = "train")]
    #[test]
    fn places_count_from_one() {
        let mut random = SplitMix64(0);
        assert_eq!([1, 2, 3].map(mix), [(); 3].map(|()| random.next()));
    }
}
