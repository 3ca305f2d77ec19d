//! `ringsock config`: checks a file, shows what is in force, and writes the defaults.

use std::path::PathBuf;
use std::process::ExitCode;

use ringsock::config::{self, Layers};

use super::certificates;
use super::settings::SettingsArgs;

/// `ringsock config`.
#[derive(clap::Args)]
pub struct Config {
    #[command(subcommand)]
    task: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    /// Check a file: print "ok", or each fault with its file, line and key.
    Check {
        /// The TOML file.
        file: PathBuf,
    },
    /// Print each value in force and where it comes from: default, file and line, variable, or flag.
    Show(SettingsArgs),
    /// Print a file with every setting at its default, each with a comment.
    Defaults,
    /// Print docs/configuration.md.
    #[command(hide = true)]
    Reference,
}

impl Config {
    /// Runs the subcommand.
    pub fn run(self) -> Result<ExitCode, Box<dyn std::error::Error>> {
        match self.task {
            Task::Check { file } => return check(&file),
            Task::Show(settings) => match settings.resolve() {
                Ok(settings) => super::print(&settings.show())?,
                Err(errors) => return Ok(refuse(&errors)),
            },
            Task::Defaults => super::print(&config::defaults())?,
            Task::Reference => super::print(&config::reference())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn check(file: &std::path::Path) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match Layers::new().file(Some(file)).resolve() {
        Ok(settings) => {
            if settings.config.tls.is_on() {
                match settings.config.tls.load(None) {
                    Ok(tls) => certificates::expired(&tls).iter().for_each(super::print_error),
                    Err(error) => {
                        super::print_error(settings.explain(&error.to_string()));
                        return Ok(ExitCode::FAILURE);
                    }
                }
            }
            settings.warnings().iter().for_each(super::print_error);
            super::print("ok\n")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            errors.iter().for_each(super::print_error);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn refuse(errors: &config::ConfigErrors) -> ExitCode {
    errors.iter().for_each(super::print_error);
    if errors.is_usage() { super::USAGE.into() } else { ExitCode::FAILURE }
}
