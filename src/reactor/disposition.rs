//! Signal dispositions and signal masks: ignoring a signal, finding it ignored, and choosing the threads that may
//! handle it.
//!
//! Never installs a handler: signal-hook does. A mask belongs to a thread, a disposition to the whole process.

use std::io;
use std::mem::MaybeUninit;

/// Returns whether the process ignores a signal, perhaps since it was started (nohup, a background job of a script).
pub fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer means no change; the kernel writes one struct, which outlives the call.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: zeros are a valid value of this plain C struct, whether the call has written to it or not.
    let action = unsafe { action.assume_init() };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Ignores a signal from now on.
pub fn ignore(signal: i32) -> io::Result<()> {
    // SAFETY: takes integers; SIG_IGN names no function.
    let previous = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if previous == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Keeps the calling thread, and threads that it starts afterwards, from handling these signals. One that is sent to
/// the process goes to another thread, or waits until a thread unblocks it. Programs that these threads run inherit
/// this.
pub fn block(signals: &[i32]) -> io::Result<()> {
    change_mask(libc::SIG_BLOCK, signals)
}

/// Lets the calling thread handle these signals again.
pub fn unblock(signals: &[i32]) -> io::Result<()> {
    change_mask(libc::SIG_UNBLOCK, signals)
}

/// Changes the mask of the calling thread; `how` is SIG_BLOCK or SIG_UNBLOCK.
fn change_mask(how: i32, signals: &[i32]) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer leads to storage for one set, which sigemptyset fills.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: the set is initialized. A number that is no signal is refused with an error.
        if unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: reads one initialized set; a null pointer means that the former mask is not wanted.
    match unsafe { libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn an_ignored_signal_is_found_ignored_and_sigkill_cannot_be_ignored() {
        // No other test of this process uses it.
        assert!(!is_ignored(libc::SIGURG));
        ignore(libc::SIGURG).unwrap();
        assert!(is_ignored(libc::SIGURG));
        assert!(ignore(libc::SIGKILL).is_err() && !is_ignored(libc::SIGKILL));
    }

    #[test]
    fn a_blocked_signal_is_blocked_in_later_threads_until_they_unblock_it() {
        fn blocked() -> u64 {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
            u64::from_str_radix(mask.trim(), 16).unwrap()
        }
        let bits = 1 << (libc::SIGTERM - 1) | 1 << (libc::SIGHUP - 1);
        let blocking = thread::spawn(move || {
            assert_eq!(blocked() & bits, 0);
            block(&[libc::SIGTERM, libc::SIGHUP]).unwrap();
            let inheriting = thread::spawn(move || {
                assert_eq!(blocked() & bits, bits);
                unblock(&[libc::SIGTERM, libc::SIGHUP]).unwrap();
                assert_eq!(blocked() & bits, 0);
            });
            inheriting.join().unwrap();
            assert_eq!(blocked() & bits, bits);
            assert!(block(&[1000]).is_err());
        });
        blocking.join().unwrap();
    }
}
