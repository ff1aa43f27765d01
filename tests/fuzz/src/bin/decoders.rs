#![no_main]

vdb_fuzz::fuzz_target!(|data: &[u8]| vdb_fuzz::targets::decoders(data));
