//! The requirements of a host for a number of connections, and how far a host is from them: the layer behind
//! `ringsock tune`.
//!
//! [`Host`] is a host as it was read, [`Goal`] what it has to carry; [`settings()`] compares the two and changes
//! nothing. [`apply`] alone writes, after it has recorded the original values. Knows nothing of servers.

pub mod apply;
mod bound;
mod goal;
mod host;
mod read;
mod settings;
mod sysctl_file;
mod sysctls;

pub use goal::{Goal, Role, Severity};
pub use host::{Cgroup, Host, Interface, Limit, Memory, Sysctl};
pub use settings::{Kind, Setting, State, bytes, settings};
pub use sysctl_file::sysctl_file;
