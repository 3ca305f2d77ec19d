//! A standard stream, as something that may be slow, stuck, shared or gone.
//!
//! Owns a duplicate of the descriptor, so whoever waits for it holds no lock of the standard library. Never panics, and
//! never prints an error of its own.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

/// Standard output or standard error.
#[derive(Debug)]
pub struct Stream {
    file: File,
}

impl Stream {
    /// Duplicates a descriptor.
    pub fn new(descriptor: impl AsFd) -> io::Result<Self> {
        Ok(Self { file: File::from(descriptor.as_fd().try_clone_to_owned()?) })
    }

    /// Writes all of a text, however long that takes.
    pub fn write(&self, text: &[u8]) -> io::Result<()> {
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
                ErrorKind::WouldBlock => drop(self.await_room()),
                _ => return Err(error),
            }
        }
        Ok(())
    }

    fn await_room(&self) -> rustix::io::Result<usize> {
        poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], None)
    }
}
