//! The query of a request: the parameters that mean something here, each read by its name.
//!
//! Owns percent-decoding. Never looks at a parameter that nobody here asks for: proxies, caches and applications add
//! their own (`token=`, `_=`), in whatever encoding, and no request is refused for them. Invariant: a parameter that is
//! asked for is absent, has exactly one value, or is an error.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use thiserror::Error;

/// Why a parameter has no value: the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum ParameterError {
    #[error("The value of {name} is not UTF-8 once it is percent-decoded. Encode it as UTF-8.")]
    NotText { name: &'static str },
    /// The first would count for one program and the last for another, so neither does here.
    #[error("{name} is given more than once. Give it once.")]
    Repeated { name: &'static str },
}

/// Returns the decoded value of the parameter `name`, if the query has it; `name=` and `name` have an empty one.
pub(super) fn parameter<'a>(
    query: Option<&'a str>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, ParameterError> {
    let pairs = query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(key, _)| percent_decode_str(key).eq(name.bytes())).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => decode(value).map(Some).ok_or(ParameterError::NotText { name }),
        (Some(_), Some(_)) => Err(ParameterError::Repeated { name }),
    }
}

/// Returns a text out of its percent-encoding, unless it is no UTF-8.
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
    fn refuses_a_parameter_that_has_no_value_or_several() {
        assert_eq!(topic("topic=%ff"), Err(ParameterError::NotText { name: "topic" }));
        for query in ["topic=a&topic=b", "topic=a&x=y&topic=a", "topic&%74opic"] {
            assert_eq!(topic(query), Err(ParameterError::Repeated { name: "topic" }), "{query}");
        }
    }
}
