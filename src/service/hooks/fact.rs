//! Facts: what has happened on the server, for a backend that keeps count of who is there.
//!
//! Owns their form as JSON. Never queues one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::fact_queue::Numbered;
use crate::engine::SessionId;

/// The text for no kind.
const NONE: &str = "none";

/// A kind of facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind {
    /// A session is open.
    Connected,
    /// A session has ended.
    Disconnected,
    /// A session is subscribed to a topic, on all cores.
    Subscribed,
    /// A subscription has ended.
    Unsubscribed,
    /// A topic has its first subscriber on this server.
    Occupied,
    /// A topic has lost its last subscriber on this server.
    Vacated,
}

impl FactKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Connected, Self::Disconnected, Self::Subscribed, Self::Unsubscribed, Self::Occupied, Self::Vacated];

    /// Returns its name in facts and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
            Self::Occupied => "occupied",
            Self::Vacated => "vacated",
        }
    }
}

/// A set of kinds, a bit for each. By default it has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactKinds(u8);

impl FactKinds {
    /// Returns whether a kind is in the set.
    pub fn has(self, kind: FactKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

impl Default for FactKinds {
    fn default() -> Self {
        Self(FactKind::ALL.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

impl FromStr for FactKinds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self(0));
        }
        let mut set = 0;
        for given in text.split(',').map(str::trim) {
            let kind = FactKind::ALL.into_iter().find(|kind| kind.name() == given);
            set |= 1 << kind.ok_or_else(|| format!("{given:?} is no kind of facts; give {}", Self::default()))? as u8;
        }
        Ok(Self(set))
    }
}

impl fmt::Display for FactKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = FactKind::ALL.into_iter().filter(|kind| self.has(*kind)).map(FactKind::name).collect();
        f.write_str(if names.is_empty() { NONE } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

/// The session that a fact is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its id.
    pub session: SessionId,
    /// The subject of its token, or the one that the backend has given it.
    pub name: Option<Arc<str>>,
    /// The address of its client.
    pub address: Option<IpAddr>,
}

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The close code that the client has sent or confirmed.
    pub code: Option<u16>,
    /// Both ends have sent a Close frame.
    pub is_clean: bool,
    /// The time for which it was open.
    pub duration_ms: u64,
}

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its kind.
    pub kind: FactKind,
    /// The time in milliseconds since 1970.
    pub time_ms: u64,
    /// The session; `None` for facts about a topic.
    pub about: Option<About>,
    /// The topic or pattern, for facts about one.
    pub topic: Option<Arc<str>>,
    /// The end, for `disconnected`.
    pub departure: Option<Departure>,
}

impl Serialize for Numbered<Fact> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Fact { kind, time_ms, about, topic, departure } = &self.fact;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sequence", &self.sequence)?;
        map.serialize_entry("event", kind.name())?;
        map.serialize_entry("time_ms", time_ms)?;
        if let Some(About { session, name, address }) = about {
            map.serialize_entry("session", &session.to_string())?;
            if let Some(name) = name {
                map.serialize_entry("subject", &**name)?;
            }
            if let Some(address) = address {
                map.serialize_entry("address", address)?;
            }
        }
        if let Some(topic) = topic {
            map.serialize_entry("topic", &**topic)?;
        }
        if let Some(Departure { code, is_clean, duration_ms }) = departure {
            if let Some(code) = code {
                map.serialize_entry("code", code)?;
            }
            map.serialize_entry("reason", if *is_clean { "closed" } else { "lost" })?;
            map.serialize_entry("duration_ms", duration_ms)?;
        }
        map.end()
    }
}

/// The body of a call with facts.
#[derive(Serialize)]
struct Letter<'a> {
    epoch: &'a str,
    facts: &'a [Numbered<Fact>],
}

/// Returns the body of a call with these facts of a server's epoch.
pub fn body(epoch: &str, facts: &[Numbered<Fact>]) -> Vec<u8> {
    // Every value above has a JSON form.
    serde_json::to_vec(&Letter { epoch, facts }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_tells_what_it_is_about() {
        let about =
            About { session: "1-2-3".parse().unwrap(), name: Some("ann".into()), address: "203.0.113.7".parse().ok() };
        let fact = |kind, about, topic: Option<&str>, departure| Fact {
            kind,
            time_ms: 5,
            about,
            topic: topic.map(Arc::from),
            departure,
        };
        let departure = Departure { code: Some(1000), is_clean: true, duration_ms: 60 };
        let nobody = About { name: None, address: None, ..about.clone() };
        let lost = Departure { code: None, is_clean: false, duration_ms: 0 };
        let facts = [
            fact(FactKind::Connected, Some(about.clone()), None, None),
            fact(FactKind::Subscribed, Some(about.clone()), Some("a/*"), None),
            fact(FactKind::Occupied, None, Some("a/*"), None),
            fact(FactKind::Disconnected, Some(about), None, Some(departure)),
            fact(FactKind::Disconnected, Some(nobody), None, Some(lost)),
        ];
        let numbered: Vec<_> = (1..).zip(facts).map(|(sequence, fact)| Numbered { sequence, fact }).collect();
        let who = r#""session":"1-2-3","subject":"ann","address":"203.0.113.7""#;
        let expected = [
            format!(r#"{{"sequence":1,"event":"connected","time_ms":5,{who}}}"#),
            format!(r#"{{"sequence":2,"event":"subscribed","time_ms":5,{who},"topic":"a/*"}}"#),
            r#"{"sequence":3,"event":"occupied","time_ms":5,"topic":"a/*"}"#.to_owned(),
            format!(r#"{{"sequence":4,"event":"disconnected","time_ms":5,{who},"#)
                + r#""code":1000,"reason":"closed","duration_ms":60}"#,
            r#"{"sequence":5,"event":"disconnected","time_ms":5,"session":"1-2-3","reason":"lost","duration_ms":0}"#
                .to_owned(),
        ];
        let body = String::from_utf8(body("e1", &numbered)).unwrap();
        assert_eq!(body, format!(r#"{{"epoch":"e1","facts":[{}]}}"#, expected.join(",")));
    }

    #[test]
    fn kinds_are_listed_by_their_names() {
        let all = FactKinds::default();
        assert!(FactKind::ALL.into_iter().all(|kind| all.has(kind)));
        assert_eq!(all.to_string().parse(), Ok(all));
        let some: FactKinds = "vacated,occupied".parse().unwrap();
        assert_eq!(some.to_string(), "occupied, vacated");
        assert!(some.has(FactKind::Vacated) && !some.has(FactKind::Connected));
        let none: FactKinds = "none".parse().unwrap();
        assert_eq!(none.to_string(), "none");
        assert!(FactKind::ALL.into_iter().all(|kind| !none.has(kind)));
        assert!("left".parse::<FactKinds>().unwrap_err().contains("vacated"));
    }
}
