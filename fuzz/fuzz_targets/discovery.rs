//! Hands libFuzzer's bytes to `ringsock_fuzz::discovery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::discovery::check(data));
