//! `/api/`: HTTP for other programs: publishing to a topic, and figures of each core.
//!
//! Owns access control, the parsing of requests and the JSON of answers; the engine publishes. Invariant: the time it
//! takes to refuse a key does not reveal how much of it was right, and no key is ever shown.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use constant_time_eq::constant_time_eq;
use serde::Serialize;
use thiserror::Error;

use super::auth::Refused;
use super::cross_origin::CrossOrigin;
use super::methods;
use super::query::{ParameterError, parameter};
use crate::engine::{Counters, Handler, Hub, Sent, ServerHandle, TopicError};
use crate::protocol::Message;
use crate::protocol::http::{Request, Response};

/// The path prefix of the API.
const PREFIX: &str = "/api/";
const PUBLISH: &str = "/api/publish";
const CORES: &str = "/api/cores";

/// The methods of the publish path.
const PUBLISH_METHODS: &str = "POST, OPTIONS";

/// The clients that may publish over HTTP.
#[derive(Clone, Default)]
pub enum ApiAccess {
    /// Nobody may publish.
    #[default]
    Off,
    /// Clients that send this key.
    Key(Arc<str>),
    /// Every program that can connect, but web pages of the listed origins only: any page that somebody on this host
    /// visits can make the browser send a request.
    Open,
}

/// The check whether the token or key of a request allows it to publish to a topic; `None` if it carries none. There
/// is no check if the server has no rules of access.
pub(super) type TokenCheck<'a> = Option<&'a mut dyn FnMut(&Request<'_>, &str) -> Option<Result<(), Refused>>>;

/// Returns the answer to a request below `/api/`, or `None` for any other path.
pub(super) fn answer<H: Handler>(
    request: &Request<'_>,
    hub: &mut Hub<'_, H>,
    access: &ApiAccess,
    pages: &CrossOrigin,
    tokens: TokenCheck<'_>,
) -> Option<Response> {
    let options = |allow| pages.preflight(request, allow).unwrap_or_else(|| methods::options(allow));
    let answer = match (request.path(), request.method()) {
        (PUBLISH, _) if matches!(access, ApiAccess::Off) && tokens.is_none() => Err(ApiError::Off),
        (PUBLISH, "OPTIONS") => Ok(options(PUBLISH_METHODS)),
        (PUBLISH, _) => publish(request, hub, access, pages, tokens),
        (CORES, "OPTIONS") => Ok(options(methods::READ)),
        (CORES, _) => cores(request, hub.counters()),
        (path, _) if path.starts_with(PREFIX) => Err(ApiError::NotFound),
        _ => return None,
    };
    Some(pages.label(request, answer.unwrap_or_else(|error| error.response())))
}

/// Returns the topic and the message of a request that may publish by a token or the key of a program, and not by the
/// key of the API.
pub(super) fn published_by_token<'r>(
    request: &'r Request<'_>,
    access: &ApiAccess,
    pages: &CrossOrigin,
    tokens: TokenCheck<'_>,
) -> Option<(Cow<'r, str>, Message<'r>)> {
    if !reads_body(request) || access.admit(request, pages).is_ok() {
        return None;
    }
    let topic = access.admit_publisher(request, pages, tokens).ok()?;
    Some((topic, message(request).ok()?))
}

/// Publishes a message that was decided about, and returns the answer.
pub(super) fn publish_from<M: Send + 'static>(server: &ServerHandle<M>, topic: &str, message: Message<'_>) -> Response {
    let published = server.publish(topic, message).map_err(ApiError::Topic);
    published.and_then(|sent| told(topic, sent)).unwrap_or_else(|error| error.response())
}

/// Returns the answer to a request whose message the backend has denied.
pub(super) fn denied(reason: Option<&str>) -> Response {
    ApiError::Denied { reason: reason.unwrap_or("The backend does not allow this message.").to_owned() }.response()
}

/// Returns the answer to a request about which nobody has decided.
pub(super) fn undecided() -> Response {
    ApiError::Undecided.response()
}

/// Returns whether the server has to read a request's body.
pub(super) fn reads_body(request: &Request<'_>) -> bool {
    request.path() == PUBLISH && request.method() == "POST"
}

