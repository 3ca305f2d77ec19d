//! Offers of permessage-deflate, the answers to them, and the resulting agreement (RFC 7692 5 and 7.1).
//!
//! Never compresses. Invariant: an [`Agreement`] exists only if the answer is one that the offer allows.

use std::fmt::Write as _;

use super::extension::Extension;
use crate::protocol::deflate::{Agreement, Compression, WindowBits};

/// The extension's name.
pub const NAME: &str = "permessage-deflate";

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// A server's answer to the offer it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The resulting agreement.
    pub agreement: Agreement,
    /// The value of the header Sec-WebSocket-Extensions.
    pub header: String,
}

/// The parameters of one offer or answer, each at most once and with a valid value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<WindowBits>,
    /// Without a value it means only that the client supports the parameter.
    client_max_window_bits: Option<Option<WindowBits>>,
}

impl Params {
    /// Parses the parameters. Returns `None` for an offer that must be declined (RFC 7692 7): an unknown or repeated
    /// parameter, or an invalid value.
    fn parse(extension: &Extension<'_>) -> Option<Self> {
        let mut params = Self::default();
        for (name, value) in extension.params() {
            let value = value.as_deref();
            let is_new = match name {
                SERVER_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut params.server_no_context_takeover, true)
                }
                CLIENT_NO_CONTEXT_TAKEOVER if value.is_none() => {
                    !std::mem::replace(&mut params.client_no_context_takeover, true)
                }
                SERVER_MAX_WINDOW_BITS => params.server_max_window_bits.replace(WindowBits::parse(value?)?).is_none(),
                CLIENT_MAX_WINDOW_BITS => {
                    let bits = value.map(WindowBits::parse);
                    // A value that is present must be valid.
                    let bits = if bits == Some(None) { return None } else { bits.flatten() };
                    params.client_max_window_bits.replace(bits).is_none()
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(params)
    }

    fn header(&self) -> String {
        let mut header = NAME.to_owned();
        if self.server_no_context_takeover {
            header.push_str("; server_no_context_takeover");
        }
        if self.client_no_context_takeover {
            header.push_str("; client_no_context_takeover");
        }
        // Writing to a string cannot fail.
        if let Some(bits) = self.server_max_window_bits {
            let _ = write!(header, "; server_max_window_bits={bits}");
        }
        match self.client_max_window_bits {
            Some(Some(bits)) => drop(write!(header, "; client_max_window_bits={bits}")),
            Some(None) => header.push_str("; client_max_window_bits"),
            None => {}
        }
        header
    }

    /// Returns the agreement that an answer with these parameters makes.
    fn agreement(&self) -> Agreement {
        Agreement {
            server_context_takeover: !self.server_no_context_takeover,
            client_context_takeover: !self.client_no_context_takeover,
            server_window_bits: self.server_max_window_bits.unwrap_or(WindowBits::MAX),
            client_window_bits: self.client_max_window_bits.flatten().unwrap_or(WindowBits::MAX),
        }
    }
}

/// Returns the server's answer to a client's offers: to the first, in the client's order of preference, that it can
/// accept. `None` declines all of them, which leaves the connection without compression.
pub fn answer<'a>(offers: impl Iterator<Item = Extension<'a>>, compression: &Compression) -> Option<Answer> {
    offers.filter(|offer| offer.name() == NAME).find_map(|offer| {
        let offer = Params::parse(&offer)?;
        let server_window_bits =
            compression.server_window_bits.min(offer.server_max_window_bits.unwrap_or(WindowBits::MAX));
        let answer = Params {
            server_no_context_takeover: offer.server_no_context_takeover || !compression.context_takeover,
            // The answer may contain this even if the client did not offer it (RFC 7692 7.1.1.2).
            client_no_context_takeover: offer.client_no_context_takeover || !compression.context_takeover,
            // An offered value must be answered (7.1.2.1); the default need not be sent.
            server_max_window_bits: (offer.server_max_window_bits.is_some() || server_window_bits < WindowBits::MAX)
                .then_some(server_window_bits),
            // Only a client that supports the parameter may be sent it (7.1.2.2).
            client_max_window_bits: offer
                .client_max_window_bits
                .map(|bits| compression.client_window_bits.min(bits.unwrap_or(WindowBits::MAX)))
                .filter(|bits| *bits < WindowBits::MAX)
                .map(Some),
        };
        Some(Answer { agreement: answer.agreement(), header: answer.header() })
    })
}

/// A client's offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer(Params);

