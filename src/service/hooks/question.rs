//! The questions that a backend is asked, as JSON.
//!
//! Owns their form, and the choice of what a question tells of a client. Never sends one. Invariant: a token that came
//! in the query is in no question.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Serialize, Serializer};

use crate::engine::UpgradeRequest;
use crate::protocol::Message;
use crate::service::query;

/// The bytes of all headers together that a question has, beyond which further ones are left out.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// A hook that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client opens a session.
    Connect,
    /// A session subscribes to a topic.
    Subscribe,
    /// A client publishes a message.
    Publish,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Subscribe, Self::Publish];

    /// Returns its name in questions, settings and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
        }
    }
}

/// The parts of a handshake that a question tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visit {
    /// The address of the client.
    pub address: Option<IpAddr>,
    path: String,
    query: Option<String>,
    origin: Option<String>,
    headers: BTreeMap<String, String>,
}

impl Visit {
    /// Returns what is to be told of a handshake, with these headers. `token` is the name of the parameter that tokens
    /// come in.
    pub fn new(request: &UpgradeRequest<'_>, forward_headers: &[String], token: Option<&str>) -> Self {
        let mut headers = BTreeMap::new();
        let mut bytes = 0;
        for name in forward_headers {
            // Of several, nobody can say which one a proxy has added.
            let is_single = request.headers().filter(|(own, _)| own.eq_ignore_ascii_case(name)).count() == 1;
            if let Some(value) = request.header_text(name).filter(|_| is_single) {
                bytes += name.len() + value.len();
                if bytes <= HEADER_BYTES_MAX {
                    headers.insert(name.clone(), value.to_owned());
                }
            }
        }
        Self {
            address: request.client_address(),
            path: request.path().to_owned(),
            query: request.query().map(|text| token.map_or(text.to_owned(), |token| query::without(text, token))),
            origin: request.header_text("Origin").map(str::to_owned),
            headers,
        }
    }
}

/// A message that waits for the decision whether it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Held {
    /// Returns the message.
    pub fn message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl From<Message<'_>> for Held {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
        }
    }
}

/// The client that a question is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker<'a> {
    /// The id of its session, once there is one.
    pub session: Option<crate::engine::SessionId>,
    /// Its subject, if it is known.
    pub subject: Option<&'a str>,
    /// The names of its roles.
    pub roles: &'a [String],
}

/// A question.
#[derive(Clone, Debug, Serialize)]
pub struct Question<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    roles: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(rename = "base64", skip_serializing_if = "Option::is_none", serialize_with = "as_base64")]
    bytes: Option<&'a [u8]>,
}

impl<'a> Question<'a> {
    /// Returns the question whether a client may connect, or subscribe as it does.
    pub fn entering(event: Event, asker: Asker<'a>, topic: Option<&'a str>, visit: &'a Visit) -> Self {
        Self {
            path: Some(&visit.path),
            query: visit.query.as_deref().filter(|query| !query.is_empty()),
            origin: visit.origin.as_deref(),
            headers: (!visit.headers.is_empty()).then_some(&visit.headers),
            ..Self::about(event, asker, topic, visit.address)
        }
    }

    /// Returns the question whether a client may publish a message.
    pub fn publishing(asker: Asker<'a>, topic: &'a str, address: Option<IpAddr>, message: Message<'a>) -> Self {
        let (text, bytes) = match message {
            Message::Text(text) => (Some(text), None),
            Message::Binary(bytes) => (None, Some(bytes)),
        };
        Self { text, bytes, ..Self::about(Event::Publish, asker, Some(topic), address) }
    }

    fn about(event: Event, asker: Asker<'a>, topic: Option<&'a str>, address: Option<IpAddr>) -> Self {
        Self {
            event: event.name(),
            session: asker.session.map(|session| session.to_string()),
            subject: asker.subject,
            roles: asker.roles,
            topic,
            address,
            path: None,
            query: None,
            origin: None,
            headers: None,
            text: None,
            bytes: None,
        }
    }

    /// Returns the body of the call.
    pub fn body(&self) -> Vec<u8> {
        // Every value above has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the text by which two questions are the same: whoever asks again gets the last verdict, whatever the
    /// session and the message are.
    pub fn key(&self) -> String {
        let same = Self { session: None, text: None, bytes: None, ..self.clone() };
        // A hash, since a question may be long and very many are remembered.
        let digest = digest::digest(&digest::SHA256, &serde_json::to_vec(&same).unwrap_or_default());
        BASE64_STANDARD.encode(digest)
    }
}

/// Writes bytes as base64. They are there: others are not written.
fn as_base64<S: Serializer>(bytes: &Option<&[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit() -> Visit {
        Visit {
            address: "203.0.113.7".parse().ok(),
            path: "/topics/news".to_owned(),
            query: Some("echo=false".to_owned()),
            origin: Some("https://a.example".to_owned()),
            headers: [("cookie".to_owned(), "id=1".to_owned())].into(),
        }
    }

    fn text(question: &Question<'_>) -> String {
        String::from_utf8(question.body()).unwrap()
    }

    #[test]
    fn a_question_tells_what_is_known_and_leaves_out_the_rest() {
        let (visit, roles) = (visit(), ["user".to_owned()]);
        let asker = Asker { session: None, subject: Some("ann"), roles: &roles };
        assert_eq!(
            text(&Question::entering(Event::Connect, asker, Some("news"), &visit)),
            r#"{"event":"connect","subject":"ann","roles":["user"],"topic":"news","address":"203.0.113.7","#.to_owned()
                + r#""path":"/topics/news","query":"echo=false","origin":"https://a.example","#
                + r#""headers":{"cookie":"id=1"}}"#
        );
        let stranger = Visit { path: "/echo".to_owned(), ..Visit::default() };
        assert_eq!(
            text(&Question::entering(Event::Connect, Asker::default(), None, &stranger)),
            r#"{"event":"connect","path":"/echo"}"#
        );
    }

    #[test]
    fn a_message_is_text_or_base64() {
        let session = "0-12-34".parse().ok();
        let asker = Asker { session, subject: None, roles: &[] };
        assert_eq!(
            text(&Question::publishing(asker, "a", None, Message::Text("grüße \"\n"))),
            r#"{"event":"publish","session":"0-12-34","topic":"a","text":"grüße \"\n"}"#
        );
        assert_eq!(
            text(&Question::publishing(asker, "a", None, Message::Binary(b"\xff\x00"))),
            r#"{"event":"publish","session":"0-12-34","topic":"a","base64":"/wA="}"#
        );
    }

    #[test]
    fn questions_of_the_same_subject_are_the_same_whatever_the_session_and_the_message_are() {
        let ask = |session: &str, subject, topic, message| {
            let asker = Asker { session: session.parse().ok(), subject: Some(subject), roles: &[] };
            Question::publishing(asker, topic, None, message).key()
        };
        let one = ask("0-1-1", "ann", "a", Message::Text("x"));
        assert_eq!(one, ask("1-2-3", "ann", "a", Message::Binary(b"y")));
        assert_ne!(one, ask("0-1-1", "bob", "a", Message::Text("x")));
        assert_ne!(one, ask("0-1-1", "ann", "b", Message::Text("x")));
    }
}
