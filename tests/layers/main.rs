//! The house rules that a program can check: which way the arrows point, that no files import each other in a circle,
//! where `unsafe` lives, how long a file is, that each begins with a paragraph about what it owns, and how comments
//! begin.
//!
//! A path counts wherever it stands, in a `use` line or not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod circles;
mod source;
mod voice;

use std::fs;
use std::path::{Path, PathBuf};

use source::{File, Source};

/// Each layer and those it may import. A layer that is not here has no place in the house yet.
const FLOORS: &[(&str, &[&str])] = &[
    ("address", &[]),
    ("authorities", &[]),
    ("proc", &[]),
    ("slab", &[]),
    ("protocol", &[]),
    ("reactor", &["address", "slab"]),
    ("tls", &[]),
    ("outbound", &["authorities", "tls"]),
    ("transport", &["reactor", "tls"]),
    ("mesh", &[]),
    ("bus", &[]),
    ("config", &["address", "protocol", "engine", "outbound", "service", "tls"]),
    ("units", &[]),
    ("tune", &["proc", "units"]),
    ("load", &["authorities", "proc", "units", "protocol", "reactor", "tls", "transport"]),
    ("engine", &["address", "slab", "protocol", "reactor", "tls", "transport", "mesh"]),
    ("service", &["proc", "engine", "outbound", "protocol", "reactor", "tls", "mesh", "bus"]),
    ("server", &["address", "service", "engine", "protocol", "reactor", "tls", "mesh", "bus", "config"]),
];

/// The modules of the engine from the bottom up; each imports only from those before it.
const ENGINE_MODULES: &[&str] = &[
    "current",
    "log",
    "status",
    "reasons",
    "values",
    "wheel",
    "date",
    "subscribers",
    "topics",
    "limits",
    "limits_check",
    "counters",
    "admission",
    "rates",
    "session",
    "tasks",
    "mail",
    "parts",
    "seed",
    "handler",
    "core",
    "host",
];

/// The only module that writes `impl Core`: a core's turn and its steps.
const CORE_MODULE: &str = "engine/core/";

/// Files that see everything: the program and the library's front door.
const TOP: &[&str] = &["main", "cli", "lib"];

/// The only layer that may write `unsafe`: it talks to the kernel.
const UNSAFE_LAYER: &str = "reactor";

/// Lines of a file without its tests. The rule is 500; the rest is room to finish a thought before splitting.
const LINES_MAX: usize = 550;

/// Returns the source of the crate, and the text of each of its files.
fn house() -> (Source, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    assert!(paths.len() > 30, "only {} files were found in src", paths.len());
    let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let shown: Vec<String> = paths.iter().map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect();
    (Source::parse(shown.iter().map(String::as_str).zip(texts.iter().map(String::as_str))), texts)
}

