//! `ringsock serve`: settings to server.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ringsock::config::{self, Config, Options, Reactor};
use ringsock::engine::{Limits, Pin, ReactorKind, StartError};
use ringsock::mesh::Capacity;
use ringsock::protocol;
use ringsock::protocol::deflate::{Compression, WindowBits};
use ringsock::protocol::http::{HEADERS_CAPACITY, HeadLimits};
use ringsock::reactor::{InheritError, Passed};
use ringsock::server::Builder;
use ringsock::service::{ApiAccess, CrossOrigin, OverflowRules, Router};
use ringsock::tune::{Goal, Host, Knob, knobs};
use ringsock::{Server, engine, server};
use tracing_subscriber::EnvFilter;

use super::environment::Variables;
use super::log::Log;
use super::notify::Notifier;
use super::{passed, places, signals};

// The settings know nothing of the protocol, so what they allow is held against it here.
const _: () = assert!(Config::HEADERS_MAX == HEADERS_CAPACITY);

/// Knobs that a server which has started has passed.
const NEEDED_TO_START: &[&str] = &["open files (RLIMIT_NOFILE)", "locked memory (RLIMIT_MEMLOCK)", "fs.nr_open"];

/// Of what the host lacks, how much one line of the log names.
const MISSING_NAMED_MAX: usize = 3;

/// `ringsock serve`.
#[derive(clap::Args)]
pub struct Serve {
    /// A TOML file; its keys are the flags below with underscores. Flags win over variables, variables over the file.
    #[arg(long, value_name = "FILE", env = "RINGSOCK_CONFIG")]
    config: Option<PathBuf>,
    /// What to log, as a filter such as info, debug or ringsock=trace.
    #[arg(long, value_name = "FILTER", env = "RINGSOCK_LOG", default_value = "info")]
    log: String,
    #[command(flatten)]
    options: Options,
}

impl Serve {
    /// Serves until it is told to end; says itself why it failed.
    pub fn run(self, variables: &Variables) -> Result<ExitCode, Box<dyn Error>> {
        // Before there is a second thread, which would keep the variables in the environment.
        let passed = Passed::take();
        let log = Log::start().map_err(|error| {
            format!(
                "The log cannot be written: {error}. It takes two threads and two descriptors: raise their limits \
                 (ulimit -u and -n, TasksMax, the cgroup's pids.max)."
            )
        })?;
        signals::endure().map_err(|source| StartError::Signals { source })?;
        Ok(match self.serve(&log, passed) {
            Ok(()) => ExitCode::SUCCESS,
            // As it was told to, and nobody had come.
            Err(error) if is_cancelled(&*error) => ExitCode::SUCCESS,
            Err(error) => {
                log.complain(variables.explain(&*error));
                ExitCode::FAILURE
            }
        })
    }

    fn serve(self, log: &Log, passed: Result<Passed, InheritError>) -> Result<(), Box<dyn Error>> {
        let filter = EnvFilter::try_new(&self.log).map_err(|error| {
            format!("log is {:?}, which is no filter: {error}. Give info, debug or ringsock=trace.", self.log)
        })?;
        log.show_events(filter);
        let file = self.config.as_deref().map(Options::from_file).transpose()?.unwrap_or_default();
        let options = self.options.or(file);
        let admin_is_wanted = options.admin_listen.is_some();
        let config = Config::from(options).checked()?;
        let status: Arc<engine::Status> = Arc::default();
        let told = Arc::clone(&status);
        let inherited = passed::accepted(passed?, &config)?;
        let builder = builder(&config)?.inherited(inherited).log_lines_dropped(log.lines_dropped());
        let builder = match &config.admin_listen.0 {
            Some(address) if admin_is_wanted => builder.admin_listen(address),
            Some(address) => builder.admin_listen_if_free(address),
            None => builder,
        };
        let overflow: OverflowRules =
            config.overflow.parse().map_err(|error| format!("overflow does not hold: {error}"))?;
        let api = api_access(&config);
        let pages: CrossOrigin =
            (config.api_allow_origin.parse()).map_err(|error| format!("api-allow-origin does not hold: {error}"))?;
        let subprotocols: Arc<[String]> = config.subprotocols.names().into();
        let server = builder.start_with_status(status, move |_core| {
            Router::new(Arc::clone(&told), overflow.clone(), api.clone())
                .with_api_origins(pages.clone())
                .with_subprotocols(Arc::clone(&subprotocols))
        })?;
        log.print(&Banner { server: &server, config: &config }.to_string());
        let mut notifier = Notifier::from_environment();
        if let Some(notifier) = &mut notifier {
            notifier.ready(format!("Serving at most {} connections.", server.limits().connections_max));
        }
        compare_with_host(&server, &config);
        Ok(server.join_observed(|pulse| {
            if let Some(notifier) = &mut notifier {
                notifier.observe(pulse);
            }
        })?)
    }
}

