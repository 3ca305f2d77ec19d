//! Reloads of `ringsock serve`: on SIGHUP it reads its whole configuration again, checks all of it, and applies it.
//!
//! Owns the settings in force, and the parts of the program that take new ones. Never ends a session. Invariant: every
//! part checks the settings before any applies them, so that a fault anywhere changes nothing. A terminal that closes
//! sends the same signal: that drains the server.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ringsock::config::{Config, Key, Settings};
use ringsock::engine::Current;
use ringsock::reactor;
use ringsock::service::auth::{AccessRules, Issuers};
use ringsock::service::hooks::{Event, HookRules, Hooks};
use ringsock::service::{ApiAccess, ServiceSettings};
use ringsock::{Controller, Endpoint, Reload};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use super::log::{FilterHandle, Printer};
use super::notify::Notifier;
use super::settings::SettingsArgs;

/// The time after a signal in which the kernel takes a terminal that closes away from its processes.
const TERMINAL_CLOSES: Duration = Duration::from_millis(50);

/// A part of the program that takes new settings while the server runs.
pub trait Reloadable: Send {
    /// Checks the settings, and reads the files that they name. Returns the step that puts them in force, which cannot
    /// fail, or the fault in a sentence.
    fn check(&self, settings: &Settings) -> Result<Step, String>;
}

/// The step that puts checked settings in force.
pub type Step = Box<dyn FnOnce()>;

/// The notifications to the supervisor of the process, if it requests any.
pub type SharedNotifier = Arc<Mutex<Option<Notifier>>>;

/// Returns the lock of the notifier.
pub fn lock(notifier: &SharedNotifier) -> MutexGuard<'_, Option<Notifier>> {
    notifier.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests to reload, caught since this value was created.
#[derive(Debug)]
pub struct Hangups {
    signals: Signals,
    /// The process has a terminal that may close.
    has_terminal: bool,
}

impl Hangups {
    /// Catches SIGHUP from now on, unless it was ignored when the process began, as nohup does.
    pub fn catch() -> io::Result<Option<Self>> {
        if reactor::is_ignored(SIGHUP) {
            return Ok(None);
        }
        Ok(Some(Self { signals: Signals::new([SIGHUP])?, has_terminal: has_terminal() }))
    }

    /// Reloads at each request, on a thread of its own.
    pub fn reload_with(mut self, mut reloader: Reloader) -> io::Result<()> {
        let reload = move || {
            // The other threads block it.
            let _ = reactor::unblock(&[SIGHUP]);
            for _ in self.signals.forever() {
                if self.has_terminal {
                    thread::sleep(TERMINAL_CLOSES);
                    self.has_terminal = has_terminal();
                    if !self.has_terminal {
                        tracing::info!("The terminal has closed.");
                        reloader.controller.drain();
                        continue;
                    }
                }
                reloader.reload();
            }
        };
        thread::Builder::new().name("ringsock-reload".to_owned()).spawn(reload).map(drop)
    }
}

/// Returns whether the process has a controlling terminal.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// The settings of the running server, and the parts that take new ones.
pub struct Reloader {
    args: SettingsArgs,
    started: Settings,
    /// The settings in force.
    applied: Settings,
    parts: Vec<Box<dyn Reloadable>>,
    controller: Controller,
    notifier: SharedNotifier,
    printer: Printer,
}

impl Reloader {
    /// Returns the reloader of a server that was started with these settings, which `args` gave.
    pub fn new(
        args: SettingsArgs,
        started: Settings,
        controller: Controller,
        notifier: SharedNotifier,
        printer: Printer,
    ) -> Self {
        let applied = started.clone();
        Self { args, started, applied, parts: Vec::new(), controller, notifier, printer }
    }

