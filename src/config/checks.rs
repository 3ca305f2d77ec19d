//! Refuses settings that cannot work.

use super::error::ConfigError;
use super::options::Config;
use super::values::ApiKey;

impl Config {
    /// The most a message may be configured to have: what a handler can still take in one piece.
    pub const MESSAGE_BYTES_MAX: u64 = 1 << 30;
    /// The most headers a request may be configured to have.
    pub const HEADERS_MAX: usize = 256;
    /// The most handshakes that one address may be configured to have: their times are kept in microseconds.
    pub const HANDSHAKES_PER_SECOND_MAX: u32 = 1_000_000;

    /// Refuses values that cannot work.
    pub fn checked(self) -> Result<Self, ConfigError> {
        let window = "from 9 to 15";
        let rules: [(&'static str, u64, bool, &'static str); 18] = [
            (
                "max-message-bytes",
                self.max_message_bytes,
                (1..=Self::MESSAGE_BYTES_MAX).contains(&self.max_message_bytes),
                "from 1 to 1073741824 (1 GiB)",
            ),
            (
                "max-headers",
                self.max_headers as u64,
                (1..=Self::HEADERS_MAX).contains(&self.max_headers),
                "from 1 to 256",
            ),
            (
                "max-head-bytes",
                self.max_head_bytes as u64,
                (256..=256 * 1024).contains(&self.max_head_bytes),
                "from 256 to 262144 (256 KiB)",
            ),
            (
                "max-request-line-bytes",
                self.max_request_line_bytes as u64,
                (64..=self.max_head_bytes).contains(&self.max_request_line_bytes),
                "from 64 to max-head-bytes",
            ),
            ("max-outbox-bytes", self.max_outbox_bytes as u64, self.max_outbox_bytes >= 1024, "at least 1024"),
            (
                "compression-level",
                self.compression_level.into(),
                (1..=9).contains(&self.compression_level),
                "from 1 to 9",
            ),
            ("server-window-bits", self.server_window_bits.into(), (9..=15).contains(&self.server_window_bits), window),
            ("client-window-bits", self.client_window_bits.into(), (9..=15).contains(&self.client_window_bits), window),
            ("outbox-age-ms", self.outbox_age_ms, self.outbox_age_ms > 0, "above 0"),
            ("max-backlog-bytes", self.max_backlog_bytes as u64, self.max_backlog_bytes >= 1024, "at least 1024"),
            ("max-topics", self.max_topics as u64, (1..1 << 31).contains(&self.max_topics), "from 1 to 2147483647"),
            ("ring-entries", self.ring_entries as u64, (1..=1 << 20).contains(&self.ring_entries), "from 1 to 1048576"),
            ("handshake-timeout-ms", self.handshake_timeout_ms, self.handshake_timeout_ms > 0, "above 0"),
            ("close-timeout-ms", self.close_timeout_ms, self.close_timeout_ms > 0, "above 0"),
            ("send-timeout-ms", self.send_timeout_ms, self.send_timeout_ms > 0, "above 0"),
            ("cores", self.cores as u64, self.cores <= 1024, "at most 1024"),
            (
                "max-handshakes-per-address-per-second",
                self.max_handshakes_per_address_per_second.into(),
                self.max_handshakes_per_address_per_second <= Self::HANDSHAKES_PER_SECOND_MAX,
                "at most 1000000",
            ),
            (
                "max-handshake-burst-per-address",
                self.max_handshake_burst_per_address.into(),
                (1..=Self::HANDSHAKES_PER_SECOND_MAX).contains(&self.max_handshake_burst_per_address),
                "from 1 to 1000000",
            ),
        ];
        match rules.into_iter().find(|(.., holds, _)| !holds) {
            Some((name, value, _, rule)) => Err(ConfigError::Range { name, value, rule }),
            None => self.with_checked_api(),
        }
    }

    fn with_checked_api(self) -> Result<Self, ConfigError> {
        let can_be_sent =
            |key: &String| (1..=ApiKey::BYTES_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        // A page can have any name point to this host, and sandboxed ones are all null.
        let is_listed = |word: &&str| self.api_allow_origin.split(',').any(|listed| listed.trim() == *word);
        let unknown_pages = ["*", "same-host", "null"].into_iter().find(is_listed);
        match &self.api_key.0 {
            Some(key) if !can_be_sent(key) => Err(ConfigError::ApiKey),
            Some(_) if self.api_insecure => Err(ConfigError::ApiKeyAndInsecure),
            None if self.api_insecure => {
                match (self.listen.iter().find(|address| !address.is_local()), unknown_pages) {
                    (Some(listen), _) => Err(ConfigError::ApiInsecure { listen: listen.clone() }),
                    (None, Some(word)) => Err(ConfigError::ApiInsecureForPages { word }),
                    (None, None) => Ok(self),
                }
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let config = Config { max_headers: 1000, ..Config::default() };
        let error = config.checked().unwrap_err().to_string();
        assert_eq!(error, "max-headers is 1000, but must be from 1 to 256.");
        assert!(Config::default().checked().is_ok());
    }

    #[test]
    fn a_key_that_no_header_can_hold_is_refused() {
        let checked = |key: &str| Config { api_key: key.parse().unwrap(), ..Config::default() }.checked();
        for key in ["", " ", "a b", "ä", "a\n", &"x".repeat(257)] {
            assert!(matches!(checked(key), Err(ConfigError::ApiKey)), "{key:?}");
        }
        assert_eq!(checked(&"x".repeat(256)).unwrap().api_key.0.map(|key| key.len()), Some(256));
        assert_eq!(checked("none").unwrap(), Config::default());
    }

    #[test]
    fn publishing_without_a_key_is_for_this_host_alone() {
        let checked = |listen: &str| {
            Config { listen: Address::list(listen).unwrap(), api_insecure: true, ..Config::default() }
                .checked()
                .map(drop)
        };
        for listen in [
            "127.0.0.1:0",
            "127.8.8.8:1",
            "[::1]:9000",
            "[::ffff:127.0.0.1]:1",
            "localhost:9000,127.0.0.2:1,[::1]:1",
            "unix:/run/ringsock.sock?mode=666",
            "unix:@ringsock",
        ] {
            assert!(checked(listen).is_ok(), "{listen}");
        }
        for listen in
            ["0.0.0.0:9000", "[::]:9000", "192.0.2.1:9000", "[::ffff:192.0.2.1]:1", "no-such-host.invalid:1", ":9000"]
        {
            for list in [listen, &format!("unix:@ringsock,127.0.0.1:9000,{listen}")] {
                let refused = checked(list).unwrap_err().to_string();
                assert!(refused.contains(&format!("is {listen}.")) && refused.contains("api-key"), "{refused}");
            }
        }
        for (origins, word) in [("*", "*"), ("https://a.example, same-host", "same-host"), ("null", "null")] {
            let config = Config { api_insecure: true, api_allow_origin: origins.to_owned(), ..Config::default() };
            let refused = config.clone().checked().unwrap_err().to_string();
            assert!(refused.contains(word) && refused.contains("api-key"), "{refused}");
            let with_key = Config { api_insecure: false, api_key: "k".parse().unwrap(), ..config };
            assert!(with_key.checked().is_ok(), "{origins}");
        }
        let listed =
            Config { api_insecure: true, api_allow_origin: "http://localhost:8080".to_owned(), ..Config::default() };
        assert!(listed.checked().is_ok());
        let both = Config { api_key: "k".parse().unwrap(), api_insecure: true, ..Config::default() };
        assert!(matches!(both.checked(), Err(ConfigError::ApiKeyAndInsecure)));
    }
}
