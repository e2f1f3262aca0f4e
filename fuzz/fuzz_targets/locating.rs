//! The fuzz target `locating`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::locating::locating(data));
