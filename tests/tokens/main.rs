//! Tests of tokens as clients use them with the program: each place, rights, ends, revocations and tickets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod program;

#[path = "../program/configured.rs"]
#[allow(dead_code, reason = "each of these tests uses a part of it")]
mod configured;

mod command;
mod ends;
mod entrance;
mod fetched;
mod issuer;
mod opaque;
mod server;
mod topics;
