//! The documents, held against the program and against each other: settings, files of settings, links, length, voice.
//!
//! Never checks whether a sentence is true; a document that repeats a figure of the code is checked where the code is.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

#[path = "../layers/voice.rs"]
#[allow(dead_code, reason = "documents have no modules, and their tables have long lines")]
mod voice;

mod markdown;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use markdown::Markdown;

/// Lines of the README. A reader needs two minutes for it; everything else is a document of its own.
const README_LINES_MAX: usize = 150;

/// Endings of files with the name of a section.
const FILE_ENDINGS: &[&str] = &["md", "rs", "conf", "mjs", "py", "sh"];

/// Columns of a line of prose, as in the source.
const COLUMNS_MAX: usize = 120;

#[test]
fn the_reference_of_settings_is_made_from_the_table_of_keys() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringsock")).args(["config", "reference"]).output().unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stdout).unwrap() == read(&root().join("docs/configuration.md")),
        "docs/configuration.md is out of date. Run cargo run -- config reference > docs/configuration.md"
    );
}

#[test]
fn files_of_settings_in_documents_are_accepted() {
    let mut checked = 0;
    for (path, text) in documents() {
        let blocks = Markdown::parse(&text).blocks("toml");
        for (at, file) in blocks.iter().enumerate().filter(|(_, file)| !file.contains("[dependencies]")) {
            let name = format!("{}-{at}.toml", path.file_stem().unwrap().display());
            let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(&written, file).unwrap();
            let output =
                Command::new(env!("CARGO_BIN_EXE_ringsock")).args(["config", "check"]).arg(&written).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            // The files of certificates that a document names are examples.
            let lacks_a_file = said.starts_with("ringsock: Cannot read ");
            assert!(output.status.success() || lacks_a_file, "{}: {said}", name_of(&path));
            checked += 1;
        }
    }
    assert!(checked >= 2, "{checked} files of settings were found");
}

#[test]
fn settings_that_documents_name_exist() {
    let reference = read(&root().join("docs/configuration.md"));
    let keys = keys(&reference);
    let sections: HashSet<&str> = keys.iter().map(|(section, _)| *section).collect();
    assert!(keys.len() > 40 && sections.len() > 10, "{keys:?}");
    let mut unknown = Vec::new();
    for (path, text) in documents() {
        for (at, line) in text.lines().enumerate() {
            for word in line.split(|c: char| !c.is_ascii_alphanumeric() && !"._-/".contains(c)) {
                let Some((section, key)) = word.trim_end_matches('.').split_once('.') else { continue };
                let is_file = FILE_ENDINGS.contains(&key);
                if sections.contains(section) && !is_file && !keys.contains(&(section, key)) {
                    unknown.push(format!("{}:{}: {word}", name_of(&path), at + 1));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "settings that do not exist:\n{}\n", unknown.join("\n"));
}

#[test]
fn the_readme_can_be_read_in_two_minutes() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines, and {README_LINES_MAX} at most");
}

#[test]
fn every_relative_link_leads_to_a_file_and_to_a_heading_in_it() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        for (line, target) in Markdown::parse(&text).links() {
            if !target.contains("://") && !leads_somewhere(&path, target) {
                broken.push(format!("{}:{line}: {target}", name_of(&path)));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}\n", broken.join("\n"));
}

#[test]
fn the_readme_leads_to_every_document() {
    let text = read(&root().join("README.md"));
    let linked = Markdown::parse(&text).links();
    for (path, _) in documents() {
        let name = name_of(&path);
        if name.starts_with("docs/") {
            assert!(linked.iter().any(|(_, target)| *target == name), "README.md has no link to {name}");
        }
    }
}

#[test]
fn sentences_of_documents_name_their_subject() {
    let mut riddles = Vec::new();
    for (path, text) in documents() {
        let found = voice::riddles_in(Markdown::parse(&text).prose());
        riddles.extend(found.into_iter().map(|(line, words)| format!("{}:{line}: {words}", name_of(&path))));
    }
    println!("{} sentences begin with a riddle", riddles.len());
    assert!(riddles.is_empty(), "sentences that do not name their subject:\n{}\n", riddles.join("\n"));
}

#[test]
fn lines_of_documents_fit() {
    let mut long = Vec::new();
    // scripts/compare writes the benchmarks, and figures vary in width.
    for (path, text) in documents().into_iter().filter(|(path, _)| name_of(path) != "docs/benchmarks.md") {
        let found = Markdown::parse(&text).long_lines(COLUMNS_MAX);
        long.extend(found.into_iter().map(|line| format!("{}:{line}", name_of(&path))));
    }
    assert!(long.is_empty(), "lines with more than {COLUMNS_MAX} columns:\n{}\n", long.join("\n"));
}

#[test]
fn a_riddle_is_found_in_paragraphs_items_and_cells_but_not_in_headings_and_code() {
    for (text, lines) in [
        ("# Doc\n\nWhat it is.", &[3][..]),
        ("A word. Who\nsays so.", &[1]),
        ("**Bold.** Whose\nit is.", &[1]),
        ("- a point\n- Whoever asks.", &[2]),
        ("| a | b |\n|---|---|\n| c | What it does |", &[3]),
        ("It says\nWhat is meant.", &[]),
        ("## What is new?\n\n```sh\nWhat\n```", &[]),
        ("| says what | what |", &[]),
    ] {
        let found: Vec<usize> =
            voice::riddles_in(Markdown::parse(text).prose()).into_iter().map(|(at, _)| at).collect();
        assert_eq!(found, lines, "{text}");
    }
}

#[test]
fn a_link_without_a_file_or_a_heading_is_found() {
    let readme = root().join("README.md");
    for (target, leads) in [
        ("docs/configuration.md", true),
        ("docs/configuration.md#listen", true),
        ("docs/configuration.md#where-a-value-comes-from", true),
        ("examples", true),
        ("docs/configuration.md#nowhere", false),
        ("docs/nothing.md", false),
    ] {
        assert_eq!(leads_somewhere(&readme, target), leads, "{target}");
    }
}

/// Returns the settings of the reference, each with its section.
fn keys(reference: &str) -> HashSet<(&str, &str)> {
    let mut section = "";
    let mut keys = HashSet::new();
    for line in reference.lines() {
        if let Some(heading) = line.strip_prefix("## `[") {
            section = heading.trim_matches(['[', ']', '`']);
        } else if let Some((key, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`')) {
            keys.insert((section, key));
        }
    }
    keys.retain(|(section, _)| !section.is_empty());
    keys
}

/// Returns whether the target of a link in a document exists, with its heading if it names one.
fn leads_somewhere(document: &Path, target: &str) -> bool {
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { document.to_owned() } else { document.parent().unwrap().join(file) };
    match anchor {
        Some(anchor) => path.is_file() && Markdown::parse(&read(&path)).has_anchor(anchor),
        None => path.exists(),
    }
}

/// Returns the documents for people, each with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tuning/README.md"].map(|name| root().join(name)).into();
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    paths.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// Returns the path of a document from the repository's root.
fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
