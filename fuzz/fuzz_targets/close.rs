//! Hands libFuzzer's bytes to `ringsock_fuzz::close`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::close::check(data));
