//! Text inside HTML and SVG.

/// Text that stays text, wherever it comes from.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
