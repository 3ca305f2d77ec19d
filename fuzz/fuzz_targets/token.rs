//! Hands libFuzzer's bytes to `ringsock_fuzz::token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::token::check(data));
