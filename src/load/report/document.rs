//! The HTML page of every report: a single file without dependencies, with the key figures first.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::markup::escaped;
use super::number::{Grouped, date};
use super::plot::Plot;
use crate::load::observe;

const STYLE: &str = include_str!("style.css");

/// The origin of a report.
#[derive(Clone, Debug)]
pub struct About {
    /// The command that made the report.
    pub command: String,
    /// The names of the server's processes, if known.
    pub server: Option<String>,
    /// The host that ran the load generator.
    pub host: String,
    /// The date.
    pub date: String,
}

impl About {
    /// Returns the origin of a report made now by `command` on this host, of a server with these processes.
    pub fn now(command: String, pids: &[u32]) -> Self {
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { command, server: observe::names(pids), host: observe::host(), date: date(unix_s) }
    }
}

/// A page under construction.
pub(super) struct Document {
    page: String,
}

impl Document {
    /// Begins a page with its title, its verdict and its settings.
    pub fn new(title: &str, subtitle: &str, faults: u64, interrupted: bool) -> Self {
        let title = escaped(title);
        let (class, verdict) = match faults {
            0 => ("good", "every answer was right".to_owned()),
            1 => ("bad", "1 fault".to_owned()),
            faults => ("bad", format!("{} faults", Grouped(faults as f64))),
        };
        let interrupted = if interrupted { "<span class=\"verdict bad\">interrupted</span>" } else { "" };
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title} · ringsock bench</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n\
             <div class=\"brand\">ringsock bench</div>\n<h1>{title}</h1>\n\
             <span class=\"verdict {class}\">{verdict}</span>{interrupted}\n<p class=\"about\">{}</p>\n</header>\n",
            escaped(subtitle)
        );
        Self { page }
    }

    /// Adds the key figures, in large type.
    pub fn keys(&mut self, keys: &[(String, &str)]) {
        self.page.push_str("<div class=\"keys\">\n");
        for (figure, what) in keys {
            let _ = writeln!(self.page, "<div class=\"key\"><b>{}</b><span>{what}</span></div>", escaped(figure));
        }
        self.page.push_str("</div>\n");
    }

    /// Adds the list of faults, if there are any.
    pub fn faults(&mut self, faults: &BTreeMap<String, u64>) {
        if faults.is_empty() {
            return;
        }
        self.page.push_str("<div class=\"card faults\"><b>Faults</b>\n<ul>\n");
        for (what, times) in faults {
            let _ = writeln!(self.page, "<li>{} × {}</li>", Grouped(*times as f64), escaped(what));
        }
        self.page.push_str("</ul>\n</div>\n");
    }

    /// Adds a caveat that the reader needs to judge the figures.
    pub fn note(&mut self, note: &str) {
        let _ = writeln!(self.page, "<div class=\"card note\"><b>Note</b>: {}.</div>", escaped(note));
    }

    /// Adds plots, side by side where there is room.
    pub fn plots(&mut self, plots: &[Plot<'_>]) {
        self.page.push_str("<div class=\"plots\">\n");
        plots.iter().for_each(|plot| plot.draw(&mut self.page));
        self.page.push_str("</div>\n");
    }

    /// Adds HTML without escaping.
    pub fn markup(&mut self, markup: &str) {
        self.page.push_str(markup);
    }

    /// Ends the page with all figures and the origin of the report, and returns it.
    pub fn end(mut self, table: &str, about: &About) -> String {
        let _ = write!(
            self.page,
            "<h2>In full</h2>\n<pre>{}</pre>\n<h2>Where it comes from</h2>\n<pre class=\"command\">{}</pre>\n<dl>\n",
            escaped(table.trim_end_matches('\n')),
            escaped(&about.command)
        );
        let rows = [
            ("Server", about.server.as_deref().unwrap_or("not observed; --pid shows its CPU and memory")),
            ("Load from", &about.host),
            ("Date", &about.date),
            ("Made by", concat!("ringsock ", env!("CARGO_PKG_VERSION"))),
        ];
        for (name, value) in rows {
            let _ = writeln!(self.page, "<dt>{name}</dt><dd>{}</dd>", escaped(value));
        }
        self.page.push_str("</dl>\n</body>\n</html>\n");
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_server_cannot_become_markup() {
        assert_eq!(escaped("<b title=\"x\">&"), "&lt;b title=&quot;x&quot;&gt;&amp;");
        let about = About {
            command: "<i>".to_owned(),
            server: Some("<i>".to_owned()),
            host: "<i>".to_owned(),
            date: String::new(),
        };
        let mut document = Document::new("<i>", "<i>", 2, true);
        document.faults(&BTreeMap::from([("<i>".to_owned(), 2)]));
        document.note("<i>");
        let page = document.end("<i>", &about);
        assert!(!page.contains("<i>") && page.contains("2 faults") && page.contains("interrupted"));
    }
}
