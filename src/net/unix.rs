//! Unix sockets: a file that only the owner can use, there for as long as somebody listens.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixStream;

use super::accept::AcceptError;

/// Connections the kernel may hold before they are accepted.
const BACKLOG: i32 = 128;
/// Whoever may use the file may call.
const OWNER_ALONE: u32 = 0o600;

/// A listening unix socket. Dropped, it takes its file away.
#[derive(Debug)]
pub struct UnixBound {
    socket: UnixListener,
    /// None where the file is somebody else's.
    file: Option<SocketFile>,
}

impl UnixBound {
    /// Makes the file and listens on it. One that a process has left behind is replaced.
    ///
    /// # Errors
    /// When somebody listens there already, when something else has that name, or when it cannot
    /// be made; the error names it.
    pub fn bind(path: &Path) -> io::Result<UnixBound> {
        let named = |e: io::Error| {
            let shown = path.display();
            io::Error::new(e.kind(), format!("cannot listen on unix:{shown}: {e}"))
        };
        match UnixBound::try_bind(path) {
            Err(e) if e.kind() == ErrorKind::AddrInUse => remove_stale(path)
                .and_then(|()| UnixBound::try_bind(path))
                .map_err(named),
            bound => bound.map_err(named),
        }
    }

    /// A socket that was handed over; its file, and who may use it, are the other's business.
    pub(super) fn inherited(socket: UnixListener) -> io::Result<UnixBound> {
        socket.set_nonblocking(true)?;
        let file = None;
        Ok(UnixBound { socket, file })
    }

    fn try_bind(path: &Path) -> io::Result<UnixBound> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = Some(SocketFile::at(path)?);
        // Nobody can connect before `listen`: there is no moment at which others could.
        fs::set_permissions(path, Permissions::from_mode(OWNER_ALONE))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let socket = socket.into();
        Ok(UnixBound { socket, file })
    }
}

/// Removes a socket's file at which nobody listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let why = "there is a file of that name, which is no socket";
        return Err(io::Error::new(ErrorKind::AlreadyExists, why));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener whose queue is full must not hold us up.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
        Ok(()) | Err(_) => {
            let why = "in use: another process listens there";
            Err(io::Error::new(ErrorKind::AddrInUse, why))
        }
    }
}

/// The file of a bound socket, known by its inode: a successor may have put its own there.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<SocketFile> {
        let inode = inode(path)?;
        let path = path.to_owned();
        Ok(SocketFile { path, inode })
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            // A file that cannot be removed is replaced by the next to come.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A listening unix socket, watched by the runtime it was made on.
#[derive(Debug)]
pub struct UnixListening {
    socket: tokio::net::UnixListener,
    _file: Option<SocketFile>,
}

impl UnixListening {
    /// Watches a bound socket.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn new(bound: UnixBound) -> io::Result<UnixListening> {
        Ok(UnixListening {
            socket: tokio::net::UnixListener::from_std(bound.socket)?,
            _file: bound.file,
        })
    }

    /// The next connection. Cancel safe.
    ///
    /// # Errors
    /// None ends the listener, as with [`super::Listening::accept`].
    pub async fn accept(&self) -> Result<UnixStream, AcceptError> {
        match self.socket.accept().await {
            Ok((socket, _)) => Ok(socket),
            Err(e) => Err(match Errno::from_io_error(&e) {
                Some(errno) => AcceptError::of(errno),
                None => AcceptError::Passing(e),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream as Client;

    use super::*;

    #[test]
    fn the_file_is_the_owners_and_goes_with_the_socket() {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("admin.sock");
        let bound = UnixBound::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Client::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn what_was_left_behind_is_replaced_and_nothing_else() {
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves it behind");
        let first = UnixBound::bind(&path).unwrap();
        let error = UnixBound::bind(&path).unwrap_err().to_string();
        assert!(
            error.contains("in use") && error.contains("admin.sock"),
            "{error}"
        );
        Client::connect(&path).unwrap();

        // What another has put there is not ours to take away.
        fs::remove_file(&path).unwrap();
        let second = UnixBound::bind(&path).unwrap();
        drop(first);
        Client::connect(&path).unwrap();
        drop(second);

        fs::write(&path, "text").unwrap();
        let error = UnixBound::bind(&path).unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }
}
