//! Writes sysctls, and keeps what was there before, so that it can be restored exactly.
//!
//! What is to be written is in the record, on the disk, before the first sysctl is touched; what is in the record already
//! stays, so a second time never takes a changed value for an original. A record belongs to one network namespace.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::bound::normal;
use super::sysctl_file;
use super::sysctls;

/// Where sysctls are read and written.
pub trait Sysctls {
    /// Its value, as the kernel shows it.
    fn read(&self, name: &str) -> io::Result<String>;
    /// Changes it.
    fn write(&mut self, name: &str, value: &str) -> io::Result<()>;
}

/// The files below `proc/sys` of a root.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// `/` is this host.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

impl Sysctls for Tree {
    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(sysctls::path(&self.root, name))
    }

    fn write(&mut self, name: &str, value: &str) -> io::Result<()> {
        // One write: the kernel takes each for a whole value.
        let mut file = File::options().write(true).truncate(true).open(sysctls::path(&self.root, name))?;
        file.write_all(format!("{value}\n").as_bytes())
    }
}

/// Why nothing was done, or not all that is on the disk is true.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The record cannot be read or written.
    #[error("The record of what was changed, {path}, cannot be {done}: {source}. Name another with --record.")]
    Record {
        /// Where it is.
        path: PathBuf,
        /// What failed.
        done: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// The record is not one.
    #[error(
        "Line {line} of {path} is {text:?}, but a record has lines such as net.core.somaxconn = 4096. \
         Mend it, or remove it if nothing is to be restored."
    )]
    Malformed {
        /// Where it is.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
        /// What it says.
        text: String,
    },
    /// The record was made elsewhere.
    #[error(
        "{path} tells what was changed in the network namespace {there}, and this is {here}. Run it there, or name another \
         record with --record."
    )]
    OtherNetwork {
        /// Where it is.
        path: PathBuf,
        /// Where it was made.
        there: String,
        /// Where this runs.
        here: String,
    },
    /// There is nothing to restore.
    #[error("There is nothing to undo: {path} does not exist. If --apply was given a --record, give the same here.")]
    Nothing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The file for /etc/sysctl.d exists and is somebody else's.
    #[error("{path} exists and was not written by ringsock tune. Name another file, or remove it.")]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// The file for /etc/sysctl.d cannot be written.
    #[error("{path} cannot be written: {source}.")]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// What became of one sysctl.
#[derive(Debug)]
pub struct Step {
    /// Which.
    pub name: String,
    /// What it was.
    pub from: String,
    /// What it was to become.
    pub to: String,
    /// What it is now, or why it is as before.
    pub outcome: Result<String, String>,
}

/// What was found before it was changed, on the disk, in the format of sysctl.conf.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    network: String,
    originals: Vec<(String, String)>,
}

impl Record {
    const NETWORK: &str = "# network namespace: ";

