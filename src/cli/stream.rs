//! A standard stream, which may be slow, stuck, shared or closed.
//!
//! Owns a duplicate of the descriptor, so that waiting for it holds no lock of the standard library. Never panics, and
//! never prints an error of its own.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Standard output or standard error.
#[derive(Debug)]
pub struct Stream {
    file: File,
}

/// A text that was written only in part.
#[derive(Debug)]
pub struct Cut {
    /// The number of bytes written.
    pub written_bytes: usize,
    /// The error of the first unwritten byte.
    pub error: io::Error,
}

impl Stream {
    /// Duplicates a descriptor.
    pub fn new(descriptor: impl AsFd) -> io::Result<Self> {
        Ok(Self { file: File::from(descriptor.as_fd().try_clone_to_owned()?) })
    }

    /// Writes a whole text, however long that takes.
    pub fn write(&self, text: &[u8]) -> Result<(), Cut> {
        let mut written_bytes = 0;
        while written_bytes < text.len() {
            let error = match (&self.file).write(&text[written_bytes..]) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(bytes) => {
                    written_bytes += bytes;
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Interrupted => {}
                // Another process that shares the stream has set O_NONBLOCK.
                ErrorKind::WouldBlock => drop(self.poll(None)),
                _ => return Err(Cut { written_bytes, error }),
            }
        }
        Ok(())
    }

    /// Returns whether a write would not block, according to the kernel; for a file on a disk it always says so.
    pub fn has_room(&self) -> bool {
        self.poll(Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    fn poll(&self, timeout: Option<&Timespec>) -> rustix::io::Result<usize> {
        poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], timeout)
    }
}
