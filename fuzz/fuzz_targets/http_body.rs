//! Hands libFuzzer's bytes to `ringsock_fuzz::http_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::http_body::check(data));
