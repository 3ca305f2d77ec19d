//! Ways to withhold resources from a program, as a host may do: system calls, and memory to lock.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the kernel judge the program's system calls by this filter, as a container's runtime does.
pub fn filter_system_calls(command: &mut Command, mut filter: Vec<libc::sock_filter>) {
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: takes integers and touches no memory.
        let allowed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        // SAFETY: the kernel reads the program and its filter, which both outlive the call.
        let installed = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        if allowed == 0 && installed == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec `install` only makes system calls; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(install) };
}

/// Makes the kernel refuse these system calls of the program with this error, as a container's runtime does.
pub fn refuse_system_calls(command: &mut Command, numbers: &[libc::c_long], errno: i32) {
    let step = |code: u32, jump_if_not: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: jump_if_not, k };
    // The number of the system call is the first word that a filter sees.
    let mut filter = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for number in numbers {
        filter.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, *number as u32));
        filter.push(step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno as u32));
    }
    filter.push(step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW));
    filter_system_calls(command, filter);
}

/// Leaves the program so much memory to lock, and no privilege that exempts it. All processes of a user share the
/// limit, so a test can rely on nothing less than a whole ring.
pub fn limit_locked_memory(command: &mut Command, bytes: u64) {
    const CAP_IPC_LOCK: libc::c_ulong = 14;
    let limit = move || {
        let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
        // SAFETY: takes integers and touches no memory. An ordinary user has no such privilege to lose.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0) };
        // SAFETY: the kernel reads one rlimit struct.
        if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec `limit` only makes system calls; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(limit) };
}
