//! Hands libFuzzer's bytes to `ringsock_fuzz::tls_records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::tls_records::check(data));
