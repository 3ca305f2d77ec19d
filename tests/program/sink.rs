//! An output stream of a program, which may be closed, gone, full, stuck or slow.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// The fault of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Closed before the program starts.
    Closed,
    /// A pipe whose reader has gone.
    Gone,
    /// A file on a disk without room.
    Full,
    /// A full pipe that nobody reads.
    Unread,
    /// A full pipe of which a byte is read now and then.
    Slow,
}

/// One stream of a program.
pub struct Sink {
    fate: Fate,
    reader: Option<PipeReader>,
    writer: PipeWriter,
    file: PathBuf,
    is_full: bool,
}

impl Sink {
    /// Returns a stream that takes everything until it is spoiled.
    pub fn new(fate: Fate, file: PathBuf) -> Self {
        let (reader, writer) = pipe().unwrap();
        // The smallest pipe possible: one page.
        // SAFETY: takes integers and touches no memory.
        assert!(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) } > 0);
        Self { fate, reader: Some(reader), writer, file, is_full: false }
    }

    /// Returns a stream that is spoiled before the program starts.
    pub fn spoilt(fate: Fate, file: PathBuf) -> Self {
        let mut sink = Self { is_full: fate == Fate::Full, ..Self::new(fate, file) };
        sink.spoil_pipe();
        sink
    }

    /// Returns the stream that the program is started with.
    pub fn stdio(&self) -> Stdio {
        match self.fate {
            Fate::Closed => Stdio::null(),
            Fate::Full if self.is_full => OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
            Fate::Full => File::create(&self.file).unwrap().into(),
            Fate::Gone | Fate::Unread | Fate::Slow => self.writer.try_clone().unwrap().into(),
        }
    }

    /// Spoils the stream of a running program.
    pub fn spoil(&mut self, pid: u32) {
        if self.fate == Fate::Full && !self.is_full {
            self.is_full = true;
            set_limit(pid, libc::RLIMIT_FSIZE, fs::metadata(&self.file).unwrap().len());
        }
        self.spoil_pipe();
    }

    fn spoil_pipe(&mut self) {
        match self.fate {
            Fate::Closed | Fate::Full => {}
            Fate::Gone => drop(self.reader.take()),
            Fate::Unread => self.stuff(),
            Fate::Slow => {
                self.stuff();
                if let Some(mut reader) = self.reader.take() {
                    thread::spawn(move || {
                        while reader.read(&mut [0]).is_ok_and(|count| count > 0) {
                            thread::sleep(Duration::from_millis(20));
                        }
                    });
                }
            }
        }
    }

    /// Fills the pipe through a description of its own, since the program's must not become non-blocking.
    fn stuff(&self) {
        let path = format!("/proc/self/fd/{}", self.writer.as_raw_fd());
        let mut pipe = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
        loop {
            match pipe.write(b"\n") {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Makes the program start with this descriptor closed.
pub fn close_descriptor(command: &mut Command, descriptor: RawFd) {
    let close = move || {
        // SAFETY: takes an integer and touches no memory.
        unsafe { libc::close(descriptor) };
        Ok(())
    };
    // SAFETY: between fork and exec only a system call is made; nothing is allocated and no lock taken.
    unsafe { command.pre_exec(close) };
}

/// Sets a soft limit of a running program, and returns the previous one.
pub fn set_limit(pid: u32, resource: libc::__rlimit_resource_t, limit: u64) -> u64 {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit struct, which is borrowed exclusively.
    assert_eq!(unsafe { libc::prlimit(pid as libc::pid_t, resource, std::ptr::null(), &raw mut before) }, 0);
    let limit = libc::rlimit { rlim_cur: limit.min(before.rlim_max), rlim_max: before.rlim_max };
    // SAFETY: the kernel reads one rlimit struct.
    assert_eq!(unsafe { libc::prlimit(pid as libc::pid_t, resource, &raw const limit, std::ptr::null_mut()) }, 0);
    before.rlim_cur
}
