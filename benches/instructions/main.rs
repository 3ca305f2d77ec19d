//! The cases of `scripts/instructions`: small pieces of the codec, and whole turns of a core.
//!
//!     instructions                       runs every case for a moment; `cargo test` does this
//!     instructions --list                name, units of a round, rounds of a short and of a long run, in columns
//!     instructions --run NAME ROUNDS     one case; ends with 77 where this host cannot run it
//!     instructions --processor           features of this processor that some code is chosen by
//!
//! A run does its preparations, and then so many rounds that are all alike: two lengths of run differ by the rounds
//! alone. Nothing here is random or asks for the time, so that two runs execute the same instructions.

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

mod codec;
mod engine;
#[path = "../fixtures/mod.rs"]
mod fixtures;

/// A case whose instructions are counted.
struct Case {
    /// Its name in the baseline.
    name: &'static str,
    /// The unit of which a round does so many; the count is for one of them.
    units: u32,
    /// Rounds of a short run, after which everything that grows has grown.
    short: u32,
    /// Rounds of a long run.
    long: u32,
    run: fn(rounds: u32) -> io::Result<()>,
}

/// The exit code of a skipped case, as in automake's tests.
const CANNOT_RUN: u8 = 77;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let cases: Vec<Case> = codec::CASES.into_iter().chain(engine::CASES).collect();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = io::stdout().lock();
    match arguments[..] {
        ["--list"] => {
            for Case { name, units, short, long, .. } in cases {
                writeln!(out, "{name}\t{units}\t{short}\t{long}")?;
            }
        }
        ["--run", name, rounds] => {
            let case = cases.iter().find(|case| case.name == name);
            let ran = (case.ok_or_else(|| format!("There is no case {name:?}: see --list."))?.run)(rounds.parse()?);
            if let Some(reason) = refusal(&ran) {
                writeln!(out, "{reason}")?;
                return Ok(ExitCode::from(CANNOT_RUN));
            }
            ran?;
        }
        ["--processor"] => writeln!(out, "{}", processor())?,
        // `cargo test` and `cargo bench` may pass flags of their own.
        _ => {
            for case in cases {
                let ran = (case.run)(3);
                if let Some(reason) = refusal(&ran) {
                    writeln!(out, "{}: NOT RUN. {reason}", case.name)?;
                    continue;
                }
                ran.map_err(|error| format!("{}: {error}", case.name))?;
                writeln!(out, "{}: ok", case.name)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the reason why this host cannot run a case.
fn refusal(ran: &io::Result<()>) -> Option<String> {
    ran.as_ref().err().filter(|error| error.kind() == ErrorKind::Unsupported).map(io::Error::to_string)
}

/// Returns the features that simdutf8, memchr, sha1, zlib-rs and the C library detect at run time, if they matter.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("sha", is_x86_feature_detected!("sha")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [
        ("crc", std::arch::is_aarch64_feature_detected!("crc")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&str, bool); 0] = [];
    let found: Vec<&str> = found.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
    found.join(" ")
}

/// Returns the error of a case that cannot do its work.
fn fault(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
