//! Sockets that a supervisor passes (LISTEN_FDS): what the log says of them, and what they must not be.

use ringsock::address::Endpoint;
use ringsock::config::Config;
use ringsock::reactor::{Inherited, Passed};
use ringsock::server::ADMIN_SOCKET;

use super::places;

/// The sockets to use. They take the place of addresses, so what is allowed for an address alone has to hold for them.
pub fn accepted(passed: Passed, config: &Config) -> Result<Vec<Inherited>, String> {
    if let Some(other) = &passed.other_process {
        let own = std::process::id();
        tracing::warn!(
            "LISTEN_FDS passes sockets to the process {other}, and this one is {own}: they are not taken. A script that \
             starts the program has to do so with exec."
        );
    }
    let (admin, main): (Vec<&Inherited>, Vec<_>) =
        passed.sockets.iter().partition(|socket| socket.name == ADMIN_SOCKET);
    for (sockets, setting) in [(&main, "listen.address"), (&admin, "admin.listen")] {
        let endpoints: Vec<Endpoint> = sockets.iter().map(|socket| socket.endpoint.clone()).collect();
        if !endpoints.is_empty() {
            let shown = places::list(&endpoints);
            tracing::info!("Listening on what LISTEN_FDS passes, {shown}, and not on {setting}.");
        }
    }
    match main.iter().find(|socket| config.api_insecure && !socket.endpoint.is_local()) {
        Some(Inherited { endpoint, .. }) => Err(format!(
            "api.insecure lets everyone publish who can connect, so it needs an address that only this host reaches, but \
             LISTEN_FDS passes {endpoint}. Pass another socket, or give an api.key instead."
        )),
        None => Ok(passed.sockets),
    }
}
