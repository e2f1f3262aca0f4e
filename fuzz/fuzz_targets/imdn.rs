//! The fuzz target `imdn`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::cpim::imdn(data));
