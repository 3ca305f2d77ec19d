//! Hands libFuzzer's bytes to `ringsock_fuzz::differential`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::differential::check(data));