/// Returns the refusal of a request that would be refused whatever its body is.
pub(super) fn refuse_unread(
    request: &Request<'_>,
    access: &ApiAccess,
    pages: &CrossOrigin,
    tokens: TokenCheck<'_>,
) -> Option<Response> {
    access.admit_publisher(request, pages, tokens).err().map(|error| pages.label(request, error.response()))
}

/// Answers a request that needs the key of the API itself, and that `carry_out` carries out.
pub(super) fn for_operator(
    request: &Request<'_>,
    access: &ApiAccess,
    pages: &CrossOrigin,
    carry_out: impl FnOnce() -> Result<Response, Response>,
) -> Response {
    let answer = match request.method() {
        _ if matches!(access, ApiAccess::Off) => Err(ApiError::Off.response()),
        "OPTIONS" => Ok(pages.preflight(request, PUBLISH_METHODS).unwrap_or_else(|| methods::options(PUBLISH_METHODS))),
        "POST" => access.admit(request, pages).map_err(|error| error.response()).and_then(|()| carry_out()),
        _ => Err(ApiError::MethodNotAllowed { allow: PUBLISH_METHODS }.response()),
    };
    pages.label(request, answer.unwrap_or_else(|refusal| refusal))
}

impl ApiAccess {
    /// Returns the topic to publish to if the request may publish there: with the key of the API anywhere, with a token
    /// or a program's key where it allows it.
    fn admit_publisher<'a>(
        &self,
        request: &Request<'a>,
        pages: &CrossOrigin,
        tokens: TokenCheck<'_>,
    ) -> Result<Cow<'a, str>, ApiError> {
        if request.method() != "POST" {
            return Err(ApiError::MethodNotAllowed { allow: PUBLISH_METHODS });
        }
        let topic = || parameter(request.query(), "topic")?.ok_or(ApiError::TopicMissing);
        let (error, may_publish) = match (self.admit(request, pages), tokens) {
            (Ok(()), _) => return topic(),
            (Err(error), None) => return Err(error),
            (Err(error), Some(may_publish)) => (error, may_publish),
        };
        let topic = topic()?;
        match may_publish(request, &topic) {
            Some(Ok(())) => Ok(topic),
            Some(Err(Refused::Forbidden)) => Err(ApiError::TopicForbidden),
            Some(Err(Refused::Unauthorized)) => Err(ApiError::KeyWrong),
            Some(Err(Refused::Unavailable)) => Err(ApiError::TokenNotJudged),
            None if matches!(self, Self::Off) => Err(ApiError::KeyMissing),
            None => Err(error),
        }
    }

    /// Checks the request's key or origin.
    fn admit(&self, request: &Request<'_>, pages: &CrossOrigin) -> Result<(), ApiError> {
        match self {
            Self::Off => Err(ApiError::Off),
            Self::Open if request.header("Origin").is_some() && !pages.allows(request) => Err(ApiError::FromPage),
            Self::Open => Ok(()),
            Self::Key(key) => match key_of(request) {
                None => Err(ApiError::KeyMissing),
                // The comparison returns at once if the lengths differ: the key's length does not have to be secret.
                Some(sent) if constant_time_eq(sent, key.as_bytes()) => Ok(()),
                Some(_) => Err(ApiError::KeyWrong),
            },
        }
    }
}

impl fmt::Debug for ApiAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Key(_) => "Key",
            Self::Open => "Open",
        })
    }
}

/// A refused request: the client's fault, except for those with the status 503.
#[derive(Debug, PartialEq, Eq, Error)]
enum ApiError {
    #[error("Unknown path. Use POST /api/publish, POST /api/revoke, POST /api/tickets or GET /api/cores.")]
    NotFound,
    #[error(
        "Publishing over HTTP is off. The operator of the server turns it on with api.key or, for programs on its own \
         host only, with api.insecure."
    )]
    Off,
    #[error("This method is not allowed here. Use {allow}.")]
    MethodNotAllowed { allow: &'static str },
    #[error("Publishing needs a key. Send it as X-API-Key: KEY or as Authorization: Bearer KEY.")]
    KeyMissing,
    #[error("Wrong key. Send a key that the server has, or a token that is valid.")]
    KeyWrong,
    #[error("The key or token does not allow publishing to this topic.")]
    TopicForbidden,
    #[error("The issuer of the token is being asked, or cannot be. Send the request again.")]
    TokenNotJudged,
    #[error(
        "A web page may not publish without a key. The operator of the server sets one with api.key, or lists the \
         page's origin in api.allow-origin."
    )]
    FromPage,
    #[error("The topic is missing. Name it in the query, as in /api/publish?topic=news.")]
    TopicMissing,
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("The body is declared as text, but is not UTF-8. Send bytes as application/octet-stream.")]
    BodyNotText,
    #[error("{reason}")]
    Denied { reason: String },
    #[error("The backend that decides about messages does not answer. Try again later.")]
    Undecided,
    #[error("The message was dropped, at least in part: too much is waiting to be delivered. Try again later.")]
    Dropped,
}

