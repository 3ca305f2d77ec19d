//! The house rules that a program can check: which way the arrows point, where `unsafe` lives, how long a file is, and
//! that each says what it owns.
//!
//! It reads the source as text, not as a compiler would: a path counts wherever it stands, in a `use` line or not.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer and those it may import. A layer that is not here has no place in the house yet.
const FLOORS: &[(&str, &[&str])] = &[
    ("address", &[]),
    ("protocol", &[]),
    ("reactor", &["address"]),
    ("mesh", &[]),
    ("bus", &[]),
    ("config", &["address"]),
    ("tune", &[]),
    ("load", &["protocol", "reactor"]),
    ("engine", &["address", "protocol", "reactor", "mesh"]),
    ("service", &["engine", "protocol", "reactor", "mesh", "bus"]),
    ("server", &["address", "service", "engine", "protocol", "reactor", "mesh", "bus", "config"]),
];

/// Files that see everything: the program and the library's front door.
const TOP: &[&str] = &["main", "cli", "lib"];

/// The only layer that may write `unsafe`: it talks to the kernel.
const UNSAFE_LAYER: &str = "reactor";

/// Lines of a file without its tests. The rule is 500; the rest is room to finish a thought before splitting.
const LINES_MAX: usize = 550;

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    assert!(files.len() > 30, "only {} files were found in src", files.len());
    let mut broken = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        broken.extend(violations(file.strip_prefix(&source).unwrap(), &text, is_test_only(file)));
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn an_arrow_up_or_sideways_is_found_however_it_is_written() {
    for (path, line, arrow) in [
        ("protocol/frame.rs", "use crate::engine::Core;", "protocol → engine"),
        (
            "protocol/frame.rs",
            "use crate::{\n    engine::{Core, Limits},\n    protocol::Close,\n};",
            "protocol → engine",
        ),
        ("protocol/frame.rs", "use super::super::reactor::Socket;", "protocol → reactor"),
        ("protocol/frame.rs", "mod tests { use super::super::super::reactor::Socket; }", "protocol → reactor"),
        ("protocol/frame.rs", "fn f(x: crate::reactor::Socket) {}", "protocol → reactor"),
        ("protocol/mod.rs", "use super::engine;", "protocol → engine"),
        ("reactor/sim/kernel.rs", "use crate::protocol::Close;", "reactor → protocol"),
        ("mesh/mod.rs", "use crate::engine::Core;", "mesh → engine"),
        ("engine/core.rs", "use crate::service::Site;", "engine → service"),
        ("engine/core.rs", "use crate::server::Server;", "engine → server"),
        ("engine/core.rs", "use crate::config::Config;", "engine → config"),
        ("service/site.rs", "use crate::server::Server;", "service → server"),
        ("service/site.rs", "use crate::load::Client;", "service → load"),
        ("load/client.rs", "use crate::engine::Core;", "load → engine"),
        ("config.rs", "use crate::engine::Limits;", "config → engine"),
        ("config.rs", "use crate as whole;", "config → the whole crate"),
        // What the crate's root re-exports would hide the arrow.
        ("protocol/frame.rs", "use crate::Session;", "protocol → Session"),
        ("attic/box.rs", "fn f() {}", "attic has no floor"),
    ] {
        let found = violations(Path::new(path), &format!("//! Words.\n{line}\n"), false);
        assert!(found.iter().any(|violation| violation.contains(arrow)), "{path}: {line}\nfound {found:?}");
    }
}

#[test]
fn arrows_down_and_words_in_comments_and_strings_are_allowed() {
    for (path, line) in [
        ("engine/core.rs", "use crate::protocol::{Close, http::Request};\nuse super::slab::Slab;"),
        ("engine/core.rs", "use crate::{protocol, reactor::{Socket, Token}};"),
        ("service/site.rs", "use crate::engine::Handler;"),
        ("server.rs", "use crate::service::Site;"),
        ("load/client.rs", "use crate::protocol::Close;"),
        ("main.rs", "use ringsock::{Server, service::Site};"),
        ("lib.rs", "pub use engine::Session;"),
        ("protocol/frame.rs", "use crate::protocol::Close;\nmod tests { use super::super::close::Close; }"),
        ("protocol/frame.rs", "// crate::engine and unsafe\n/* crate::engine /* unsafe */ */"),
        ("protocol/frame.rs", "/// See [`Core`](crate::engine::Core).\nconst A: &str = \"crate::engine, unsafe\";"),
        ("protocol/frame.rs", "const A: &str = r#\"\"crate::engine\" unsafe\"#; const B: char = '\"'; fn f<'a>() {}"),
        ("reactor/socket.rs", "fn f() { unsafe { g() } }"),
        ("protocol/mod.rs", "#![forbid(unsafe_code)]"),
    ] {
        let found = violations(Path::new(path), &format!("//! Words.\n{line}\n"), false);
        assert!(found.is_empty(), "{path}: {line}\nfound {found:?}");
    }
}

