//! The voice of comments and documents, as far as a program can check it: sentences that name their subject, in lines
//! that fit.
//!
//! Owns the list of modules that keep these rules. Never checks code or strings, except for the length of a line.

/// Modules of `src` whose text has been brought to plain English. A module is added once it has no fault left.
const CLEAN: &[&str] = &[
    "address",
    "authorities",
    "cli",
    "config",
    "engine",
    "lib",
    "load",
    "main",
    "mesh",
    "outbound",
    "proc",
    "protocol",
    "reactor",
    "server",
    "service",
    "tune",
    "units",
];

/// Words that no sentence begins with: the thing itself is named instead.
const RIDDLES: &[&str] = &["What", "Who", "Whoever", "Whose", "Whether"];

/// Columns of a line: rustfmt wraps code, but not comments and strings.
const COLUMNS_MAX: usize = 120;

/// Returns whether a module keeps the rules.
pub fn is_clean(module: &str) -> bool {
    CLEAN.contains(&module)
}

/// Returns the sentences of comments that begin with a riddle, each with its line.
pub fn riddles(text: &str) -> Vec<(usize, String)> {
    riddles_in(text.lines().map(comment).enumerate().map(|(at, comment)| (at + 1, comment)))
}

/// Returns the sentences of prose that begin with a riddle, each with its line. A line without prose ends a sentence.
pub fn riddles_in<'a>(lines: impl IntoIterator<Item = (usize, Option<&'a str>)>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut begins = true;
    for (at, prose) in lines {
        let prose = prose.unwrap_or_default().trim();
        let item = prose.strip_prefix("- ");
        begins |= item.is_some() || prose.is_empty();
        for (word, rest) in words(item.unwrap_or(prose)) {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
            if begins && RIDDLES.contains(&bare) {
                found.push((at, rest.chars().take(60).collect()));
            }
            begins = word.trim_end_matches(['*', ')', '"', '”']).ends_with(['.', '!', '?']);
        }
    }
    found
}

/// Returns the lines that are too long, each with its columns.
pub fn long_lines(text: &str) -> Vec<(usize, usize)> {
    let columns = text.lines().map(|line| line.chars().count()).enumerate();
    columns.filter(|(_, columns)| *columns > COLUMNS_MAX).map(|(at, columns)| (at + 1, columns)).collect()
}

/// Returns the words of a comment, each with the text from it on.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let here = rest;
        let word = here.split(char::is_whitespace).next().filter(|word| !word.is_empty())?;
        rest = &here[word.len()..];
        Some((word, here))
    })
}

/// Returns the comment of a line, alone or behind code, without its slashes.
fn comment(line: &str) -> Option<&str> {
    let mut in_string = false;
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        if !in_string && line[at..].starts_with("//") {
            return Some(line[at + 2..].trim_start_matches(['/', '!']));
        }
        in_string ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
    }
    None
}
