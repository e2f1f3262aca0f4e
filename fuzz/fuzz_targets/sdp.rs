//! The fuzz target `sdp`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::sdp::sdp(data));
