//! The refusals of a request: every reason, the party at fault, and the status of the response.
//!
//! Never writes a response: that is for [`Response`](super::Response). Invariant: the text repeats no byte of a
//! peer but an origin and a host, escaped and truncated.

use super::foreign_origin::ForeignOrigin;
use crate::protocol::reasons;

/// The reason why a request was refused. Its text is the body of the response; [`Refusal::status`] is the status.
///
/// Convert it with `Response::from`, and close the connection after it: the bytes after a refused head have no known
/// meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    // 400: the bytes are not an HTTP/1.1 request with exactly one meaning.
    /// The first byte is that of a TLS record.
    #[error(
        "The client speaks TLS, but this port speaks plain HTTP. Use ws:// or http://, or put a TLS proxy in front."
    )]
    TlsOnPlainPort,
    /// The first byte on a TLS port is that of a request.
    #[error("The client speaks plain HTTP, but this port speaks TLS. Use wss:// or https://.")]
    PlainHttp,
    /// The first line does not begin with a method.
    #[error("The first line does not begin with a method in upper case. Send an HTTP/1.1 request, such as GET.")]
    MethodInvalid,
    /// A line ends in LF without CR.
    #[error("A line ends in LF alone. End every line of the head with CRLF.")]
    BareLineFeed,
    /// The first line is not `method target version`, separated by single spaces.
    #[error("The first line is malformed. Send a method, a target and HTTP/1.1, separated by single spaces.")]
    RequestLineInvalid,
    /// The target has a form that is not served, or contains bytes that a target cannot.
    #[error("The request target is invalid. Send a path that begins with '/', in visible ASCII and without '#'.")]
    TargetInvalid,
    /// A header line begins with a space or a tab.
    #[error("A header line begins with white space. Send each header on one line, without obsolete line folding.")]
    ObsoleteFold,
    /// A header line has no colon, or its name is not a token.
    #[error("A header name is invalid. Send 'Name: value', with a token as the name and no space before the colon.")]
    FieldNameInvalid,
    /// A header value contains CR, NUL or another control byte.
    #[error("A header value contains a control byte, such as CR or NUL. Remove it.")]
    FieldValueInvalid,
    /// A required header is missing.
    #[error("The header {name} is missing. Send it exactly once.")]
    HeaderMissing {
        /// The header's name.
        name: &'static str,
    },
    /// A header that may be sent once was repeated.
    #[error("The header {name} was sent more than once. Send it exactly once.")]
    HeaderDuplicate {
        /// The header's name.
        name: &'static str,
    },
    /// The Host header is empty, or is not a host name or address.
    #[error("The Host header is invalid. Send the host and, if it is not the default, the port of the address used.")]
    HostInvalid,
    /// The end of the body is ambiguous.
    #[error(
        "The header Transfer-Encoding is invalid. Send it once, as chunked, in HTTP/1.1 and without Content-Length."
    )]
    TransferEncoding,
    /// The body is not a valid sequence of chunks.
    #[error("A chunk of the body is malformed. Send its size in hexadecimal digits, CRLF, its data and CRLF.")]
    ChunkInvalid,
    /// Content-Length is not a number.
    #[error("The header Content-Length is invalid. Send one number in decimal digits.")]
    ContentLengthInvalid,
    /// The request announces a body although its method, or the upgrade, excludes one.
    #[error("The request announces a body, but none is read with GET, HEAD or an upgrade. Send it without a body.")]
    BodyUnexpected,
    /// Only one half of the upgrade is present.
    #[error(
        "The WebSocket upgrade is incomplete: both 'Upgrade: websocket' and 'Connection: Upgrade' are needed. \
         If a proxy stands in between, let it forward them."
    )]
    UpgradeIncomplete,
    /// The key is not 16 bytes in base64.
    #[error("The header Sec-WebSocket-Key is invalid. Send 16 random bytes in base64, which is 24 characters.")]
    KeyInvalid,
    /// The list of subprotocols is malformed, repeats itself or is too long.
    #[error("The header Sec-WebSocket-Protocol is invalid. Send at most {protocols_max} different tokens.")]
    ProtocolsInvalid {
        /// The most subprotocols that may be offered.
        protocols_max: usize,
    },
    /// The list of extensions does not follow the grammar.
    #[error("The header Sec-WebSocket-Extensions is invalid. Follow the grammar of RFC 6455 section 9.1.")]
    ExtensionsInvalid,
    /// Bytes came after the head, before the upgrade was answered.
    #[error("Data was sent before the upgrade was answered. Wait for the status 101 before sending the first frame.")]
    EarlyData,
    /// A trusted proxy that must begin with a PROXY header did not.
    #[error("The PROXY header is missing. Let the proxy send it (send-proxy, proxy_protocol on), or do not expect it.")]
    ProxyHeaderMissing,
    /// A PROXY header came where none is expected.
    #[error(
        "A PROXY header came, but none is expected from this address. List the proxy in trusted-proxies and set \
         proxy-protocol, or have it send none."
    )]
    ProxyHeaderUnexpected,
    /// A PROXY header is of neither version, or too long.
    #[error("The PROXY header is invalid. Send version 1 or 2 as proxy-protocol.txt specifies it.")]
    ProxyHeaderInvalid,

    // Other faults of the client.
    /// The request's Origin may not open a WebSocket here.
    #[error("{0}")]
    ForbiddenOrigin(Box<ForeignOrigin>),
    /// The method cannot be answered here.
    #[error("This method is not allowed here. A WebSocket is opened with {allow}.")]
    MethodNotAllowed {
        /// The allowed methods, as in the header Allow.
        allow: &'static str,
    },
    /// The head, or the announced body, did not arrive in time.
    #[error("The request did not arrive in time. Send all of it at once.")]
    HandshakeTimeout,
    /// The body is above its limit.
    #[error("The body has {bytes} bytes or more, but at most {limit} are accepted here. Send less at a time.")]
    BodyTooLarge {
        /// The bytes announced so far.
        bytes: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The request line is above its limit.
    #[error("The first line is longer than {limit} bytes. Shorten the target.")]
    RequestLineTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The Expect header asks for something other than 100-continue.
    #[error("The header Expect asks for something unknown. Send it as 100-continue, or leave it out.")]
    ExpectationFailed,
    /// The request does not open a WebSocket, and nothing else is served here.
    #[error("Only WebSocket is served here. Send 'Upgrade: websocket' and 'Connection: Upgrade'.")]
    UpgradeRequired,
    /// The client asks for another version of the WebSocket protocol.
    #[error("This version of the WebSocket protocol is not supported. Use Sec-WebSocket-Version: 13.")]
    WebSocketVersionUnsupported,
    /// The whole head is above its limit.
    #[error("The head is longer than {limit} bytes. Send fewer or shorter headers.")]
    HeadTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A body in chunks has too many bytes beside its data.
    #[error("The body has more than {limit} bytes of chunk extensions and trailers. Send fewer, or none.")]
    ChunkExtrasTooLarge {
        /// The limit, in bytes.
        limit: u32,
    },
    /// The client's address has reached its limit of connections.
    #[error("There are too many connections from this address. Close some, or try again later.")]
    TooManyConnections,
    /// The client's address has exceeded its rate of handshakes.
    #[error("There were too many handshakes from this address. Try again later, and less often.")]
    TooManyHandshakes,
    /// There are more headers than allowed.
    #[error("There are more than {limit} headers. Send fewer.")]
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },

    // 5xx: the client did nothing wrong, or asks for a feature that this server does not have.
    /// The handler failed while it decided on the request.
    #[error("The server failed to handle the request. Try again later.")]
    HandlerFailed,
    /// The server has reached its limit of connections.
    #[error("The server is at its limit of connections. Try again later.")]
    OverCapacity,
    /// The server has no file descriptor for another connection.
    #[error("The server has no room for another connection. Try again later.")]
    OutOfDescriptors,
    /// The server accepts no new connections because it is about to stop.
    #[error("The server is shutting down. Connect again.")]
    ShuttingDown,
    /// The body has a transfer coding other than chunked.
    #[error("No transfer coding but chunked is supported. Send the body as it is, or in chunks.")]
    TransferCodingUnknown,
    /// The request is neither HTTP/1.0 nor HTTP/1.1.
    #[error("This HTTP version is not supported. Use HTTP/1.1.")]
    HttpVersionUnsupported,
    /// A WebSocket was requested over HTTP/1.0.
    #[error("A WebSocket cannot be opened over HTTP/1.0. Use HTTP/1.1, also in a proxy in between.")]
    HandshakeNeedsHttp11,
}

