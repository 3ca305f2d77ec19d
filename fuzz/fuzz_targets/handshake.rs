//! Hands libFuzzer's bytes to `ringsock_fuzz::handshake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::handshake::check(data));
