//! Tests of a server on a host that withholds something: a system call, memory, time, an address, some processors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

mod address;
mod paused;
mod processors;
mod refused;
