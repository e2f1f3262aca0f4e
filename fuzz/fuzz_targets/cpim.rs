//! The fuzz target `cpim`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::cpim::cpim(data));
