//! `ringsock tune`, and the files of `tuning/`, which have to say the same.
//!
//! Hosts are laid out as files ([`stock`]); what the kernel itself has to take is tried in a network namespace of its own,
//! which needs root. Nothing of this host is changed.

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
