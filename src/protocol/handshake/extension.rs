//! The extensions in a Sec-WebSocket-Extensions header (RFC 6455 9.1).

use std::borrow::Cow;
use std::str;

use crate::protocol::http::grammar::{is_token, list, split_at_byte, split_by_byte};

/// One extension of a Sec-WebSocket-Extensions header (RFC 6455 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    name: &'a str,
    /// The text behind the first semicolon, if there is one.
    params: Option<&'a str>,
}

impl<'a> Extension<'a> {
    /// Returns the extension's token, such as `permessage-deflate`.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the parameters: names, and values if present; a quoted value comes without its quotes.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<Cow<'a, str>>)> + use<'a> {
        self.params.into_iter().flat_map(|params| split_by_byte(params, b';')).filter_map(parse_param)
    }
}

/// Parses the extensions in one header; elements outside the grammar are skipped.
pub fn extensions(value: &[u8]) -> impl Iterator<Item = Extension<'_>> {
    list(value).filter_map(parse_extension)
}

/// Parses one extension; `None` if it does not follow the grammar.
///
/// Splitting at commas and semicolons may ignore quotes: the content of a quoted string must be a token (RFC 6455 9.1),
/// and a token contains neither.
pub(super) fn parse_extension(element: &[u8]) -> Option<Extension<'_>> {
    let element = str::from_utf8(element).ok()?;
    let (name, params) = match split_at_byte(element, b';') {
        Some((name, params)) => (name, Some(params)),
        None => (element, None),
    };
    let name = name.trim_matches(BLANK);
    let params_are_valid =
        params.is_none_or(|params| split_by_byte(params, b';').all(|param| parse_param(param).is_some()));
    (is_token(name.as_bytes()) && params_are_valid).then_some(Extension { name, params })
}

const BLANK: [char; 2] = [' ', '\t'];

fn parse_param(param: &str) -> Option<(&str, Option<Cow<'_, str>>)> {
    let (name, value) = match split_at_byte(param, b'=') {
        Some((name, value)) => (name, Some(unquote(value.trim_matches(BLANK)))),
        None => (param, None),
    };
    let name = name.trim_matches(BLANK);
    let good = is_token(name.as_bytes()) && value.as_ref().is_none_or(|value| is_token(value.as_bytes()));
    good.then_some((name, value))
}

/// Returns a quoted string without its quotes and escapes. Returns any other text unchanged; the caller then finds that
/// it is not a token.
fn unquote(value: &str) -> Cow<'_, str> {
    let Some(quoted) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return Cow::Borrowed(value);
    };
    if !quoted.contains('\\') {
        return Cow::Borrowed(quoted);
    }
    let mut plain = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(character) = rest.next() {
        // A trailing backslash stays, and is not a token.
        plain.push(if character == '\\' { rest.next().unwrap_or('\\') } else { character });
    }
    Cow::Owned(plain)
}