impl Refusal {
    /// Returns the status code of the response.
    pub fn status(&self) -> u16 {
        use Refusal::*;
        match self {
            TlsOnPlainPort
            | PlainHttp
            | MethodInvalid
            | BareLineFeed
            | RequestLineInvalid
            | TargetInvalid
            | ObsoleteFold
            | FieldNameInvalid
            | FieldValueInvalid
            | HeaderMissing { .. }
            | HeaderDuplicate { .. }
            | HostInvalid
            | TransferEncoding
            | ContentLengthInvalid
            | ChunkInvalid
            | BodyUnexpected
            | UpgradeIncomplete
            | KeyInvalid
            | ProtocolsInvalid { .. }
            | ExtensionsInvalid
            | EarlyData
            | ProxyHeaderMissing
            | ProxyHeaderUnexpected
            | ProxyHeaderInvalid => 400,
            ForbiddenOrigin(_) => 403,
            MethodNotAllowed { .. } => 405,
            HandshakeTimeout => 408,
            BodyTooLarge { .. } => 413,
            RequestLineTooLong { .. } => 414,
            ExpectationFailed => 417,
            UpgradeRequired | WebSocketVersionUnsupported => 426,
            TooManyConnections | TooManyHandshakes => 429,
            HeadTooLarge { .. } | TooManyHeaders { .. } | ChunkExtrasTooLarge { .. } => 431,
            HandlerFailed => 500,
            TransferCodingUnknown => 501,
            OverCapacity | OutOfDescriptors | ShuttingDown => 503,
            HttpVersionUnsupported | HandshakeNeedsHttp11 => 505,
        }
    }
}

