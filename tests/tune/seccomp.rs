//! Tests of `tuning/seccomp.json`: the server runs under it on either reactor, and other system calls are refused.
//!
//! The profile is converted to the filter that a container's runtime would use, and set in the program before it
//! starts.

#![cfg(target_arch = "x86_64")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;

use super::program::withheld::filter_system_calls;
use super::program::{between, isolate, serve_prepared};

fn profile() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning/seccomp.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Returns the number of a system call by its name in a profile.
fn number(name: &str) -> u32 {
    macro_rules! known {
        ($($constant:ident)+) => { [$((stringify!($constant), libc::$constant)),+] };
    }
    let known = known! {
        SYS_accept SYS_accept4 SYS_access SYS_arch_prctl SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_chmod
        SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_clone SYS_clone3 SYS_close SYS_close_range
        SYS_connect SYS_dup SYS_dup2 SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2
        SYS_epoll_wait SYS_eventfd2 SYS_execve SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fchdir
        SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl SYS_flock SYS_fstat SYS_fstatfs SYS_futex SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid
        SYS_geteuid SYS_getgid SYS_getpeername SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getrlimit
        SYS_getrusage SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid SYS_io_uring_enter
        SYS_io_uring_register SYS_io_uring_setup SYS_ioctl SYS_kill SYS_lchown SYS_listen SYS_lseek SYS_lstat SYS_madvise
        SYS_membarrier SYS_mmap SYS_mprotect SYS_mremap SYS_munmap SYS_nanosleep SYS_newfstatat SYS_open SYS_openat
        SYS_pipe2 SYS_poll SYS_ppoll SYS_prctl SYS_pread64 SYS_prlimit64 SYS_pwrite64 SYS_read SYS_readlink
        SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmsg SYS_restart_syscall SYS_rseq SYS_rt_sigaction
        SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigtimedwait SYS_sched_getaffinity
        SYS_sched_setaffinity SYS_sched_yield SYS_sendmsg SYS_sendto SYS_set_robust_list SYS_set_tid_address SYS_setgid
        SYS_setgroups SYS_setpriority SYS_setrlimit SYS_setsockopt SYS_setuid SYS_shutdown SYS_sigaltstack SYS_socket
        SYS_socketpair SYS_stat SYS_statfs SYS_statx SYS_sysinfo SYS_tgkill SYS_umask SYS_uname SYS_unlink SYS_unlinkat SYS_wait4 SYS_write
        SYS_writev
    };
    let found = known.iter().find(|(constant, _)| constant.strip_prefix("SYS_") == Some(name));
    let (_, number) = found.unwrap_or_else(|| panic!("this test does not know {name}: list it above"));
    u32::try_from(*number).unwrap()
}

/// Returns the profile as a program for the kernel's filter machine.
fn filter(profile: &Value) -> Vec<libc::sock_filter> {
    let step = |code: u32, if_not: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: if_not, k };
    let ret = |action: u32| step(libc::BPF_RET | libc::BPF_K, 0, action);
    let load = |offset: u32| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, offset);
    let equal = |value: u32, if_not: u8| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, if_not, value);
    let errno = |errno: &Value| libc::SECCOMP_RET_ERRNO | errno.as_u64().unwrap() as u32;
    let refuse = errno(&profile["defaultErrnoRet"]);
    let mut filter = Vec::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        let action = match rule["action"].as_str().unwrap() {
            "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
            "SCMP_ACT_ERRNO" => errno(&rule["errnoRet"]),
            action => panic!("this test does not know {action}"),
        };
        let mut verdict = Vec::new();
        for condition in rule["args"].as_array().into_iter().flatten() {
            assert_eq!(condition["op"], "SCMP_CMP_MASKED_EQ");
            let word = |key: &str| u32::try_from(condition[key].as_u64().unwrap()).unwrap();
            // After the number, architecture and instruction pointer; the lower half of each argument comes first.
            verdict.push(load(16 + 8 * word("index")));
            verdict.push(step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, word("value")));
            verdict.push(equal(word("valueTwo"), 1));
            verdict.push(ret(action));
            verdict.push(ret(refuse));
        }
        if verdict.is_empty() {
            verdict.push(ret(action));
        }
        for name in rule["names"].as_array().unwrap() {
            filter.push(load(0));
            filter.push(equal(number(name.as_str().unwrap()), verdict.len() as u8));
            filter.extend(&verdict);
        }
    }
    filter.push(ret(refuse));
    filter
}

