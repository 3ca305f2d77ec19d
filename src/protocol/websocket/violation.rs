//! The protocol violations of a peer on an open connection, and the close codes that answer them.

use thiserror::Error;

use super::close_code::CloseCode;
use crate::protocol::deflate::InflationError;
use crate::protocol::reasons;

/// A rule that the peer broke. The connection fails (RFC 6455 7.1.7): one Close frame with [`Violation::close_code`] is
/// sent, and nothing more is read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// RFC 6455 5.5.1: a close payload of one byte is neither empty nor a code.
    #[error("A Close frame carried one byte; it must be empty, or carry a two-byte code and a reason.")]
    CloseCodeCut,
    /// RFC 6455 7.4: the code must not be on the wire, or is not defined.
    #[error("Close code {code} must not be sent; use 1000, 3000-4999 or another code of RFC 6455 7.4.")]
    CloseCodeForbidden {
        /// The code received.
        code: u16,
    },
    /// RFC 6455 5.5.1: the reason is UTF-8.
    #[error("The reason of a Close frame was not UTF-8.")]
    CloseReasonNotUtf8,
    /// RFC 7692 7.2.2: compressed data follow RFC 1951, within the agreed window.
    #[error("The compressed data of a message were damaged, or referred beyond the agreed window.")]
    CompressedDataInvalid,
    /// RFC 6455 5.5: control frames are never fragmented.
    #[error("A control frame came without FIN; control frames must not be fragmented.")]
    ControlFragmented,
    /// RFC 6455 5.5: control frames carry at most 125 bytes.
    #[error("A control frame claimed more than 125 bytes.")]
    ControlTooLong,
    /// Fragments without payload cost work and never end a message.
    #[error("More than {max} empty fragments came in a row.")]
    EmptyFragments {
        /// The limit.
        max: u32,
    },
    /// A small compressed message inflated to a very large one, as a decompression bomb does.
    #[error("A compressed message inflated to more than {max} times its size.")]
    InflationRatio {
        /// The limit.
        max: u32,
    },
    /// RFC 6455 5.4: fragments of two messages are not interleaved.
    #[error("A new message began before the fragmented one had ended.")]
    InterleavedMessage,
    /// RFC 6455 5.2: the shortest of the three length forms is used.
    #[error("A length of {length} was not written in its shortest form.")]
    LengthNotMinimal {
        /// The encoded length.
        length: u64,
    },
    /// RFC 6455 5.2: the most significant bit of a 64-bit length is zero.
    #[error("A frame claimed a length of more than 63 bits.")]
    LengthTooLarge,
    /// RFC 6455 5.1: only clients mask.
    #[error("A server's frame was masked.")]
    Masked,
    /// A message was not completed in time.
    #[error("A message was not completed within {timeout_ms} ms of its first byte.")]
    MessageTimeout {
        /// The limit, in milliseconds.
        timeout_ms: u64,
    },
    /// The message would exceed the limit with the frame just announced. Nothing was allocated for it.
    #[error("A message of {bytes} bytes or more exceeds the limit of {max} bytes.")]
    MessageTooLarge {
        /// Bytes received and announced so far.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// RFC 6455 5.6 and 8.1: text is UTF-8.
    #[error("A text message was not UTF-8.")]
    NotUtf8,
    /// RFC 6455 5.2: reserved bits are zero unless an extension defines them.
    #[error("A reserved bit was set, but no agreed extension defines it.")]
    ReservedBits,
    /// RFC 6455 5.2: opcodes 3-7 and 11-15 are reserved.
    #[error("Opcode {opcode} is reserved.")]
    ReservedOpcode {
        /// The opcode received.
        opcode: u8,
    },
    /// RFC 6455 5.4: a continuation frame continues a message.
    #[error("A continuation frame came without a message to continue.")]
    UnexpectedContinuation,
    /// RFC 6455 5.1: every frame of a client is masked.
    #[error("A client's frame was not masked.")]
    Unmasked,
}

impl Violation {
    /// Returns the code of the Close frame that answers it (RFC 6455 7.4.1).
    pub fn close_code(&self) -> CloseCode {
        match self {
            Violation::InflationRatio { .. } | Violation::MessageTooLarge { .. } => CloseCode::MESSAGE_TOO_BIG,
            Violation::CloseReasonNotUtf8 | Violation::CompressedDataInvalid | Violation::NotUtf8 => {
                CloseCode::INVALID_DATA
            }
            Violation::EmptyFragments { .. } | Violation::MessageTimeout { .. } => CloseCode::POLICY_VIOLATION,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl From<InflationError> for Violation {
    fn from(error: InflationError) -> Self {
        match error {
            InflationError::Damaged => Violation::CompressedDataInvalid,
            InflationError::Ratio { max } => Violation::InflationRatio { max },
            InflationError::TooLarge { bytes, max } => Violation::MessageTooLarge { bytes, max },
        }
    }
}

// The names under which violations are counted. A new variant needs a line here.
reasons! {
    Violation:
    CloseCodeCut = "close_code_cut",
    CloseCodeForbidden = "close_code_forbidden",
    CloseReasonNotUtf8 = "close_reason_not_utf8",
    CompressedDataInvalid = "compressed_data_invalid",
    ControlFragmented = "control_fragmented",
    ControlTooLong = "control_too_long",
    EmptyFragments = "empty_fragments",
    InflationRatio = "inflation_ratio",
    InterleavedMessage = "interleaved_message",
    LengthNotMinimal = "length_not_minimal",
    LengthTooLarge = "length_too_large",
    Masked = "masked",
    MessageTimeout = "message_timeout",
    MessageTooLarge = "message_too_large",
    NotUtf8 = "not_utf8",
    ReservedBits = "reserved_bits",
    ReservedOpcode = "reserved_opcode",
    UnexpectedContinuation = "unexpected_continuation",
    Unmasked = "unmasked",
}
