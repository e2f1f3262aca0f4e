//! The fuzz target `resource_lists`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::xml::resource_lists(data));
