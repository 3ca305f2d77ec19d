//! Settings from environment variables, for every command that names some.
//!
//! Hands each variable that says something to the parser of flags, as the flag whose variable it is, so that both are read
//! alike. Never reads a variable that no flag names: Kubernetes sets many that begin as ours do. Invariants: a flag wins over
//! its variable; a variable that is empty, or blank, is as one that is not set; whatever is wrong with a value names the
//! variable that it came from.

use std::env;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

/// The exit code of a command line that is not understood, as clap has it.
const USAGE: u8 = 2;

/// Where the command stands among the words of a command line: the program itself has no flag with a value.
const COMMAND_AT: usize = 1;

/// The variables that settings came from.
#[derive(Debug, Default)]
pub struct Variables(Vec<Variable>);

#[derive(Debug)]
struct Variable {
    name: String,
    /// The flag that it stands for, without its dashes.
    flag: String,
    value: String,
}

/// Why there is no command to carry out.
#[derive(Debug, thiserror::Error)]
pub enum NoCommand {
    /// Help was asked for, or the command line is not understood: what clap prints then.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// A variable is not understood.
    #[error(transparent)]
    Variable(#[from] InvalidVariable),
}

/// A variable whose value cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("The variable {name} does not hold: {reason}")]
pub struct InvalidVariable {
    name: String,
    /// In clap's words, which hide what has to be hidden.
    reason: String,
}

impl InvalidVariable {
    /// How the program ends that was given it.
    pub fn exit_code(&self) -> ExitCode {
        USAGE.into()
    }
}

impl Variables {
    /// An error, and which variables it is about.
    pub fn explain(&self, error: &dyn std::error::Error) -> String {
        format!("{error}{}", self.behind(&error.to_string()))
    }

