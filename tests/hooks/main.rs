//! Tests of hooks as a backend and clients see them, with a backend that fails in every way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

#[path = "../program/configured.rs"]
#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod configured;

mod backend;
mod decisions;
mod facts;
mod faults;
mod publishing;
mod server;
