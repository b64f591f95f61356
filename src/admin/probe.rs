//! Probes on a Unix socket: what answers there is this process and no other.
//!
//! Where an update starts the new narthex beside the old one, both listen on the admin port, and a probe sent there may
//! be answered by the other. A socket in a folder of the pod's own cannot be mistaken.

use super::Admin;
use super::connections::{Connections, converse};
use super::reply::text;
use anyhow::{Context, bail};
use http::StatusCode;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;

/// The answer to other questions.
const MISPLACED: &str = "only /healthz, /readyz and /ping are answered here\n";

/// The socket; its file goes with it.
#[derive(Debug)]
pub struct ProbeSocket {
    listener: StdListener,
    path: PathBuf,
}

/// Takes the file name away again.
struct Unlink(PathBuf);

impl Drop for Unlink {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds the socket. One that a killed process left behind is replaced; one that answers, or a file, is not.
///
/// # Errors
/// One line that names the path, with what to do.
pub fn bind(path: &Path) -> anyhow::Result<ProbeSocket> {
    let shown = path.display();
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            bail!("--probe-socket {shown}: there is a file that is not a socket; choose another path")
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => {
                bail!("--probe-socket {shown}: another process answers there; give each narthex a path of its own")
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)
                    .with_context(|| format!("--probe-socket {shown}: cannot replace an old socket"))?;
            }
            Err(error) => return Err(error).with_context(|| format!("--probe-socket {shown}")),
        },
        Err(_) => {}
    }
    let listener = StdListener::bind(path)
        .with_context(|| format!("--probe-socket {shown}: cannot make it; its folder must be there and writable"))?;
    listener
        .set_nonblocking(true)
        .with_context(|| format!("--probe-socket {shown}"))?;
    Ok(ProbeSocket {
        listener,
        path: path.to_owned(),
    })
}

/// Answers probes until the process ends.
pub async fn run(socket: ProbeSocket, admin: Arc<Admin>) {
    let _unlink = Unlink(socket.path);
    let listener = match UnixListener::from_std(socket.listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the probe socket cannot be served");
            return;
        }
    };
    let connections = Arc::new(Connections::default());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (place, admin) = (connections.enter(), admin.clone());
                tokio::spawn(converse(stream, place, move |request| {
                    let reply = admin.answer_probe(request.uri().path());
                    let reply = reply.unwrap_or_else(|| text(StatusCode::NOT_FOUND, MISPLACED));
                    std::future::ready(admin.identity.mark(reply))
                }));
            }
            Err(error) => {
                tracing::debug!(%error, "the probe socket cannot accept connections at the moment");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_left_behind_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probe.sock");
        let first = bind(&path).unwrap();
        let said = bind(&path).unwrap_err().to_string();
        assert!(said.contains("another process answers there"), "{said}");
        drop(first);
        assert!(path.exists(), "as after kill -9");
        drop(bind(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        let said = bind(&path).unwrap_err().to_string();
        assert!(said.contains("not a socket"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        let said = format!("{:#}", bind(&folder.path().join("no/probe.sock")).unwrap_err());
        assert!(said.contains("its folder must be there"), "{said}");
    }
}
