//! `ringsock tune`: compares a goal from flags and settings with the host, and prints a report or JSON.
//!
//! Exit codes: 0 ready, 1 not ready, 2 the command failed.

use std::error::Error;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringsock::config::Layers;
use ringsock::engine::DESCRIPTORS_PER_CORE;
use ringsock::reactor::uring::Uring;
use ringsock::tune::apply::{Record, Step, Tree, apply, undo, write_sysctl_file};
use ringsock::tune::{self, Goal, Host, Role, Setting, Severity, State, settings, sysctl_file};
use serde_json::{Value, json};

// `tune` does not depend on the engine, so its copy of the constant is checked here.
const _: () = assert!(Goal::DESCRIPTORS_PER_CORE == DESCRIPTORS_PER_CORE as u64);

/// The width of the text, in columns, so that it fits a terminal.
const COLUMNS: usize = 110;

/// `ringsock tune`.
#[derive(clap::Args)]
pub struct Tune {
    /// Connections to hold; 0 for as many as the open-file limit allows [default: the setting of serve]
    #[arg(long, short, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    connections: Option<u64>,
    /// Cores of all processes; 0 for one per processor [default: the setting of serve]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(..=65_536))]
    cores: Option<u64>,
    /// Processes that share the port, the connections and the cores, each with an open-file limit of its own
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    processes: u64,
    /// Configuration file of serve, for values not given here [variable: RINGSOCK_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prepare the host for ringsock bench instead of serve
    #[arg(long)]
    load_generator: bool,
    #[command(flatten)]
    change: Change,
    /// File in which --apply records the original values
    #[arg(long, value_name = "FILE", default_value = "/var/lib/ringsock/sysctls-before-tune.conf")]
    record: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Directory that contains /proc and /sys, for tests
    #[arg(long, value_name = "DIRECTORY", default_value = "/", hide = true)]
    root: PathBuf,
}

/// The flags that do more than report. They exclude each other.
#[derive(clap::Args)]
#[group(multiple = false)]
struct Change {
    /// Set the sysctls that can be set from here, until the next boot; needs root
    #[arg(long)]
    apply: bool,
    /// Restore the values from before --apply
    #[arg(long, conflicts_with = "load_generator")]
    undo: bool,
    /// Write the sysctls to this file, such as /etc/sysctl.d/90-ringsock.conf, which applies at every boot; - prints
    /// them
    #[arg(long, value_name = "FILE")]
    write_sysctl: Option<PathBuf>,
}

