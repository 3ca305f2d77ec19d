//! The command line of ringsock.

use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};
use signal_hook::consts::SIGXFSZ;

mod cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A WebSocket server for Linux: one pinned runtime, one io_uring ring and one listener per core.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve WebSockets: topics, an echo, publishing over HTTP, metrics, and a demo page.
    Serve(cli::serve::Serve),
    /// Check a configuration, show the one in force, or print the defaults.
    Config(cli::config::Config),
    /// Load-test a WebSocket server: check every answer, and measure throughput and latency.
    Bench(Box<cli::bench::Bench>),
    /// Make tokens for trials, or say what a token may do and why it is refused.
    Token(cli::token::Token),
    /// Show what this host needs to hold a number of connections, and change what can be changed.
    Tune(cli::tune::Tune),
    /// Runs a share of a bench for its parent process.
    #[command(hide = true)]
    BenchWorker,
}

fn main() -> ExitCode {
    // A log or a report that reaches the file size limit (RLIMIT_FSIZE) then fails with an error, as on a full disk.
    // The signal's default action is to end the process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(cli::settings::with_hint(error, Cli::command())),
    };
    let outcome = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Config(config) => config.run(),
        Command::Bench(bench) => bench.run(),
        Command::Token(token) => token.run(),
        Command::Tune(tune) => tune.run(),
        Command::BenchWorker => cli::bench::work(),
    };
    outcome.unwrap_or_else(|error| {
        cli::print_error(error);
        ExitCode::FAILURE
    })
}

/// Prints the requested help or version, or the error in the command line.
fn explain(error: clap::Error) -> ExitCode {
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    if error.use_stderr() {
        cli::write_within_timeout(move || drop(error.print()));
        return code;
    }
    match error.print() {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            cli::print_error(cli::output_error(&cause));
            ExitCode::FAILURE
        }
        _ => code,
    }
}
