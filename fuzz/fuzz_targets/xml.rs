//! The fuzz target `xml`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::xml::xml(data));
