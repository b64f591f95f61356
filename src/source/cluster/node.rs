//! Where this node stands: the one thing narthex reads of Nodes, once, at start.

use super::one_line;
use http::Request;
use serde_json::Value;
use std::time::Duration;

/// The label that names a node's zone (Kubernetes docs, "Well-Known Labels").
const ZONE: &str = "topology.kubernetes.io/zone";

/// How long it is waited for: it is for better balancing only.
const PATIENCE: Duration = Duration::from_secs(3);

/// The zone in a node's label, if it has one.
///
/// # Errors
/// Why it cannot be known, in a line.
pub async fn zone_of(client: &kube::Client, node: &str) -> Result<Option<String>, String> {
    let request = Request::get(format!("/api/v1/nodes/{node}"))
        .body(Vec::new())
        .map_err(|_| format!("\"{node}\" is not the name of a node"))?;
    let answer = tokio::time::timeout(PATIENCE, client.request::<Value>(request)).await;
    let node = answer
        .map_err(|_| "the API server does not answer".to_owned())?
        .map_err(|error| one_line(&error))?;
    let zone = node.pointer("/metadata/labels").and_then(|labels| labels.get(ZONE));
    Ok(zone.and_then(Value::as_str).map(str::to_owned))
}