impl ApiError {
    fn status(&self) -> u16 {
        match self {
            Self::NotFound | Self::Off => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::KeyMissing | Self::KeyWrong => 401,
            Self::FromPage | Self::TopicForbidden | Self::Denied { .. } => 403,
            Self::TopicMissing | Self::Parameter(_) | Self::Topic(_) | Self::BodyNotText => 400,
            Self::Dropped | Self::TokenNotJudged | Self::Undecided => 503,
        }
    }

    fn response(&self) -> Response {
        let response = json(self.status(), &Failure { error: self.to_string() });
        match self {
            Self::MethodNotAllowed { allow } => response.with_header("Allow", *allow),
            Self::KeyMissing | Self::KeyWrong => response.with_header("WWW-Authenticate", "Bearer"),
            Self::Dropped | Self::TokenNotJudged | Self::Undecided => response.with_header("Retry-After", "1"),
            _ => response,
        }
    }
}

/// The JSON of a refusal.
#[derive(Serialize)]
struct Failure {
    error: String,
}

/// The JSON of a published message.
#[derive(Serialize)]
struct Published<'a> {
    topic: &'a str,
    sent: &'static str,
}

/// The JSON of `/api/cores`.
#[derive(Serialize)]
struct Cores {
    cores: Vec<Core>,
}

/// One core's figures, from its counters.
#[derive(Serialize)]
struct Core {
    core: usize,
    connections: u64,
    messages_received: u64,
    messages_sent: u64,
    messages_published: u64,
    messages_dropped: u64,
    topics: u64,
    subscriptions: u64,
}

impl Core {
    fn new(core: usize, counters: &Counters) -> Self {
        Self {
            core,
            connections: counters.connections(),
            messages_received: counters.messages_received.read(),
            messages_sent: counters.messages_sent.read(),
            messages_published: counters.messages_published.read(),
            messages_dropped: counters.messages_dropped.read(),
            topics: counters.topics.read(),
            subscriptions: counters.subscriptions.read(),
        }
    }
}

fn publish<H: Handler>(
    request: &Request<'_>,
    hub: &mut Hub<'_, H>,
    access: &ApiAccess,
    pages: &CrossOrigin,
    tokens: TokenCheck<'_>,
) -> Result<Response, ApiError> {
    let topic = access.admit_publisher(request, pages, tokens)?;
    let sent = hub.publish(&topic, message(request)?)?;
    told(&topic, sent)
}

/// Returns the answer about a message that was published.
fn told(topic: &str, sent: Sent) -> Result<Response, ApiError> {
    match sent {
        Sent::Queued | Sent::Backpressure => Ok(json(200, &Published { topic, sent: "queued" })),
        Sent::Dropped => Err(ApiError::Dropped),
    }
}

/// Returns each core's figures. Needs no key: they show load, but neither contents nor clients.
fn cores(request: &Request<'_>, counters: &[Arc<Counters>]) -> Result<Response, ApiError> {
    match request.method() {
        "GET" | "HEAD" => {
            let cores = counters.iter().enumerate().map(|(core, counters)| Core::new(core, counters)).collect();
            Ok(json(200, &Cores { cores }))
        }
        _ => Err(ApiError::MethodNotAllowed { allow: methods::READ }),
    }
}

fn json(status: u16, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => Response::json(status, text),
        // Unreachable: every value above has a JSON form.
        Err(_) => Response::text(500, "The answer could not be written as JSON.\n"),
    }
}

