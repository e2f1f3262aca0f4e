//! The fuzz target `mailbox`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cpm_fuzz::mailbox::mailbox(data));