impl Tune {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        match self.carry_out() {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(ExitCode::FAILURE),
            Err(error) => {
                super::print_error(error);
                Ok(ExitCode::from(2))
            }
        }
    }

    fn carry_out(&self) -> Result<bool, Box<dyn Error>> {
        let host = read(&self.root);
        if self.change.undo {
            return self.undo(&host);
        }
        let goal = self.goal(&host)?;
        if let Some(path) = &self.change.write_sysctl {
            return self.write_sysctl(path, &sysctl_file(&host, &goal));
        }
        if !self.change.apply {
            return self.report(&host, &goal, &[]);
        }
        let list = settings(&host, &goal);
        let changes: Vec<(&str, &str)> = list
            .iter()
            .filter(|setting| setting.can_be_applied())
            .map(|setting| (setting.name, &*setting.wanted))
            .collect();
        let steps = match changes.is_empty() {
            true => Vec::new(),
            false => apply(&changes, &mut Tree::new(&self.root), &mut Record::open(&self.record, host.network())?)?,
        };
        // Reads the host again: the report shows the values in force, not the requested ones.
        let ready = self.report(&read(&self.root), &goal, &steps)?;
        Ok(ready && steps.iter().all(|step| step.outcome.is_ok()))
    }

    fn goal(&self, host: &Host) -> Result<Goal, Box<dyn Error>> {
        let config = Layers::new().variables(std::env::vars_os()).file(self.config.as_deref()).resolve()?.config;
        let cores = match self.cores.unwrap_or(config.cores as u64) {
            0 => host.processors,
            cores => cores,
        };
        let role = if self.load_generator { Role::LoadGenerator } else { Role::Server };
        let goal = Goal { role, connections: 0, cores, processes: self.processes };
        let configured = Some(config.limits.connections_max).filter(|connections| *connections < usize::MAX);
        let connections = match self.connections.unwrap_or(configured.unwrap_or(0) as u64) {
            0 if host.open_files.hard == u64::MAX => {
                return Err("The open-file limit is unlimited, so it suggests no number. Give --connections.".into());
            }
            // The same computation as in `serve`.
            0 => host.open_files.hard.saturating_sub(goal.descriptors_least()).max(1) * self.processes,
            connections => connections,
        };
        Ok(Goal { connections, ..goal })
    }

    fn undo(&self, host: &Host) -> Result<bool, Box<dyn Error>> {
        let steps = undo(&mut Tree::new(&self.root), &mut Record::open(&self.record, host.network())?)?;
        let mut out = String::new();
        if self.json {
            writeln!(out, "{:#}", json!({ "undone": steps.iter().map(step_to_json).collect::<Vec<_>>() }))?;
        } else {
            writeln!(out, "Restored:")?;
            steps.iter().try_for_each(|step| print_step(&mut out, step))?;
        }
        super::print(&out)?;
        match steps.iter().filter(|step| step.outcome.is_err()).count() {
            0 => Ok(true),
            failed => Err(format!(
                "{failed} of {} could not be restored and are kept in {}. Remove the cause, and try again.",
                steps.len(),
                self.record.display()
            )
            .into()),
        }
    }

    fn write_sysctl(&self, path: &Path, text: &str) -> Result<bool, Box<dyn Error>> {
        if path.as_os_str() == "-" {
            super::print(text)?;
            return Ok(true);
        }
        write_sysctl_file(path, text)?;
        let name = path.display();
        super::print(&format!("Wrote {name}. It applies at every boot; sysctl -p {name} applies it now.\n"))?;
        Ok(true)
    }

    /// Prints the report and returns whether the host is ready.
    fn report(&self, host: &Host, goal: &Goal, steps: &[Step]) -> Result<bool, Box<dyn Error>> {
        let settings = settings(host, goal);
        let ready = !settings.iter().any(Setting::is_missing);
        let mut out = String::new();
        if self.json {
            writeln!(out, "{:#}", to_json(host, goal, &settings, steps))?;
        } else {
            print_steps(&mut out, steps, &self.record)?;
            print_head(&mut out, host, goal)?;
            print_settings(&mut out, &settings)?;
            print_verdict(&mut out, goal, &settings)?;
        }
        super::print(&out)?;
        Ok(ready)
    }
}

/// Reads the host below `root`.
fn read(root: &Path) -> Host {
    Host::read(root, Uring::new().map(drop).map_err(|error| error.to_string()))
}

fn print_steps(out: &mut impl Write, steps: &[Step], record: &Path) -> fmt::Result {
    if steps.is_empty() {
        return Ok(());
    }
    writeln!(out, "Applied until the next boot; the original values are kept in {}:", record.display())?;
    steps.iter().try_for_each(|step| print_step(out, step))?;
    writeln!(out)
}

fn print_step(out: &mut impl Write, Step { name, from, to, outcome }: &Step) -> fmt::Result {
    match outcome {
        Ok(now) if now == to => writeln!(out, "  {name}  {from} → {to}"),
        Ok(now) => writeln!(out, "  {name}  {from} → {now}, but {to} was requested"),
        Err(reason) => writeln!(out, "  {name}  NOT {to}: {reason}"),
    }
}

fn print_head(out: &mut impl Write, host: &Host, goal: &Goal) -> fmt::Result {
    let role = if goal.role == Role::Server { "a server" } else { "a load generator" };
    let shared = if goal.processes > 1 { format!(", {} processes", goal.processes) } else { String::new() };
    writeln!(out, "For {role} of {} connections on {} cores{shared}:", goal.connections, goal.cores)?;
    let place = match (host.in_container, host.has_own_network()) {
        (true, true) => ", in a container with a network namespace of its own",
        (true, false) => ", in a container",
        (false, true) => ", in a network namespace of its own",
        (false, false) => "",
    };
    let control = host.congestion_control.as_deref().unwrap_or("unknown");
    writeln!(
        out,
        "  host    Linux {}, {} processors, congestion control {control}{place}",
        host.kernel, host.processors
    )?;
    writeln!(
        out,
        "  memory  {} needed, {} of {} available; {} bytes per idle connection",
        tune::bytes(goal.memory_bytes()),
        tune::bytes(host.memory.available_bytes),
        tune::bytes(host.memory.total_bytes),
        goal.idle_bytes_per_connection()
    )
}

