//! The table that a run prints: a line for each attack on each reactor, with its figures and the server's resources.
//!
//! Invariant: an attack that fails has its line too, and attacks on other threads add nothing to it. An attack passes
//! only if, besides its own figures, every server it left running has as many open descriptors as before, has not
//! panicked, and accounts for each connection.

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Display;
use std::io::{Write, stdout};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::thread;

use crate::usage::Spent;

thread_local! {
    /// The figures so far of the attack that runs on this thread.
    static RECORD: RefCell<Record> = RefCell::default();
}

#[derive(Default)]
struct Record {
    row: u32,
    figures: Vec<(String, String)>,
    servers: Vec<Spent>,
    /// The places of bounds of time that were missed and are not demanded.
    late: Vec<String>,
}

/// Runs an attack and prints its line. Returns the reason if it failed.
pub fn run(reactor: &str, attack: impl FnOnce()) -> Result<(), Box<dyn Any + Send>> {
    let outcome = catch_unwind(AssertUnwindSafe(attack));
    let record = RECORD.take();
    let panics_are_wanted = record.row == 21;
    let faults: Vec<String> = record.servers.iter().flat_map(|spent| spent.faults(panics_are_wanted)).collect();
    let ok = outcome.is_ok() && faults.is_empty();
    say(&record.line(reactor, ok, &faults));
    outcome?;
    if ok { Ok(()) } else { Err(Box::new(faults.join("; "))) }
}

/// Adds a figure to the attack that runs: its row, the measured value and the bound.
pub fn figure(row: u32, measured: impl Display, bound: impl Display) {
    RECORD.with_borrow_mut(|record| {
        record.row = row;
        record.figures.push((measured.to_string(), bound.to_string()));
    });
}

/// Records that the attack that runs missed the bound of time at this place.
pub fn late(place: &Location<'_>) {
    let file = place.file().rsplit('/').next().unwrap_or_default();
    RECORD.with_borrow_mut(|record| record.late.push(format!("{file}:{}", place.line())));
}

/// Records the resources that a server has used by its end. It must end on the thread of its attack.
pub fn spent(spent: Spent) {
    RECORD.with_borrow_mut(|record| record.servers.push(spent));
}

/// Prints past the test harness, which would show the text only if the test fails.
pub fn say(line: &str) {
    writeln!(stdout().lock(), "{line}").unwrap();
}

impl Record {
    /// Prints `| row | attack | reactor | figure | bound | memory | descriptors | CPU | counters | ok |`.
    fn line(&self, reactor: &str, ok: bool, faults: &[String]) -> String {
        let test = thread::current().name().unwrap_or_default().to_owned();
        let sentence = test.rsplit("::").next().unwrap_or_default().replace('_', " ");
        let row = self.row.to_string();
        let attack = sentence.strip_prefix(&format!("row {row} ")).unwrap_or(&sentence);
        let (figures, bounds): (Vec<&str>, Vec<&str>) =
            self.figures.iter().map(|(measured, bound)| (&**measured, &**bound)).unzip();
        let of_servers = |cell: fn(&Spent) -> String| self.servers.iter().map(cell).collect::<Vec<_>>().join("; ");
        let verdict = match (ok, faults) {
            (true, _) if self.late.is_empty() => "ok".to_owned(),
            (true, _) => format!("ok, but late: {}", self.late.join(", ")),
            (false, []) => "FAILED".to_owned(),
            (false, faults) => format!("FAILED: {}", faults.join("; ")),
        };
        let cells = [
            &row,
            attack,
            reactor,
            &figures.join("; "),
            &bounds.join("; "),
            &of_servers(Spent::memory),
            &of_servers(Spent::descriptors),
            &of_servers(Spent::cpu),
            &of_servers(Spent::counters),
            &verdict,
        ];
        format!("| {} |", cells.map(|cell| cell.replace(['|', '\n'], " ")).join(" | "))
    }
}
