//! The fuzz target `dns`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::dns::dns(data));
