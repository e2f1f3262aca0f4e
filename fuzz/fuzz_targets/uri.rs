//! The fuzz target `uri`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::sip::uri(data));
