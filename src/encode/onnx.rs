//! The ONNX encoder.
/// An encoder on ONNX Runtime.
#[derive(Debug)]
pub struct OnnxEncoder;