/// The reason why a server's answer to an [`Offer`] fails the connection (RFC 7692 7.1). The server is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAnswer {
    /// A parameter is unknown or repeated, or its value is invalid or missing.
    #[error("The server's answer to permessage-deflate has an unknown, repeated or malformed parameter.")]
    Params,
    /// The client asked the server not to refer to earlier messages, and the answer does not confirm it.
    #[error("The server did not confirm server_no_context_takeover, which the client asked for.")]
    ServerContextTakeover,
    /// The server chose a larger window than the client has room for, or did not confirm the limit.
    #[error("The server did not respect server_max_window_bits={offered}, which the client asked for.")]
    ServerWindow {
        /// The window that the client has room for.
        offered: WindowBits,
    },
    /// The server limits the client's window, but the client did not offer that, or offered a smaller one.
    #[error("The server answered with a client_max_window_bits that the client had not offered.")]
    ClientWindow,
}

impl Offer {
    /// Builds the client's offer from its settings.
    pub fn new(compression: &Compression) -> Self {
        let named = |bits: WindowBits| (bits < WindowBits::MAX).then_some(bits);
        Self(Params {
            server_no_context_takeover: !compression.context_takeover,
            client_no_context_takeover: !compression.context_takeover,
            server_max_window_bits: named(compression.server_window_bits),
            client_max_window_bits: Some(named(compression.client_window_bits)),
        })
    }

    /// Returns the value of the header Sec-WebSocket-Extensions.
    pub fn header(&self) -> String {
        self.0.header()
    }

