//! Documents that are written from the table of keys: the file of defaults and the reference.

use std::fmt::Write;

use super::elements::is_repeated;
use super::key::{Key, LISTEN, Section};
use super::table::{KEYS, SECTIONS};

/// Columns of a comment in the file of defaults.
const COMMENT_COLUMNS: usize = 100;

/// The part of the reference that is not a table.
const REFERENCE_INTRODUCTION: &str = include_str!("reference.md");

/// Returns a file with every key at its default, and a comment that says what it means.
pub fn defaults() -> String {
    let mut text = comment(
        "Every setting of ringsock at its default. A file needs only the keys that it changes. A time may be \
         written as \"25s\" or \"500ms\", and a size as \"64KiB\" or \"64KB\". Check it with ringsock config check.",
    );
    for section in SECTIONS {
        // An issuer, a role or a key of nobody would be none, so they are comments.
        let mark = if is_repeated(section.name) && section.name != LISTEN { "#" } else { "" };
        let _ = write!(text, "\n{}{mark}{}\n", comment(section.about), heading(section));
        for key in keys_of(section) {
            let comment = comment(&format!("{} [{}]", meaning(key), key.unit()));
            let readable = key.default_readable().map_or(String::new(), |readable| format!("  # {readable}"));
            let _ = writeln!(text, "{comment}{mark}{} = {}{readable}", key.name, key.default_value());
        }
    }
    text
}

/// Returns docs/configuration.md.
pub fn reference() -> String {
    let mut text = REFERENCE_INTRODUCTION.to_owned();
    for section in SECTIONS {
        let _ = write!(text, "\n## `{}`\n\n{}\n\n", heading(section), section.about);
        text += "| key | default | unit | meaning | variable and flag |\n|---|---|---|---|---|\n";
        for key in keys_of(section) {
            let readable = key.default_readable().map_or(String::new(), |readable| format!(" ({readable})"));
            let flag = key.flag.as_ref().map_or(String::new(), |flag| format!(", `--{}`", flag.name));
            let _ = writeln!(
                text,
                "| `{}` | `{}`{readable} | {} | {} | `{}`{flag} |",
                key.name,
                key.default_value(),
                key.unit(),
                meaning(key).replace('|', "\\|").replace('*', "\\*"),
                key.variable()
            );
        }
    }
    text
}

/// Returns what a key means, in sentences.
pub fn meaning(key: &Key) -> String {
    let restart = if key.needs_restart { "A change needs a restart." } else { "" };
    let parts = [&format!("{}.", key.short.trim()), key.more.trim(), restart];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn keys_of(section: &Section) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| key.section == section.name)
}

fn heading(section: &Section) -> String {
    if is_repeated(section.name) { format!("[[{}]]", section.name) } else { format!("[{}]", section.name) }
}

/// Returns a text as lines of a comment.
fn comment(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::from("#"));
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > COMMENT_COLUMNS {
            lines += &line;
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line += word;
    }
    lines + &line + "\n"
}
