//! A standard stream, as something that may be slow, stuck, shared or gone.
//!
//! Owns a duplicate of the descriptor, so whoever waits for it holds no lock of the standard library. Never panics, and
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

/// A text of which only the beginning was written.
#[derive(Debug)]
pub struct Cut {
    /// How much of it was written.
    pub written_bytes: usize,
    /// What the kernel said of the rest.
    pub error: io::Error,
}

impl Stream {
    /// Duplicates a descriptor.
    pub fn new(descriptor: impl AsFd) -> io::Result<Self> {
        Ok(Self { file: File::from(descriptor.as_fd().try_clone_to_owned()?) })
    }

    /// Writes all of a text, however long that takes.
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
                // A process that shares the stream has set O_NONBLOCK.
                ErrorKind::WouldBlock => drop(self.poll(None)),
                _ => return Err(Cut { written_bytes, error }),
            }
        }
        Ok(())
    }

    /// Whether a write would go on at once, for all that the kernel says; of a file on a disk it says so always.
    pub fn has_room(&self) -> bool {
        self.poll(Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    fn poll(&self, timeout: Option<&Timespec>) -> rustix::io::Result<usize> {
        poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], timeout)
    }
}
