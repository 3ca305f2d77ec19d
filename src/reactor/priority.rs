//! The id of a thread in the kernel, and its share of a processor.
//!
//! Never changes another thread.

use std::io;

/// The lowest priority: beside a thread of normal priority on the same processor, it gets 1.5 % of it.
const NICE_MAX: libc::c_int = 19;

/// Sets the calling thread, and no other, to the lowest priority. Needs no privilege.
pub fn yield_to_others() -> io::Result<()> {
    let thread = thread_id();
    // On Linux a priority belongs to a thread, contrary to POSIX.
    // SAFETY: takes integers and touches no memory.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, NICE_MAX) };
    super::socket::result(result as isize).map(drop)
}

/// Returns the id of the calling thread, as in /proc.
pub fn thread_id() -> u32 {
    // SAFETY: takes nothing, and returns the id of the calling thread, which is above 0.
    (unsafe { libc::gettid() }) as u32
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns the nice value of a thread: field 19 of its `stat` in proc(5).
    fn nice(thread: u32) -> String {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(16).unwrap().to_owned()
    }

    #[test]
    fn only_the_thread_that_asks_yields_to_others() {
        let this = thread_id();
        let before = nice(this);
        let other = std::thread::spawn(|| {
            yield_to_others().unwrap();
            nice(thread_id())
        });
        assert_eq!((other.join().unwrap().as_str(), nice(this)), ("19", before));
    }
}
