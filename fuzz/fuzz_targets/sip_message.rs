//! The fuzz target `sip_message`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::sip::message(data));
