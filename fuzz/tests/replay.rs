//! Every committed input, through its target's checks, without libFuzzer.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use ringsock_fuzz::TARGETS;

/// Inputs in a directory below this package; none if it is not there.
fn inputs(directory: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn replay(target: &str) {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).expect("the target exists");
    let corpus = inputs(&format!("corpus/{target}"));
    assert!(corpus.len() >= 20, "only {} inputs in corpus/{target}", corpus.len());
    let mut failed = Vec::new();
    for input in corpus.into_iter().chain(inputs(&format!("regressions/{target}"))) {
        let bytes = fs::read(&input).unwrap();
        if panic::catch_unwind(|| check(&bytes)).is_err() {
            failed.push(input.display().to_string());
        }
    }
    assert!(failed.is_empty(), "\nThese inputs break a rule:\n{}\n", failed.join("\n"));
}

#[test]
fn every_target_is_replayed_and_every_corpus_has_a_target() {
    let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, REPLAYED);
    for directory in ["corpus", "regressions"] {
        for path in inputs(directory) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(known.contains(&name.as_str()), "{} is replayed by nobody", path.display());
        }
    }
    for path in inputs("fuzz_targets") {
        assert!(known.contains(&path.file_stem().unwrap().to_string_lossy().as_ref()), "{}", path.display());
    }
}

macro_rules! replays {
    ($($target:ident)*) => {
        /// One test each, so that they run side by side.
        const REPLAYED: &[&str] = &[$(stringify!($target)),*];
        $(
            #[test]
            fn $target() {
                replay(stringify!($target));
            }
        )*
    };
}

replays!(
    close deflate differential discovery frame_stream handshake hook_answer http_body introspection key_set message
    request_head tls_records token
);
