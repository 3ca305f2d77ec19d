//! The sysctls of a goal as text for a file in /etc/sysctl.d. Writes nothing.

use std::fmt::Write;

use super::bound::target;
use super::goal::{Goal, Role};
use super::host::Host;
use super::settings::{Kind, State, settings};
use super::sysctls::TABLE;

/// The first words of every such file, which identify it as written by `ringsock tune`.
pub(super) const MARK: &str = "# Written by ringsock tune ";

/// Sysctls of newer kernels, and of a module that may be loaded after the file.
const NOT_EVERYWHERE: &[&str] = &["kernel.io_uring_disabled", "net.ipv4.tcp_migrate_req", "net.netfilter."];

/// Returns the text of the file. Values of this host that exceed the goal are left out, so that the file never lowers
/// them; values that cannot be set from here become comments that say where they can.
pub fn sysctl_file(host: &Host, goal: &Goal) -> String {
    let (processes, role) = (goal.processes, goal.role);
    let shared = if processes > 1 { format!(", {processes} processes") } else { String::new() };
    let role = if role == Role::Server { "a server" } else { "a load generator" };
    let mut text = format!(
        "{MARK}for {role} of {} connections, {} cores{shared}.\n\
          # A line that begins with - may fail: its sysctl may not exist, or its module may not be loaded yet.\n",
        goal.connections, goal.cores
    );
    for setting in settings(host, goal).iter().filter(|setting| setting.kind == Kind::Sysctl) {
        let Some(row) = TABLE.iter().find(|row| row.name == setting.name) else { continue };
        let wanted = target(&(row.bounds)(host, goal));
        let line = match setting.state {
            State::OutOfReach => {
                format!("# {} = {} cannot be set from here. {}", setting.name, setting.wanted, setting.how)
            }
            State::Fine if setting.current != wanted => {
                format!("# {} is {}, which is no worse than {wanted}.", setting.name, setting.current)
            }
            _ => {
                let may_be_missing = NOT_EVERYWHERE.iter().any(|beginning| setting.name.starts_with(beginning));
                format!("{}{} = {}", if may_be_missing { "-" } else { "" }, setting.name, setting.wanted)
            }
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n# {}\n# Otherwise: {}\n{line}\n", setting.reason, setting.otherwise);
    }
    text
}

/// Returns whether a file was written by `ringsock tune`.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(MARK)
}
