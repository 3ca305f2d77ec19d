//! The limits of this process: descriptors and locked memory.
//!
//! Never lowers a limit. A soft limit is only what a parent process left; a process may raise it to the hard limit
//! without privilege. If a sandbox forbids reading the limit, the usual value is assumed, because a server can run
//! within it.

use std::io;

/// The usual limit of descriptors, assumed if the real one cannot be read.
const DESCRIPTORS_ASSUMED: usize = 1024;

/// Raises the limit of descriptors (RLIMIT_NOFILE) to its maximum, and returns it.
pub fn raise_descriptor_limit() -> usize {
    raise(libc::RLIMIT_NOFILE).map_or(DESCRIPTORS_ASSUMED, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Raises the limit of locked memory (RLIMIT_MEMLOCK) to its maximum, and returns it in bytes; `None` if it cannot be
/// read. Rings count against it, all those of one user together, unless the process has CAP_IPC_LOCK.
pub fn raise_locked_memory_limit() -> Option<u64> {
    raise(libc::RLIMIT_MEMLOCK).ok()
}

/// The type in which the C library numbers resources.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// Raises a soft limit to the hard one, and returns the limit in force.
fn raise(resource: Resource) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit struct, which is borrowed exclusively.
    super::socket::result(unsafe { libc::getrlimit(resource, &mut limit) } as isize)?;
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the kernel reads one rlimit struct.
    let result = super::socket::result(unsafe { libc::setrlimit(resource, &raised) } as isize);
    Ok(if result.is_ok() { raised.rlim_cur } else { limit.rlim_cur })
}
