//! The output of `ringsock serve`: the log on standard error, and its startup lines on standard output.
//!
//! Owns both streams from the start of the command to its end. Invariant: a thread that logs, prints or panics never
//! waits; lines that a stream does not accept are dropped and counted.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::SystemTime;

use ringsock::config::LogFormat;
use tracing_subscriber::EnvFilter;

use super::outlet::Outlet;
use super::stream::Stream;

/// Both streams. Dropping waits for the last lines, for a bounded time, also when its thread panics.
#[derive(Debug)]
pub struct Log {
    errors: Outlet,
    output: Outlet,
    lines_dropped: Arc<AtomicU64>,
}

impl Log {
    /// Takes over both streams and the panic hook.
    pub fn start() -> io::Result<Self> {
        let lines_dropped: Arc<AtomicU64> = Arc::default();
        let report = log_dropped(Arc::clone(&lines_dropped));
        let stream = Stream::new(io::stderr())?;
        let errors = Outlet::start("ringsock-log", stream, Arc::clone(&lines_dropped), || {}, report)?;
        let logged = errors.clone();
        // Keeps the order of log and output if both streams are one terminal or file.
        let before = move || Outlet::flush(&[&logged]);
        let stream = Stream::new(io::stdout())?;
        let output = Outlet::start("ringsock-print", stream, Arc::clone(&lines_dropped), before, || {})?;
        report_panics(errors.clone(), LogFormat::Text);
        Ok(Self { errors, output, lines_dropped })
    }

    /// Starts to log events that pass the filter, which the returned handle replaces. Panics have the same form from
    /// now on.
    pub fn show_events(&self, filter: EnvFilter, format: LogFormat) -> FilterHandle {
        let errors = self.errors.clone();
        // Colours only on a terminal: a file or a journal would keep their codes. The formatter's own errors would be
        // printed past the queue.
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || errors.clone())
            .with_ansi(io::stderr().is_terminal())
            .log_internal_errors(false)
            .with_env_filter(filter);
        report_panics(self.errors.clone(), format);
        // Setting the subscriber cannot fail: the program sets no other. Replacing the filter of a subscriber that is
        // in force cannot fail either.
        match format {
            LogFormat::Text => {
                let subscriber = subscriber.with_filter_reloading();
                let filter = subscriber.reload_handle();
                let _ = tracing::subscriber::set_global_default(subscriber.finish());
                FilterHandle(Arc::new(move |new| drop(filter.reload(new))))
            }
            LogFormat::Json => {
                let subscriber = subscriber.json().flatten_event(true).with_filter_reloading();
                let filter = subscriber.reload_handle();
                let _ = tracing::subscriber::set_global_default(subscriber.finish());
                FilterHandle(Arc::new(move |new| drop(filter.reload(new))))
            }
        }
    }

    /// Prints to standard error why the program ends, whatever the filter.
    pub fn print_error(&self, error: impl Display, format: LogFormat) {
        let line = match format {
            LogFormat::Text => super::error_line(error),
            LogFormat::Json => json_line(&error.to_string()),
        };
        self.errors.offer(line.as_bytes());
    }

    /// Writes lines to standard output.
    pub fn print(&self, lines: &str) {
        self.printer().print(lines);
    }

    /// Returns a handle that writes lines to standard output.
    pub fn printer(&self) -> Printer {
        Printer(self.output.clone())
    }

    /// Returns the counter of dropped lines of both streams.
    pub fn lines_dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lines_dropped)
    }
}

/// A handle that writes to standard output, for other threads.
#[derive(Clone, Debug)]
pub struct Printer(Outlet);

impl Printer {
    /// Writes lines.
    pub fn print(&self, lines: &str) {
        self.0.offer(lines.as_bytes());
    }
}

/// A handle that replaces the filter of the log.
#[derive(Clone)]
pub struct FilterHandle(Arc<dyn Fn(EnvFilter) + Send + Sync>);

impl FilterHandle {
    /// Replaces the filter.
    pub fn replace(&self, filter: EnvFilter) {
        (self.0)(filter);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        Outlet::flush(&[&self.output, &self.errors]);
    }
}

/// Returns a function that logs how many lines were dropped since its last call, if any.
fn log_dropped(lines_dropped: Arc<AtomicU64>) -> impl FnMut() {
    let mut reported = 0;
    move || {
        let dropped = lines_dropped.load(Ordering::Relaxed);
        if dropped > reported {
            tracing::warn!(
                lines = dropped - reported,
                "Output lines were dropped: their reader was gone or too slow, or the disk was full."
            );
            reported = dropped;
        }
    }
}

/// Sends all panic messages of the process to `errors`; the standard library's own hook waits for standard error.
fn report_panics(errors: Outlet, format: LogFormat) {
    panic::set_hook(Box::new(move |panic| {
        let text = panic_text(panic);
        let line = match format {
            LogFormat::Text => text,
            LogFormat::Json => json_line(text.trim()),
        };
        errors.offer(line.as_bytes());
    }));
}

/// Returns a line of a log in JSON, in the form of `tracing-subscriber`, for an error that no filter hides.
fn json_line(message: &str) -> String {
    let line = serde_json::json!({
        "timestamp": humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
        "level": "ERROR",
        "message": message,
        "target": "ringsock",
    });
    format!("{line}\n")
}

/// Returns the text that the standard library's own hook prints.
fn panic_text(panic: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let text = format!("\nthread '{}' {panic}\n", thread.name().unwrap_or("<unnamed>"));
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => format!("{text}stack backtrace:\n{backtrace}\n"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read, pipe};

    use super::*;

    fn panic_in_a_thread(name: &str) {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(|| assert_eq!(1, 2, "that was wrong"));
        thread.unwrap().join().unwrap_err();
    }

    fn read_until(reader: &mut PipeReader, words: &str) -> String {
        let mut text = String::new();
        while !text.contains(words) {
            let mut bytes = [0; 4096];
            let count = reader.read(&mut bytes).unwrap();
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        text
    }

    #[test]
    fn a_panic_is_reported_and_waits_for_no_reader() {
        let (mut reader, writer) = pipe().unwrap();
        let errors = Outlet::start("log", Stream::new(writer).unwrap(), Arc::default(), || {}, || {}).unwrap();
        report_panics(errors.clone(), LogFormat::Text);
        panic_in_a_thread("first");
        let text = read_until(&mut reader, "that was wrong");
        assert!(text.starts_with("\nthread 'first' panicked at src/cli/log.rs:"), "{text}");
        // More than the pipe takes.
        errors.offer(&[b'\n'; 100_000]);
        panic_in_a_thread("second");
        assert!(read_until(&mut reader, "that was wrong").contains("\nthread 'second' panicked at "));
        drop(panic::take_hook());
    }
}
