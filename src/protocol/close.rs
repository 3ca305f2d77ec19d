//! Close codes and the payload of Close frames (RFC 6455 5.5.1 and 7.4).

use std::fmt;

use super::frame::CONTROL_PAYLOAD_MAX;
use super::reason::Reason;
use super::violation::Violation;

/// Bytes of a close reason: a control frame's payload less the code.
pub const REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_MAX - 2;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose was fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away: a server that stops, a page that is left.
    pub const AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// Data of a kind that the endpoint does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Data that contradict their type, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// A policy was violated for which no better code exists.
    pub const POLICY: Self = Self(1008);
    /// A message above the limit.
    pub const TOO_LARGE: Self = Self(1009);
    /// The server failed, through no fault of the peer.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// Overloaded: come back later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// A code that may be sent: those RFC 6455 and its registry define, and 3000-4999 for libraries and applications.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The code of a Close frame, if it carries one, as it is counted: those of the registry one by one, those of libraries
/// and of applications together, because a peer chooses among a thousand of each.
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

/// The payload of a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// Why.
    pub code: CloseCode,
    /// For a person who reads logs; at most [`REASON_BYTES_MAX`] bytes are sent.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// A code with a reason.
    pub fn new(code: CloseCode, reason: &'a str) -> Self {
        Self { code, reason }
    }

    /// Reads a Close frame's payload; `None` when it is empty.
    pub fn parse(payload: &'a [u8]) -> Result<Option<Self>, Violation> {
        match payload {
            [] => Ok(None),
            [_] => Err(Violation::CloseCodeCut),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                let code = CloseCode::new(code).ok_or(Violation::CloseCodeForbidden { code })?;
                let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
                Ok(Some(Self { code, reason }))
            }
        }
    }

    /// The reason as far as it fits into the frame, cut between characters.
    pub(super) fn reason_that_fits(&self) -> &'a str {
        let mut end = self.reason.len().min(REASON_BYTES_MAX);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        &self.reason[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_codes_exactly_those_of_rfc_6455_7_4_and_its_registry_may_be_sent() {
        for code in 0..=u16::MAX {
            let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            assert_eq!(CloseCode::new(code).is_some(), allowed, "{code}");
            let verdict = Close::parse(&code.to_be_bytes()).map(|close| close.map(|close| close.code.number()));
            assert_eq!(verdict, if allowed { Ok(Some(code)) } else { Err(Violation::CloseCodeForbidden { code }) });
        }
    }

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

    #[test]
    fn a_payload_of_one_byte_is_a_protocol_error() {
        assert_eq!(Close::parse(&[3]), Err(Violation::CloseCodeCut));
    }

    #[test]
    fn a_reason_that_is_not_utf8_is_invalid_data() {
        let violation = Close::parse(&[0x03, 0xE8, 0xFF]).unwrap_err();
        assert_eq!(violation.close_code(), CloseCode::INVALID_DATA);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = "ä".repeat(100);
        let fits = Close::new(CloseCode::NORMAL, &reason).reason_that_fits();
        assert_eq!(fits.len(), 122);
    }
}
