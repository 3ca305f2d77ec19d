//! `ringsock bench`: turns flags into a plan, and writes the outcome to the terminal and to files.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, BufReader, IsTerminal};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringsock::load::{self, Mode, Pace, Plan, PlanTls, ServerTrust, Sources, Sweep, report};

use super::progress::Progress;
use super::signals;

/// The workload of a bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Task {
    /// Each connection sends messages and receives their echoes
    Echo,
    /// A few connections publish, and all receive
    Fanout,
    /// Connections open and close repeatedly: measures handshakes per second
    Connect,
    /// Connections are opened and held: measures memory per connection
    Idle,
    /// Some connections echo, some close and reconnect, most are idle
    Mixed,
    /// The same rate of echoes over more and more connections: finds where latency rises
    Sweep,
}

/// The flags of TLS.
#[derive(clap::Args)]
struct TlsArgs {
    /// wss: file with the certificates of authorities to trust, in PEM [default: those of this host]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// wss: trust any certificate
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// wss: resume TLS sessions, as browsers do
    #[arg(long)]
    resume: bool,
}

impl TlsArgs {
    /// Returns the settings of TLS of a run.
    fn plan(&self) -> PlanTls {
        let trust = match &self.ca {
            _ if self.insecure => ServerTrust::Anyone,
            Some(path) => ServerTrust::File(path.clone()),
            None => ServerTrust::System,
        };
        PlanTls { trust, resumes: self.resume }
    }
}

