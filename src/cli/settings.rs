//! The settings of a command line: the flags of keys that are often set, `--config` and `--set`.
//!
//! The flags are made from the table of keys, which has their names, meanings and defaults. Never reads a value: the
//! layers of the configuration do.

use std::env;
use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use ringsock::config::{CONFIG_VARIABLE, ConfigErrors, KEYS, Key, Layers, Settings, meaning, meant_by_flag};

/// Separates several values of one flag.
const LIST_SEPARATOR: &str = ",";

/// The unit of a key that is true or false: its flag may stand alone.
const SWITCH: &str = "true or false";

/// The commands that take settings.
const COMMANDS: [&str; 2] = ["serve", "config"];

/// The settings of a command line.
#[derive(Clone, Debug, Default)]
pub struct SettingsArgs {
    file: Option<PathBuf>,
    flags: Vec<(&'static Key, String)>,
    assignments: Vec<String>,
}

impl SettingsArgs {
    /// Applies these settings over the file and the environment, and reads all layers.
    pub fn resolve(&self) -> Result<Settings, ConfigErrors> {
        let layers = Layers::new().variables(env::vars_os()).file(self.file.as_deref());
        let layers = self.flags.iter().fold(layers, |layers, (key, text)| layers.flag(key, text));
        self.assignments.iter().fold(layers, |layers, assignment| layers.set(assignment)).resolve()
    }
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>("config").cloned();
        self.assignments = matches.get_many::<String>("set").into_iter().flatten().cloned().collect();
        for key in KEYS {
            let Some(flag) = &key.flag else { continue };
            if let Some(values) = matches.get_many::<String>(flag.name) {
                let values: Vec<&str> = values.map(String::as_str).collect();
                self.flags.push((key, values.join(LIST_SEPARATOR)));
            }
        }
        Ok(())
    }
}

impl Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        let flags =
            KEYS.iter().filter_map(|key| Some(argument(key, key.flag.as_ref()?.name, key.flag.as_ref()?.value)));
        command
            .args(flags)
            .next_help_heading("Settings")
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .value_parser(clap::value_parser!(PathBuf))
                    .help("TOML file with settings, such as ringsock config defaults prints")
                    .long_help(format!(
                        "TOML file with settings, such as ringsock config defaults prints. Variables override the \
                         file, and flags override variables. [variable: {CONFIG_VARIABLE}]"
                    )),
            )
            .arg(
                Arg::new("set")
                    .long("set")
                    .value_name("SECTION.KEY=VALUE")
                    .action(ArgAction::Append)
                    .help("Any setting, such as topics.ring-entries=2048; may be repeated"),
            )
            .disable_help_flag(true)
            .arg(
                Arg::new("help")
                    .short('h')
                    .long("help")
                    .action(ArgAction::Help)
                    .help("Print this, or with --help more of each")
                    .long_help("Print this, or with -h less of each"),
            )
            .after_help(
                "Each flag has a variable: RINGSOCK_LISTEN for --listen. Every setting: ringsock config defaults, or \
                 docs/configuration.md.",
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(key: &'static Key, name: &'static str, value: &'static str) -> Arg {
    let default = key.default_value();
    let default = default.trim_matches('"');
    let is_list = key.section == "listen";
    let is_switch = key.unit() == SWITCH;
    Arg::new(name)
        .num_args(if is_switch { 0..=1 } else { 1..=1 })
        .require_equals(is_switch)
        .default_missing_value("true")
        .long(name)
        .value_name(value)
        .help_heading(help_heading(key.section))
        .value_parser(ValueParser::new(move |text: &str| key.check(text).map(|()| text.to_owned())))
        .action(if is_list { ArgAction::Append } else { ArgAction::Set })
        .help(format!("{} [default: {default}]", key.short.trim()))
        .long_help(format!("{} [default: {default}] [variable: {}] [key: {key}]", meaning(key), key.variable()))
}

/// Returns the heading that a section's flags stand below.
fn help_heading(section: &str) -> &'static str {
    match section {
        "listen" | "admin" | "tls" => "Listen",
        "cores" => "Cores",
        "origin" | "proxies" | "api" => "Access",
        "log" => "Settings",
        _ => "Sessions",
    }
}

/// Returns the error for an unknown flag, and names the key that sets what it was meant for, unless that has a flag.
pub fn with_hint(error: clap::Error, mut program: Command) -> clap::Error {
    let command = env::args().nth(1).filter(|name| COMMANDS.contains(&name.as_str()));
    let (Some(name), Some(ContextValue::String(flag)), ErrorKind::UnknownArgument) =
        (command, error.get(ContextKind::InvalidArg), error.kind())
    else {
        return error;
    };
    let Some(key) = meant_by_flag(flag).filter(|key| key.flag.is_none()) else { return error };
    program.build();
    let Some(command) = program.find_subcommand_mut(&name) else { return error };
    let tip = format!("set {key} with --set or in the file: --set {key}={}", key.default_value().replace('"', ""));
    let mut hinted = clap::Error::new(ErrorKind::UnknownArgument).with_cmd(command);
    hinted.insert(ContextKind::InvalidArg, ContextValue::String(flag.clone()));
    hinted.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    hinted.insert(ContextKind::Usage, ContextValue::StyledStr(command.render_usage()));
    hinted
}
