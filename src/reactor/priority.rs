//! How much of a processor a thread gets beside the others.

use std::io;

/// The lowest priority there is: beside a thread of the usual one on the same processor, 1.5 % of it.
const NICE_MAX: libc::c_int = 19;

/// Has this thread, and no other, run only where others leave room. Needs no privilege.
pub fn yield_to_others() -> io::Result<()> {
    // SAFETY: takes nothing, and returns the id of the calling thread.
    let thread = unsafe { libc::gettid() };
    // On Linux a priority is a thread's own, whatever POSIX says.
    // SAFETY: takes integers and touches no memory.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, thread as libc::id_t, NICE_MAX) };
    super::socket::result(result as isize).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The field of the kernel's `stat` that proc(5) numbers 19, of a thread.
    fn nice(thread: libc::pid_t) -> String {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(16).unwrap().to_owned()
    }

    #[test]
    fn only_the_thread_that_asks_yields_to_others() {
        // SAFETY: takes nothing, and returns the id of the calling thread.
        let this = unsafe { libc::gettid() };
        let before = nice(this);
        let other = std::thread::spawn(|| {
            yield_to_others().unwrap();
            // SAFETY: as above.
            nice(unsafe { libc::gettid() })
        });
        assert_eq!((other.join().unwrap().as_str(), nice(this)), ("19", before));
    }
}