/// Returns whether a signal ended the server before it had started.
fn is_cancelled(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<server::Error>();
    matches!(error, Some(server::Error::Start(StartError::Cancelled)))
}

fn builder(config: &Config) -> Result<Builder, String> {
    let origins = config.allow_origin.parse().map_err(|error| format!("allow-origin does not hold: {error}"))?;
    let trusted_proxies =
        config.trusted_proxies.parse().map_err(|error| format!("trusted-proxies does not hold: {error}"))?;
    let builder = Server::builder()
        .listen_on(config.listen.clone())
        .reactor(match config.reactor {
            Reactor::Auto => ReactorKind::Auto,
            Reactor::Uring => ReactorKind::Uring,
            Reactor::Epoll => ReactorKind::Epoll,
        })
        .pin(match config.pin {
            config::Pin::Auto => Pin::Auto,
            config::Pin::Always => Pin::Always,
            config::Pin::Never => Pin::Never,
        })
        .origins(origins)
        .trusted_proxies(trusted_proxies)
        .proxy_protocol(config.proxy_protocol)
        .share_port(config.share_port)
        .stall_timeout_ms(config.stall_timeout_ms)
        .limits(limits(config));
    Ok(if config.cores == 0 { builder } else { builder.cores(config.cores) })
}

/// The configuration has been checked, so nobody is let in without a key where strangers can connect.
fn api_access(config: &Config) -> ApiAccess {
    match &config.api_key.0 {
        Some(key) => ApiAccess::Key(key.as_str().into()),
        None if config.api_insecure => ApiAccess::Open,
        None => ApiAccess::Off,
    }
}

fn compression(config: &Config) -> Option<Compression> {
    // The configuration has been checked.
    let window = |bits| WindowBits::new(bits).unwrap_or(WindowBits::MAX);
    let shared = Compression {
        context_takeover: false,
        level: config.compression_level,
        message_bytes_min: config.compression_min_bytes,
        server_window_bits: window(config.server_window_bits),
        client_window_bits: window(config.client_window_bits),
    };
    match config.compression {
        config::Compression::Off => None,
        config::Compression::Shared => Some(shared),
        config::Compression::Dedicated => Some(Compression { context_takeover: true, ..shared }),
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        head: HeadLimits {
            request_line_bytes_max: config.max_request_line_bytes,
            head_bytes_max: config.max_head_bytes,
            headers_max: config.max_headers,
        },
        // What a request publishes is a message.
        body_bytes_max: config.max_message_bytes as usize,
        messages: protocol::Limits {
            message_bytes_max: config.max_message_bytes,
            empty_fragments_max: config.max_empty_fragments,
            inflation_ratio_max: config.max_inflation_ratio,
        },
        compression: compression(config),
        compression_contexts_max: config.max_compression_contexts,
        handshake_timeout_ms: config.handshake_timeout_ms,
        assembly_timeout_ms: config.assembly_timeout_ms,
        outbox_bytes_max: config.max_outbox_bytes,
        outbox_age_ms_max: config.outbox_age_ms,
        backlog_bytes_max: config.max_backlog_bytes,
        topics_max: config.max_topics,
        mesh: Capacity { ring_entries: config.ring_entries, ..Capacity::default() },
        send_timeout_ms: config.send_timeout_ms,
        ping_interval_ms: config.ping_interval_ms,
        dead_peer_timeout_ms: config.dead_peer_timeout_ms,
        close_timeout_ms: config.close_timeout_ms,
        drain_delay_ms: config.drain_delay_ms,
        drain_spread_ms: config.drain_spread_ms,
        drain_timeout_ms: config.drain_timeout_ms,
        connections_max: config.max_connections,
        connections_per_address_max: config.max_connections_per_address,
        handshakes_per_address_per_second_max: config.max_handshakes_per_address_per_second,
        handshake_burst_per_address_max: config.max_handshake_burst_per_address,
        ..Limits::default()
    }
}

