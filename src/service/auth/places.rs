//! Where a request carries its token: header, cookie, query, subprotocol.
//!
//! Owns the reading of these places, in the order of the configuration. Never judges a token. Invariant: a place that
//! holds two tokens holds none that can be trusted, because a page of a sibling domain can add a cookie.

use std::borrow::Cow;

use super::settings::{TokenPlace, TokenSettings};
use crate::protocol::http::Request;
use crate::service::query;

/// The scheme of tokens in a header (RFC 6750 2.1) and in a message.
const SCHEME: &str = "Bearer ";

/// The content of the places of a request.
#[derive(PartialEq, Eq)]
pub(super) enum Carried<'r> {
    /// A token, or what should be one.
    Token(Cow<'r, str>),
    /// A place whose content is no single text.
    Unreadable,
    /// The certificate that the client has shown.
    Certificate,
    /// Nothing in any of the places.
    Nothing,
}

/// Returns the token that a request for a WebSocket carries, in the first of the places that has one. `offered` are the
/// subprotocols, and `has_certificate` tells whether the client has shown a certificate.
pub(super) fn carried<'r>(
    settings: &TokenSettings,
    request: &Request<'r>,
    offered: impl Iterator<Item = &'r str>,
    has_certificate: bool,
) -> Carried<'r> {
    let mut offered = offered.filter_map(|offered| offered.strip_prefix(&*settings.subprotocol));
    for place in &settings.from.0 {
        let found = match place {
            TokenPlace::Header => in_header(request),
            TokenPlace::Cookie => single(cookies(request, &settings.cookie).map(|value| Some(value.into()))),
            TokenPlace::Query => single(query::values(request.query(), &settings.query).map(query::decode)),
            TokenPlace::Subprotocol => single(offered.by_ref().map(|token| Some(token.into()))),
            TokenPlace::Certificate if has_certificate => Carried::Certificate,
            TokenPlace::FirstMessage | TokenPlace::Certificate => Carried::Nothing,
        };
        if found != Carried::Nothing {
            return found;
        }
    }
    Carried::Nothing
}

/// Returns the token in the headers of a request: `Authorization: Bearer TOKEN`, or `X-API-Key: KEY`.
pub(super) fn in_header<'r>(request: &Request<'r>) -> Carried<'r> {
    let headers = request.headers().filter_map(|(name, value)| {
        if name.eq_ignore_ascii_case("X-API-Key") {
            return Some(std::str::from_utf8(value.trim_ascii()).ok().map(Cow::from));
        }
        let value = name.eq_ignore_ascii_case("Authorization").then_some(value)?;
        let (scheme, token) = value.split_at_checked(SCHEME.len())?;
        let is_bearer = scheme.eq_ignore_ascii_case(SCHEME.as_bytes());
        is_bearer.then(|| std::str::from_utf8(token.trim_ascii()).ok().map(Cow::from))
    });
    single(headers)
}

/// Returns the token of a message: `Bearer TOKEN`.
pub(super) fn in_message(text: &str) -> Option<&str> {
    let token = text.strip_prefix(SCHEME)?;
    (!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())).then_some(token)
}

/// Returns the values of a cookie (RFC 6265 5.4).
fn cookies<'r>(request: &Request<'r>, name: &str) -> impl Iterator<Item = &'r str> {
    let headers = request.headers().filter(|(header, _)| header.eq_ignore_ascii_case("Cookie"));
    let pairs = headers.filter_map(|(_, value)| std::str::from_utf8(value).ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(move |pair| {
        let (own, value) = pair.split_once('=')?;
        (own.trim() == name).then(|| value.trim())
    })
}