/// `ringsock bench`.
#[derive(clap::Args)]
pub struct Bench {
    /// The workload
    #[arg(value_enum)]
    task: Task,
    /// URL to connect to [default: ws://127.0.0.1:9000/echo, for fanout ws://127.0.0.1:9000/topics/bench]
    #[arg(long)]
    url: Option<String>,
    /// Number of ports to connect to, counted from the URL's; connections take turns
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    ports: u16,
    /// Total connections
    #[arg(long, short, value_name = "COUNT", default_value_t = 100)]
    connections: usize,
    /// Measured time, in seconds (per step in a sweep) [default: 10, for sweep 5]
    #[arg(long, short, value_name = "SECONDS")]
    duration: Option<f64>,
    /// Warm-up before it, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warm_up: f64,
    /// Longest wait for answers at the end, in seconds; answers that have not arrived by then are faults
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    settle: f64,
    /// Bytes per message
    #[arg(long, short, value_name = "BYTES", default_value_t = 64)]
    size: usize,
    /// Closed loop: messages in flight on each connection, or per publisher; the server sets the rate [default: 1]
    #[arg(long, short = 'f', value_name = "COUNT", conflicts_with = "rate")]
    in_flight: Option<usize>,
    /// Open loop: total messages per second; latency counts from when a message was due, so a server that stalls is
    /// charged for all that had to wait [default for sweep: half of what 100 connections achieve in a closed loop,
    /// measured first]
    #[arg(long, short, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Sweep: connections of each step, in increasing order
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "100,500,1000,2000,5000,10000,18000")]
    steps: Vec<usize>,
    /// Threads
    #[arg(long, short, value_name = "COUNT", default_value_t = 1)]
    threads: usize,
    /// Source address or network, such as 127.1.0.0/24; each address has some 28,000 ports to one server port
    #[arg(long, value_name = "NETWORK")]
    source: Option<Sources>,
    /// Limit of connections that are opening at once
    #[arg(long, value_name = "COUNT", default_value_t = 256)]
    opening: usize,
    #[command(flatten)]
    tls: TlsArgs,
    /// Handshake header, such as "Authorization: Bearer abc"; can be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Subprotocol to offer; can be repeated
    #[arg(long, value_name = "NAME")]
    protocol: Vec<String>,
    /// Send text instead of binary messages
    #[arg(long)]
    text: bool,
    /// First message of each connection, for servers with commands: a subscribe command, for example
    #[arg(long, value_name = "TEXT")]
    greeting: Option<String>,
    /// Messages that the server sends unasked at the start of each connection; they are skipped unchecked [default: 0,
    /// or 1 if the flag has no value]
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "1")]
    skip_greetings: Option<usize>,
    /// Text around each message, for servers with commands; {} stands for the message
    #[arg(long, value_name = "TEXT", default_value = "{}")]
    envelope: String,
    /// Fan-out: number of connections that publish
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    publishers: usize,
    /// Fan-out: publishers do not receive their own messages
    #[arg(long)]
    no_echo: bool,
    /// Mixed: percentage of connections that echo
    #[arg(long, value_name = "PERCENT", default_value_t = 10)]
    active: usize,
    /// Mixed: connections per second that close and reconnect
    #[arg(long, value_name = "PER_SECOND", default_value_t = 10.0)]
    churn: f64,
    /// Process ids of the server, to show its CPU time and memory
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,
    /// Use epoll even if io_uring is available
    #[arg(long)]
    epoll: bool,
    /// Write the outcome to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write an HTML report with plots to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Bench {
    /// Runs the bench. The exit code is 0 only if every answer was right.
    pub fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let plan = self.plan()?;
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in signals::interrupting() {
            // A second interrupt ends the process without waiting for the outcome.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))?;
            signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
        }
        let goes_on = || !interrupted.load(Ordering::Relaxed);
        let about = report::About::now(command_line(std::env::args()), &self.pid);
        let mut progress = Progress::new(&plan);
        let faultless = if self.task == Task::Sweep {
            let sweep = Sweep { plan, steps: self.steps.clone(), rate: self.rate }.checked()?;
            let outcome = load::sweep(sweep, &self.pid, &mut worker, &mut |step, sample| {
                progress.show_step(step, sample);
                goes_on()
            });
            progress.finish();
            let outcome = outcome?;
            self.tell(
                &report::SweepTable(&outcome),
                || report::sweep_json(&outcome),
                || report::sweep_html(&outcome, &about),
            )?;
            outcome.is_faultless()
        } else {
            let outcome = load::run(plan.checked()?, &self.pid, &mut worker, &mut |sample| {
                progress.show(sample);
                goes_on()
            });
            progress.finish();
            let outcome = outcome?;
            self.tell(&report::Table(&outcome), || report::json(&outcome), || report::html(&outcome, &about))?;
            outcome.is_faultless()
        };
        Ok(if faultless { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn plan(&self) -> Result<Plan, Box<dyn Error>> {
        let mode = match self.task {
            Task::Echo | Task::Sweep => Mode::Echo,
            Task::Fanout => Mode::Fanout,
            Task::Connect => Mode::Connect,
            Task::Idle => Mode::Idle,
            Task::Mixed => Mode::Mixed,
        };
        let fanout = mode == Mode::Fanout;
        let duration = self.duration.unwrap_or(if self.task == Task::Sweep { 5.0 } else { 10.0 });
        let url = self.url.as_deref().unwrap_or(if fanout {
            "ws://127.0.0.1:9000/topics/bench"
        } else {
            "ws://127.0.0.1:9000/echo"
        });
        let Url { host, address, path, is_secure } = Url::parse(url)?;
        let path = if fanout && self.no_echo && self.url.is_none() { format!("{path}?echo=false") } else { path };
        let ports = (0..self.ports.max(1)).map(|more| address.port().checked_add(more));
        let targets = ports.map(|port| Some(SocketAddr::new(address.ip(), port?))).collect::<Option<_>>();
        let headers = self.header.iter().map(|header| {
            let (name, value) = header.split_once(':').ok_or_else(|| {
                format!(
                    "--header {header:?} has no colon. Give a name and a value, such as \"Authorization: Bearer abc\"."
                )
            })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        let (before, after) = self.envelope.split_once("{}").ok_or_else(|| {
            format!("--envelope {:?} has no {{}} for the message. Give one such as 'PUBLISH {{}}'.", self.envelope)
        })?;
        Ok(Plan {
            mode,
            targets: targets.ok_or("--ports reaches beyond port 65535. Give fewer ports.")?,
            host,
            path,
            headers: headers.collect::<Result<_, String>>()?,
            tls: is_secure.then(|| self.tls.plan()),
            protocols: self.protocol.clone(),
            sources: self.source.unwrap_or_default(),
            connections: self.connections,
            threads: self.threads,
            opening_max: self.opening,
            duration: seconds("duration", duration)?,
            warm_up: seconds("warm-up", self.warm_up)?,
            settle: seconds("settle", self.settle)?,
            size: self.size,
            text: self.text,
            pace: match (self.in_flight, self.rate) {
                (_, Some(rate)) => Pace::PerSecond(rate),
                (in_flight, None) => Pace::InFlight(in_flight.unwrap_or(1)),
            },
            publishers: self.publishers,
            receives_own: !self.no_echo,
            greeting: self.greeting.clone(),
            skipped_greetings: self.skip_greetings.unwrap_or(0),
            envelope: (before.to_owned(), after.to_owned()),
            active_percent: self.active.min(100),
            churn_per_second: self.churn,
            epoll: self.epoll,
        })
    }

    fn tell(
        &self,
        table: &dyn Display,
        json: impl FnOnce() -> serde_json::Result<String>,
        html: impl FnOnce() -> String,
    ) -> Result<(), Box<dyn Error>> {
        let write = |path: &PathBuf, text: String| {
            std::fs::write(path, text)
                .map_err(|error| format!("The file {} cannot be written: {error}.", path.display()))
        };
        // Each output is written even if another fails: the run cannot be repeated.
        let written = [
            self.json.as_ref().map(|path| write(path, json().map_err(|error| error.to_string())? + "\n")),
            self.html.as_ref().map(|path| write(path, html())),
            Some(super::print(&table.to_string())),
        ];
        Ok(written.into_iter().flatten().collect::<Result<(), String>>()?)
    }
}

/// Returns the command that starts a child process, for runs that exceed the descriptor limit.
fn worker() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bench-worker");
    Ok(command)
}

/// Returns the command line for a report, without the values of headers, which may be secret.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let mut shown = vec!["ringsock".to_owned()];
    let mut is_header = false;
    for argument in arguments.skip(1) {
        let header = match argument.strip_prefix("--header=").or_else(|| argument.strip_prefix("-H")) {
            _ if is_header => Some(argument.as_str()),
            Some("") | None => None,
            header => header,
        };
        let argument = match header.map(|header| header.split(':').next().unwrap_or_default()) {
            Some(name) => argument[..argument.find(name).unwrap_or(0) + name.len()].to_owned() + ": …",
            None => argument.clone(),
        };
        is_header = header.is_none() && matches!(argument.as_str(), "--header" | "-H");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
        let quoted = || format!("'{}'", argument.replace('\'', "'\\''"));
        shown.push(if !argument.is_empty() && argument.chars().all(is_plain) { argument } else { quoted() });
    }
    shown.join(" ")
}

/// Runs a child process of a bench.
pub fn work() -> Result<ExitCode, Box<dyn Error>> {
    // A terminal's interrupt reaches all processes of a bench; the first one decides what happens.
    for signal in signals::from_terminal() {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    if io::stdin().is_terminal() {
        return Err("bench-worker is internal to bench. Use ringsock bench.".into());
    }
    load::work_for_parent(BufReader::new(io::stdin()), io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn seconds(name: &str, seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| format!("--{name} {seconds} is not a number of seconds: {error}."))
}

/// A parsed URL.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    host: String,
    address: SocketAddr,
    path: String,
    /// The URL begins with wss.
    is_secure: bool,
}

impl Url {
    fn parse(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("ws://")
            .or_else(|| url.strip_prefix("wss://"))
            .ok_or_else(|| format!("--url {url:?} does not begin with ws:// or wss://."))?;
        let is_secure = url.starts_with("wss");
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let with_port = if has_port { host.to_owned() } else { format!("{host}:{}", if is_secure { 443 } else { 80 }) };
        let resolved = with_port.to_socket_addrs().map(|addresses| reachable(&addresses.collect::<Vec<_>>()));
        let address = match resolved {
            Ok(Some(address)) => address,
            Ok(None) => return Err(format!("The host of {url:?} has no address. Check the name.")),
            Err(error) => return Err(format!("The host of {url:?} cannot be resolved: {error}. Check the name.")),
        };
        Ok(Self { host: host.to_owned(), address, path, is_secure })
    }
}

/// The time in which each address of a name has to accept a connection.
const REACHABLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the first address that accepts connections, as browsers choose one, or the first of all if none does; the
/// run then reports the failure.
fn reachable(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let listens = |address: &&SocketAddr| TcpStream::connect_timeout(address, REACHABLE_TIMEOUT).is_ok();
    let several = Some(addresses).filter(|addresses| addresses.len() > 1);
    several.and_then(|addresses| addresses.iter().find(listens)).or(addresses.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_addresses_one_is_taken_at_which_somebody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        // Bound without listening, so that no other process gets the port.
        let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let nobody = bound.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(reachable(&[nobody, there]), Some(there));
        assert_eq!(reachable(&[there, nobody]), Some(there));
        drop(listener);
        assert_eq!(reachable(&[nobody]), Some(nobody));
        assert_eq!(reachable(&[]), None);
    }

    #[test]
    fn a_url_says_where_and_what() {
        for (url, host, address, path) in [
            ("ws://127.0.0.1:9000/echo", "127.0.0.1:9000", "127.0.0.1:9000", "/echo"),
            ("ws://127.0.0.1", "127.0.0.1", "127.0.0.1:80", "/"),
            ("ws://[::1]:9000?a=b", "[::1]:9000", "[::1]:9000", "/?a=b"),
            ("ws://[::1]/a/b?c", "[::1]", "[::1]:80", "/a/b?c"),
            ("wss://127.0.0.1/a", "127.0.0.1", "127.0.0.1:443", "/a"),
        ] {
            let (host, path) = (host.to_owned(), path.to_owned());
            let expected = Url { host, address: address.parse().unwrap(), path, is_secure: url.starts_with("wss") };
            assert_eq!(Url::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn a_command_is_shown_as_it_was_typed_without_secrets() {
        let shown = |words: &[&str]| command_line(words.iter().map(|word| (*word).to_owned()));
        let command = ["/bin/ringsock", "bench", "echo", "-c", "5", "--envelope", "it's {}"];
        assert_eq!(shown(&command), r"ringsock bench echo -c 5 --envelope 'it'\''s {}'");
        for header in [
            &["--header", "Cookie: secret"][..],
            &["-H", "Cookie:secret"],
            &["--header=Cookie: secret"],
            &["-HCookie: secret"],
        ] {
            let command = shown(&[&["ringsock", "bench", "echo"], header, &["-c", "5"]].concat());
            assert!(
                command.contains("Cookie: …") && command.ends_with(" -c 5") && !command.contains("secret"),
                "{command}"
            );
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_with_its_reason() {
        for (url, reason) in
            [("http://localhost", "wss://"), ("localhost:9000", "ws://"), ("ws://:x/", "cannot be resolved")]
        {
            let error = Url::parse(url).unwrap_err();
            assert!(error.contains(reason) && error.contains(url), "{error}");
        }
    }
}
