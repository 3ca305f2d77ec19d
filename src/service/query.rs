//! The query string of a request: looks up parameters by name.
//!
//! Owns percent-decoding. Ignores every parameter that was not asked for, in whatever encoding, and never refuses a
//! request for one: proxies, caches and applications add their own (`token=`, `_=`). Invariant: a parameter that is
//! asked for is absent, has exactly one value, or is an error.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use thiserror::Error;

/// An invalid parameter: the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum ParameterError {
    #[error("The value of {name} is not UTF-8 after percent-decoding. Encode it as UTF-8.")]
    NotText { name: &'static str },
    /// Some programs would use the first value and others the last, so the parameter is refused.
    #[error("{name} is given more than once. Give it once.")]
    Repeated { name: &'static str },
}

/// Returns the decoded value of the parameter `name`, or `None` if it is absent; `name=` and `name` have an empty
/// value.
pub(super) fn parameter<'a>(
    query: Option<&'a str>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, ParameterError> {
    let mut values = values(query, name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => decode(value).map(Some).ok_or(ParameterError::NotText { name }),
        (Some(_), Some(_)) => Err(ParameterError::Repeated { name }),
    }
}

/// Returns all values of the parameter `name`, still percent-encoded.
pub(super) fn values<'a>(query: Option<&'a str>, name: &str) -> impl Iterator<Item = &'a str> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(move |(key, _)| percent_decode_str(key).eq(name.bytes())).map(|(_, value)| value)
}

/// Returns the query without the parameter `name`, however that is encoded. The others stay as they are.
pub(super) fn without(query: &str, name: &str) -> String {
    let is_other = |pair: &&str| !percent_decode_str(pair.split('=').next().unwrap_or_default()).eq(name.bytes());
    query.split('&').filter(is_other).collect::<Vec<_>>().join("&")
}

/// Percent-decodes a text, or returns `None` if the result is not UTF-8.
pub(super) fn decode(encoded: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(encoded).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(query: &str) -> Result<Option<String>, ParameterError> {
        parameter(Some(query), "topic").map(|value| value.map(Cow::into_owned))
    }

    #[test]
    fn finds_a_parameter_among_others_and_decodes_it() {
        for (query, value) in [
            ("topic=news", "news"),
            ("&topic=a%2Fb%20c%26d%C3%A4&", "a/b c&dä"),
            ("%74opi%63=a+b", "a+b"),
            ("a=b&topic=news&topics=old&Topic=older", "news"),
            ("topic=a=b", "a=b"),
            ("topic=", ""),
            ("topic", ""),
        ] {
            assert_eq!(topic(query), Ok(Some(value.to_owned())), "{query}");
        }
        for query in ["", "&", "&&=&", "=topic", "topi=c", "xtopic=a", "a?topic=b"] {
            assert_eq!(topic(query), Ok(None), "{query}");
        }
        assert_eq!(parameter(None, "topic"), Ok(None));
    }

    #[test]
    fn ignores_parameters_of_others_however_they_are_encoded() {
        for others in
            ["token=abc", "_=1", "_", "&&", "=", "x=%ff", "%ff=x", "%zz=%", "%=%", "x=1&x=2", "a[]=1;b", "x=y?z"]
        {
            for query in [format!("{others}&topic=news"), format!("topic=news&{others}")] {
                assert_eq!(topic(&query), Ok(Some("news".to_owned())), "{query}");
            }
        }
    }

    #[test]
    fn a_parameter_is_left_out_however_it_is_encoded() {
        for (query, rest) in [
            ("token=a", ""),
            ("a=b&token=c", "a=b"),
            ("%74oken=a&a=%ff&&token&token=b=c", "a=%ff&"),
            ("tokens=a&Token=b&x=token=c", "tokens=a&Token=b&x=token=c"),
        ] {
            assert_eq!(without(query, "token"), rest, "{query}");
        }
    }

    #[test]
    fn refuses_a_parameter_that_has_no_value_or_several() {
        assert_eq!(topic("topic=%ff"), Err(ParameterError::NotText { name: "topic" }));
        for query in ["topic=a&topic=b", "topic=a&x=y&topic=a", "topic&%74opic"] {
            assert_eq!(topic(query), Err(ParameterError::Repeated { name: "topic" }), "{query}");
        }
    }
}
