//! Hands libFuzzer's bytes to `ringsock_fuzz::request_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::request_head::check(data));
