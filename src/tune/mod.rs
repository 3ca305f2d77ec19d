//! What a host needs to carry a number of connections, and how far this one is from it: what is behind `ringsock tune`.
//!
//! [`Host`] is what was read, [`Goal`] what is wanted, [`knobs()`] compares the two and changes nothing. [`apply`] alone
//! writes, and only after it has kept what was there. Knows nothing of servers: reads and writes files, no more.

pub mod apply;
mod bound;
mod goal;
mod host;
mod knobs;
mod read;
mod sysctl_file;
mod sysctls;

pub use goal::{Goal, Role, Weight};
pub use host::{Cgroup, Host, Interface, Limit, Memory, Sysctl};
pub use knobs::{Knob, Reach, State, bytes, knobs};
pub use sysctl_file::sysctl_file;
