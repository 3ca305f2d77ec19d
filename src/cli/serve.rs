//! `ringsock serve`: settings to server.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringsock::config::{Config, LogFormat, Settings, Source};
use ringsock::engine::{Current, StartError, TERMINATION_SIGNALS};
use ringsock::outbound::Outbound;
use ringsock::reactor::{self, InheritError, InheritedSockets};
use ringsock::server::Builder;
use ringsock::service::auth::{AccessSettings, AccessState};
use ringsock::service::hooks::{Courier, Event, HookMetrics, HookSettings, Hooks};
use ringsock::service::{ApiAccess, Router, ServiceMail, ServiceSettings};
use ringsock::tune::{self, Goal, Host, Setting};
use ringsock::{Address, Endpoint, Listen, Server, TlsSettings, server};

use super::certificates::Certificates;
use super::log::Log;
use super::notify::Notifier;
use super::reload::{self, Hangups, Reloader, Services, SharedNotifier};
use super::settings::SettingsArgs;
use super::{passed, places, signals};

/// Host settings that are certainly sufficient once a server has started.
const NEEDED_TO_START: &[&str] = &["open files (RLIMIT_NOFILE)", "locked memory (RLIMIT_MEMLOCK)", "fs.nr_open"];

/// The least time for the last facts once all sessions have ended.
const FACTS_LAST: Duration = Duration::from_millis(500);

/// The number of missing host settings that one line of the log names.
const MISSING_NAMED_MAX: usize = 3;

/// `ringsock serve`.
#[derive(clap::Args)]
pub struct Serve {
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Serve {
    /// Serves until it is told to end. Prints the reason itself if it fails.
    pub fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        // This must happen before there is a second thread, since it removes variables from the environment.
        let passed = InheritedSockets::take();
        // The program's threads leave the signals that end it to the server's thread that waits for them.
        reactor::block(&TERMINATION_SIGNALS)?;
        let log = Log::start().map_err(|error| {
            format!(
                "The log cannot be written: {error}. It needs two threads and two descriptors: raise their limits \
                 (ulimit -u and -n, TasksMax, the cgroup's pids.max)."
            )
        })?;
        signals::ignore_unused().map_err(|source| StartError::Signals { source })?;
        // Until there is a server, a signal ends the program, for example while it reads its configuration.
        reactor::unblock(&TERMINATION_SIGNALS)?;
        let settings = match self.settings.resolve() {
            Ok(settings) => settings,
            Err(errors) => {
                log.print_error(&errors, LogFormat::Text);
                return Ok(if errors.is_usage() { super::USAGE.into() } else { ExitCode::FAILURE });
            }
        };
        Ok(match serve(self.settings, &settings, &log, passed) {
            Ok(()) => ExitCode::SUCCESS,
            // A signal has ended the start, and no client had connected.
            Err(error) if is_cancelled(&*error) => ExitCode::SUCCESS,
            Err(error) => {
                log.print_error(settings.explain(&error.to_string()), settings.config.log_format);
                ExitCode::FAILURE
            }
        })
    }
}

