//! The sysctls of a goal as a file for /etc/sysctl.d. Text alone; nothing is written here.

use std::fmt::Write;

use super::bound::target;
use super::goal::{Goal, Role};
use super::host::Host;
use super::knobs::{Reach, State, knobs};
use super::sysctls::TABLE;

/// The first words of every such file, by which one of ours is known.
pub(super) const MARK: &str = "# Written by ringsock tune ";

/// Sysctls of newer kernels, and of a module that may be loaded later than the file.
const NOT_EVERYWHERE: &[&str] = &["kernel.io_uring_disabled", "net.ipv4.tcp_migrate_req", "net.netfilter."];

/// The file's text. What this host has better than wanted is left out, so that the file never lowers it; what cannot be
/// set from here is a comment that says where it can.
pub fn sysctl_file(host: &Host, goal: &Goal) -> String {
    let (processes, role) = (goal.processes, goal.role);
    let shared = if processes > 1 { format!(", {processes} processes") } else { String::new() };
    let role = if role == Role::Server { "a server" } else { "a load generator" };
    let mut text = format!(
        "{MARK}for {role} of {} connections, {} cores{shared}.\n\
         # A line that begins with - may fail: where the kernel has no such sysctl, or a module is not loaded yet.\n",
        goal.connections, goal.cores
    );
    for knob in knobs(host, goal).iter().filter(|knob| knob.reach == Reach::Sysctl) {
        let Some(row) = TABLE.iter().find(|row| row.name == knob.name) else { continue };
        let wanted = target(&(row.bounds)(host, goal));
        let line = match knob.state {
            State::OutOfReach => format!("# {} = {} is not to be set from here. {}", knob.name, knob.wanted, knob.how),
            State::Fine if knob.current != wanted => {
                format!("# {} is {}, which is no worse than {wanted}.", knob.name, knob.current)
            }
            _ => {
                let may_be_missing = NOT_EVERYWHERE.iter().any(|beginning| knob.name.starts_with(beginning));
                format!("{}{} = {}", if may_be_missing { "-" } else { "" }, knob.name, knob.wanted)
            }
        };
        // A String takes everything.
        let _ = write!(text, "\n# {}\n# Otherwise: {}\n{line}\n", knob.reason, knob.otherwise);
    }
    text
}

/// Whether a file is one of ours.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(MARK)
}
