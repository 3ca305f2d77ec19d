//! Close codes (RFC 6455 7.4), and the names they are counted under.

use std::fmt;

use crate::protocol::reason::Reason;

/// The code of a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection was fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away: a server that stops, or a page that the user leaves.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The endpoint does not accept data of this kind.
    pub const UNSUPPORTED: Self = Self(1003);
    /// The data contradict their type, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// A policy was violated, and no other code fits.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// The message is above the limit.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// The server failed, through no fault of the peer.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server is overloaded; the client may try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The client has not said who it is, or not so that it is believed (registered with IANA).
    pub const UNAUTHORIZED: Self = Self(3000);
    /// The client may not do this (registered with IANA).
    pub const FORBIDDEN: Self = Self(3003);
    /// The client did not say in time what it had to (registered with IANA).
    pub const TIMEOUT: Self = Self(3008);

    /// Returns a code that may be sent, `None` for any other. Those of RFC 6455 and its registry may be sent, and
    /// 3000-4999 for libraries and applications.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// Returns the number on the wire.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The code of a Close frame, if it carries one. Registered codes are counted one by one, those of libraries and of
/// applications as two groups, because a peer can choose among a thousand of each.
impl Reason for Option<CloseCode> {
    const LABEL: &'static str = "code";

    const NAMES: &'static [&'static str] = &[
        "1000",
        "1001",
        "1002",
        "1003",
        "1007",
        "1008",
        "1009",
        "1010",
        "1011",
        "1012",
        "1013",
        "1014",
        "3000-3999",
        "4000-4999",
        "none",
    ];

    fn index(&self) -> usize {
        match self.map(CloseCode::number) {
            Some(code @ ..=1003) => usize::from(code.saturating_sub(1000)),
            Some(code @ ..=1014) => usize::from(code.saturating_sub(1003)),
            Some(..=3999) => 12,
            Some(_) => 13,
            None => 14,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_counted_under_its_name() {
        for code in (0..=u16::MAX).filter_map(CloseCode::new) {
            let name = match code.number() {
                3000..=3999 => "3000-3999".to_owned(),
                4000..=4999 => "4000-4999".to_owned(),
                number => number.to_string(),
            };
            assert_eq!(Option::<CloseCode>::NAMES[Some(code).index()], name);
        }
        assert_eq!(Option::<CloseCode>::NAMES[None.index()], "none");
    }
}