fn serve(
    args: SettingsArgs,
    settings: &Settings,
    log: &Log,
    passed: Result<InheritedSockets, InheritError>,
) -> Result<(), Box<dyn Error>> {
    let config = &settings.config;
    let filter = log.show_events(config.log_filter.filter(), config.log_format);
    let inherited = passed::accepted(passed?, config)?;
    let outbound = Outbound::default();
    let state = Arc::new(AccessState::new(outbound.clone()));
    let builder = builder(config).inherited(inherited).counter(
        "ringsock_log_lines_dropped",
        "Log lines and startup lines that were dropped because they could not be written in time.",
        log.lines_dropped(),
    );
    let counters = state.counts().all().into_iter().chain(state.issuers().counts().all());
    let builder = counters.fold(builder, |builder, (name, help, value)| builder.counter(name, help, value));
    let builder = match &config.admin_listen {
        Some(address) if *settings.source("admin.listen") == Source::Default => builder.admin_listen_if_free(address),
        Some(address) => builder.admin_listen(address),
        None => builder,
    };
    let certificates = Certificates::read(&config.tls)?;
    let builder = match certificates.acceptor() {
        Some(acceptor) => builder.tls(acceptor),
        None => builder,
    };
    let issuers = state.issuers().clone();
    let builder = {
        let issuers = issuers.clone();
        builder.gauge(
            "ringsock_issuer_keys_fetched_timestamp_seconds",
            "Time when the keys of an issuer were fetched, in seconds since 1970; 0 if there are none.",
            "issuer",
            move || issuers.fetched_at_s(),
        )
    };
    let services = Current::new(reload::services(config, None)?);
    let followed = services.clone();
    let hooks = Arc::new(Hooks::new(outbound));
    hooks.prepare(services.value().hooks.as_deref())?;
    let hangups = Hangups::catch().map_err(|source| StartError::Signals { source })?;
    reactor::block(&TERMINATION_SIGNALS)?;
    let courier = courier(config, &hooks, &services)?;
    let facts = courier.as_ref().map(Courier::facts);
    let builder = builder.collector(Arc::new(HookMetrics::new(Arc::clone(&hooks), facts.clone())));
    let asked = Arc::clone(&hooks);
    let server = builder.start(move |core| {
        Router::new(core, followed.follow(), Arc::clone(&state), (Arc::clone(&asked), facts.clone()))
    })?;
    let reached = server.addresses().iter().find(|endpoint| !endpoint.is_local()).map(Endpoint::to_string);
    settings.access_warnings(reached.as_deref()).iter().for_each(|warning| tracing::warn!("{warning}"));
    issuers.follow(services.value().access.as_deref());
    log.print(&Banner { server: &server, config, tls: certificates.settings() }.to_string());
    let controller = server.controller();
    let mut notifier = Notifier::from_environment();
    if let Some(notifier) = &mut notifier {
        notifier.ready(reload::status(&controller));
    }
    let notifier: SharedNotifier = Arc::new(Mutex::new(notifier));
    if let Some(hangups) = hangups {
        let reloader = Reloader::new(args, settings.clone(), controller.clone(), Arc::clone(&notifier), log.printer())
            .with(certificates.clone())
            .with(controller)
            .with(Services::new(services, server.addresses(), (issuers, hooks)))
            .with(filter);
        if let Err(error) = hangups.reload_with(reloader) {
            tracing::warn!("The configuration cannot be reloaded, since a thread could not be created: {error}.");
        }
    }
    if let Err(error) = certificates.watch() {
        tracing::warn!("Changes of certificates are not noticed, since a thread could not be created: {error}.");
    }
    compare_with_host(&server, settings);
    let mut ends_at = None;
    let ended = server.join_observed(|heartbeat| {
        ends_at = ends_at.or(heartbeat.drain_left.map(|left| Instant::now() + left));
        if let Some(notifier) = &mut *reload::lock(&notifier) {
            notifier.observe(heartbeat);
        }
    });
    if let Some(courier) = courier {
        // The last facts are about the ends of the last sessions, so they have a moment even after a whole drain. A
        // server that has to end at once leaves them.
        let (now, least) = (Instant::now(), Instant::now() + FACTS_LAST);
        let until = if ended.is_ok() { ends_at.map_or(least, |ends_at| ends_at.max(least)) } else { now };
        let left = courier.finish(until);
        if left > 0 {
            tracing::warn!("Facts that could not be delivered before the server ended are lost: {left}.");
        }
    }
    Ok(ended?)
}

/// Returns the sender of facts, if there is a backend that is told them.
fn courier(
    config: &Config,
    hooks: &Arc<Hooks>,
    services: &Current<ServiceSettings>,
) -> Result<Option<Courier>, String> {
    if config.hooks.facts.is_none() {
        return Ok(None);
    }
    let services = services.clone();
    let rules = Box::new(move || services.value().hooks.clone());
    let courier = Courier::begin(Arc::clone(hooks), config.hooks.fact_kinds, config.hooks.facts_max, rules);
    courier.map(Some).map_err(|error| format!("Facts cannot be sent, since a thread could not be created: {error}."))
}

/// Returns whether a signal ended the server before it had started.
fn is_cancelled(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<server::Error>();
    matches!(error, Some(server::Error::Start(StartError::Cancelled)))
}

fn builder(config: &Config) -> Builder {
    let builder = Server::builder()
        .listen_on(config.listen.iter().cloned())
        .reactor(config.reactor)
        .pin(config.pin)
        .origins(config.origins.clone())
        .trusted_proxies(config.trusted_proxies.clone())
        .stall_timeout_ms(config.stall_timeout_ms)
        .limits(config.limits())
        // SIGHUP reloads the configuration.
        .drain_on_hangup(false);
    if config.cores == 0 { builder } else { builder.cores(config.cores) }
}

/// The summary of a server at its start: reactor, cores, addresses and limits.
struct Banner<'a> {
    server: &'a Server<ServiceMail>,
    config: &'a Config,
    tls: Option<TlsSettings>,
}

