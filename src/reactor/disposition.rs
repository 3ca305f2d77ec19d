//! Signal dispositions that a handler cannot express: ignoring a signal, and finding it ignored.
//!
//! Never installs a handler.

use std::io;
use std::mem::MaybeUninit;

/// Returns whether the process ignores a signal, perhaps since it was started (nohup, a background job of a script).
pub fn is_ignored(signal: i32) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer means no change; the kernel writes one struct, which outlives the call.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) };
    // SAFETY: zeros are a valid value of this plain C struct, whether the call has written to it or not.
    let now = unsafe { now.assume_init() };
    result == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// Ignores a signal from now on.
pub fn ignore(signal: i32) -> io::Result<()> {
    // SAFETY: takes integers; SIG_IGN names no function.
    let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_ignored_once_it_was_asked_to_be() {
        // No other test of this process uses it.
        assert!(!is_ignored(libc::SIGURG));
        ignore(libc::SIGURG).unwrap();
        assert!(is_ignored(libc::SIGURG));
        assert!(ignore(libc::SIGKILL).is_err() && !is_ignored(libc::SIGKILL));
    }
}
