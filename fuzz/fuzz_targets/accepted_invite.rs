//! The fuzz target `accepted_invite`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::handed_over::accepted_invite(data));