/// What runs, where, and within which limits.
struct Banner<'a> {
    server: &'a Server,
    config: &'a Config,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, config } = self;
        let limits = server.limits();
        let endpoints = server.addresses();
        writeln!(out, "ringsock {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "  listen       {}", places::list(endpoints))?;
        writeln!(out, "  cores        {}", server.counters().len())?;
        writeln!(out, "  reactor      {}", server.reactor())?;
        writeln!(
            out,
            "  connections  {} at most, {} ms for a request, {} ms to close",
            limits.connections_max, limits.handshake_timeout_ms, limits.close_timeout_ms
        )?;
        writeln!(out, "  origins      {}", config.allow_origin)?;
        writeln!(out, "  subprotocols {}", config.subprotocols)?;
        let header = if config.proxy_protocol { ", each with a PROXY header" } else { "" };
        writeln!(out, "  proxies      {}{header}", config.trusted_proxies)?;
        writeln!(
            out,
            "  messages     {} bytes, {} ms to arrive, {} empty fragments in a row",
            limits.messages.message_bytes_max, limits.assembly_timeout_ms, limits.messages.empty_fragments_max
        )?;
        let mode = match &limits.compression {
            None => "off".to_owned(),
            Some(agreed) => {
                let mode = if agreed.context_takeover { "dedicated" } else { "shared" };
                format!("{mode}, level {}, from {} bytes on", agreed.level, agreed.message_bytes_min)
            }
        };
        writeln!(out, "  compression  {mode}")?;
        writeln!(
            out,
            "  requests     {} bytes, {} headers, {} bytes in the first line",
            limits.head.head_bytes_max, limits.head.headers_max, limits.head.request_line_bytes_max
        )?;
        writeln!(
            out,
            "  outbox       {} bytes for each session, {} ms without progress",
            limits.outbox_bytes_max, limits.send_timeout_ms
        )?;
        writeln!(
            out,
            "  silence      ping after {} ms, gone after {} ms",
            config.ping_interval_ms, config.dead_peer_timeout_ms
        )?;
        let api = || places::url(endpoints, "http", "/api/publish");
        match api_access(config) {
            ApiAccess::Off => writeln!(out, "  api          off")?,
            ApiAccess::Key(_) => writeln!(out, "  api          {}, with the key", api())?,
            ApiAccess::Open => writeln!(out, "  api          {}, for every program of this host", api())?,
        }
        match server.admin_addresses() {
            [] => writeln!(out, "  metrics      none")?,
            admin => writeln!(out, "  metrics      {}", places::url(admin, "http", "/metrics"))?,
        }
        let (url, to_try_it) = (places::url(endpoints, "ws", "/echo"), places::to_try_it(endpoints));
        writeln!(out, "ringsock is ready on {url} ({to_try_it})")
    }
}

/// Says once what the host lacks for as many connections as the server may take. Where nobody has said how many that are,
/// it is no warning: nobody may want them. Reads some fifty small files, after the server is ready.
fn compare_with_host(server: &Server, config: &Config) {
    let connections = server.limits().connections_max as u64;
    let goal = Goal::server(connections, server.counters().len() as u64);
    let missing: Vec<Knob> = knobs(&Host::read(Path::new("/"), Ok(())), &goal)
        .into_iter()
        .filter(|knob| knob.is_missing() && !NEEDED_TO_START.contains(&knob.name))
        .collect();
    let named: Vec<String> = missing
        .iter()
        .take(MISSING_NAMED_MAX)
        .map(|knob| format!("{} is {}, wanted {}", knob.name, knob.current, knob.wanted))
        .collect();
    if named.is_empty() {
        return;
    }
    let more = match missing.len() - named.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let text = format!(
        "The host is not prepared for {connections} connections: {}{more}. Run ringsock tune --connections {connections}",
        named.join("; ")
    );
    if config.max_connections == 0 {
        tracing::info!("{text}, or set --max-connections to what you want to hold.");
    } else {
        tracing::warn!("{text}.");
    }
}
