//! An origin that may not connect, as the refusal names it.
//!
//! Owns the escaping and the truncation of values that a peer sent. Never compares origins. Invariant: a repeated value
//! is one line of plain text of bounded length, without markup and quotes.

use std::fmt;

/// Bytes of an Origin or a Host that are repeated: the longest host name has 253.
const SHOWN_BYTES_MAX: usize = 300;

/// An origin that may not connect, and the Host it was compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignOrigin {
    origin: String,
    /// The Host; `None` unless pages of the server's own host are allowed.
    host: Option<String>,
}

impl ForeignOrigin {
    /// Keeps the values of the headers as they were sent; `host` only if the origin was compared with it.
    pub(in crate::protocol) fn new(origin: &[u8], host: Option<&str>) -> Self {
        Self { origin: shown(origin), host: host.map(|host| shown(host.as_bytes())) }
    }
}

impl fmt::Display for ForeignOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, host } = self;
        match host {
            Some(host) => write!(
                f,
                "The Origin \"{origin}\" may not connect: it is not that of the Host \"{host}\", and it is not listed \
                 in allow-origin. List it there if it should connect. If a proxy changed the Host, have it forward the \
                 client's."
            ),
            None => write!(
                f,
                "The Origin \"{origin}\" may not connect: it is not listed in allow-origin. List it there if it \
                 should connect."
            ),
        }
    }
}

/// Escapes each byte that could end a line or a quotation, or begin markup, as `\xNN`.
fn shown(bytes: &[u8]) -> String {
    let is_plain = |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && !b"\"'&<>\\".contains(&byte);
    let mut text = String::new();
    for &byte in bytes.iter().take(SHOWN_BYTES_MAX) {
        if is_plain(byte) { text.push(byte.into()) } else { text.push_str(&format!("\\x{byte:02x}")) }
    }
    text.push_str(if bytes.len() > SHOWN_BYTES_MAX { "..." } else { "" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_origin_the_host_and_the_setting() {
        let text = ForeignOrigin::new(b"https://evil.test", Some("example.com:9000")).to_string();
        assert_eq!(
            text,
            "The Origin \"https://evil.test\" may not connect: it is not that of the Host \"example.com:9000\", and \
             it is not listed in allow-origin. List it there if it should connect. If a proxy changed the Host, have \
             it forward the client's."
        );
        let text = ForeignOrigin::new(b"null", None).to_string();
        assert!(text.contains("Origin \"null\"") && text.contains("allow-origin") && !text.contains("Host"), "{text}");
    }

    #[test]
    fn repeats_nothing_that_could_be_more_than_text() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = ForeignOrigin::new(&bytes, None).to_string();
        assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{text}");
        assert!(!text.contains(['<', '>', '&', '\'']) && text.matches('"').count() == 2, "{text}");
        assert!(text.contains(r"\x00\x01") && text.contains(r"\xff"), "{text}");
        let long = ForeignOrigin::new(&[0xff; 16 << 10], Some(&"a".repeat(16 << 10))).to_string();
        assert!(long.contains("...") && long.len() < 2048, "{} bytes", long.len());
    }
}
