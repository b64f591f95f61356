//! An upgrade: the sockets of the narthex that serves on this node are taken over, and handed to the next one.

use crate::config::{Listening, ServeArgs};
use crate::serve::handover::{self, Holdings, Inherited, Role, SocketKey};
use anyhow::Context;
use tokio::sync::{oneshot, watch};

/// The upgrade as a new process sees it, which may be the first of all.
pub(super) struct Successor {
    name: Option<handover::Name>,
    predecessor: Option<handover::Predecessor>,
}

impl Successor {
    /// Asks the narthex that serves on this node, if there is one, for the sockets that are wanted here.
    pub(super) async fn ask(args: &ServeArgs) -> anyhow::Result<(Self, Vec<Inherited>)> {
        let Some(name) = &args.listen.hand_over else {
            let alone = Self {
                name: None,
                predecessor: None,
            };
            return Ok((alone, Vec::new()));
        };
        let name = handover::Name::new(name).with_context(|| format!("--hand-over {name}"))?;
        let listening = args.listening().into_iter();
        let mut wanted: Vec<SocketKey> = listening
            .map(|Listening { protocol, address, .. }| SocketKey::tcp(protocol.into(), address))
            .collect();
        wanted.push(SocketKey::tcp(Role::Admin, args.listen.admin.0));
        let (predecessor, inherited) = match handover::ask(&name, &wanted).await {
            Ok(answer) => answer.unzip(),
            Err(error) => {
                // Binding may still do, above all with --share-ports.
                tracing::warn!(%error, "--hand-over: another process has this name but does not hand over its sockets");
                (None, None)
            }
        };
        let successor = Self {
            name: Some(name),
            predecessor,
        };
        Ok((successor, inherited.unwrap_or_default()))
    }

    /// Takes over when all is live here, and then waits for a successor in turn. The admin address is inherited too, so
    /// until then its questions are the predecessor's.
    pub(super) async fn serve(
        self,
        is_live: oneshot::Receiver<()>,
        holdings: Holdings,
        taken: watch::Sender<bool>,
        admin: impl Future<Output = ()> + Send + 'static,
    ) {
        let Some(predecessor) = self.predecessor else {
            tokio::spawn(admin);
            let Some(name) = self.name else { return };
            if is_live.await.is_ok() {
                handover::offer(name, holdings, taken).await;
            }
            return;
        };
        if is_live.await.is_err() {
            return;
        }
        let kept = predecessor.take_over().await;
        match &kept {
            Some(_) => tracing::info!("took over from the narthex that served on this node"),
            None => tracing::info!("the narthex that served on this node exited before the takeover"),
        }
        tokio::spawn(admin);
        if let Some(name) = self.name {
            handover::offer(name, holdings, taken).await;
        }
        drop(kept);
    }
}

/// Ends when a successor serves and nobody else will tell this process to end. In a pod the kubelet will: a container
/// that ends by itself is started again, and would take everything back.
pub(super) async fn not_needed(handed_over: &mut watch::Receiver<bool>) {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() && handed_over.wait_for(|taken| *taken).await.is_ok() {
        return;
    }
    std::future::pending().await
}