#[test]
fn unsafe_outside_of_the_reactor_a_long_file_and_a_silent_one_are_found() {
    let found = |path: &str, text: &str, test_only| violations(Path::new(path), text, test_only).join("\n");
    assert!(found("engine/slab.rs", "//! Words.\nfn f() { unsafe { g() } }", false).contains("unsafe"));
    assert!(found("engine/slab.rs", "fn f() {}", false).contains("says nothing"));
    assert!(found("engine/slab.rs", "// Words.\n//! Words.", false).contains("says nothing"));
    let long = format!("//! Words.\n{}", "fn f() {}\n".repeat(LINES_MAX));
    assert!(found("engine/slab.rs", &long, false).contains("551 lines"));
    assert_eq!(found("engine/slab.rs", &long, true), "", "tests may be longer");
    let tested = format!("//! Words.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(LINES_MAX));
    assert_eq!(found("engine/slab.rs", &tested, false), "", "tests may be longer");
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Whether the file is there for tests alone: the module above declares it so.
fn is_test_only(file: &Path) -> bool {
    let Some(name) = file.file_stem().and_then(|name| name.to_str()) else { return false };
    let above = fs::read_to_string(file.with_file_name("mod.rs")).unwrap_or_default();
    above.contains(&format!("#[cfg(test)]\nmod {name};"))
}

/// What is wrong with a file, a sentence each. `path` is relative to `src`.
fn violations(path: &Path, text: &str, test_only: bool) -> Vec<String> {
    let shown = path.display();
    let modules = modules(path);
    let layer = modules.first().map_or("lib", String::as_str);
    let words = words(text);
    let mut broken = Vec::new();
    if !text.starts_with("//! ") {
        broken.push(format!("{shown} says nothing of what it owns: it begins with no //! paragraph."));
    }
    let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = program.lines().count();
    if lines > LINES_MAX && !test_only {
        broken.push(format!("{shown} has {lines} lines without its tests: split it."));
    }
    if layer != UNSAFE_LAYER && words.iter().any(|word| word == "unsafe") {
        broken.push(format!("{shown} writes unsafe, which is for src/{UNSAFE_LAYER} alone."));
    }
    if TOP.contains(&layer) {
        return broken;
    }
    match FLOORS.iter().find(|(name, _)| *name == layer) {
        None => broken.push(format!("{shown}: {layer} has no floor in this test.")),
        Some((_, allowed)) => {
            let up = imports(&words, &modules).into_iter();
            let up = up.filter(|import| import != layer && !allowed.contains(&import.as_str()));
            broken.extend(up.map(|import| format!("{shown}: {layer} → {import} points up or sideways.")));
        }
    }
    broken
}

/// The modules from the crate's root to the file.
fn modules(path: &Path) -> Vec<String> {
    let names =
        path.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let mut names: Vec<String> = names;
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// What the words name at the crate's root, through `crate::` or `super::`.
fn imports(words: &[String], modules: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    // For each open brace, whether it belongs to a module written in place.
    let mut braces: Vec<bool> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let start = at;
        at += 1;
        match words[start].as_str() {
            "{" => braces.push(start >= 2 && words[start - 2] == "mod"),
            "}" => drop(braces.pop()),
            "crate" => found.extend(named_at_root(words, at)),
            "super" => {
                let mut climbed = 1;
                while words.get(at).is_some_and(|word| word == "::")
                    && words.get(at + 1).is_some_and(|word| word == "super")
                {
                    climbed += 1;
                    at += 2;
                }
                let depth = modules.len() + braces.iter().filter(|is_module| **is_module).count();
                if climbed >= depth {
                    found.extend(named_at_root(words, at));
                }
            }
            _ => {}
        }
    }
    found
}

/// The names that follow a path to the crate's root: one, or those of a group.
fn named_at_root(words: &[String], at: usize) -> Vec<String> {
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    match (word(at), word(at + 1)) {
        // `pub(crate)` names nothing.
        (")", _) => Vec::new(),
        ("::", "{") => {
            let (mut depth, mut names, mut at) = (1, vec![word(at + 2).to_owned()], at + 2);
            while depth > 0 && at < words.len() {
                match word(at) {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    "," if depth == 1 && word(at + 1) != "}" => names.push(word(at + 1).to_owned()),
                    _ => {}
                }
                at += 1;
            }
            names
        }
        ("::", name) => vec![name.to_owned()],
        _ => vec!["the whole crate".to_owned()],
    }
}

/// The words of a source file, `::` among them, without comments and literals.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(literal) = literal(rest) {
            literal
        } else if is_word(first) {
            let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            words.push(rest[..length].to_owned());
            length
        } else {
            let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
            if !first.is_whitespace() {
                words.push(rest[..length].to_owned());
            }
            length
        };
        rest = &rest[length..];
    }
    words
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") if depth == 1 => return at + 2,
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    text.len()
}

/// The length of the string or character that `text` begins with.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "r", "b", "c", ""].into_iter().find(|prefix| {
        let after = text.strip_prefix(prefix).map(|rest| rest.trim_start_matches('#'));
        after.is_some_and(|after| {
            after.starts_with('"') && (prefix.ends_with('r') || text[prefix.len()..].starts_with('"'))
        })
    });
    if let Some(prefix) = prefix {
        let hashes = text[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
        let start = prefix.len() + hashes + 1;
        if prefix.ends_with('r') {
            let end = format!("\"{}", "#".repeat(hashes));
            return Some(text[start..].find(&end).map_or(text.len(), |found| start + found + end.len()));
        }
        return Some(start + quoted(&text[start..], b'"'));
    }
    let after = text.strip_prefix('\'')?;
    let mut inner = after.chars();
    // A lifetime has no closing quote after its first character.
    match inner.next()? {
        '\\' => Some(1 + quoted(after, b'\'')),
        c => inner.as_str().starts_with('\'').then_some(2 + c.len_utf8()),
    }
}

/// Bytes up to and with the closing quote.
fn quoted(text: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
