//! The fuzz target `multipart`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::mime::multipart(data));
