//! The rules that several settings must keep together.

use super::error::ConfigError;
use super::settings::Settings;
use super::tls::AskClients;
use super::values::Config;
use crate::service::auth::{AccessRules, AccessSettings, TokenPlace};
use crate::service::hooks::HookRules;

impl Settings {
    /// Returns what does not go together.
    pub(super) fn contradictions(&self) -> Vec<ConfigError> {
        let config = &self.config;
        let mut errors = Vec::new();
        let head = &config.limits.head;
        if head.request_line_bytes_max > head.head_bytes_max {
            errors.push(ConfigError::Together(self.explain(&format!(
                "request_line_bytes_max is {}, but must be at most head_bytes_max, which is {}.",
                head.request_line_bytes_max, head.head_bytes_max
            ))));
        }
        if config.listen.iter().any(|listen| listen.proxy_protocol) && config.trusted_proxies.is_empty() {
            errors.push(ConfigError::Together(self.explain(
                "proxy_protocol is true, but PROXY headers are accepted from trusted proxies only, and \
                 trusted_proxies is none. Name the proxies' addresses there, or leave proxy_protocol out.",
            )));
        }
        if let Err(contradiction) = config.limits().check(config.stall_timeout_ms) {
            errors.push(ConfigError::Together(self.explain(&contradiction.to_string())));
        }
        errors.extend(api_fault(config));
        errors.extend(self.access_fault());
        errors.extend(hook_fault(config).map(ConfigError::Together));
        errors
    }

    /// Returns the fault of the settings of access.
    fn access_fault(&self) -> Option<ConfigError> {
        let config = &self.config;
        if let Err(fault) = AccessRules::new(&config.access) {
            return Some(ConfigError::Together(fault.to_string()));
        }
        if config.access.tokens.from.contains(TokenPlace::Certificate) && config.tls.ask_clients == AskClients::Off {
            return Some(ConfigError::Together(
                "tokens.from has certificate, but tls.client-certificates is off, so no client shows one. Set it to \
                 wanted or required, and name the authorities in tls.client-authorities."
                    .to_owned(),
            ));
        }
        let AccessSettings { issuers, roles, api_keys, .. } = &config.access;
        let has_rights = !issuers.is_empty() || !roles.is_empty() || !api_keys.is_empty();
        if config.access.tokens.from.contains(TokenPlace::Certificate)
            && !has_rights
            && config.hooks.connect.url.is_none()
        {
            return Some(ConfigError::Together(
                "tokens.from has certificate, but there is no [[role]], so clients without a certificate would get in \
                 as well. Add one, and name it in tokens.certificate-roles."
                    .to_owned(),
            ));
        }
        // A browser sends cookies and certificates with every request, whichever page has made it.
        let places = [(TokenPlace::Cookie, "cookie"), (TokenPlace::Certificate, "certificate")];
        let (_, place) = places.into_iter().find(|(place, _)| config.access.tokens.from.contains(*place))?;
        let word = any_page(config)?;
        Some(ConfigError::Together(format!(
            "tokens.from has {place}, but origin.allow has {word}, so any web page could act as its visitor. List the \
             origins of your pages in origin.allow."
        )))
    }
}

/// Returns the fault of the settings of hooks.
fn hook_fault(config: &Config) -> Option<String> {
    if let Err(fault) = HookRules::new(&config.hooks) {
        return Some(fault.to_string());
    }
    let asks_at_handshake = config.hooks.connect.url.is_some() || config.hooks.subscribe.url.is_some();
    let fault = if asks_at_handshake && config.access.tokens.from.contains(TokenPlace::FirstMessage) {
        "tokens.from has first-message, but hooks.connect and hooks.subscribe are asked at the handshake, when there \
         is no token yet. Leave one of them out."
    } else if config.hooks.forward_headers.has_cookie() && any_page(config).is_some() {
        "hooks.forward-headers has cookie, but origin.allow is *, so any web page could act as its visitor. List the \
         origins of your pages in origin.allow."
    } else {
        return None;
    };
    Some(fault.to_owned())
}

/// Returns the word in the allowed origins that any web page can be. Sandboxed pages are all null.
fn any_page(config: &Config) -> Option<&'static str> {
    first_listed(&config.origins.to_string(), &["*", "null"])
}

/// Returns the first of these words that a list of origins has.
fn first_listed(origins: &str, words: &[&'static str]) -> Option<&'static str> {
    words.iter().copied().find(|word| origins.split(',').any(|listed| listed.trim() == *word))
}

fn api_fault(config: &Config) -> Option<ConfigError> {
    if !config.api_insecure {
        return None;
    }
    if config.api_key.0.is_some() {
        return Some(ConfigError::ApiKeyAndInsecure);
    }
    if let Some(listen) = config.listen.iter().find(|listen| !listen.address.is_local()) {
        return Some(ConfigError::ApiInsecure { listen: listen.address.clone() });
    }
    // A page can have any name point to this host, and sandboxed ones are all null.
    let word = first_listed(&config.api_allow_origin.to_string(), &["*", "same-host", "null"])?;
    Some(ConfigError::ApiInsecureForPages { word })
}
