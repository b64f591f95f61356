//! Nodes, of which narthex reads single ones: its own for its zone, and others for whether they are ready.

use super::one_line;
use crate::source::directory::validate::is_subdomain;
use http::Request;
use k8s_openapi::api::core::v1::Node;
use std::time::Duration;

/// The label that names a node's zone (Kubernetes docs, "Well-Known Labels").
const ZONE: &str = "topology.kubernetes.io/zone";

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a node could not be read, in a line.
pub(super) enum Unread {
    /// It is not there, or may not be read.
    Denied(String),
    /// Nobody answered, or not as the API promises.
    Failed(String),
}

/// Reads a node.
pub(super) async fn read(client: &kube::Client, name: &str) -> Result<Node, Unread> {
    // Names go into the request, so no other text may.
    let request = Request::get(format!("/api/v1/nodes/{name}")).body(Vec::new());
    let Some(request) = request.ok().filter(|_| is_subdomain(name)) else {
        return Err(Unread::Denied(format!("\"{name}\" is not the name of a node")));
    };
    match tokio::time::timeout(PATIENCE, client.request::<Node>(request)).await {
        Err(_) => Err(Unread::Failed("the API server does not answer".to_owned())),
        Ok(Ok(node)) => Ok(node),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => Err(Unread::Denied(status.message)),
        Ok(Err(error)) => Err(Unread::Failed(one_line(&error))),
    }
}

/// The zone in a node's label, if it has one.
///
/// # Errors
/// Why it cannot be known, in a line.
pub async fn zone_of(client: &kube::Client, node: &str) -> Result<Option<String>, String> {
    match read(client, node).await {
        Ok(node) => Ok(node.metadata.labels.and_then(|mut labels| labels.remove(ZONE))),
        Err(Unread::Denied(why) | Unread::Failed(why)) => Err(why),
    }
}
