//! The extensions that a Sec-WebSocket-Extensions header names (RFC 6455 9.1).

use std::borrow::Cow;
use std::str;

use crate::protocol::http::grammar::{is_token, list, split_at_byte, split_by_byte};

/// One extension of a Sec-WebSocket-Extensions header (RFC 6455 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    name: &'a str,
    /// What follows the first semicolon, if there is one.
    params: Option<&'a str>,
}

impl<'a> Extension<'a> {
    /// The extension's token, such as `permessage-deflate`.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Names of the parameters, and values of those that have one; a quoted value comes without its quotes.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<Cow<'a, str>>)> + use<'a> {
        self.params.into_iter().flat_map(|params| split_by_byte(params, b';')).filter_map(parse_param)
    }
}

/// The extensions that one header names; what does not follow the grammar is left out.
pub fn extensions(value: &[u8]) -> impl Iterator<Item = Extension<'_>> {
    list(value).filter_map(parse_extension)
}

/// Name and parameters of one extension, or `None` if it does not follow the grammar.
///
/// A list may be cut at commas and semicolons without regard to quotes: what a quoted string stands for must be a
/// token (RFC 6455 9.1), and a token contains neither.
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

/// A quoted string without its quotes and escapes; anything else as it is, for the caller to find it is no token.
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
        // A backslash with nothing after it stays, and is no token.
        plain.push(if character == '\\' { rest.next().unwrap_or('\\') } else { character });
    }
    Cow::Owned(plain)
}
