//! The demo page at `/`, assembled from the files in `page/` at compile time.
//!
//! The page is self-contained: it loads nothing from any other host.

/// The page's HTML.
pub(super) const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>\n",
    include_str!("page/page.css"),
    "</style>\n</head>\n",
    include_str!("page/body.html"),
    "<script>\n",
    include_str!("page/common.js"),
    "</script>\n<script>\n",
    include_str!("page/cores.js"),
    "</script>\n<script>\n",
    include_str!("page/chat.js"),
    "</script>\n<script>\n",
    include_str!("page/echo.js"),
    "</script>\n</body>\n</html>\n",
);

/// The page's content security policy: it runs its own script and style, and may connect to any WebSocket server.
pub(super) const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                                      img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; \
                                      form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_no_other_host_for_anything() {
        for word in ["src=", "@import", "url(", "http://", "https://"] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }

    #[test]
    fn text_from_other_clients_cannot_become_markup() {
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser"] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }
}
