//! A terminal for a program that runs in its background.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};

use crate::client::{Client, Heard};
use crate::program::isolate;
use crate::{PATIENCE, Server, lines, ringsock};

/// Opens a new terminal: the end of the screen and keyboard, and the end of programs.
fn terminal() -> (OwnedFd, File) {
    // Programs of other tests must not keep it open. SAFETY: takes integers and returns a new descriptor or -1.
    let master = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    assert!(master >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else owns it.
    let master = unsafe { OwnedFd::from_raw_fd(master) };
    let mut name = [0; 64];
    // SAFETY: takes a descriptor.
    assert_eq!(unsafe { libc::grantpt(master.as_raw_fd()) }, 0);
    // SAFETY: takes a descriptor.
    assert_eq!(unsafe { libc::unlockpt(master.as_raw_fd()) }, 0);
    // SAFETY: the pointer and length are those of a buffer that outlives the call.
    assert_eq!(unsafe { libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr(), name.len()) }, 0);
    // SAFETY: the call has written a string that ends with a zero.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_str().unwrap();
    let slave = OpenOptions::new().read(true).write(true).open(name).unwrap();
    (master, slave)
}

/// A process, ended when it is dropped.
struct Background(i32);

impl Drop for Background {
    fn drop(&mut self) {
        // SAFETY: takes integers. Its parent, a shell that waits for it, has not collected it before it ends.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

#[test]
fn a_terminal_that_stops_jobs_which_write_to_it_does_not_stop_the_server() {
    let (screen, terminal) = terminal();
    let screen = lines(File::from(screen));
    let inner = ringsock(&["--listen", "127.0.0.1:0", "--log", "debug"]);
    let mut command = Command::new("setsid");
    // With job control, the background job is a group of its own. Its output goes to the test.
    let job = r#"sh -c 'echo "job $$"; exec "$0" "$@"' "$0" "$@""#;
    command.args(["--ctty", "--wait", "sh", "-c", &format!("set -m; stty tostop; {job} & wait")]);
    command.arg(inner.get_program()).args(inner.get_args());
    isolate(&mut command);
    command.stdin(terminal.try_clone().unwrap()).stdout(Stdio::piped()).stderr(terminal);
    let (server, seen) = Server::run_and_see(command);
    let job = seen.lines().find_map(|line| line.strip_prefix("job ")).unwrap();
    let job = Background(job.parse().unwrap());
    let mut client = Client::open(&server.address);
    // Each signal causes a line of the log.
    for (signal, name) in [(libc::SIGUSR1, "SIGUSR1"), (libc::SIGUSR2, "SIGUSR2")] {
        // SAFETY: takes integers; the shell has not collected the process.
        assert_eq!(unsafe { libc::kill(job.0, signal) }, 0);
        while !screen.recv_timeout(PATIENCE).unwrap().contains(name) {}
        client.say("well?");
        assert_eq!(client.hear(), Heard::Text("well?".to_owned()));
    }
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(job.0, libc::SIGTERM) }, 0);
    client.is_told();
}

#[test]
fn a_terminal_that_closes_drains_the_server_and_a_hangup_before_reloads_it() {
    let (screen, terminal) = terminal();
    let inner = ringsock(&["--listen", "127.0.0.1:0"]);
    // The server leads the session of the terminal. Its output goes to the test.
    let mut command = Command::new("setsid");
    command.args(["--ctty", "sh", "-c", r#"exec "$0" "$@""#]);
    command.arg(inner.get_program()).args(inner.get_args());
    isolate(&mut command);
    command.stdin(terminal).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = Server::run(command);
    let mut client = Client::open(&server.address);
    server.signal(libc::SIGHUP);
    server.await_output("reloaded");
    client.say("well?");
    assert_eq!(client.hear(), Heard::Text("well?".to_owned()));
    drop(screen);
    client.is_told();
    assert!(server.ended().success());
}
