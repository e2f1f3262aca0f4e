//! The fuzz target `kept_invite`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::handed_over::kept_invite(data));
