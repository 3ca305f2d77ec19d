//! Warnings about settings that hold together and may not be meant.
//!
//! Never refuses anything. Invariant: the default configuration has none.

use super::settings::Settings;
use crate::address::Listen;
use crate::service::auth::TokenPlace;
use crate::service::hooks::HookRules;

impl Settings {
    /// Returns what may not be meant.
    pub fn warnings(&self) -> Vec<String> {
        let limits = self.config.limits();
        let mut warnings: Vec<String> =
            limits.warnings().iter().map(|warning| self.explain(&warning.to_string())).collect();
        let reached = self.config.listen.iter().find(|listen| !listen.address.is_local());
        warnings.extend(self.access_warnings(reached.map(|listen| listen.address.to_string()).as_deref()));
        warnings
    }

    /// Returns what may not be meant about access to a server. `reached` is an address at which other hosts reach it.
    pub fn access_warnings(&self, reached: Option<&str>) -> Vec<String> {
        let unchosen = "tokens.from has subprotocol, but handshake.subprotocols is none: browsers refuse a connection \
                        if none of the subprotocols that they offered is chosen. Name one there that pages offer \
                        beside the token.";
        let has_unchosen = self.config.access.tokens.from.contains(TokenPlace::Subprotocol)
            && self.config.subprotocols.names().is_empty();
        let unchosen = has_unchosen.then(|| unchosen.to_owned());
        let strangers = reached.and_then(|reached| self.stranger_warning(reached));
        unchosen.into_iter().chain(strangers).chain(self.hook_warnings()).collect()
    }

    /// Returns what may not be meant about hooks.
    fn hook_warnings(&self) -> Vec<String> {
        let Ok(Some(rules)) = HookRules::new(&self.config.hooks) else { return Vec::new() };
        let mut warnings = Vec::new();
        if rules.secrets().is_empty() {
            warnings.push(
                "hooks.secret is none: the backend cannot tell calls of this server from those of others. Give one: \
                 whsec_ and what openssl rand -base64 32 prints."
                    .to_owned(),
            );
        }
        // A handshake waits for two answers, one after the other.
        let (call_ms, handshake_ms) = (rules.timeout_ms(), self.config.limits.handshake_timeout_ms);
        if call_ms.saturating_mul(2) >= handshake_ms {
            warnings.push(format!(
                "hooks.timeout-ms is {call_ms}, but a handshake may wait for two calls, and \
                 timeouts.handshake-timeout-ms is {handshake_ms}: clients get 408 before the fallback decides."
            ));
        }
        warnings
    }

    /// Returns what strangers can do at an address that they reach, unless the operator has said that they may.
    fn stranger_warning(&self, reached: &str) -> Option<String> {
        let (access, tls) = (&self.config.access, self.config.tls.is_on());
        let needs_tokens = !access.issuers.is_empty() || !access.roles.is_empty() || !access.api_keys.is_empty();
        // The backend decides about everybody.
        let needs_tokens = needs_tokens || self.config.hooks.connect.url.is_some();
        let is_plain = |listen: &Listen| !listen.address.is_local() && !listen.tls.is_on(tls);
        let all_are_local = self.config.listen.iter().all(|listen| listen.address.is_local());
        // Where the address is a socket that a supervisor passed, the settings of any listener are its own.
        let is_plain = self.config.listen.iter().any(is_plain) || (all_are_local && !tls);
        let (dangers, cure) = match (needs_tokens, is_plain) {
            _ if access.tokens.open => return None,
            (true, false) => return None,
            (false, false) => (&[FOR_STRANGERS][..], "tokens (docs/tokens.md)"),
            (true, true) => (&[UNENCRYPTED][..], "TLS (docs/tls.md)"),
            (false, true) => (&[FOR_STRANGERS, UNENCRYPTED][..], "tokens (docs/tokens.md) and TLS (docs/tls.md)"),
        };
        Some(format!(
            "Other hosts reach the server on {reached}. {} Configure {cure}, or set tokens.open = true if that is \
             meant.",
            dangers.join(" ")
        ))
    }
}

const FOR_STRANGERS: &str =
    "It needs no token, so a stranger can receive the messages of every topic, and publish to all of them.";

const UNENCRYPTED: &str =
    "It speaks without TLS, so anybody on the way can read and change messages, and take tokens and cookies.";
