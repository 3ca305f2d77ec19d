//! `ringsock tune`: a goal from flags and settings, a host as it is, and what is between them, for a person or a program.
//!
//! Exit codes: 0 ready, 1 not ready, 2 it could not be done.

use std::error::Error;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringsock::config::Layers;
use ringsock::engine::DESCRIPTORS_PER_CORE;
use ringsock::reactor::uring::Uring;
use ringsock::tune::apply::{Record, Step, Tree, apply, undo, write_sysctl_file};
use ringsock::tune::{self, Goal, Host, Knob, Role, State, Weight, knobs, sysctl_file};
use serde_json::{Value, json};

// The layer knows nothing of the engine, so what it counts on is held against it here.
const _: () = assert!(Goal::DESCRIPTORS_PER_CORE == DESCRIPTORS_PER_CORE as u64);

/// Columns of the text: what a terminal has beside something else.
const COLUMNS: usize = 110;

/// `ringsock tune`.
#[derive(clap::Args)]
pub struct Tune {
    /// Connections that the host is to hold; 0 for as many as the limit of open files allows [default: what serve is set to]
    #[arg(long, short, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    connections: Option<u64>,
    /// Cores of all processes; 0 for one on each processor [default: what serve is set to]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(..=65_536))]
    cores: Option<u64>,
    /// Processes that share the port, the connections and the cores, each with a limit of open files of its own
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    processes: u64,
    /// The file that serve is given, for what is not said here [variable: RINGSOCK_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prepare a host for ringsock bench, not for serve
    #[arg(long)]
    load_generator: bool,
    /// Write the sysctls that can be written from here, until the next start of the host; needs root
    #[arg(long)]
    apply: bool,
    /// Restore what --apply found
    #[arg(long, conflicts_with_all = ["apply", "write_sysctl", "load_generator"])]
    undo: bool,
    /// Write the sysctls to this file, such as /etc/sysctl.d/90-ringsock.conf, which holds at every start; - to print them
    #[arg(long, value_name = "FILE", conflicts_with = "apply")]
    write_sysctl: Option<PathBuf>,
    /// Where --apply keeps what it found
    #[arg(long, value_name = "FILE", default_value = "/var/lib/ringsock/sysctls-before-tune.conf")]
    record: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where /proc and /sys are, for tests
    #[arg(long, value_name = "DIRECTORY", default_value = "/", hide = true)]
    root: PathBuf,
}

impl Tune {
    /// Looks, and does what it was told to.
    pub fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        match self.carry_out() {
            Ok(true) => Ok(ExitCode::SUCCESS),
            Ok(false) => Ok(ExitCode::FAILURE),
            Err(error) => {
                super::complain(error);
                Ok(ExitCode::from(2))
            }
        }
    }

    fn carry_out(&self) -> Result<bool, Box<dyn Error>> {
        let host = read(&self.root);
        if self.undo {
            return self.undo(&host);
        }
        let goal = self.goal(&host)?;
        if let Some(path) = &self.write_sysctl {
            return self.write_sysctl(path, &sysctl_file(&host, &goal));
        }
        if !self.apply {
            return self.report(&host, &goal, &[]);
        }
        let list = knobs(&host, &goal);
        let changes: Vec<(&str, &str)> =
            list.iter().filter(|knob| knob.can_be_applied()).map(|knob| (knob.name, &*knob.wanted)).collect();
        let steps = match changes.is_empty() {
            true => Vec::new(),
            false => apply(&changes, &mut Tree::new(&self.root), &mut Record::open(&self.record, &host.network)?)?,
        };
        // What holds now, not what was asked for.
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
                return Err("The limit of open files is unlimited, so it says nothing. Give --connections.".into());
            }
            // As `serve` counts.
            0 => host.open_files.hard.saturating_sub(goal.descriptors_least()).max(1) * self.processes,
            connections => connections,
        };
        Ok(Goal { connections, ..goal })
    }

    fn undo(&self, host: &Host) -> Result<bool, Box<dyn Error>> {
        let steps = undo(&mut Tree::new(&self.root), &mut Record::open(&self.record, &host.network)?)?;
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
                "{failed} of {} could not be restored and are kept in {}. Mend what keeps them, and try again.",
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
        super::print(&format!("Wrote {name}. It holds from the next start on; sysctl -p {name} loads it now.\n"))?;
        Ok(true)
    }

    /// Whether the host is ready.
    fn report(&self, host: &Host, goal: &Goal, steps: &[Step]) -> Result<bool, Box<dyn Error>> {
        let knobs = knobs(host, goal);
        let ready = !knobs.iter().any(Knob::is_missing);
        let mut out = String::new();
        if self.json {
            writeln!(out, "{:#}", to_json(host, goal, &knobs, steps))?;
        } else {
            print_steps(&mut out, steps, &self.record)?;
            print_head(&mut out, host, goal)?;
            print_knobs(&mut out, &knobs)?;
            print_verdict(&mut out, goal, &knobs)?;
        }
        super::print(&out)?;
        Ok(ready)
    }
}

/// This host, or the one below `root`.
fn read(root: &Path) -> Host {
    Host::read(root, Uring::new().map(drop).map_err(|error| error.to_string()))
}

