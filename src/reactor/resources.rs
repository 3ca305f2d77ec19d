//! The resource limits of this process (setrlimit(2)): descriptors and locked memory.
//!
//! Never lowers a limit. A process inherits its soft limits and may raise them to the hard limits without privilege. A
//! sandbox may forbid reading a limit; the server runs all the same.

use std::io;

/// The usual soft limit of descriptors on Linux, assumed if the real one cannot be read: a server can run within it.
const DESCRIPTORS_ASSUMED: usize = 1024;

/// Raises the soft limit of descriptors (RLIMIT_NOFILE) to the hard one, and returns the limit in force.
pub fn raise_descriptor_limit() -> usize {
    raise(libc::RLIMIT_NOFILE).map_or(DESCRIPTORS_ASSUMED, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Raises the soft limit of locked memory (RLIMIT_MEMLOCK) to the hard one, and returns the limit in force, in bytes;
/// `None` if it cannot be read. The kernel counts the io_uring rings of all processes of a user against it, unless a
/// process has CAP_IPC_LOCK.
pub fn raise_locked_memory_limit() -> Option<u64> {
    raise(libc::RLIMIT_MEMLOCK).ok()
}

/// The type of a resource's number, which differs between C libraries.
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
