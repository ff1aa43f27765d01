//! The `vdb` binary.
fn main() {}
