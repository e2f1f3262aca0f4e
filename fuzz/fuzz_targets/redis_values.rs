//! The fuzz target `redis_values`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::store::redis_values(data));
