//! How many descriptors this process may have open.

use std::io;

/// Raises the soft limit (RLIMIT_NOFILE) to the hard one, which needs no privilege, and returns it.
pub fn raise_descriptor_limit() -> io::Result<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit struct, which is borrowed exclusively.
    super::socket::result(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } as isize)?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one rlimit struct.
    super::socket::result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } as isize)?;
    Ok(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}
