//! Close frames and their payload (RFC 6455 5.5.1).

use super::close_code::CloseCode;
use super::frame::{CONTROL_PAYLOAD_MAX, Opcode, write_frame};
use super::mask::MaskKey;
use super::violation::Violation;

/// Bytes of a close reason: a control frame's payload less the code.
pub const REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_MAX - 2;

/// The payload of a Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// The close code.
    pub code: CloseCode,
    /// Text for logs; at most [`REASON_BYTES_MAX`] bytes are sent.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// Creates a payload of a code and a reason.
    pub fn new(code: CloseCode, reason: &'a str) -> Self {
        Self { code, reason }
    }

    /// Parses a Close frame's payload; `None` if it is empty.
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

    /// Returns the part of the reason that fits into the frame, cut between characters.
    fn reason_that_fits(&self) -> &'a str {
        let mut end = self.reason.len().min(REASON_BYTES_MAX);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        &self.reason[..end]
    }
}

/// Appends a Close frame; a reason that is too long is cut between characters.
pub fn write_close(out: &mut Vec<u8>, close: Option<Close<'_>>, mask: Option<MaskKey>) {
    let mut payload = Vec::with_capacity(CONTROL_PAYLOAD_MAX);
    if let Some(close) = close {
        payload.extend_from_slice(&close.code.number().to_be_bytes());
        payload.extend_from_slice(close.reason_that_fits().as_bytes());
    }
    write_frame(out, Opcode::Close, &payload, mask);
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

    #[test]
    fn a_long_close_reason_still_makes_a_control_frame() {
        let mut out = Vec::new();
        write_close(&mut out, Some(Close::new(CloseCode::NORMAL, &"x".repeat(500))), None);
        assert_eq!(out[..2], [0x88, 125]);
        assert_eq!(out.len(), 127);
    }
}
