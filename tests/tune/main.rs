//! Tests of `ringsock tune`, and of the files of `tuning/`, which must agree with it.
//!
//! Hosts are laid out as files ([`stock`]). Changes that the kernel itself must accept are tried in a network namespace
//! of their own, which needs root. Nothing of this host is changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod command;
mod files;
mod irq;

mod namespace;
#[allow(dead_code, reason = "each of these tests uses a part of it")]
#[path = "../program/mod.rs"]
mod program;
mod settings;

mod seccomp;
mod stock;
