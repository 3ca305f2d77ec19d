//! How much this process may have of the kernel: descriptors, and memory that is locked.
//!
//! A soft limit is what a parent happened to leave; a process may raise it to the hard one without privilege. Where a
//! sandbox forbids even to look, the usual value is assumed, since a server can run within it.

use std::io;

/// The usual limit of descriptors, where the real one is not told.
const DESCRIPTORS_ASSUMED: usize = 1024;

/// Raises the limit of descriptors (RLIMIT_NOFILE) as far as it goes, and returns it.
pub fn raise_descriptor_limit() -> usize {
    raise(libc::RLIMIT_NOFILE).map_or(DESCRIPTORS_ASSUMED, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Raises the limit of locked memory (RLIMIT_MEMLOCK) as far as it goes, and returns it in bytes; `None` where it is not
/// told. Rings count against it, all those of one user together, unless the process may lock what it likes
/// (CAP_IPC_LOCK).
pub fn raise_locked_memory_limit() -> Option<u64> {
    raise(libc::RLIMIT_MEMLOCK).ok()
}

/// The C libraries number resources in different types.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// Raises a soft limit to the hard one, and returns what holds then.
fn raise(resource: Resource) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit struct, which is borrowed exclusively.
    super::socket::result(unsafe { libc::getrlimit(resource, &mut limit) } as isize)?;
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
    // SAFETY: the kernel reads one rlimit struct.
    let result = super::socket::result(unsafe { libc::setrlimit(resource, &raised) } as isize);
    Ok(if result.is_ok() { raised.rlim_cur } else { limit.rlim_cur })
}
