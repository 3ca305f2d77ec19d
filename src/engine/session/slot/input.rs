//! The conditions on which a socket may be read.

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Input {
    stream: Stream,
    /// The reactor reported input that has not been read to its end.
    readable: bool,
    /// The handler has paused input.
    paused: bool,
    /// The session is throttled: it published more than can be delivered now.
    throttled: bool,
}

/// The state of the stream of bytes from the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stream {
    #[default]
    Flowing,
    /// The end of the stream or an error waits in the socket, perhaps behind bytes.
    EndWaits,
    /// The peer has ended the stream.
    Finished,
    /// The socket has failed.
    Broken,
}

impl Input {
    /// Records that the stream's end or an error waits in the socket.
    pub(super) fn note_waiting_end(&mut self) {
        if self.stream == Stream::Flowing {
            self.stream = Stream::EndWaits;
        }
    }

    /// Records a read of so many bytes into so much room. Returns whether nothing more can be there, so that the
    /// reactor reports later bytes; if the stream's end waits behind these bytes, it does not.
    #[inline]
    pub(super) fn note_read(&mut self, bytes: usize, room: usize) -> bool {
        let is_all = bytes < room && self.stream != Stream::EndWaits;
        self.readable = !is_all;
        is_all
    }

    pub(super) fn note_end(&mut self) {
        self.stream = Stream::Finished;
        self.readable = false;
    }

    pub(super) fn note_broken(&mut self) {
        self.stream = Stream::Broken;
    }

    #[inline]
    pub(super) fn is_finished(&self) -> bool {
        self.stream == Stream::Finished
    }

    #[inline]
    pub(super) fn is_broken(&self) -> bool {
        self.stream == Stream::Broken
    }

    #[inline]
    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    pub(super) fn set_readable(&mut self, readable: bool) {
        self.readable = readable;
    }

    #[cfg(test)]
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn set_paused(&mut self, paused: bool) -> bool {
        std::mem::replace(&mut self.paused, paused)
    }

    #[inline]
    pub(super) fn is_throttled(&self) -> bool {
        self.throttled
    }

    pub(super) fn set_throttled(&mut self, throttled: bool) -> bool {
        std::mem::replace(&mut self.throttled, throttled)
    }

    #[inline]
    pub(super) fn is_input_stopped(&self) -> bool {
        self.paused || self.throttled
    }
}
