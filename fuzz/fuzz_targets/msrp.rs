//! The fuzz target `msrp`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::msrp::msrp(data));
