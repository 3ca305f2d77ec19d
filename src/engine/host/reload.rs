//! New settings for a running server: the request, its check, and its application.
//!
//! Never reads a file and never touches a session: each core takes new limits at its next turn, and admission takes new
//! rules when a client comes. Invariant: a reload that contains anything invalid changes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use thiserror::Error;

use crate::engine::admission::AdmissionPolicy;
use crate::engine::host::controller::Controller;
use crate::engine::host::descriptors::connections_max;
use crate::engine::host::running::Running;
use crate::engine::host::start_error::StartError;
use crate::engine::limits::Limits;
use crate::engine::limits_check::LimitsError;
use crate::protocol::{Origins, TrustedProxies};

/// New settings for a running server, for [`Controller::reload`]. Those that are not given stay as they
/// are.
///
/// ```
/// # fn reload(controller: &ringsock::Controller) -> Result<(), ringsock::ReloadError> {
/// let mut limits = ringsock::Limits::default();
/// limits.messages.message_bytes_max = 1 << 20;
/// controller.reload(ringsock::Reload::default().limits(limits))
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reload {
    limits: Option<Limits>,
    origins: Option<Origins>,
    trusted_proxies: Option<TrustedProxies>,
    stall_timeout_ms: Option<u64>,
}

impl Reload {
    /// Replaces the limits. They hold at once, also for open sessions, except for these: a session keeps the
    /// compression that it agreed on, the limits that its handler gave it ([`Accept::limits`](crate::Accept::limits))
    /// and its subscriptions; deadlines that run, such as that of a handshake, keep their time. [`Limits::mesh`] must
    /// stay as it is.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// Replaces the origins whose web pages may open a WebSocket, from the next request on.
    pub fn origins(self, origins: Origins) -> Self {
        Self { origins: Some(origins), ..self }
    }

    /// Replaces the proxies that are trusted to name their clients, from the next connection on.
    pub fn trusted_proxies(self, trusted_proxies: TrustedProxies) -> Self {
        Self { trusted_proxies: Some(trusted_proxies), ..self }
    }

    /// Replaces the time after which a core without a turn ends the server.
    pub fn stall_timeout_ms(self, stall_timeout_ms: u64) -> Self {
        Self { stall_timeout_ms: Some(stall_timeout_ms), ..self }
    }
}

/// The reason why a reload was refused. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// Limits that contradict each other.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The process has too few descriptors for so many connections.
    #[error(transparent)]
    Connections(StartError),
    /// The rings between the cores have the room that they were made with.
    #[error("The mesh has the capacity that the server was started with. Restart the server to change it.")]
    Mesh,
    /// A listener requires PROXY headers, which would be accepted from nobody.
    #[error(
        "A listener expects PROXY headers, which are accepted from trusted proxies only. Name the proxies' addresses \
         (trusted_proxies), or restart the server without PROXY headers (proxy_protocol)."
    )]
    ProxyProtocolWithoutProxies,
    /// The server ends.
    #[error("The server drains, and takes no new settings any more.")]
    Draining,
}

/// A reload that was checked, and can be applied without failing.
#[derive(Debug)]
#[must_use = "nothing changes before it is applied"]
pub struct CheckedReload {
    running: Arc<Running>,
    limits: Limits,
    policy: AdmissionPolicy,
    stall_timeout_ms: u64,
    wakers: Vec<Waker>,
}

impl Controller {
    /// Replaces settings of the running server. Every core has taken them a moment later, and no connection ends
    /// because of that. The outcome is counted in the metrics.
    ///
    /// # Errors
    /// A [`ReloadError`]; then nothing has changed.
    pub fn reload(&self, reload: Reload) -> Result<(), ReloadError> {
        match self.check_reload(reload) {
            Ok(checked) => {
                checked.apply();
                Ok(())
            }
            Err(error) => {
                self.note_reload_refused();
                Err(error)
            }
        }
    }

    /// Checks a reload, so that an application which reloads several things can check all before it applies any.
    ///
    /// # Errors
    /// A [`ReloadError`].
    pub fn check_reload(&self, reload: Reload) -> Result<CheckedReload, ReloadError> {
        let running = &self.running;
        if self.is_draining() {
            return Err(ReloadError::Draining);
        }
        let Reload { limits, origins, trusted_proxies, stall_timeout_ms } = reload;
        let former = running.limits.value();
        let stall_timeout_ms = stall_timeout_ms.unwrap_or_else(|| running.stall_timeout_ms.load(Ordering::Relaxed));
        let mut limits = limits.unwrap_or_else(|| (*former).clone());
        limits.check(stall_timeout_ms)?;
        if limits.mesh != former.mesh {
            return Err(ReloadError::Mesh);
        }
        limits.connections_max =
            connections_max(limits.connections_max, running.descriptors_reserved).map_err(ReloadError::Connections)?;
        let mut policy = running.admission.policy();
        policy.origins = origins.unwrap_or(policy.origins);
        policy.trusted_proxies = trusted_proxies.unwrap_or(policy.trusted_proxies);
        if running.expects_proxy_headers && policy.trusted_proxies.is_empty() {
            return Err(ReloadError::ProxyProtocolWithoutProxies);
        }
        let wakers = self.wakers.clone();
        Ok(CheckedReload { running: Arc::clone(running), limits, policy, stall_timeout_ms, wakers })
    }

    /// Counts a reload that was refused before its settings could be checked here: for an application whose
    /// configuration cannot be read.
    pub fn note_reload_refused(&self) {
        self.running.status.note_reload(false);
    }
}

impl CheckedReload {
    /// Puts the settings in force.
    pub fn apply(self) {
        let Self { running, limits, policy, stall_timeout_ms, wakers } = self;
        limits.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        running.admission.replace_rules(policy, &limits);
        running.limits.replace(limits);
        running.stall_timeout_ms.store(stall_timeout_ms, Ordering::Relaxed);
        running.status.note_reload(true);
        wakers.iter().for_each(Waker::wake_by_ref);
    }
}