    /// Adds a part. Parts are checked and applied in the order in which they were added.
    pub fn with(mut self, part: impl Reloadable + 'static) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    /// Reads the configuration again and applies it, or says why not.
    fn reload(&mut self) {
        if self.controller.is_draining() {
            return tracing::info!("SIGHUP has no effect while the server drains.");
        }
        if let Some(notifier) = &mut *lock(&self.notifier) {
            notifier.reloading();
        }
        let outcome = self.apply();
        let mut status = status(&self.controller);
        match outcome {
            Ok(line) => self.printer.print(&line),
            Err(fault) => {
                self.controller.note_reload_refused();
                tracing::error!("The configuration was not reloaded, and everything stays as it was. {fault}");
                status += " The last reload was refused.";
            }
        }
        if let Some(notifier) = &mut *lock(&self.notifier) {
            notifier.ready(status);
        }
    }

    /// Returns the line that says what was applied.
    fn apply(&mut self) -> Result<String, String> {
        let read = self.args.resolve().map_err(|errors| errors.to_string())?;
        let new = read.for_running(&self.started).map_err(|errors| errors.to_string())?;
        let steps = self.parts.iter().map(|part| part.check(&new)).collect::<Result<Vec<_>, _>>()?;
        steps.into_iter().for_each(|step| step());
        let changed: Vec<String> = self.applied.differences(&new).into_iter().map(|key| new.assignment(key)).collect();
        let waiting: Vec<String> = self.started.differences(&read).into_iter().filter_map(waits).collect();
        if !waiting.is_empty() {
            tracing::warn!("A restart is needed for new values of {}.", waiting.join(", "));
        }
        self.applied = new;
        Ok(match &changed[..] {
            [] => "ringsock has reloaded its configuration: nothing changed\n".to_owned(),
            _ => format!("ringsock has reloaded its configuration: {}\n", changed.join(", ")),
        })
    }
}

/// Returns the name of a key whose new value needs a restart.
fn waits(key: &Key) -> Option<String> {
    key.needs_restart.then(|| key.to_string())
}

/// Returns the text about a server that serves, for its supervisor.
pub fn status(controller: &Controller) -> String {
    format!("Serving at most {} connections.", controller.limits().connections_max)
}

impl Reloadable for Controller {
    fn check(&self, settings: &Settings) -> Result<Step, String> {
        let config = &settings.config;
        let reload = Reload::default()
            .limits(config.limits())
            .origins(config.origins.clone())
            .trusted_proxies(config.trusted_proxies.clone())
            .stall_timeout_ms(config.stall_timeout_ms);
        let checked = self.check_reload(reload).map_err(|error| settings.explain(&error.to_string()))?;
        Ok(Box::new(move || checked.apply()))
    }
}

/// The services, the addresses at which clients reach them, and those that are called for them.
#[derive(Debug)]
pub struct Services {
    current: Current<ServiceSettings>,
    endpoints: Vec<Endpoint>,
    issuers: Issuers,
    hooks: Arc<Hooks>,
}

impl Services {
    /// Returns the services of a server that listens on these addresses.
    pub fn new(
        current: Current<ServiceSettings>,
        endpoints: &[Endpoint],
        (issuers, hooks): (Issuers, Arc<Hooks>),
    ) -> Self {
        Self { current, endpoints: endpoints.to_vec(), issuers, hooks }
    }
}

impl Reloadable for Services {
    fn check(&self, settings: &Settings) -> Result<Step, String> {
        let before = self.current.value();
        let new = services(&settings.config, before.access.as_deref())?;
        self.hooks.prepare(new.hooks.as_deref()).map_err(|error| error.to_string())?;
        // The addresses may be those of sockets that a supervisor passed.
        let reached = self.endpoints.iter().find(|endpoint| !endpoint.is_local());
        if let (ApiAccess::Open, Some(endpoint)) = (&new.api, reached) {
            return Err(format!(
                "api.insecure lets every client publish, so it needs an address that only this host can reach, but \
                 the server listens on {endpoint}. Give an api.key instead."
            ));
        }
        let (current, issuers) = (self.current.clone(), self.issuers.clone());
        Ok(Box::new(move || {
            issuers.follow(new.access.as_deref());
            current.replace(new);
        }))
    }
}

/// Returns the settings of the services, or their fault in a sentence. `before` are the rules of access in force: what
/// was fetched for them stays.
pub fn services(config: &Config, before: Option<&AccessRules>) -> Result<ServiceSettings, String> {
    let access = AccessRules::succeeding(&config.access, before).map_err(|fault| fault.to_string())?;
    let hooks = HookRules::new(&config.hooks).map_err(|fault| fault.to_string())?;
    let access = match hooks.as_ref().filter(|hooks| hooks.decides()) {
        Some(hooks) => {
            let connects = hooks.point(Event::Connect).is_some();
            Some(AccessRules::with_backend(access, &config.access, connects))
        }
        None => access,
    };
    Ok(ServiceSettings {
        overflow: config.overflow.clone(),
        api: config.api_access(),
        api_origins: config.api_allow_origin.clone(),
        subprotocols: config.subprotocols.names().to_vec(),
        access: access.map(Arc::new),
        hooks: hooks.map(Arc::new),
    })
}

impl Reloadable for FilterHandle {
    fn check(&self, settings: &Settings) -> Result<Step, String> {
        let (handle, filter) = (self.clone(), settings.config.log_filter.filter());
        Ok(Box::new(move || handle.replace(filter)))
    }
}

#[cfg(test)]
mod tests {
    use ringsock::config::Layers;

    use super::*;

    fn others() -> (Issuers, Arc<Hooks>) {
        (Issuers::default(), Arc::new(Hooks::new(ringsock::outbound::Outbound::default())))
    }

    #[test]
    fn the_api_is_not_opened_to_everyone_at_an_address_that_a_supervisor_passed() {
        let settings = Layers::new().set("api.insecure=true").resolve().unwrap();
        for (address, is_open) in [("127.0.0.1:9000", true), ("0.0.0.0:9000", false)] {
            let families = ringsock::AddressFamilies::Default;
            let endpoint = Endpoint::Tcp { address: address.parse().unwrap(), families };
            let current = Current::new(ServiceSettings::default());
            let services = Services::new(current.clone(), &[endpoint], others());
            match services.check(&settings) {
                Ok(step) => step(),
                Err(fault) => assert!(fault.contains("0.0.0.0:9000"), "{fault}"),
            }
            assert_eq!(matches!(current.value().api, ApiAccess::Open), is_open, "{address}");
        }
    }

    #[test]
    fn nothing_is_applied_before_every_part_has_checked() {
        let current = Current::new(ServiceSettings::default());
        let settings = Layers::new().set("handshake.subprotocols=chat").resolve().unwrap();
        let step = Services::new(current.clone(), &[], others()).check(&settings).unwrap();
        assert!(current.value().subprotocols.is_empty());
        step();
        assert_eq!(current.value().subprotocols, ["chat"]);
    }
}
