//! Hands libFuzzer's bytes to `ringsock_fuzz::deflate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::deflate::check(data));
