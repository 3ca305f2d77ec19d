//! Hands libFuzzer's bytes to `ringsock_fuzz::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::message::check(data));
