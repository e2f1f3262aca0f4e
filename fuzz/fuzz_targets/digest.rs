//! The fuzz target `digest`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::digest::digest(data));
