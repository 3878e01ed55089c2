//! The Unix socket: one agent; root alone, or one group as well.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::Gid;
use tokio::net::{UnixListener, UnixStream};

/// Read and write for the owner alone: who can connect can change what is balanced.
const MODE: u32 = 0o600;
/// The same for a group's members, too.
const GROUP_MODE: u32 = 0o660;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindSocket {
    /// An agent answers there.
    #[error("socket {path}: another agent is running; stop it, or set another socket in the configuration")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has that name.
    #[error("socket {path}: the file exists and is no socket; move it away, or set another socket")]
    NoSocket {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("socket {path}: {source}; check the directory, or set another socket in the configuration")]
    Io {
        /// The socket.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// A listening socket whose file goes with it.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!("socket {}: cannot be removed: {error}", self.path.display());
        }
    }
}

/// Refuses where another agent listens.
///
/// # Errors
/// When another agent answers, or the file is no socket.
pub async fn check_free(path: &Path) -> Result<(), BindSocket> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindSocket::Io { path: path.into(), source }),
    };
    if !kind.is_socket() {
        return Err(BindSocket::NoSocket { path: path.into() });
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(BindSocket::InUse { path: path.into() });
    }
    Ok(())
}

/// Listens, and replaces the socket that a dead agent left.
///
/// # Errors
/// When another agent answers, the file is no socket, or the operating system refuses.
pub async fn bind(path: &Path, group: Option<Gid>) -> Result<(UnixListener, Socket), BindSocket> {
    check_free(path).await?;
    let listen = || -> io::Result<UnixListener> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        if std::fs::symlink_metadata(path).is_ok() {
            std::fs::remove_file(path)?;
        }
        // Bound under another name and renamed: nobody sees it before its mode is right.
        let unready = path.with_extension("unready");
        if std::fs::symlink_metadata(&unready).is_ok() {
            std::fs::remove_file(&unready)?;
        }
        let listener = UnixListener::bind(&unready)?;
        if let Some(group) = group {
            std::os::unix::fs::chown(&unready, None, Some(group.as_raw()))?;
        }
        let mode = if group.is_some() { GROUP_MODE } else { MODE };
        std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(mode))?;
        std::fs::rename(&unready, path)?;
        Ok(listener)
    };
    let listener = listen().map_err(|source| BindSocket::Io { path: path.into(), source })?;
    Ok((listener, Socket { path: path.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("lb-socket-{name}-{}", std::process::id()))
    }

    #[tokio::test]
    async fn a_live_agents_socket_is_refused_and_a_dead_ones_replaced() {
        let path = path("live");
        let (listener, _socket) = bind(&path, None).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let error = bind(&path, None).await.unwrap_err().to_string();
        assert!(error.contains("another agent is running"), "{error}");
        drop(listener);
        let (_listener, _socket) = bind(&path, None).await.unwrap();
    }

    #[tokio::test]
    async fn a_groups_members_may_use_the_socket_and_nobody_else() {
        use std::os::unix::fs::MetadataExt;
        let path = path("group");
        let own = nix::unistd::getegid();
        let (_listener, _socket) = bind(&path, Some(own)).await.unwrap();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.gid()), (GROUP_MODE, own.as_raw()));
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_kept() {
        let path = path("file");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path, None).await, Err(BindSocket::NoSocket { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
    }
}
