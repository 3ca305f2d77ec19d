//! Hands libFuzzer's bytes to `ringsock_fuzz::key_set`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::key_set::check(data));
