//! The reasons for which a TLS session fails, and the alert that its peer is sent.

use thiserror::Error;

/// An alert's description (RFC 8446 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Alert {
    CloseNotify = 0,
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    IllegalParameter = 47,
    DecodeError = 50,
    InternalError = 80,
}

impl Alert {
    /// The two bytes of an alert: its level, which is a warning for close_notify alone, and its description.
    pub(super) fn bytes(self) -> [u8; 2] {
        [if self == Self::CloseNotify { 1 } else { 2 }, self as u8]
    }
}

/// The reason for which a TLS session failed. See each variant's text.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// A record was altered, repeated, lost or never sealed for this session.
    #[error("A record from the peer does not open with the session's key.")]
    BadRecord,
    /// A record is longer than RFC 8446 5.2 allows.
    #[error("A record from the peer is longer than 16,640 bytes, or carries more than 16,384.")]
    RecordTooLong,
    /// The bytes are no record, or the record's content is not what its type says.
    #[error("The peer sent bytes that are no TLS record, or an alert or message that cannot be read.")]
    Malformed,
    /// A record or message came that is not allowed in an open session.
    #[error("The peer sent a record or message that is not allowed in an open session.")]
    Unexpected,
    /// A value in a message is not allowed.
    #[error("The peer sent a message with a value that is not allowed.")]
    IllegalValue,
    /// Too many records or messages without data came in a row.
    #[error("The peer sent too many empty records, key updates or warnings in a row.")]
    Flood,
    /// The peer has ended the session with a fatal alert.
    #[error("The peer ended the session with alert {0}.")]
    PeerAlert(u8),
    /// The cryptographic library failed, or a key is used up.
    #[error("The cryptographic library failed.")]
    Crypto,
    /// The handshake failed; rustls says why.
    #[error("The handshake failed: {0}.")]
    Handshake(rustls::Error),
}

/// The kind of a fault, for a count by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The peer's bytes are no TLS, or no valid message of it.
    Malformed,
    /// The ends have no version, cipher, group or kind of certificate in common.
    NothingInCommon,
    /// The peer offers other protocols than HTTP/1.1 (ALPN).
    NoProtocol,
    /// The peer has shown no certificate, or one that is not accepted.
    PeerCertificate,
    /// The peer has ended the session with an alert.
    PeerAlert,
    /// The peer sent a message that is not allowed.
    PeerMisbehaved,
    /// A record was altered, repeated or lost.
    BadRecord,
    /// The cryptographic library failed.
    Internal,
}

impl Fault {
    /// Returns the kind of the fault.
    pub fn kind(&self) -> FaultKind {
        use rustls::Error;
        match self {
            Self::Malformed | Self::Handshake(Error::InvalidMessage(_)) => FaultKind::Malformed,
            Self::BadRecord | Self::Handshake(Error::DecryptError) => FaultKind::BadRecord,
            Self::PeerAlert(_) | Self::Handshake(Error::AlertReceived(_)) => FaultKind::PeerAlert,
            Self::Handshake(Error::NoApplicationProtocol) => FaultKind::NoProtocol,
            Self::Handshake(
                Error::InvalidCertificate(_)
                | Error::NoCertificatesPresented
                | Error::InvalidCertRevocationList(_)
                | Error::UnsupportedNameType,
            ) => FaultKind::PeerCertificate,
            Self::Handshake(Error::PeerIncompatible(_)) => FaultKind::NothingInCommon,
            Self::RecordTooLong | Self::Unexpected | Self::IllegalValue | Self::Flood => FaultKind::PeerMisbehaved,
            Self::Handshake(
                Error::PeerMisbehaved(_)
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::PeerSentOversizedRecord,
            ) => FaultKind::PeerMisbehaved,
            Self::Crypto | Self::Handshake(_) => FaultKind::Internal,
        }
    }

    /// Returns the alert that tells the peer; `None` if it is not told.
    pub(super) fn alert(&self) -> Option<Alert> {
        match self {
            Self::BadRecord => Some(Alert::BadRecordMac),
            Self::RecordTooLong => Some(Alert::RecordOverflow),
            Self::Malformed => Some(Alert::DecodeError),
            Self::Unexpected | Self::Flood => Some(Alert::UnexpectedMessage),
            Self::IllegalValue => Some(Alert::IllegalParameter),
            Self::Crypto => Some(Alert::InternalError),
            // rustls has queued its own alert.
            Self::PeerAlert(_) | Self::Handshake(_) => None,
        }
    }
}
