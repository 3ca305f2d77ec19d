//! One thread of a program, stopped alone as by a debugger.

use std::fs;
use std::io::Error;

/// A thread that is stopped until this value is dropped. For the kernel, it belongs to the test's thread that made it.
pub struct StoppedThread(libc::pid_t);

impl StoppedThread {
    /// Stops the thread of this name.
    pub fn new(pid: u32, name: &str) -> Self {
        let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap());
        let is_named = |comm: std::io::Result<String>| comm.is_ok_and(|comm| comm.trim() == name);
        let thread = tasks.find(|task| is_named(fs::read_to_string(task.path().join("comm"))));
        let thread = Self(thread.unwrap().file_name().to_str().unwrap().parse().unwrap());
        let stops = thread.trace(libc::PTRACE_SEIZE) && thread.trace(libc::PTRACE_INTERRUPT) && thread.wait();
        assert!(stops, "{}", Error::last_os_error());
        thread
    }

    fn trace(&self, request: libc::c_uint) -> bool {
        // SAFETY: none of the requests reads or writes memory of this process.
        unsafe { libc::ptrace(request, self.0, 0, 0) == 0 }
    }

    fn wait(&self) -> bool {
        // SAFETY: the kernel writes nothing if it is given no place for the status.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL) == self.0 }
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        // A process cannot be waited for while one of its threads is traced, not even if it has ended.
        let _ = self.trace(libc::PTRACE_DETACH) || self.wait();
    }
}