/// Makes the program run under the profile.
fn confine(command: &mut Command) {
    filter_system_calls(command, filter(&profile()));
}

#[test]
fn the_server_serves_under_the_profile_on_either_reactor() {
    for reactor in ["uring", "epoll"] {
        let (mut process, banner) = serve_prepared(&["--admin-listen", "127.0.0.1:0", "--reactor", reactor], confine);
        let metrics = between(&banner, "metrics      http://", "/");
        let mut stream = TcpStream::connect(metrics).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("process_open_fds ") && answer.contains("process_resident_memory_bytes "), "{answer}");
        let id = process.0.id().to_string();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        assert!(status.contains("Seccomp:\t2"), "{status}");
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let status = process.0.wait().unwrap();
        assert!(status.success(), "{reactor}: {status}");
    }
}

#[test]
fn a_unix_socket_is_served_and_replaced_under_the_profile() {
    let path = std::env::temp_dir().join(format!("ringsock-seccomp-{}", std::process::id()));
    let listen = format!("unix:{}?mode=666&group=0", path.display());
    let flags = ["--listen", &listen, "--admin-listen", "none", "--reactor", "epoll"];
    // The first server is killed, and leaves its file to the second.
    for signal in ["-KILL", "-TERM"] {
        let (mut process, _) = serve_prepared(&flags, confine);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        let id = process.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        assert_eq!(process.0.wait().unwrap().success(), signal == "-TERM");
        assert_eq!(path.exists(), signal == "-KILL");
    }
}

#[test]
fn messages_are_echoed_and_published_under_the_profile() {
    for reactor in ["uring", "epoll"] {
        let (mut process, banner) = serve_prepared(&["--admin-listen", "none", "--reactor", reactor], confine);
        let address = between(&banner, "ws://", "/");
        for (mode, path) in [("mixed", "echo"), ("fanout", "topics/a")] {
            let mut bench = Command::new(env!("CARGO_BIN_EXE_ringsock"));
            isolate(&mut bench);
            let url = format!("ws://{address}/{path}");
            bench.args(["bench", mode, "--url", &url, "-c", "20", "-d", "0.5", "--warm-up", "0", "-s", "20000"]);
            let output = bench.output().unwrap();
            assert!(output.status.success(), "{reactor} {mode}: {}", String::from_utf8_lossy(&output.stdout));
        }
        assert!(process.0.try_wait().unwrap().is_none(), "{reactor}: it has ended");
    }
}

#[test]
fn system_calls_that_the_server_does_not_need_are_refused() {
    for (program, arguments) in
        [("unshare", &["--user", "true"][..]), ("mount", &["-t", "tmpfs", "none", "/proc/self"])]
    {
        let mut command = Command::new(program);
        isolate(&mut command);
        confine(&mut command);
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{program} did it");
        assert!(said.contains("not permitted") || said.contains("permission denied"), "{program}: {said}");
    }
}

#[test]
fn the_profile_allows_io_uring_and_names_each_call_once() {
    let profile = profile();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let mut allowed: Vec<&str> = Vec::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        assert!(rule["comment"].as_str().is_some_and(|why| why.ends_with('.')), "{rule}");
        allowed.extend(rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()));
    }
    for name in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert_eq!(allowed.iter().filter(|allowed| **allowed == name).count(), 1, "{name}");
    }
    let count = allowed.len();
    allowed.sort_unstable();
    allowed.dedup();
    assert_eq!(allowed.len(), count);
    for name in ["bpf", "mount", "ptrace", "unshare", "setns", "init_module", "keyctl", "process_vm_readv"] {
        assert!(!allowed.contains(&name), "{name}");
    }
}
