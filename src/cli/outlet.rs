//! An output stream that no caller waits for: a bounded queue, and a thread that alone writes.
//!
//! Owns the queued texts, and the thread that waits for the reader, the terminal or the disk. Never blocks a caller,
//! and never prints an error of its own. Invariant: each offered line is written, or counted as dropped.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::SegQueue;

use super::stream::{Cut, Stream};

/// The limit of queued bytes: some 7,000 log lines, more than a start, a drain or a fault writes at once.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// How long [`Outlet::flush`] waits for a reader that accepts nothing. Delays the end of the process after a second
/// signal, which a person expects at once; a live reader accepts a line within a few milliseconds.
const STUCK_AFTER: Duration = Duration::from_millis(250);

/// The longest wait of [`Outlet::flush`], for a slow reader or a busy processor.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The polling interval of [`Outlet::flush`].
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// A handle to the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outlet {
    queue: Arc<Queue>,
    thread: Thread,
}

impl Outlet {
    /// Starts the writer thread. It calls `before` before each text, and `caught_up` after a text if the queue is
    /// empty.
    pub fn start(
        name: &str,
        stream: Stream,
        lines_dropped: Arc<AtomicU64>,
        before: impl Fn() + Send + 'static,
        caught_up: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let queue =
            Arc::new(Queue { texts: SegQueue::new(), waiting_bytes: AtomicUsize::new(0), lines_dropped, stream });
        let written = Arc::clone(&queue);
        let spawned =
            thread::Builder::new().name(name.to_owned()).spawn(move || written.write_all(before, caught_up))?;
        Ok(Self { queue, thread: spawned.thread().clone() })
    }

    /// Queues a text of one or more lines, or drops it if the queue is full.
    pub fn offer(&self, text: &[u8]) {
        if self.queue.push(text) {
            self.thread.unpark();
        } else {
            self.queue.count_dropped(text);
        }
    }

    /// Waits, for a bounded time, until all texts in these outlets are written or dropped.
    pub fn flush(outlets: &[&Self]) {
        Self::flush_within(FLUSH_MAX, outlets);
    }

    fn flush_within(time_max: Duration, outlets: &[&Self]) {
        let waiting_bytes = || outlets.iter().map(|outlet| outlet.queue.waiting()).sum::<usize>();
        // If the stream has room, the thread is about to write: the processor is busy, not the reader.
        let is_moving = |outlet: &&Self| outlet.queue.waiting() > 0 && outlet.queue.stream.has_room();
        let begun = Instant::now();
        let (mut waiting, mut since) = (waiting_bytes(), begun);
        while waiting > 0 && begun.elapsed() < time_max {
            if since.elapsed() >= STUCK_AFTER && !outlets.iter().any(is_moving) {
                return;
            }
            thread::sleep(LOOK_INTERVAL);
            let now = waiting_bytes();
            if now != waiting {
                (waiting, since) = (now, Instant::now());
            }
        }
    }
}