#[test]
fn the_source_keeps_the_rules_of_the_house() {
    let (source, texts) = house();
    let files = source.files.iter().zip(&texts);
    let broken: Vec<String> = files.flat_map(|(file, text)| violations(&source, file, text)).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn no_two_files_import_each_other_in_a_circle() {
    let (source, _) = house();
    let arrows = circles::arrows(&source);
    let circles = circles::circles(source.files.len(), &arrows);
    println!("{} files, {} import circles", source.files.len(), circles.len());
    let told: Vec<String> = circles.iter().map(|circle| circles::describe(&source, &arrows, circle)).collect();
    assert!(circles.is_empty(), "\n{}", told.join("\n"));
}

#[test]
fn comments_of_clean_modules_name_their_subject_and_their_lines_fit() {
    let (source, texts) = house();
    let (mut riddles, mut long) = (Vec::new(), Vec::new());
    for (file, text) in source.files.iter().zip(&texts).filter(|(file, _)| voice::is_clean(layer_of(&file.path))) {
        let path = &file.path;
        riddles.extend(voice::riddles(text).into_iter().map(|(line, words)| format!("{path}:{line}: {words}")));
        long.extend(voice::long_lines(text).into_iter().map(|(line, columns)| format!("{path}:{line}: {columns}")));
    }
    println!("{} sentences begin with a riddle, {} lines are too long", riddles.len(), long.len());
    assert!(riddles.is_empty(), "sentences that do not name their subject:\n{}\n", riddles.join("\n"));
    assert!(long.is_empty(), "lines with more than 120 columns:\n{}\n", long.join("\n"));
}

#[test]
fn a_riddle_is_found_wherever_its_sentence_begins_and_a_long_line_in_strings_too() {
    for (text, lines) in [
        ("/// What a frame is.", &[1][..]),
        ("//! Frames.\n//!\n//! Who sends them.", &[3]),
        ("// Returns. Whether it\n// ends.\n// Whose it is.", &[1, 3]),
        ("/// Lists:\n///\n/// - Whoever asks.", &[3]),
        ("let a = \"\\\"//\"; // What it is.", &[1]),
        ("/// Returns whether it is what\n/// it seems, and who asks.", &[]),
        ("/// Returns the frame that\n/// What ends.", &[]),
        ("let a = \"// What\"; let b = 1;\nWhat::new();", &[]),
    ] {
        let found: Vec<usize> = voice::riddles(text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(found, lines, "{text}");
    }
    let long = |columns: usize| format!("fits\n\"{}\"", "é".repeat(columns - 2));
    assert_eq!((voice::long_lines(&long(120)), voice::long_lines(&long(121))), (vec![], vec![(2, 121)]));
}

#[test]
fn the_modules_of_the_engine_keep_their_order_and_one_of_them_writes_a_core() {
    let (source, _) = house();
    let broken = engine_violations(&source);
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn an_arrow_up_in_the_engine_and_a_core_written_elsewhere_are_found() {
    let lib = ("lib.rs", "mod engine;");
    let engine = ("engine/mod.rs", "mod core; mod session; mod wheel; pub use core::Core;");
    let core = ("engine/core/mod.rs", "use crate::engine::session::Slot; pub struct Core(Slot); impl Core {}");
    let broken = |session: &str| {
        let files =
            [lib, engine, core, ("engine/wheel.rs", "pub const NEVER: u32 = 0;"), ("engine/session/mod.rs", session)];
        engine_violations(&Source::parse(files))
    };
    assert_eq!(broken("use super::wheel::NEVER; pub struct Slot;"), [""; 0]);
    assert!(broken("pub struct Slot; fn f(core: &crate::engine::Core) {}")[0].contains("session → core"));
    assert!(broken("pub struct Slot; impl crate::engine::Core {}").join("").contains("impl Core"));
    let unknown = Source::parse([lib, engine, ("engine/attic.rs", "pub struct Box;")]);
    assert!(engine_violations(&unknown)[0].contains("attic has no place"));
}

#[test]
fn a_circle_is_found_through_names_that_are_handed_on_and_not_in_tests() {
    let circles_of = |files: &[(&str, &str)]| {
        let source = Source::parse(files.iter().copied());
        circles::circles(source.files.len(), &circles::arrows(&source)).len()
    };
    let lib = ("lib.rs", "mod a;");
    let face = ("a/mod.rs", "mod b; mod c; pub use b::{B, make}; pub use c::C;");
    let c = ("a/c.rs", "use super::b::B; pub struct C(B);");
    for (b, circles) in [
        ("pub struct B;", 0),
        ("use super::c::C; pub struct B(C);", 1),
        ("use super::C; pub struct B(C);", 1),
        ("use crate::a; pub struct B(a::C);", 1),
        ("pub struct B; fn f() { let _ = super::c::C::new(); }", 1),
        ("pub struct B; fn f() { call!(crate::a::c::C) }", 1),
        ("use super::*; pub struct B(C);", 1),
        ("pub struct B; #[cfg(test)] mod tests { use super::super::c::C; }", 0),
        ("pub struct B; // super::c::C", 0),
        ("pub(in crate::a) struct B;", 0),
    ] {
        assert_eq!(circles_of(&[lib, face, c, ("a/b.rs", b)]), circles, "{b}");
    }
    // A module that uses what its files define, while they use it.
    let face = ("a/mod.rs", "mod b; pub use b::B; pub struct Whole(B);");
    assert_eq!(circles_of(&[lib, face, ("a/b.rs", "use super::Whole; pub struct B;")]), 1);
    assert_eq!(circles_of(&[lib, face, ("a/b.rs", "pub struct B;")]), 0);
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
        ("engine/core.rs", "use crate::service::Router;", "engine → service"),
        ("engine/core.rs", "use crate::server::Server;", "engine → server"),
        ("engine/core.rs", "use crate::config::Config;", "engine → config"),
        ("service/router.rs", "use crate::server::Server;", "service → server"),
        ("service/router.rs", "use crate::load::Client;", "service → load"),
        ("load/client.rs", "use crate::engine::Core;", "load → engine"),
        ("config.rs", "use crate::server::Server;", "config → server"),
        ("config.rs", "use crate as whole;", "config → the whole crate"),
        // A name that the crate's root re-exports would hide the arrow.
        ("protocol/frame.rs", "use crate::Session;", "protocol → Session"),
        ("protocol/frame.rs", "macro_rules! m { () => { $crate::engine::Core } }", "protocol → engine"),
        ("attic/box.rs", "fn f() {}", "attic has no place"),
    ] {
        let found = violations_in(path, &format!("//! Words.\n{line}\n"));
        assert!(found.iter().any(|violation| violation.contains(arrow)), "{path}: {line}\nfound {found:?}");
    }
}

#[test]
fn arrows_down_and_words_in_comments_and_strings_are_allowed() {
    for (path, line) in [
        ("engine/core.rs", "use crate::protocol::{Close, http::Request};\nuse super::slab::Slab;"),
        ("engine/core.rs", "use crate::{protocol, reactor::{Socket, Token}};"),
        ("service/router.rs", "use crate::engine::Handler;"),
        ("server.rs", "use crate::service::Router;"),
        ("load/client.rs", "use crate::protocol::Close;"),
        ("main.rs", "use ringsock::{Server, service::Router};"),
        ("lib.rs", "pub use engine::Session;"),
        ("protocol/frame.rs", "use crate::protocol::Close;\nmod tests { use super::super::close::Close; }"),
        ("protocol/frame.rs", "// crate::engine and unsafe\n/* crate::engine /* unsafe */ */"),
        ("protocol/frame.rs", "/// See [`Core`](crate::engine::Core).\nconst A: &str = \"crate::engine, unsafe\";"),
        ("protocol/frame.rs", "const A: &str = r#\"\"crate::engine\" unsafe\"#; const B: char = '\"'; fn f<'a>() {}"),
        ("reactor/socket.rs", "fn f() { unsafe { g() } }"),
        ("protocol/mod.rs", "#![forbid(unsafe_code)]"),
    ] {
        let found = violations_in(path, &format!("//! Words.\n{line}\n"));
        assert!(found.is_empty(), "{path}: {line}\nfound {found:?}");
    }
}

#[test]
fn unsafe_outside_of_the_reactor_a_long_file_and_a_silent_one_are_found() {
    let found = |path: &str, text: &str, test_only| {
        let mut source = Source::parse([(path, text)]);
        source.files[0].test_only = test_only;
        violations(&source, &source.files[0], text).join("\n")
    };
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

fn violations_in(path: &str, text: &str) -> Vec<String> {
    let source = Source::parse([(path, text)]);
    violations(&source, &source.files[0], text)
}

/// Returns how a file breaks the rules, a sentence each.
fn violations(source: &Source, file: &File, text: &str) -> Vec<String> {
    let shown = &file.path;
    let layer = layer_of(shown);
    let mut broken = Vec::new();
    if !text.starts_with("//! ") {
        broken.push(format!("{shown} says nothing of what it owns: it begins with no //! paragraph."));
    }
    let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = program.lines().count();
    if lines > LINES_MAX && !file.test_only {
        broken.push(format!("{shown} has {lines} lines without its tests: split it."));
    }
    if layer != UNSAFE_LAYER && file.is_unsafe {
        broken.push(format!("{shown} writes unsafe, which is for src/{UNSAFE_LAYER} alone."));
    }
    if TOP.contains(&layer) {
        return broken;
    }
    let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == layer) else {
        broken.push(format!("{shown}: {layer} has no place in the order of this test."));
        return broken;
    };
    let imports = file.written.iter().filter_map(|written| source.absolute(&written.module, &written.path));
    for import in imports {
        let to = import.first().map_or("the whole crate", String::as_str);
        if to != layer && !allowed.contains(&to) {
            broken.push(format!("{shown}: {layer} → {to} points up or sideways."));
        }
    }
    broken
}

/// Returns how files of the engine import from a module above their own, or write `impl Core` outside of its module.
fn engine_violations(source: &Source) -> Vec<String> {
    let level = |module: &str| ENGINE_MODULES.iter().position(|name| *name == module);
    let mut broken = Vec::new();
    for file in source.files.iter().filter(|file| file.module.first().is_some_and(|layer| layer == "engine")) {
        let Some(module) = file.module.get(1).filter(|_| !file.test_only) else { continue };
        if file.implements.iter().any(|name| name == "Core") && !file.path.starts_with(CORE_MODULE) {
            broken.push(format!("{} writes impl Core, which is for {CORE_MODULE} alone.", file.path));
        }
        let Some(own) = level(module) else {
            broken.push(format!("{}: {module} has no place in the order of this test.", file.path));
            continue;
        };
        for written in file.written.iter().filter(|written| !written.in_tests) {
            let Some((target, _)) = source.resolve(&written.module, &written.path) else { continue };
            let Some(to) = target.get(1).filter(|_| target[0] == "engine") else { continue };
            if to != module && level(to).is_none_or(|to| to > own) {
                broken.push(format!("{}: {module} → {to} points up.", file.path));
            }
        }
    }
    broken
}

/// Returns the folder or file right below `src` that a file belongs to.
fn layer_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}
