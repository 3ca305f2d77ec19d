//! Hands libFuzzer's bytes to `ringsock_fuzz::hook_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringsock_fuzz::hook_answer::check(data));
