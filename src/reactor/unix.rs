//! Listening Unix sockets: the file at the path, its permissions, and its removal.
//!
//! Never deletes any file but that of a socket without a listener. Invariant: from its creation on a socket's file
//! permits no user more than in the end.

use std::ffi::CString;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::socket::BACKLOG;
use super::socket::result;
use crate::address::{UnixAddress, UnixName};

/// The longest wait for another server that checks the same directory at the same moment: it needs less than a
/// millisecond. A program that locks the directory for longer does not keep the server from starting.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The interval between attempts to lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(5);

/// The longest group record that is read, in bytes.
const GROUP_BYTES_MAX: usize = 64 * 1024;

/// The owner's bits of the permissions.
const OWNER: u32 = 0o700;

/// The file of a listening Unix socket. Dropping it deletes the file, unless the path names another file by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// The open file, so that no other file can get its inode number.
    file: fs::File,
}

impl SocketFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Returns whether the path still names this file.
    fn is_there(&self) -> bool {
        let identity = |file: fs::Metadata| (file.dev(), file.ino());
        let (own, there) = (self.file.metadata().map(identity), fs::symlink_metadata(&self.path).map(identity));
        matches!((own, there), (Ok(own), Ok(there)) if own == there)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens a listening socket. Fails with `AddrInUse` if a process listens there, and with `AlreadyExists` if the path
/// names a file that is not a socket.
pub fn listen(address: &UnixAddress) -> io::Result<(OwnedFd, Option<SocketFile>)> {
    listen_within(LOCK_PATIENCE, address)
}

fn listen_within(patience: Duration, address: &UnixAddress) -> io::Result<(OwnedFd, Option<SocketFile>)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let file = match &address.name {
        UnixName::Path(path) => Some(listen_at_file(&socket, path, address, patience)?),
        UnixName::Abstract(name) => {
            socket.bind(&SockAddr::unix(format!("\0{name}"))?)?;
            socket.listen(BACKLOG)?;
            None
        }
    };
    Ok((socket.into(), file))
}

fn listen_at_file(socket: &Socket, path: &Path, address: &UnixAddress, patience: Duration) -> io::Result<SocketFile> {
    let group = address.group.as_deref().map(group_id).transpose()?;
    // The lock is held until the socket listens: before that, another server would take it for dead.
    let _lock = lock_directory(path, patience);
    delete_if_dead(path)?;
    // The file gets the permissions of the socket, less those that the umask removes. Until its group is set, only the
    // owner has permissions.
    let first = if group.is_some() { address.mode & OWNER } else { address.mode };
    // SAFETY: takes integers; the descriptor is open.
    result(unsafe { libc::fchmod(socket.as_raw_fd(), first) } as isize)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::open(path)?;
    if let Some(group) = group {
        std::os::unix::fs::lchown(path, None, Some(group))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(address.mode))?;
    socket.listen(BACKLOG)?;
    Ok(file)
}

/// Deletes the file of a socket that no process listens on: that of a server which was killed.
fn delete_if_dead(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let reason = "the path names a file that is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // The socket has a listener, perhaps with a full backlog.
        _ => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
    }
}

/// Keeps other servers from checking the path, so that none deletes the file of one that is about to listen. `None` if
/// the lock cannot be obtained, which leaves a race between two servers started at once.
fn lock_directory(path: &Path, patience: Duration) -> Option<fs::File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = fs::File::open(parent).ok()?;
    let deadline = Instant::now() + patience;
    loop {
        // SAFETY: takes integers; the descriptor is open.
        match result(unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } as isize) {
            Ok(_) => return Some(directory),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(LOCK_INTERVAL);
            }
            Err(_) => return None,
        }
    }
}

/// Returns the number of a group, given by name or number.
fn group_id(name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("the host has no group {name:?}"));
    let name = CString::new(name).map_err(|_| unknown())?;
    let mut group = MaybeUninit::<libc::group>::uninit();
    let mut buffer = vec![0; GROUP_BYTES_MAX];
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are to live locals, and the length is the buffer's.
    let error =
        unsafe { libc::getgrnam_r(name.as_ptr(), group.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    if found.is_null() {
        return Err(unknown());
    }
    // SAFETY: it is not null, so it points at `group`, which has been filled in.
    Ok(unsafe { (*found).gr_gid })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    /// Creates an empty directory for this test.
    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("ringsock-unix-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn address(path: &Path, mode: u32) -> UnixAddress {
        UnixAddress { name: UnixName::Path(path.to_owned()), mode, group: None }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_socket_has_the_mode_that_was_asked_for_whatever_the_umask() {
        let path = directory("mode").join("socket");
        for wanted in [0o600, 0o660, 0o666, 0o777] {
            let (_socket, _file) = listen(&address(&path, wanted)).unwrap();
            assert_eq!(mode(&path), wanted);
            UnixStream::connect(&path).unwrap();
        }
        assert!(!path.exists(), "the file goes with its listener");
    }

    #[test]
    fn a_socket_may_be_given_to_a_group() {
        let path = directory("group").join("socket");
        let own = fs::symlink_metadata(path.parent().unwrap()).unwrap().gid();
        let unix = UnixAddress { group: Some(own.to_string()), ..address(&path, 0o660) };
        let (_socket, _file) = listen(&unix).unwrap();
        assert_eq!((mode(&path), fs::symlink_metadata(&path).unwrap().gid()), (0o660, own));
        assert_eq!(group_id("root").unwrap(), 0);
        let unknown = UnixAddress { group: Some("no-such-group".to_owned()), ..unix };
        assert!(listen(&unknown).unwrap_err().to_string().contains("no-such-group"));
    }

    #[test]
    fn the_file_of_a_dead_server_is_taken_over_and_that_of_a_live_one_is_not() {
        let path = directory("dead").join("socket");
        // Dropping a listener of the standard library leaves its file.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_socket, file) = listen(&address(&path, 0o600)).unwrap();
        let refused = listen(&address(&path, 0o600)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_deleted() {
        let directory = directory("file");
        let (file, link) = (directory.join("file"), directory.join("link"));
        fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        for path in [&file, &link, &directory] {
            let refused = listen(&address(path, 0o600)).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists, "{}", path.display());
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert!(link.symlink_metadata().is_ok());
    }

    #[test]
    fn the_file_of_a_later_server_is_left_alone() {
        let path = directory("later").join("socket");
        let (socket, file) = listen(&address(&path, 0o600)).unwrap();
        drop(socket);
        let (_later, _its_file) = listen(&address(&path, 0o600)).unwrap();
        drop(file);
        assert!(path.exists());
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn of_two_that_find_a_dead_file_at_once_one_listens() {
        // Generous, for busy processors.
        const PATIENCE: Duration = Duration::from_secs(60);
        let path = directory("race").join("socket");
        for _ in 0..50 {
            drop(UnixListener::bind(&path).unwrap());
            let unix = address(&path, 0o600);
            let outcomes = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| listen_within(PATIENCE, &unix))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
            UnixStream::connect(&path).unwrap();
        }
    }

    #[test]
    fn a_name_without_a_file_is_one_servers() {
        let name = UnixName::Abstract(format!("ringsock-test-{}", std::process::id()));
        let unix = UnixAddress { name, mode: UnixAddress::MODE, group: None };
        let (socket, file) = listen(&unix).unwrap();
        assert!(file.is_none());
        assert_eq!(listen(&unix).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        listen(&unix).unwrap();
    }
}
