//! The fuzz target `transfer_encoding`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::mime::transfer_encoding(data));
