//! Hands libFuzzer's bytes to `ringsock_fuzz::introspection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::introspection::check(data));