    /// Checks a server's answer to the offer, and returns the agreement.
    pub fn check(&self, answer: &Extension<'_>) -> Result<Agreement, InvalidAnswer> {
        let params = Params::parse(answer).ok_or(InvalidAnswer::Params)?;
        if self.0.server_no_context_takeover && !params.server_no_context_takeover {
            return Err(InvalidAnswer::ServerContextTakeover);
        }
        if let Some(offered) = self.0.server_max_window_bits
            && params.server_max_window_bits.is_none_or(|bits| bits > offered)
        {
            return Err(InvalidAnswer::ServerWindow { offered });
        }
        let client_window_bits = match (self.0.client_max_window_bits, params.client_max_window_bits) {
            // In an answer the value is not optional (7.1.2.2).
            (_, Some(None)) => return Err(InvalidAnswer::Params),
            (None, Some(_)) => return Err(InvalidAnswer::ClientWindow),
            (Some(Some(offered)), Some(Some(bits))) if bits > offered => return Err(InvalidAnswer::ClientWindow),
            (offered, answered) => answered.or(offered).flatten().unwrap_or(WindowBits::MAX),
        };
        // A client that offered not to refer to earlier messages does not, whatever the answer contains (7.1.1.2).
        let client_context_takeover = !self.0.client_no_context_takeover && !params.client_no_context_takeover;
        Ok(Agreement { client_context_takeover, client_window_bits, ..params.agreement() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::handshake::extension::extensions;

    const SHARED: fn() -> Compression = Compression::default;

    fn dedicated() -> Compression {
        Compression { context_takeover: true, ..Compression::default() }
    }

    fn windows(server: u8, client: u8) -> Compression {
        Compression {
            server_window_bits: WindowBits::new(server).unwrap(),
            client_window_bits: WindowBits::new(client).unwrap(),
            ..dedicated()
        }
    }

    fn answered(offers: &str, compression: &Compression) -> Option<String> {
        answer(extensions(offers.as_bytes()), compression).map(|answer| answer.header)
    }

    #[test]
    fn without_context_takeover_both_ends_are_told_so() {
        let expected = Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned());
        for offer in ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-other, permessage-deflate"]
        {
            assert_eq!(answered(offer, &SHARED()), expected, "{offer}");
        }
    }

    #[test]
    fn context_takeover_holds_unless_the_client_declines_it() {
        assert_eq!(answered("permessage-deflate", &dedicated()).unwrap(), "permessage-deflate");
        assert_eq!(
            answered("permessage-deflate; server_no_context_takeover", &dedicated()).unwrap(),
            "permessage-deflate; server_no_context_takeover"
        );
        assert_eq!(
            answered("permessage-deflate; client_no_context_takeover", &dedicated()).unwrap(),
            "permessage-deflate; client_no_context_takeover"
        );
    }

    #[test]
    fn the_smaller_window_of_both_ends_holds() {
        for (offer, compression, expected) in [
            ("server_max_window_bits=15", dedicated(), "; server_max_window_bits=15"),
            ("server_max_window_bits=10", dedicated(), "; server_max_window_bits=10"),
            ("server_max_window_bits=\"10\"", dedicated(), "; server_max_window_bits=10"),
            ("server_max_window_bits=12", windows(10, 15), "; server_max_window_bits=10"),
            ("server_max_window_bits=8", dedicated(), "; server_max_window_bits=8"),
            ("client_max_window_bits", dedicated(), ""),
            ("client_max_window_bits", windows(15, 11), "; client_max_window_bits=11"),
            ("client_max_window_bits=9", windows(15, 11), "; client_max_window_bits=9"),
            ("client_max_window_bits=8", dedicated(), "; client_max_window_bits=8"),
        ] {
            let answer = answered(&format!("permessage-deflate; {offer}"), &compression).unwrap();
            assert_eq!(answer, format!("{NAME}{expected}"), "{offer}");
        }
        // The server sends no parameter that the client does not support, but it may always limit its own window.
        assert_eq!(answered(NAME, &windows(10, 11)).unwrap(), "permessage-deflate; server_max_window_bits=10");
    }

    #[test]
    fn offers_outside_the_rules_are_declined_and_the_next_one_is_tried() {
        for wrong in [
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=08",
            "server_max_window_bits=a",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=010",
            "client_max_window_bits; client_max_window_bits",
            "Server_no_context_takeover",
            "unknown",
            "mem_level=8",
        ] {
            let offer = format!("permessage-deflate; {wrong}");
            assert_eq!(answered(&offer, &dedicated()), None, "{offer}");
            let fallback = answered(&format!("{offer}, permessage-deflate"), &dedicated());
            assert_eq!(fallback.as_deref(), Some(NAME), "{offer}");
        }
        for other in ["x-webkit-deflate-frame", "Permessage-Deflate", "permessage-bzip2", "permessage-deflated"] {
            assert_eq!(answered(other, &dedicated()), None, "{other}");
        }
    }

    #[test]
    fn whatever_is_offered_is_answered_so_that_the_client_agrees() {
        let sizes = [8, 9, 12, 15].map(|bits| WindowBits::new(bits).unwrap());
        for takeover in [false, true] {
            for (own, other) in sizes.iter().flat_map(|own| sizes.map(|other| (*own, other))) {
                let client = Compression {
                    context_takeover: takeover,
                    server_window_bits: own,
                    client_window_bits: other,
                    ..Compression::default()
                };
                let offer = Offer::new(&client);
                for server in [SHARED(), dedicated(), windows(9, 9), windows(12, 10)] {
                    let header = offer.header();
                    let answer = answer(extensions(header.as_bytes()), &server).unwrap();
                    let extension = extensions(answer.header.as_bytes()).next().unwrap();
                    let agreed = offer.check(&extension).unwrap();
                    assert!(agreed.server_window_bits <= own.min(server.server_window_bits));
                    assert!(agreed.client_window_bits <= other.min(server.client_window_bits));
                    assert_eq!(agreed.server_context_takeover, takeover && server.context_takeover);
                    assert_eq!(agreed, answer.agreement);
                }
            }
        }
    }

    #[test]
    fn a_client_fails_on_an_answer_its_offer_does_not_allow() {
        let check = |offer: &Offer, answer: &str| {
            let answer = format!("permessage-deflate{answer}");
            let extension = extensions(answer.as_bytes()).next().unwrap();
            offer.check(&extension)
        };
        let small = Offer::new(&windows(10, 10));
        assert_eq!(check(&Offer::new(&SHARED()), ""), Err(InvalidAnswer::ServerContextTakeover));
        let offered = WindowBits::new(10).unwrap();
        assert_eq!(check(&small, ""), Err(InvalidAnswer::ServerWindow { offered }));
        assert_eq!(check(&small, "; server_max_window_bits=11"), Err(InvalidAnswer::ServerWindow { offered }));
        let beside = "; server_max_window_bits=9; client_max_window_bits";
        assert_eq!(check(&small, beside), Err(InvalidAnswer::Params));
        assert_eq!(check(&small, &format!("{beside}=11")), Err(InvalidAnswer::ClientWindow));
        assert!(check(&small, &format!("{beside}=10")).is_ok());
        let silent = Offer(Params::default());
        assert_eq!(check(&silent, "; client_max_window_bits=15"), Err(InvalidAnswer::ClientWindow));
        for malformed in
            ["; unknown", "; server_max_window_bits=10; server_max_window_bits=10", "; server_max_window_bits=7"]
        {
            assert_eq!(check(&silent, malformed), Err(InvalidAnswer::Params));
        }
    }
}