fn print_steps(out: &mut impl Write, steps: &[Step], record: &Path) -> fmt::Result {
    if steps.is_empty() {
        return Ok(());
    }
    writeln!(out, "Applied, until the next start of the host; what was there is kept in {}:", record.display())?;
    steps.iter().try_for_each(|step| print_step(out, step))?;
    writeln!(out)
}

fn print_step(out: &mut impl Write, Step { name, from, to, outcome }: &Step) -> fmt::Result {
    match outcome {
        Ok(now) if now == to => writeln!(out, "  {name}  {from} → {to}"),
        Ok(now) => writeln!(out, "  {name}  {from} → {now}, though {to} was asked for"),
        Err(reason) => writeln!(out, "  {name}  NOT {to}: {reason}"),
    }
}

fn print_head(out: &mut impl Write, host: &Host, goal: &Goal) -> fmt::Result {
    let role = if goal.role == Role::Server { "a server" } else { "a load generator" };
    let shared = if goal.processes > 1 { format!(", {} processes", goal.processes) } else { String::new() };
    writeln!(out, "For {role} of {} connections on {} cores{shared}:", goal.connections, goal.cores)?;
    let place = match (host.in_container, host.has_own_network) {
        (true, true) => ", in a container with a network of its own",
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
        "  memory  {} needed, {} of {} available; {} bytes for an idle connection",
        tune::bytes(goal.memory_bytes()),
        tune::bytes(host.memory.available_bytes),
        tune::bytes(host.memory.total_bytes),
        goal.idle_bytes_per_connection()
    )
}

fn print_knobs(out: &mut impl Write, knobs: &[Knob]) -> fmt::Result {
    for (title, weight) in [("Required, and not so", Weight::Required), ("Better otherwise", Weight::Advised)] {
        let wrong: Vec<&Knob> = knobs.iter().filter(|knob| !knob.is_fine() && knob.weight == weight).collect();
        if !wrong.is_empty() {
            writeln!(out, "\n{title}:")?;
        }
        for knob in wrong {
            writeln!(out, "  {}  {} → {}", knob.name, knob.current, knob.wanted)?;
            wrap(out, "why        ", &knob.reason)?;
            wrap(out, "otherwise  ", &knob.otherwise)?;
            // What all of these have in common stands at the end.
            if !knob.can_be_applied() {
                wrap(out, if knob.state == State::Change { "change     " } else { "not here   " }, &knob.how)?;
            }
        }
    }
    let fine: Vec<&Knob> = knobs.iter().filter(|knob| knob.is_fine()).collect();
    if !fine.is_empty() {
        writeln!(out, "\nGood as it is:")?;
    }
    for Knob { name, current, reason, .. } in fine {
        writeln!(out, "  {name}  {current}")?;
        wrap(out, "why        ", reason)?;
    }
    Ok(())
}

fn print_verdict(out: &mut impl Write, goal: &Goal, knobs: &[Knob]) -> fmt::Result {
    let missing = knobs.iter().filter(|knob| knob.is_missing()).count();
    let advised = knobs.iter().filter(|knob| !knob.is_fine()).count() - missing;
    let applicable = knobs.iter().filter(|knob| knob.can_be_applied()).count();
    let connections = goal.connections;
    match missing {
        0 => write!(out, "\nReady for {connections} connections.")?,
        _ => write!(
            out,
            "\nNot ready for {connections} connections: {} missing.",
            if missing == 1 { "1 knob is".to_owned() } else { format!("{missing} knobs are") }
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

/// A sentence behind a heading, in lines that a terminal has room for.
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

fn to_json(host: &Host, goal: &Goal, knobs: &[Knob], steps: &[Step]) -> Value {
    json!({
        "ready": !knobs.iter().any(Knob::is_missing),
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
            "has_own_network": host.has_own_network,
            "seccomp_filter": host.is_filtered,
        },
        "memory": {
            "needed_bytes": goal.memory_bytes(),
            "available_bytes": host.memory.available_bytes,
            "total_bytes": host.memory.total_bytes,
            "idle_bytes_per_connection": goal.idle_bytes_per_connection(),
        },
        "knobs": knobs.iter().map(knob_to_json).collect::<Vec<_>>(),
        "applied": steps.iter().map(step_to_json).collect::<Vec<_>>(),
    })
}

fn knob_to_json(knob: &Knob) -> Value {
    json!({
        "name": knob.name,
        "current": knob.current,
        "wanted": knob.wanted,
        "state": match knob.state {
            State::Fine => "fine",
            State::Change => "change",
            State::OutOfReach => "out-of-reach",
        },
        "required": knob.weight == Weight::Required,
        "kind": format!("{:?}", knob.reach).to_lowercase(),
        "applicable": knob.can_be_applied(),
        "reason": knob.reason,
        "otherwise": knob.otherwise,
        "how": knob.how,
    })
}

fn step_to_json(step: &Step) -> Value {
    let (now, error) = match &step.outcome {
        Ok(now) => (Some(now), None),
        Err(error) => (None, Some(error)),
    };
    json!({ "name": step.name, "from": step.from, "to": step.to, "now": now, "error": error })
}
