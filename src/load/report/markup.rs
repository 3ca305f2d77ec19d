//! Escaping of text for HTML and SVG.

/// Escapes a text, so that it cannot become markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
