//! The fuzz target `header`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::sip::header(data));