    /// Which variable set what this message tells of, as a further sentence; empty if none did.
    fn behind(&self, message: &str) -> String {
        let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let names = |flag: &str| message.split(|c| !is_in_name(c)).any(|word| word == flag);
        // A path or an address stands for itself.
        let repeats = |value: &str| value.contains(['/', ':']) && message.contains(value);
        let behind = self.0.iter().filter(|variable| names(&variable.flag) || repeats(&variable.value));
        behind.map(|Variable { name, flag, .. }| format!(" The variable {name} sets {flag}.")).collect()
    }
}

/// Reads the command line and the environment of this process.
pub fn parse<C: CommandFactory + FromArgMatches>() -> Result<(C, Variables), NoCommand> {
    let words: Vec<OsString> = env::args_os().collect();
    match without_variables(C::command()).try_get_matches_from(&words) {
        Ok(flags) => read::<C>(words, &flags, |name| env::var_os(name)),
        // The help shows what the variables are set to, so it is that of the command that knows them.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Err(C::command().try_get_matches_from(&words).err().unwrap_or(error).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads again the words that gave these flags, together with the variables of their command.
fn read<C: CommandFactory + FromArgMatches>(
    mut words: Vec<OsString>,
    flags: &ArgMatches,
    variable: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<(C, Variables), NoCommand> {
    let (program, flagged) = (C::command(), flags.subcommand());
    let command = flagged.and_then(|(name, given)| Some((program.find_subcommand(name)?, given)));
    let plain = without_variables(program.clone());
    let mut taken = Variables::default();
    let mut matches = flags.clone();
    for (argument, given) in command.into_iter().flat_map(|(of, given)| of.get_arguments().map(move |it| (it, given))) {
        let (Some(flag), Some(name)) = (argument.get_long(), argument.get_env()) else { continue };
        let is_given = given.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine);
        let Some(value) = variable(name).filter(|_| !is_given).and_then(trimmed) else { continue };
        let mut word = OsString::from(format!("--{flag}="));
        word.push(&value);
        words.insert(COMMAND_AT + 1, word);
        let name = name.to_string_lossy().into_owned();
        // Those before it have passed.
        matches = plain
            .clone()
            .try_get_matches_from(&words)
            .map_err(|error| InvalidVariable { name: name.clone(), reason: in_one_line(&error) })?;
        taken.0.push(Variable { name, flag: flag.to_owned(), value: value.to_string_lossy().into_owned() });
    }
    Ok((C::from_arg_matches(&matches)?, taken))
}

/// The command as if its flags had no variables.
fn without_variables(command: Command) -> Command {
    let command = command.mut_args(|argument| argument.env(None::<&'static str>));
    command.mut_subcommands(without_variables)
}

/// A value without the white space around it, which a file that a secret was made from ends with; `None` if nothing is left.
fn trimmed(value: OsString) -> Option<OsString> {
    match value.to_str() {
        Some(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(OsString::from),
        None => Some(value),
    }
}

/// What clap finds wrong, without its advice on flags.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let finding = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = finding.trim_start_matches("error: ").split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use clap::Parser;
    use ringsock::config::Options;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: Task,
    }

    #[derive(Debug, clap::Subcommand)]
    #[expect(clippy::large_enum_variant, reason = "there is one, made once")]
    enum Task {
        Serve(Serve),
        Other,
    }

    #[derive(Debug, clap::Args)]
    struct Serve {
        #[arg(long, env = "RINGSOCK_LOG", default_value = "info")]
        log: String,
        #[command(flatten)]
        options: Options,
    }

    fn read_all(flags: &[&str], variables: &[(&str, &str)]) -> Result<(Program, Variables), NoCommand> {
        let words: Vec<OsString> = ["ringsock"].iter().chain(flags).map(OsString::from).collect();
        let given = without_variables(Program::command()).try_get_matches_from(&words).unwrap();
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        read(words, &given, |name| variables.get(name.to_str().unwrap()).map(OsString::from))
    }

    fn serve(flags: &[&str], variables: &[(&str, &str)]) -> (Serve, Variables) {
        match read_all(&[&["serve"], flags].concat(), variables).unwrap() {
            (Program { command: Task::Serve(serve) }, taken) => (serve, taken),
            other => panic!("{other:?}"),
        }
    }

    /// Every variable that a setting has.
    fn all_variables() -> Vec<String> {
        let program = Program::command();
        let serve = program.find_subcommand("serve").unwrap();
        serve.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn a_variable_stands_in_for_its_flag_and_a_flag_wins() {
        let variables = [("RINGSOCK_CORES", "3"), ("RINGSOCK_MAX_HEADERS", "40"), ("RINGSOCK_LOG", "warn")];
        let (serve, _) = serve(&["--max-headers", "30"], &variables);
        assert_eq!((serve.options.cores, serve.options.max_headers, &*serve.log), (Some(3), Some(30), "warn"));
        assert!(serve.options.reactor.is_none());
    }

    #[test]
    fn an_empty_or_blank_variable_is_as_one_that_is_not_set_whatever_it_is_for() {
        let names = all_variables();
        assert!(names.len() > 40, "{names:?}");
        for blank in ["", " ", "\n", "\t \r\n"] {
            let variables: Vec<(&str, &str)> = names.iter().map(|name| (&**name, blank)).collect();
            let (serve, taken) = serve(&[], &variables);
            assert_eq!((serve.options, &*serve.log), (Options::default(), "info"), "{blank:?}");
            assert!(taken.0.is_empty());
        }
    }

    #[test]
    fn white_space_around_a_value_is_not_part_of_it() {
        let variables = [("RINGSOCK_CORES", " 2\n"), ("RINGSOCK_API_KEY", "key\n"), ("RINGSOCK_SHARE_PORT", "true ")];
        let (serve, _) = serve(&[], &variables);
        assert_eq!((serve.options.cores, serve.options.share_port), (Some(2), Some(true)));
        assert_eq!(serve.options.api_key.unwrap().0.as_deref(), Some("key"));
    }

    #[test]
    fn what_is_wrong_with_a_value_names_its_variable_in_one_line() {
        for (name, value, reason) in [
            ("RINGSOCK_CORES", "two", "invalid digit"),
            ("RINGSOCK_CORES", "-1", "invalid digit"),
            ("RINGSOCK_REACTOR", "kqueue", "possible values: auto, uring, epoll"),
            ("RINGSOCK_SHARE_PORT", "yes", "possible values: true, false"),
            ("RINGSOCK_COMPRESSION", "gzip", "off, shared, dedicated"),
            ("RINGSOCK_SUBPROTOCOLS", "v 2", "v 2"),
        ] {
            // Others beside it are right.
            let variables = [("RINGSOCK_MAX_HEADERS", "40"), (name, value), ("RINGSOCK_LOG", "warn")];
            let error = read_all(&["serve"], &variables).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason) && error.contains("--"), "{error}");
            assert!(!error.contains('\n') && !error.contains("--help"), "{error}");
        }
        // A flag wins, so nobody reads its variable.
        assert!(read_all(&["serve", "--reactor", "auto"], &[("RINGSOCK_REACTOR", "kqueue")]).is_ok());
    }

    #[test]
    fn a_later_message_is_told_which_variables_it_is_about() {
        let variables = [
            ("RINGSOCK_MAX_HEADERS", "1000"),
            ("RINGSOCK_LISTEN", "192.0.2.1:80"),
            ("RINGSOCK_ADMIN_LISTEN", "none"),
            ("RINGSOCK_MAX_HEAD_BYTES", "500"),
        ];
        let (_, taken) = serve(&[], &variables);
        let behind = |message: &str| taken.behind(message);
        assert_eq!(
            behind("max-headers is 1000, but must be from 1 to 256."),
            " The variable RINGSOCK_MAX_HEADERS sets max-headers."
        );
        assert!(behind("Cannot bind 192.0.2.1:80.").contains("RINGSOCK_LISTEN sets listen"));
        assert_eq!(behind("max-header is 3. There is none, and admin is wrong."), "");
        let (_, none) = serve(&["--max-headers", "1000"], &variables[..1]);
        assert_eq!(none.behind("max-headers is 1000."), "");
    }

    #[test]
    fn a_value_is_one_word_whatever_it_begins_with() {
        let variables = [("RINGSOCK_API_KEY", "--cores=3"), ("RINGSOCK_ALLOW_ORIGIN", "-x y")];
        let (serve, _) = serve(&[], &variables);
        assert_eq!(serve.options.api_key.unwrap().0.as_deref(), Some("--cores=3"));
        assert_eq!((serve.options.cores, serve.options.allow_origin.as_deref()), (None, Some("-x y")));
    }

    /// For a Service of this name Kubernetes sets RINGSOCK_PORT, RINGSOCK_SERVICE_HOST and more of that kind.
    #[test]
    fn no_setting_has_a_variable_that_kubernetes_sets_for_a_service_of_our_name() {
        for name in all_variables() {
            let rest = name.strip_prefix("RINGSOCK_").unwrap();
            assert!(!rest.starts_with("SERVICE_") && rest != "PORT" && !rest.starts_with("PORT_"), "{name}");
        }
    }

    #[test]
    fn a_command_without_variables_reads_none() {
        let (program, taken) = read_all(&["other"], &[("RINGSOCK_CORES", "two")]).unwrap();
        assert!(matches!(program.command, Task::Other) && taken.0.is_empty());
    }
}
