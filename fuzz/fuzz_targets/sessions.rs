//! The fuzz target `sessions`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::sessions::sessions(data));