    /// The record at a place, empty if there is none yet. `network` names the network namespace.
    pub fn open(path: &Path, network: &str) -> Result<Self, ApplyError> {
        let mut record = Self { path: path.to_owned(), network: network.to_owned(), originals: Vec::new() };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(record),
            Err(source) => return Err(ApplyError::Record { path: path.to_owned(), done: "read", source }),
        };
        for (index, line) in text.lines().enumerate() {
            if let Some(there) = line.strip_prefix(Self::NETWORK) {
                if there != network {
                    let (path, there, here) = (path.to_owned(), there.to_owned(), network.to_owned());
                    return Err(ApplyError::OtherNetwork { path, there, here });
                }
            } else if !line.is_empty() && !line.starts_with('#') {
                let parts = line.split_once(" = ").filter(|(name, _)| is_name(name));
                let (name, value) = parts.ok_or_else(|| ApplyError::Malformed {
                    path: path.to_owned(),
                    line: index + 1,
                    text: line.to_owned(),
                })?;
                record.originals.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(record)
    }

    /// What it holds: names and values, in the order in which they were changed.
    pub fn originals(&self) -> &[(String, String)] {
        &self.originals
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn knows(&self, name: &str) -> bool {
        self.originals.iter().any(|(known, _)| known == name)
    }

    /// Puts it on the disk, whole or not at all; an empty one is removed.
    fn save(&self) -> Result<(), ApplyError> {
        self.write_out().map_err(|source| ApplyError::Record { path: self.path.clone(), done: "written", source })
    }

    fn write_out(&self) -> io::Result<()> {
        if self.originals.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut text = "# What ringsock tune --apply found before it changed it. ringsock tune --undo restores it and \
                        removes this file.\n"
            .to_owned();
        text += &format!("{}{}\n", Self::NETWORK, self.network);
        for (name, value) in &self.originals {
            text += &format!("{name} = {value}\n");
        }
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        File::open(directory)?.sync_all()
    }
}

/// Names of sysctls have no slashes here, so none leads out of /proc/sys.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Writes each of `changes`, in order, and says what became of it. One that fails does not keep the others from being
/// written, and is not in the record.
pub fn apply(
    changes: &[(&str, &str)],
    sysctls: &mut impl Sysctls,
    record: &mut Record,
) -> Result<Vec<Step>, ApplyError> {
    let mut steps: Vec<Step> = Vec::new();
    let mut added = Vec::new();
    for (name, to) in changes {
        let read = read(sysctls, name);
        let from = read.as_ref().map_or(String::new(), String::clone);
        let outcome = read.map_err(|error| error.to_string());
        if outcome.is_ok() && !record.knows(name) {
            record.originals.push(((*name).to_owned(), from.clone()));
            added.push(*name);
        }
        steps.push(Step { name: (*name).to_owned(), from, to: (*to).to_owned(), outcome });
    }
    record.save()?;
    for step in &mut steps {
        if step.outcome.is_ok() {
            step.outcome = write(sysctls, &step.name, &step.to);
        }
    }
    // A write that failed may still have changed something; only what is as it was is forgotten. What was changed an
    // earlier time stays in any case.
    let failed =
        |name: &str| added.contains(&name) && steps.iter().any(|step| step.name == name && step.outcome.is_err());
    let kept = record.originals.len();
    record.originals.retain(|(name, original)| {
        let untouched = || read(sysctls, name).is_ok_and(|now| now == *original);
        !(failed(name) && untouched())
    });
    if record.originals.len() < kept {
        record.save()?;
    }
    Ok(steps)
}

/// Restores what the record holds, the last change first, and removes from it what is restored.
pub fn undo(sysctls: &mut impl Sysctls, record: &mut Record) -> Result<Vec<Step>, ApplyError> {
    if record.originals.is_empty() {
        return Err(ApplyError::Nothing { path: record.path.clone() });
    }
    let mut steps = Vec::new();
    for (name, original) in record.originals.iter().rev() {
        let from = read(sysctls, name).unwrap_or_default();
        let outcome = write(sysctls, name, original).and_then(|now| {
            let restored = now == *original;
            if restored { Ok(now) } else { Err(format!("the kernel made {now} of it")) }
        });
        steps.push(Step { name: name.clone(), from, to: original.clone(), outcome });
    }
    record.originals.retain(|(name, _)| steps.iter().any(|step| step.name == *name && step.outcome.is_err()));
    record.save()?;
    Ok(steps)
}

/// A value with single spaces between its fields, as it is compared and kept.
fn read(sysctls: &impl Sysctls, name: &str) -> io::Result<String> {
    sysctls.read(name).map(|value| normal(&value))
}

/// Writes a value and says what the kernel made of it.
fn write(sysctls: &mut impl Sysctls, name: &str, value: &str) -> Result<String, String> {
    let written = sysctls.write(name, value).and_then(|()| read(sysctls, name));
    written.map_err(|error| error.to_string())
}

/// Writes the file for /etc/sysctl.d, in place of one of ours or of none.
pub fn write_sysctl_file(path: &Path, text: &str) -> Result<(), ApplyError> {
    match fs::read_to_string(path) {
        Ok(there) if !there.is_empty() && !sysctl_file::is_ours(&there) => {
            return Err(ApplyError::Foreign { path: path.to_owned() });
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(ApplyError::Foreign { path: path.to_owned() });
        }
        _ => {}
    }
    fs::write(path, text).map_err(|source| ApplyError::Unwritable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::env::temp_dir;

    use super::*;

    /// A kernel with a few sysctls, some of which it defends.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Kernel {
        values: BTreeMap<String, String>,
        refuses: Vec<&'static str>,
        /// Changes the value and says that it did not.
        lies_about: Vec<&'static str>,
        written: Vec<String>,
    }

    impl Kernel {
        fn new(values: &[(&str, &str)]) -> Self {
            let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Self { values, ..Self::default() }
        }
    }

    impl Sysctls for Kernel {
        fn read(&self, name: &str) -> io::Result<String> {
            self.values.get(name).cloned().ok_or(ErrorKind::NotFound.into())
        }

        fn write(&mut self, name: &str, value: &str) -> io::Result<()> {
            self.written.push(name.to_owned());
            if self.refuses.contains(&name) {
                return Err(ErrorKind::PermissionDenied.into());
            }
            // The kernel sets fields apart by tabs, and this one likes round numbers of buckets.
            let value = if name == "buckets" { "1024".to_owned() } else { value.replace(' ', "\t") };
            self.values.insert(name.to_owned(), value);
            if self.lies_about.contains(&name) { Err(ErrorKind::InvalidInput.into()) } else { Ok(()) }
        }
    }

    const CHANGES: &[(&str, &str)] = &[("fs.nr_open", "9"), ("net.rmem", "4 5 6"), ("net.low", "0")];

    fn kernel() -> Kernel {
        Kernel::new(&[("fs.nr_open", "1"), ("net.rmem", "1\t2\t3"), ("net.low", "1"), ("other", "7")])
    }

    fn place(name: &str) -> PathBuf {
        let path = temp_dir().join(format!("ringsock-tune-{}-{name}", std::process::id())).join("deep/record.conf");
        let _ = fs::remove_dir_all(path.parent().unwrap().parent().unwrap());
        path
    }

    fn open(path: &Path) -> Record {
        Record::open(path, "initial").unwrap()
    }

    #[test]
    fn what_is_applied_is_undone_exactly_in_reverse_order() {
        let (path, before, mut kernel) = (place("undone"), kernel(), kernel());
        let steps = apply(CHANGES, &mut kernel, &mut open(&path)).unwrap();
        assert!(steps.iter().all(|step| step.outcome.as_ref() == Ok(&step.to)), "{steps:?}");
        assert_eq!(kernel.values["net.rmem"], "4\t5\t6");
        assert_eq!(kernel.written, ["fs.nr_open", "net.rmem", "net.low"]);
        kernel.written.clear();
        let mut record = open(&path);
        assert_eq!(record.originals()[1], ("net.rmem".to_owned(), "1 2 3".to_owned()));
        undo(&mut kernel, &mut record).unwrap();
        assert_eq!(kernel.values, before.values);
        assert_eq!(kernel.written, ["net.low", "net.rmem", "fs.nr_open"]);
        assert!(!path.exists());
        assert!(matches!(undo(&mut kernel, &mut open(&path)), Err(ApplyError::Nothing { .. })));
    }

    #[test]
    fn a_second_time_keeps_the_originals_of_the_first() {
        let (path, before, mut kernel) = (place("twice"), kernel(), kernel());
        apply(&CHANGES[..2], &mut kernel, &mut open(&path)).unwrap();
        apply(&[("fs.nr_open", "99"), ("net.low", "0")], &mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values["fs.nr_open"], "99");
        assert_eq!(open(&path).originals().len(), 3);
        undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values, before.values);
    }

    #[test]
    fn one_that_is_refused_is_told_and_not_recorded_and_the_others_are_written() {
        let (path, before, mut kernel) = (place("refused"), kernel(), kernel());
        kernel.refuses = vec!["net.rmem"];
        let changes = [CHANGES, &[("not.there", "1")]].concat();
        let steps = apply(&changes, &mut kernel, &mut open(&path)).unwrap();
        let failed: Vec<&str> = steps.iter().filter(|step| step.outcome.is_err()).map(|step| &*step.name).collect();
        assert_eq!(failed, ["net.rmem", "not.there"]);
        let record = open(&path);
        let recorded: Vec<&str> = record.originals().iter().map(|(name, _)| &**name).collect();
        assert_eq!(recorded, ["fs.nr_open", "net.low"]);
        undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values, before.values);
    }

