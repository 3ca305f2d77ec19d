//! Hands libFuzzer's bytes to `ringsock_fuzz::frame_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::frame_stream::check(data));
