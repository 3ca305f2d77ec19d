//! Sockets that a supervisor passes (LISTEN_FDS): logs them, and checks them against the configuration.

use ringsock::address::Endpoint;
use ringsock::config::Config;
use ringsock::reactor::{InheritedSocket, InheritedSockets};
use ringsock::server::ADMIN_SOCKET;

use super::places;

/// Returns the sockets to use. They replace addresses, so restrictions on an address apply to them too.
pub fn accepted(passed: InheritedSockets, config: &Config) -> Result<Vec<InheritedSocket>, String> {
    if let Some(other) = &passed.other_process {
        let own = std::process::id();
        tracing::warn!(
            "LISTEN_FDS passes sockets to process {other}, but this process is {own}: they are ignored. A script that \
             starts the program has to use exec."
        );
    }
    let (admin, main): (Vec<&InheritedSocket>, Vec<_>) =
        passed.sockets.iter().partition(|socket| socket.name == ADMIN_SOCKET);
    for (sockets, setting) in [(&main, "listen.address"), (&admin, "admin.listen")] {
        let endpoints: Vec<Endpoint> = sockets.iter().map(|socket| socket.endpoint.clone()).collect();
        if !endpoints.is_empty() {
            let shown = places::list(&endpoints);
            tracing::info!("Listening on sockets from LISTEN_FDS, {shown}, instead of {setting}.");
        }
    }
    match main.iter().find(|socket| config.api_insecure && !socket.endpoint.is_local()) {
        Some(InheritedSocket { endpoint, .. }) => Err(format!(
            "api.insecure lets every client publish, so it needs an address that only this host can reach, but \
             LISTEN_FDS passes {endpoint}. Pass another socket, or give an api.key instead."
        )),
        None => Ok(passed.sockets),
    }
}