    #[test]
    fn one_that_fails_after_it_changed_something_stays_recorded() {
        let (path, before, mut kernel) = (place("lies"), kernel(), kernel());
        kernel.lies_about = vec!["net.low"];
        let steps = apply(CHANGES, &mut kernel, &mut open(&path)).unwrap();
        assert!(steps[2].outcome.is_err());
        assert_eq!(open(&path).originals().len(), 3);
        kernel.lies_about.clear();
        undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values, before.values);
    }

    #[test]
    fn what_cannot_be_restored_stays_recorded_for_another_try() {
        let (path, before, mut kernel) = (place("again"), kernel(), kernel());
        apply(CHANGES, &mut kernel, &mut open(&path)).unwrap();
        kernel.refuses = vec!["fs.nr_open"];
        let steps = undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(steps.iter().filter(|step| step.outcome.is_err()).count(), 1);
        assert_eq!(open(&path).originals(), [("fs.nr_open".to_owned(), "1".to_owned())]);
        kernel.refuses.clear();
        undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(kernel.values, before.values);
        assert!(!path.exists());
    }

    #[test]
    fn what_the_kernel_made_of_a_value_is_told() {
        let path = place("rounded");
        let mut kernel = Kernel::new(&[("buckets", "512")]);
        let steps = apply(&[("buckets", "1000")], &mut kernel, &mut open(&path)).unwrap();
        assert_eq!(steps[0].outcome, Ok("1024".to_owned()));
        let steps = undo(&mut kernel, &mut open(&path)).unwrap();
        assert_eq!(steps[0].outcome, Err("the kernel made 1024 of it".to_owned()));
        assert_eq!(open(&path).originals().len(), 1);
    }

    #[test]
    fn nothing_is_written_where_nothing_can_be_recorded() {
        let (before, mut kernel) = (kernel(), kernel());
        let mut record = Record::open(Path::new("/proc/no/record"), "initial").unwrap();
        assert!(matches!(apply(CHANGES, &mut kernel, &mut record), Err(ApplyError::Record { .. })));
        assert_eq!(kernel, before);
    }

    #[test]
    fn a_record_of_another_network_namespace_or_of_something_else_is_refused() {
        let path = place("other");
        apply(CHANGES, &mut kernel(), &mut open(&path)).unwrap();
        let error = Record::open(&path, "net:[1]").unwrap_err();
        assert!(matches!(error, ApplyError::OtherNetwork { .. }), "{error}");
        for text in ["nonsense", "../../etc/passwd = 1", " = 1", "a=1"] {
            fs::write(&path, format!("# words\n\n{text}\n")).unwrap();
            let error = Record::open(&path, "initial").unwrap_err();
            assert!(matches!(error, ApplyError::Malformed { line: 3, .. }), "{text}: {error}");
        }
    }

    #[test]
    fn only_our_own_file_is_overwritten() {
        let path = place("file");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let ours = format!("{}for nobody.\n", sysctl_file::MARK);
        write_sysctl_file(&path, &ours).unwrap();
        write_sysctl_file(&path, &format!("{ours}a = 1\n")).unwrap();
        fs::write(&path, "a = 1\n").unwrap();
        assert!(matches!(write_sysctl_file(&path, &ours), Err(ApplyError::Foreign { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a = 1\n");
        let nowhere = Path::new("/proc/no/file");
        assert!(matches!(write_sysctl_file(nowhere, &ours), Err(ApplyError::Unwritable { .. })));
    }
}