fn single<'r>(mut values: impl Iterator<Item = Option<Cow<'r, str>>>) -> Carried<'r> {
    match (values.next(), values.next()) {
        (None, _) => Carried::Nothing,
        (Some(Some(token)), None) => Carried::Token(token),
        _ => Carried::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::{Headers, parse_request};

    fn read(from: &str, target: &str, lines: &str, offered: &[&str]) -> String {
        let settings = TokenSettings { from: from.parse().unwrap(), ..TokenSettings::default() };
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut headers = Headers::default();
        let request = parse_request(head.as_bytes(), &mut headers).unwrap();
        let offered: Vec<String> = offered.iter().map(|offered| (*offered).to_owned()).collect();
        let offered = offered.iter().map(|offered| &*Box::leak(offered.clone().into_boxed_str()));
        match carried(&settings, &request, offered, false) {
            Carried::Token(token) => token.into_owned(),
            Carried::Certificate => "certificate".to_owned(),
            Carried::Unreadable => "unreadable".to_owned(),
            Carried::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn a_token_is_found_in_each_place_that_is_enabled_and_in_no_other() {
        let all = "header, cookie, query, subprotocol";
        for (place, target, lines, offered) in [
            ("header", "/", "Authorization: Bearer t.o.k\r\n", &[][..]),
            ("header", "/", "authorization: bearer  t.o.k \r\n", &[]),
            ("header", "/", "X-API-Key: t.o.k\r\n", &[]),
            ("cookie", "/", "Cookie: a=b; token=t.o.k; c=d\r\n", &[]),
            ("cookie", "/", "Cookie: a=b\r\nCookie: token=t.o.k\r\n", &[]),
            ("query", "/?a=b&token=t.o.k", "", &[]),
            ("query", "/?%74oken=t%2Eo.k", "", &[]),
            ("subprotocol", "/", "", &["chat", "bearer.t.o.k"]),
        ] {
            assert_eq!(read(place, target, lines, offered), "t.o.k", "{place} {lines}");
            assert_eq!(read(all, target, lines, offered), "t.o.k", "{place}");
            for other in ["header", "cookie", "query", "subprotocol", "first-message"] {
                assert!(other == place || read(other, target, lines, offered) == "nothing", "{other} for {place}");
            }
        }
        assert_eq!(read("cookie, header", "/", "Authorization: Bearer a\r\nCookie: token=b\r\n", &[]), "b");
    }

    #[test]
    fn a_certificate_counts_where_it_is_enabled_and_in_its_order() {
        let carried = |from: &str, has_certificate| {
            let settings = TokenSettings { from: from.parse().unwrap(), ..TokenSettings::default() };
            let mut headers = Headers::default();
            let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: t.o.k\r\n\r\n";
            let request = parse_request(head, &mut headers).unwrap();
            match carried(&settings, &request, [].into_iter(), has_certificate) {
                Carried::Token(_) => "token",
                Carried::Certificate => "certificate",
                Carried::Unreadable | Carried::Nothing => "nothing",
            }
        };
        assert_eq!(carried("header", true), "token");
        assert_eq!(carried("header, certificate", true), "token");
        assert_eq!(carried("certificate, header", true), "certificate");
        assert_eq!((carried("certificate, header", false), carried("certificate", false)), ("token", "nothing"));
    }

    #[test]
    fn a_place_with_two_tokens_or_with_bytes_is_unreadable() {
        for (place, target, lines, offered) in [
            ("header", "/", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", &[][..]),
            ("header", "/", "Authorization: Bearer a\r\nX-API-Key: b\r\n", &[]),
            ("header", "/", "Authorization: Bearer \u{e4}\u{80}\r\n", &[]),
            ("cookie", "/", "Cookie: token=a; token=b\r\n", &[]),
            ("cookie", "/", "Cookie: token=a\r\nCookie: token=a\r\n", &[]),
            ("query", "/?token=a&token=b", "", &[]),
            ("query", "/?token=%ff", "", &[]),
            ("subprotocol", "/", "", &["bearer.a", "bearer.b"]),
        ] {
            let read = read(place, target, lines, offered);
            assert!(read == "unreadable" || lines.contains('\u{e4}'), "{place} {lines}: {read}");
        }
        for lines in ["", "Authorization: Basic abc\r\n", "Authorization: t\r\n", "Cookie: x\r\nCookie: tokens=a\r\n"] {
            assert_eq!(read("header, cookie", "/", lines, &[]), "nothing", "{lines}");
        }
    }

    #[test]
    fn a_message_carries_a_token_in_one_form_only() {
        assert_eq!(in_message("Bearer a.b.c"), Some("a.b.c"));
        for text in
            ["", "Bearer ", "Bearer  a", "bearer a", "a.b.c", "Bearer a b", "Bearer a\n", " Bearer a", "Bearer ä"]
        {
            assert_eq!(in_message(text), None, "{text:?}");
        }
    }
}
