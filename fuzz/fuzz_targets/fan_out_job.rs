//! The fuzz target `fan_out_job`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::handed_over::fan_out_job(data));
