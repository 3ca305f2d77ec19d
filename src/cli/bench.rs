//! `ringsock bench`: flags to plan, outcome to table and files.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, BufReader, IsTerminal};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringsock::load::{self, Mode, Pace, Plan, Sources, Sweep, report};

use super::progress::Progress;
use super::signals;

/// What a bench does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Task {
    /// Each connection sends messages, and each comes back
    Echo,
    /// A few publish, and everyone hears it
    Fanout,
    /// Connections open and close, again and again: handshakes per second
    Connect,
    /// Connections are opened and held: memory of each
    Idle,
    /// Some echo, some come and go, most are idle
    Mixed,
    /// The same rate of echoes over more and more connections, to find where latency turns up
    Sweep,
}

/// `ringsock bench`.
#[derive(clap::Args)]
pub struct Bench {
    /// What the connections do
    #[arg(value_enum)]
    task: Task,
    /// Where to connect to [default: ws://127.0.0.1:9000/echo, for fanout ws://127.0.0.1:9000/topics/bench]
    #[arg(long)]
    url: Option<String>,
    /// Ports to connect to, from that of the URL on; connections take turns
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    ports: u16,
    /// Connections in all
    #[arg(long, short, value_name = "COUNT", default_value_t = 100)]
    connections: usize,
    /// Seconds that are measured, of a sweep in each step [default: 10, for sweep 5]
    #[arg(long, short, value_name = "SECONDS")]
    duration: Option<f64>,
    /// Seconds before, that are not
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds that answers are waited for in the end, at most; what has not come by then is a fault
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    settle: f64,
    /// Bytes of a message
    #[arg(long, short, value_name = "BYTES", default_value_t = 64)]
    size: usize,
    /// Closed loop: messages under way on each connection, or of each publisher; the server sets the rate [default: 1]
    #[arg(long, short = 'f', value_name = "COUNT", conflicts_with = "rate")]
    in_flight: Option<usize>,
    /// Open loop: messages a second in all; each counts from when it was due, so a server that stalls is charged for those
    /// that had to wait [default for sweep: half of what 100 connections achieve in a closed loop, which it measures first]
    #[arg(long, short, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Sweep: the connections of each step, rising
    #[arg(long, value_name = "COUNTS", value_delimiter = ',', default_value = "100,500,1000,2000,5000,10000,18000")]
    steps: Vec<usize>,
    /// Threads [default: one]
    #[arg(long, short, value_name = "COUNT", default_value_t = 1)]
    threads: usize,
    /// Address or network to connect from, such as 127.1.0.0/24; each has some 28,000 ports to one of the server
    #[arg(long, value_name = "NETWORK")]
    source: Option<Sources>,
    /// Connections that may be opening at once
    #[arg(long, value_name = "COUNT", default_value_t = 256)]
    opening: usize,
    /// A header of the handshake, such as "Authorization: Bearer abc"; may be given several times
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// A subprotocol to offer; may be given several times
    #[arg(long, value_name = "NAME")]
    protocol: Vec<String>,
    /// Send text, not binary
    #[arg(long)]
    text: bool,
    /// What each connection sends first, to servers with commands: to subscribe, for example
    #[arg(long, value_name = "TEXT")]
    greeting: Option<String>,
    /// Messages with which the server greets each connection, before it answers any; they are not looked at [default: 0, and
    /// 1 where no number is given]
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "1")]
    skip_greetings: Option<usize>,
    /// What a message is sent in, to servers with commands, with {} where it stands
    #[arg(long, value_name = "TEXT", default_value = "{}")]
    envelope: String,
    /// Fan-out: how many of the connections publish
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    publishers: usize,
    /// Fan-out: publishers do not hear what they publish
    #[arg(long)]
    no_echo: bool,
    /// Mixed: of a hundred connections, how many echo
    #[arg(long, value_name = "PERCENT", default_value_t = 10)]
    active: usize,
    /// Mixed: connections a second that go and come again
    #[arg(long, value_name = "PER_SECOND", default_value_t = 10.0)]
    churn: f64,
    /// The server's processes, whose time and memory is to be shown
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,
    /// Use epoll even where io_uring can be had
    #[arg(long)]
    epoll: bool,
    /// Write the outcome to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report with plots to this file, to be opened in a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Bench {
    /// Carries it out. The exit code is 0 only if every answer was right.
    pub fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let plan = self.plan()?;
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in signals::interrupting() {
            // Whoever asks twice does not want to wait for the outcome.
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
        let Url { host, address, path } = Url::parse(url)?;
        let path = if fanout && self.no_echo && self.url.is_none() { format!("{path}?echo=false") } else { path };
        let ports = (0..self.ports.max(1)).map(|more| address.port().checked_add(more));
        let targets = ports.map(|port| Some(SocketAddr::new(address.ip(), port?))).collect::<Option<_>>();
        let headers = self.header.iter().map(|header| {
            let (name, value) = header.split_once(':').ok_or_else(|| {
                format!("header is {header:?}, which has no colon. Give a name and a value, such as \"Authorization: Bearer abc\".")
            })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        let (before, after) = self.envelope.split_once("{}").ok_or_else(|| {
            format!("envelope is {:?}, in which no {{}} says where the message stands.", self.envelope)
        })?;
        Ok(Plan {
            mode,
            targets: targets.ok_or("ports reach beyond 65535. Give fewer.")?,
            host,
            path,
            headers: headers.collect::<Result<_, String>>()?,
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
        // Each is written whatever becomes of the others: the run cannot be had again.
        let written = [
            self.json.as_ref().map(|path| write(path, json().map_err(|error| error.to_string())? + "\n")),
            self.html.as_ref().map(|path| write(path, html())),
            Some(super::print(&table.to_string())),
        ];
        Ok(written.into_iter().flatten().collect::<Result<(), String>>()?)
    }
}

/// A further process, where one has not descriptors enough.
fn worker() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bench-worker");
    Ok(command)
}

/// The command as it can be typed again, but for the values of headers, which may be secrets.
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

/// A process of a bench that needs several.
pub fn work() -> Result<ExitCode, Box<dyn Error>> {
    // Whoever interrupts a bench reaches all of its processes; the first of them says what happens.
    for signal in signals::from_terminal() {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    if io::stdin().is_terminal() {
        return Err("bench-worker is a part of bench. Use ringsock bench.".into());
    }
    load::work_for_parent(BufReader::new(io::stdin()), io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}

fn seconds(name: &str, seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{name} is {seconds}, which is no time: {error}."))
}

/// What a URL says.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    host: String,
    address: SocketAddr,
    path: String,
}

impl Url {
    fn parse(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("ws://")
            .ok_or_else(|| format!("url is {url:?}, but must begin with ws://. TLS (wss://) is not spoken."))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let resolved = with_port.to_socket_addrs().map(|addresses| reachable(&addresses.collect::<Vec<_>>()));
        let address = match resolved {
            Ok(Some(address)) => address,
            Ok(None) => return Err(format!("The host of {url:?} has no address. Check its name.")),
            Err(error) => return Err(format!("The host of {url:?} cannot be found: {error}. Check its name.")),
        };
        Ok(Self { host: host.to_owned(), address, path })
    }
}

/// How long the addresses of a name have to show that somebody listens there.
const REACHABLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The first address at which somebody listens, as browsers choose one of a name's; the first of all if there is none, which
/// the run then tells.
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
        // Bound, so that nobody else is given the port, and never told to listen.
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
        ] {
            let expected = Url { host: host.to_owned(), address: address.parse().unwrap(), path: path.to_owned() };
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
        for (url, reason) in [("wss://localhost", "TLS"), ("localhost:9000", "ws://"), ("ws://:x/", "cannot be found")]
        {
            let error = Url::parse(url).unwrap_err();
            assert!(error.contains(reason) && error.contains(url), "{error}");
        }
    }
}
