//! Where a model runs, and in how many bits.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Where a model runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// CUDA where runtime and graphics card are there, else the CPU; it can be asked which.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA graphics card, or an error that says why not.
    Cuda,
}

/// How many bits weights and activations have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// 8-bit integers: about three times the speed on a CPU, cosine 0.99 to fp32.
    #[default]
    Int8,
    /// 32-bit floats.
    Fp32,
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(Error::parameter("device", format!("{name:?}; there are auto, cpu and cuda"))),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "int8" => Ok(Self::Int8),
            "fp32" => Ok(Self::Fp32),
            _ => Err(Error::parameter("precision", format!("{name:?}; there are int8 and fp32"))),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int8 => "int8",
            Self::Fp32 => "fp32",
        })
    }
}