// The names under which refusals are counted. A new variant needs a line here.
reasons! {
    Refusal:
    TlsOnPlainPort = "tls_on_plain_port",
    PlainHttp = "plain_http_on_tls_port",
    MethodInvalid = "method_invalid",
    BareLineFeed = "bare_line_feed",
    RequestLineInvalid = "request_line_invalid",
    TargetInvalid = "target_invalid",
    ObsoleteFold = "obsolete_fold",
    FieldNameInvalid = "field_name_invalid",
    FieldValueInvalid = "field_value_invalid",
    HeaderMissing = "header_missing",
    HeaderDuplicate = "header_duplicate",
    HostInvalid = "host_invalid",
    TransferEncoding = "transfer_encoding",
    ChunkInvalid = "chunk_invalid",
    ContentLengthInvalid = "content_length_invalid",
    BodyUnexpected = "body_unexpected",
    UpgradeIncomplete = "upgrade_incomplete",
    KeyInvalid = "key_invalid",
    ProtocolsInvalid = "protocols_invalid",
    ExtensionsInvalid = "extensions_invalid",
    EarlyData = "early_data",
    ProxyHeaderMissing = "proxy_header_missing",
    ProxyHeaderUnexpected = "proxy_header_unexpected",
    ProxyHeaderInvalid = "proxy_header_invalid",
    ForbiddenOrigin = "forbidden_origin",
    MethodNotAllowed = "method_not_allowed",
    HandshakeTimeout = "handshake_timeout",
    BodyTooLarge = "body_too_large",
    RequestLineTooLong = "request_line_too_long",
    ExpectationFailed = "expectation_failed",
    UpgradeRequired = "upgrade_required",
    WebSocketVersionUnsupported = "websocket_version_unsupported",
    HeadTooLarge = "head_too_large",
    TooManyHeaders = "too_many_headers",
    ChunkExtrasTooLarge = "chunk_extras_too_large",
    TooManyConnections = "too_many_connections",
    TooManyHandshakes = "too_many_handshakes",
    HandlerFailed = "handler_failed",
    OverCapacity = "over_capacity",
    OutOfDescriptors = "out_of_descriptors",
    ShuttingDown = "shutting_down",
    TransferCodingUnknown = "transfer_coding_unknown",
    HttpVersionUnsupported = "http_version_unsupported",
    HandshakeNeedsHttp11 = "handshake_needs_http11",
}