fn print_settings(out: &mut impl Write, settings: &[Setting]) -> fmt::Result {
    for (title, severity) in [("Required changes", Severity::Required), ("Recommended changes", Severity::Advised)] {
        let wrong: Vec<&Setting> =
            settings.iter().filter(|setting| !setting.is_fine() && setting.severity == severity).collect();
        if !wrong.is_empty() {
            writeln!(out, "\n{title}:")?;
        }
        for setting in wrong {
            writeln!(out, "  {}  {} → {}", setting.name, setting.current, setting.wanted)?;
            wrap(out, "why        ", &setting.reason)?;
            wrap(out, "otherwise  ", &setting.otherwise)?;
            // The verdict names --apply once for all settings that can be applied.
            if !setting.can_be_applied() {
                wrap(out, if setting.state == State::Change { "change     " } else { "not here   " }, &setting.how)?;
            }
        }
    }
    let fine: Vec<&Setting> = settings.iter().filter(|setting| setting.is_fine()).collect();
    if !fine.is_empty() {
        writeln!(out, "\nNo change needed:")?;
    }
    for Setting { name, current, reason, .. } in fine {
        writeln!(out, "  {name}  {current}")?;
        wrap(out, "why        ", reason)?;
    }
    Ok(())
}

fn print_verdict(out: &mut impl Write, goal: &Goal, settings: &[Setting]) -> fmt::Result {
    let missing = settings.iter().filter(|setting| setting.is_missing()).count();
    let advised = settings.iter().filter(|setting| !setting.is_fine()).count() - missing;
    let applicable = settings.iter().filter(|setting| setting.can_be_applied()).count();
    let connections = goal.connections;
    match missing {
        0 => write!(out, "\nReady for {connections} connections.")?,
        _ => write!(
            out,
            "\nNot ready for {connections} connections: {} missing.",
            if missing == 1 { "1 setting is".to_owned() } else { format!("{missing} settings are") }
        )?,
    }
    if advised > 0 {
        write!(out, " {advised} could be better.")?;
    }
    if applicable > 0 {
        write!(out, "\n--apply sets {applicable} of them now, --write-sysctl FILE at every start.")?;
    }
    writeln!(out)
}

/// Writes a sentence after a heading, wrapped to the terminal's width.
fn wrap(out: &mut impl Write, heading: &str, text: &str) -> fmt::Result {
    let indent = 4 + heading.len();
    write!(out, "    {heading}")?;
    let mut column = indent;
    for (index, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if index > 0 && column + 1 + width > COLUMNS {
            write!(out, "\n{:indent$}{word}", "")?;
            column = indent + width;
        } else {
            let space = if index > 0 { " " } else { "" };
            write!(out, "{space}{word}")?;
            column += space.len() + width;
        }
    }
    writeln!(out)
}

fn to_json(host: &Host, goal: &Goal, settings: &[Setting], steps: &[Step]) -> Value {
    json!({
        "ready": !settings.iter().any(Setting::is_missing),
        "goal": {
            "role": if goal.role == Role::Server { "server" } else { "load-generator" },
            "connections": goal.connections,
            "cores": goal.cores,
            "processes": goal.processes,
        },
        "host": {
            "kernel": host.kernel,
            "processors": host.processors,
            "congestion_control": host.congestion_control,
            "in_container": host.in_container,
            "has_own_network": host.has_own_network(),
            "seccomp_filter": host.is_filtered,
        },
        "memory": {
            "needed_bytes": goal.memory_bytes(),
            "available_bytes": host.memory.available_bytes,
            "total_bytes": host.memory.total_bytes,
            "idle_bytes_per_connection": goal.idle_bytes_per_connection(),
        },
        "settings": settings.iter().map(setting_to_json).collect::<Vec<_>>(),
        "applied": steps.iter().map(step_to_json).collect::<Vec<_>>(),
    })
}

fn setting_to_json(setting: &Setting) -> Value {
    json!({
        "name": setting.name,
        "current": setting.current,
        "wanted": setting.wanted,
        "state": match setting.state {
            State::Fine => "fine",
            State::Change => "change",
            State::OutOfReach => "out-of-reach",
        },
        "required": setting.severity == Severity::Required,
        "kind": format!("{:?}", setting.kind).to_lowercase(),
        "applicable": setting.can_be_applied(),
        "reason": setting.reason,
        "otherwise": setting.otherwise,
        "how": setting.how,
    })
}

fn step_to_json(step: &Step) -> Value {
    let (now, error) = match &step.outcome {
        Ok(now) => (Some(now), None),
        Err(error) => (None, Some(error)),
    };
    json!({ "name": step.name, "from": step.from, "to": step.to, "now": now, "error": error })
}