/// Queues each write as one text; the event formatter makes one call per event.
impl Write for Outlet {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.offer(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Queue {
    texts: SegQueue<Box<[u8]>>,
    /// Bytes of texts that are neither written nor dropped yet.
    waiting_bytes: AtomicUsize,
    lines_dropped: Arc<AtomicU64>,
    stream: Stream,
}

impl Queue {
    fn push(&self, text: &[u8]) -> bool {
        if self.waiting_bytes.fetch_add(text.len(), Ordering::Relaxed) + text.len() > WAITING_BYTES_MAX {
            self.waiting_bytes.fetch_sub(text.len(), Ordering::Relaxed);
            return false;
        }
        self.texts.push(text.into());
        true
    }

    fn waiting(&self) -> usize {
        self.waiting_bytes.load(Ordering::Acquire)
    }

    fn count_dropped(&self, text: &[u8]) {
        let lines = memchr::memchr_iter(b'\n', text).count().max(1);
        self.lines_dropped.fetch_add(lines as u64, Ordering::Relaxed);
    }

    /// Writes queued texts until the process ends.
    fn write_all(&self, before: impl Fn(), mut caught_up: impl FnMut()) {
        let mut is_torn = false;
        loop {
            let Some(text) = self.texts.pop() else {
                thread::park();
                continue;
            };
            before();
            // A line that was written in part is ended before the next one begins.
            is_torn = is_torn && self.stream.write(b"\n").is_err();
            if let Err(Cut { written_bytes, .. }) = self.stream.write(&text) {
                is_torn |= written_bytes > 0;
                self.count_dropped(&text);
            } else if self.texts.is_empty() {
                caught_up();
            }
            // Subtracted last, so that `flush` also waits for texts that `caught_up` has queued.
            self.waiting_bytes.fetch_sub(text.len(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::{BufRead, BufReader, PipeWriter, Read, pipe};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    const LINE: &str = "a line of the log, as long as such a line usually is: some hundred and more bytes, or less\n";

    /// More lines than fit into a pipe of 64 KiB and the queue together.
    const LINES: usize = 3 * WAITING_BYTES_MAX / LINE.len();

    fn outlet(writer: PipeWriter, lines_dropped: &Arc<AtomicU64>) -> Outlet {
        Outlet::start("outlet", Stream::new(writer).unwrap(), Arc::clone(lines_dropped), || {}, || {}).unwrap()
    }

    /// Flushes with a timeout long enough for busy processors.
    fn flush(outlet: &Outlet) {
        Outlet::flush_within(Duration::from_secs(60), &[outlet]);
    }

    /// Opens the same pipe again, non-blocking.
    fn impatient(writer: &PipeWriter) -> std::fs::File {
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
    }

    #[test]
    fn lines_that_a_reader_does_not_take_are_dropped_and_counted_and_the_rest_comes_in_order() {
        let (reader, writer) = pipe().unwrap();
        let dropped: Arc<AtomicU64> = Arc::default();
        let outlet = outlet(writer, &dropped);
        // If `offer` waited for the reader, this would never end.
        (0..LINES).for_each(|number| outlet.offer(format!("{number} {LINE}").as_bytes()));
        flush(&outlet);
        let lost = dropped.load(Ordering::Relaxed) as usize;
        assert!(lost > 0 && lost < LINES, "{lost} of {LINES}");
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        let number = |line: String| line.split(' ').next().unwrap().parse::<usize>().unwrap();
        let numbers: Vec<usize> = lines.by_ref().take(LINES - lost).map(number).collect();
        assert!(numbers.is_sorted_by(|earlier, later| earlier < later), "{numbers:?}");
        // The queue is empty, so there is room again.
        flush(&outlet);
        outlet.offer(LINE.as_bytes());
        assert_eq!(lines.next().as_deref(), Some(LINE.trim_end()));
        assert_eq!(dropped.load(Ordering::Relaxed) as usize, lost);
    }

    #[test]
    fn every_line_of_a_text_that_nobody_can_read_is_counted() {
        let (reader, writer) = pipe().unwrap();
        let dropped: Arc<AtomicU64> = Arc::default();
        let outlet = outlet(writer, &dropped);
        drop(reader);
        outlet.offer(b"one\ntwo\nthree\n");
        flush(&outlet);
        outlet.offer(b"the end of a line is missing");
        flush(&outlet);
        assert_eq!(dropped.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_stream_that_others_have_made_non_blocking_loses_nothing() {
        let (mut reader, writer) = pipe().unwrap();
        let dropped: Arc<AtomicU64> = Arc::default();
        let stream = Stream::new(impatient(&writer)).unwrap();
        drop(writer);
        let outlet = Outlet::start("outlet", stream, Arc::clone(&dropped), || {}, || {}).unwrap();
        let text = "0123456789abcde\n".repeat(WAITING_BYTES_MAX / 16);
        outlet.offer(text.as_bytes());
        let mut read = vec![0; text.len()];
        reader.read_exact(&mut read).unwrap();
        assert!(read == text.as_bytes() && dropped.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn lines_queued_by_caught_up_are_flushed_too() {
        let (mut reader, writer) = pipe().unwrap();
        let own: Arc<std::sync::OnceLock<Outlet>> = Arc::default();
        let again = Arc::clone(&own);
        let mut times = 0;
        let caught_up = move || {
            times += 1;
            if times == 1 {
                again.wait().offer(b"second\n");
            }
        };
        let outlet = Outlet::start("outlet", Stream::new(writer).unwrap(), Arc::default(), || {}, caught_up).unwrap();
        own.set(outlet.clone()).unwrap();
        outlet.offer(b"first\n");
        flush(&outlet);
        let mut read = [0; 13];
        reader.read_exact(&mut read).unwrap();
        assert_eq!((&read, outlet.queue.waiting()), (b"first\nsecond\n", 0));
    }
}