/// Returns the key that a request carries.
fn key_of<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let bearer = || {
        let (scheme, key) = request.header("Authorization")?.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
    };
    request.header("X-API-Key").or_else(bearer)
}

/// Returns the body as a message: text if it is UTF-8 and not declared binary; a body declared as text must be UTF-8.
fn message<'a>(request: &Request<'a>) -> Result<Message<'a>, ApiError> {
    let declared = request.header_text("Content-Type").unwrap_or_default();
    let media_type = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media_type == "application/octet-stream" {
        return Ok(Message::Binary(request.body()));
    }
    let is_text = media_type.starts_with("text/") || media_type == "application/json" || media_type.ends_with("+json");
    match std::str::from_utf8(request.body()) {
        Ok(text) => Ok(Message::Text(text)),
        Err(_) if is_text => Err(ApiError::BodyNotText),
        Err(_) => Ok(Message::Binary(request.body())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::engine::{DropReason, End};
    use crate::protocol::MessageKind;
    use crate::protocol::http::{Date, Headers, parse_request, write_response};

    /// Calls `read` with a POST request of these header lines and this body.
    fn with_request<T>(lines: &str, body: &[u8], read: impl FnOnce(&Request<'_>) -> T) -> T {
        let head = format!("POST /api/publish HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut headers = Headers::default();
        read(&parse_request(head.as_bytes(), &mut headers).unwrap().with_body(body))
    }

    fn admit(access: &ApiAccess, lines: &str) -> Result<(), ApiError> {
        with_request(lines, b"", |request| access.admit(request, &CrossOrigin::default()))
    }

    #[test]
    fn only_clients_with_the_key_may_publish() {
        let access = ApiAccess::Key("s3cret".into());
        for lines in [
            "X-API-Key: s3cret\r\n",
            "x-api-key:\ts3cret \r\n",
            "Authorization: Bearer s3cret\r\n",
            "Authorization: bearer  s3cret\r\n",
            "X-API-Key: s3cret\r\nAuthorization: Basic s3cret\r\nOrigin: http://a\r\n",
        ] {
            assert_eq!(admit(&access, lines), Ok(()), "{lines}");
        }
        for lines in ["", "Authorization: s3cret\r\n", "Authorization: Basic s3cret\r\n", "Authorization: Bearer\r\n"] {
            assert_eq!(admit(&access, lines), Err(ApiError::KeyMissing), "{lines}");
        }
        for key in ["", "s", "s3cre", "s3crets", "S3cret", "s3creu", "Bearer s3cret"] {
            assert_eq!(admit(&access, &format!("X-API-Key: {key}\r\n")), Err(ApiError::KeyWrong), "{key}");
        }
        assert_eq!(admit(&access, "X-API-Key: no\r\nAuthorization: Bearer s3cret\r\n"), Err(ApiError::KeyWrong));
    }

    #[test]
    fn without_a_key_every_program_may_publish_and_no_web_page() {
        assert_eq!(admit(&ApiAccess::Open, ""), Ok(()));
        assert_eq!(admit(&ApiAccess::Open, "X-API-Key: any\r\n"), Ok(()));
        for origin in ["http://elsewhere.example", "http://a", "null", ""] {
            assert_eq!(admit(&ApiAccess::Open, &format!("Origin: {origin}\r\n")), Err(ApiError::FromPage), "{origin}");
        }
        assert_eq!(admit(&ApiAccess::Off, "X-API-Key: any\r\n"), Err(ApiError::Off));
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", ApiAccess::Key("s3cret".into())), "Key");
    }

    #[test]
    fn a_body_is_text_if_it_can_be_and_is_not_declared_otherwise() {
        let kind = |content_type: &str, body: &[u8]| {
            let line =
                if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
            with_request(&line, body, |request| message(request).map(|message| message.kind()))
        };
        let (text, binary) = (Ok(MessageKind::Text), Ok(MessageKind::Binary));
        for content_type in ["", "application/x-www-form-urlencoded", "image/png", "text/plain", "application/json"] {
            assert_eq!(kind(content_type, "grüße".as_bytes()), text, "{content_type}");
            assert_eq!(kind(content_type, b""), text, "{content_type}");
        }
        for content_type in ["application/octet-stream", "Application/Octet-Stream ; x=y"] {
            assert_eq!(kind(content_type, b"ascii"), binary, "{content_type}");
            assert_eq!(kind(content_type, b"\xff"), binary, "{content_type}");
        }
        for content_type in ["", "image/png", "application/x-www-form-urlencoded"] {
            assert_eq!(kind(content_type, b"\xff"), binary, "{content_type}");
        }
        for content_type in ["text/plain", "TEXT/html; charset=latin1", "application/json;x", "application/ld+json"] {
            assert_eq!(kind(content_type, b"\xff"), Err(ApiError::BodyNotText), "{content_type}");
        }
    }

    #[test]
    fn every_failure_is_json_with_a_sentence_and_the_headers_of_its_status() {
        let failures = [
            (404, ApiError::NotFound, ""),
            (404, ApiError::Off, ""),
            (405, ApiError::MethodNotAllowed { allow: PUBLISH_METHODS }, "\r\nAllow: POST, OPTIONS\r\n"),
            (401, ApiError::KeyMissing, "\r\nWWW-Authenticate: Bearer\r\n"),
            (401, ApiError::KeyWrong, "\r\nWWW-Authenticate: Bearer\r\n"),
            (403, ApiError::FromPage, ""),
            (403, ApiError::TopicForbidden, ""),
            (400, ApiError::TopicMissing, ""),
            (400, ApiError::Parameter(ParameterError::Repeated { name: "topic" }), ""),
            (400, ApiError::Parameter(ParameterError::NotText { name: "topic" }), ""),
            (400, ApiError::Topic(TopicError::PatternNotPublishable), ""),
            (400, ApiError::BodyNotText, ""),
            (403, ApiError::Denied { reason: "Be polite.".to_owned() }, ""),
            (503, ApiError::Dropped, "\r\nRetry-After: 1\r\n"),
            (503, ApiError::Undecided, "\r\nRetry-After: 1\r\n"),
            (503, ApiError::TokenNotJudged, "\r\nRetry-After: 1\r\n"),
        ];
        for (status, error, header) in failures {
            let mut answer = Vec::new();
            write_response(&mut answer, &error.response(), &Date::from(UNIX_EPOCH), false, false);
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_at(answer.find("\r\n\r\n").unwrap() + 2);
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert!(head.contains("\r\nContent-Type: application/json\r\n") && head.contains(header), "{head}");
            let body: serde_json::Value = serde_json::from_str(body.trim_start()).unwrap();
            assert_eq!(body, serde_json::json!({ "error": error.to_string() }));
            assert!(error.to_string().ends_with('.'), "{error}");
        }
    }

    #[test]
    fn each_core_tells_what_it_does() {
        let counters: Vec<Arc<Counters>> = vec![Arc::default(), Arc::default()];
        counters[1].accepted.add(3);
        counters[1].closed.add(&End::Answered);
        counters[1].messages_received.add(4);
        counters[1].messages_sent.add(5);
        counters[1].messages_published.add(6);
        counters[1].messages_dropped.add(&DropReason::Closing);
        counters[1].topics.add(8);
        counters[1].subscriptions.add(9);
        let told = with_request("", b"", |request| cores(request, &counters).map(|_| ()));
        assert_eq!(told, Err(ApiError::MethodNotAllowed { allow: methods::READ }));
        let mut headers = Headers::default();
        let request = parse_request(b"GET /api/cores HTTP/1.1\r\nHost: a\r\n\r\n", &mut headers).unwrap();
        let response = cores(&request, &counters).unwrap();
        let idle = r#"{"core":0,"connections":0,"messages_received":0,"messages_sent":0,"messages_published":0,"#
            .to_owned()
            + r#""messages_dropped":0,"topics":0,"subscriptions":0}"#;
        let busy = r#"{"core":1,"connections":2,"messages_received":4,"messages_sent":5,"messages_published":6,"#
            .to_owned()
            + r#""messages_dropped":1,"topics":8,"subscriptions":9}"#;
        assert_eq!(response.status(), 200);
        assert_eq!(response.body(), format!("{{\"cores\":[{idle},{busy}]}}").as_bytes());
    }
}
