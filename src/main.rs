//! The command line of ringsock.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
#[expect(clippy::large_enum_variant, reason = "there is one, made once")]
enum Command {
    /// Serve: an echo on /echo, a page to try it on /, and /health and /readyz for load balancers.
    Serve(cli::serve::Serve),
    /// Load a WebSocket server, check every answer, and say how many it carries and how fast.
    Bench(cli::bench::Bench),
    /// Say what this host lacks to hold a number of connections, and change what can be changed.
    Tune(cli::tune::Tune),
    /// Carries out a part of a bench for another process of this program.
    #[command(hide = true)]
    BenchWorker,
}

fn main() -> ExitCode {
    let (cli, variables) = match cli::environment::parse::<Cli>() {
        Ok(parsed) => parsed,
        Err(error) => {
            complain(&error, "");
            return error.exit_code();
        }
    };
    let outcome = match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Bench(bench) => bench.run(),
        Command::Tune(tune) => tune.run(),
        Command::BenchWorker => cli::bench::work(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain(&error, &variables.behind(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Says in one line why the program ends.
fn complain(error: &dyn Display, more: &str) {
    // Nothing is left to do if even this cannot be written.
    let _ = writeln!(io::stderr(), "ringsock: {error}{more}");
}