impl Banner<'_> {
    /// Returns whether the endpoint that the summary names speaks TLS: the first one of TCP, or the first one.
    fn speaks_tls(&self) -> bool {
        let listen = &self.config.listen;
        let is_tcp = |listen: &&Listen| !matches!(listen.address, Address::Unix(_));
        let shown = listen.iter().find(is_tcp).or(listen.first());
        shown.is_some_and(|shown| shown.tls.is_on(self.tls.is_some()))
    }
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, config, tls } = self;
        let limits = server.limits();
        let endpoints = server.addresses();
        writeln!(out, "ringsock {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "  listen       {}", places::list(endpoints))?;
        writeln!(out, "  cores        {}", server.counters().len())?;
        writeln!(out, "  reactor      {}", server.reactor())?;
        if let Some(tls) = tls {
            let certificates = tls.certificates.iter().map(|certificate| certificate.names().join(" "));
            writeln!(out, "  tls          {}", certificates.collect::<Vec<_>>().join(", "))?;
            if config.tls.self_signed {
                let fingerprints = tls.certificates.iter().map(|certificate| certificate.fingerprint());
                writeln!(out, "  fingerprint  SHA-256 {}", fingerprints.collect::<String>())?;
            }
        }
        writeln!(
            out,
            "  connections  {} at most, {} ms for a request, {} ms to close",
            limits.connections_max, limits.handshake_timeout_ms, limits.close_timeout_ms
        )?;
        writeln!(out, "  origins      {}", config.origins)?;
        writeln!(out, "  access       {}", access(config))?;
        if let Some(hooks) = hooks(&config.hooks) {
            writeln!(out, "  hooks        {hooks}")?;
        }
        writeln!(out, "  subprotocols {}", config.subprotocols)?;
        writeln!(out, "  proxies      {}{}", config.trusted_proxies, proxy_headers(config))?;
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
            limits.ping_interval_ms, limits.dead_peer_timeout_ms
        )?;
        let (ws, http) = if self.speaks_tls() { ("wss", "https") } else { ("ws", "http") };
        let api = || places::url(endpoints, http, "/api/publish");
        match config.api_access() {
            ApiAccess::Off => writeln!(out, "  api          off")?,
            ApiAccess::Key(_) => writeln!(out, "  api          {}, with the key", api())?,
            ApiAccess::Open => writeln!(out, "  api          {}, for every program of this host", api())?,
        }
        match server.admin_addresses() {
            [] => writeln!(out, "  metrics      none")?,
            admin => writeln!(out, "  metrics      {}", places::url(admin, "http", "/metrics"))?,
        }
        let (url, to_try_it) = (places::url(endpoints, ws, "/echo"), places::to_try_it(endpoints, http));
        writeln!(out, "ringsock is ready on {url} ({to_try_it})")
    }
}

/// Returns which clients get in.
fn access(config: &Config) -> String {
    let AccessSettings { issuers, api_keys, roles, .. } = &config.access;
    let list = |kind: &str, names: Vec<&str>| match names.len() {
        0 => String::new(),
        _ => format!("{kind} {}", names.join(", ")),
    };
    let parts = [
        list("tokens of", issuers.iter().map(|issuer| issuer.name.as_str()).collect()),
        list("keys of", api_keys.iter().map(|key| key.name.as_str()).collect()),
        list("roles", roles.iter().map(|role| role.name.as_str()).collect()),
        config.hooks.connect.url.as_ref().map_or(String::new(), |_| "whom the backend allows".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "everyone, to every topic".to_owned() } else { parts.join("; ") }
}

/// Returns the hooks that there are, with the addresses that they call.
fn hooks(settings: &HookSettings) -> Option<String> {
    let HookSettings { connect, subscribe, publish, facts, .. } = settings;
    let named = [
        (Event::Connect.name(), &connect.url),
        (Event::Subscribe.name(), &subscribe.url),
        (Event::Publish.name(), &publish.url),
        ("facts", facts),
    ];
    let named = named.into_iter().filter_map(|(name, url)| Some(format!("{name} {}", url.as_ref()?)));
    let hooks: Vec<String> = named.collect();
    (!hooks.is_empty()).then(|| hooks.join(", "))
}

/// Returns the part of a line that says which listeners expect PROXY headers.
fn proxy_headers(config: &Config) -> String {
    let expecting: Vec<String> =
        config.listen.iter().filter(|listen| listen.proxy_protocol).map(|listen| listen.address.to_string()).collect();
    match expecting.len() {
        0 => String::new(),
        count if count == config.listen.len() => ", each with a PROXY header".to_owned(),
        _ => format!(", with a PROXY header at {}", expecting.join(" and ")),
    }
}

/// Logs once what the host lacks for as many connections as the server may hold. Without a configured number of
/// connections it is no warning, since nobody may need that many. Reads some fifty small files, after the server is
/// ready.
fn compare_with_host(server: &Server<ServiceMail>, settings: &Settings) {
    let connections = server.limits().connections_max as u64;
    let goal = Goal::server(connections, server.counters().len() as u64);
    let missing: Vec<Setting> = tune::settings(&Host::read(Path::new("/"), Ok(())), &goal)
        .into_iter()
        .filter(|setting| setting.is_missing() && !NEEDED_TO_START.contains(&setting.name))
        .collect();
    let named: Vec<String> = missing
        .iter()
        .take(MISSING_NAMED_MAX)
        .map(|setting| format!("{} is {}, wanted {}", setting.name, setting.current, setting.wanted))
        .collect();
    if named.is_empty() {
        return;
    }
    let more = match missing.len() - named.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let text = format!(
        "The host is not prepared for {connections} connections: {}{more}. Run ringsock tune \
         --connections {connections}",
        named.join("; ")
    );
    if settings.config.limits.connections_max == usize::MAX {
        tracing::info!("{text}, or set --max-connections to the number you need.");
    } else {
        tracing::warn!("{text}.");
    }
}
