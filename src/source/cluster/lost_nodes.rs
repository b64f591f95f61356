//! Whether Kubernetes has lost sight of nodes. It is asked only while a Service has no ready endpoint because of pods that became
//! unready: watching all nodes would cost a large cluster more than the answer is worth.

use super::Cluster;
use super::node::{self, Unread};
use crate::dialect::Change;
use crate::model::Timestamp;
use crate::source::{Event, Wanted};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{info, warn};

/// When a question is asked again that got no answer.
const SOON: Duration = Duration::from_secs(1);
/// When it is asked again after an answer.
const LATER: Duration = Duration::from_secs(10);
/// How long a node counts as lost after it has become ready again. Its kubelet marks the pods as ready only when it has its watch
/// back, which took more than a minute in tests.
const RECOVERY: i64 = 180;
/// The most nodes that are asked about in a row before other messages are looked at.
const AT_ONCE: usize = 50;

/// What is known of one node.
struct Known {
    /// How many of its pods were unready when it was asked about last.
    unready: usize,
    /// When it is to be asked about again.
    due: Instant,
    lost: Option<bool>,
}

/// Asks about the nodes in `wanted` until the control task ends.
pub(super) async fn run(cluster: Cluster, mut wanted: watch::Receiver<Wanted>) {
    let mut known: HashMap<Arc<str>, Known> = HashMap::new();
    let mut denied = false;
    loop {
        let nodes = wanted.borrow_and_update().nodes.clone();
        let (asked, more) = due(&mut known, &nodes);
        for name in asked {
            let unready = nodes.get(&name).copied().unwrap_or_default();
            let lost = match node::read(&cluster.client, &name).await {
                Ok(node) => Some(is_lost(&node, Timestamp::now())),
                Err(Unread::Denied(error)) => {
                    if !std::mem::replace(&mut denied, true) {
                        info!(
                            node = &*name,
                            error, "cannot read whether a node is ready: its unready pods get no requests"
                        );
                    }
                    Some(false)
                }
                Err(Unread::Failed(error)) => {
                    warn!(
                        node = &*name,
                        error, "cannot read whether a node is ready: trying again"
                    );
                    None
                }
            };
            let before = known.get(&name).and_then(|known| known.lost);
            if let Some(lost) = lost.filter(|lost| before != Some(*lost)) {
                if lost {
                    warn!(
                        node = &*name,
                        "Kubernetes does not know how the pods of this node are: those that were ready stay in use where a Service has no others"
                    );
                }
                let change = Change::Node {
                    name: name.clone(),
                    lost,
                };
                if cluster.sender.send(Event::Change(change)).await.is_err() {
                    return;
                }
            }
            let wait = if lost.is_some() { LATER } else { SOON };
            let news = Known {
                unready,
                due: Instant::now() + wait,
                lost: lost.or(before),
            };
            known.insert(name, news);
        }
        let next = known.values().map(|known| known.due).min();
        // Others are waiting to be asked about.
        let next = if more { Some(Instant::now()) } else { next };
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {}
            () = cluster.sender.closed() => return,
        }
    }
}

/// The nodes that are to be asked about now, and whether there are more. Those about which nothing is known come first, then those that
/// have waited longest. Forgets those that are not wanted any more.
fn due(known: &mut HashMap<Arc<str>, Known>, wanted: &BTreeMap<Arc<str>, usize>) -> (Vec<Arc<str>>, bool) {
    known.retain(|name, _| wanted.contains_key(name));
    let now = Instant::now();
    let due = wanted.iter().filter(|(name, unready)| {
        let known = known.get(*name);
        known.is_none_or(|known| known.due <= now || known.unready < **unready)
    });
    let mut due: Vec<_> = due
        .map(|(name, _)| (known.get(name).map(|known| known.due), name))
        .collect();
    due.sort();
    let more = due.len() > AT_ONCE;
    due.truncate(AT_ONCE);
    (due.into_iter().map(|(_, name)| name.clone()).collect(), more)
}

/// Whether a node is not ready, or was not until a moment ago.
fn is_lost(node: &Node, now: Timestamp) -> bool {
    let status = node.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let Some(ready) = conditions.iter().find(|condition| condition.type_ == "Ready") else {
        return false;
    };
    let since = ready.last_transition_time.as_ref().map(|Time(at)| at.as_second());
    ready.status != "True" || since.is_some_and(|since| now.0.saturating_sub(since) < RECOVERY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(status: &str, since: &str) -> Node {
        let ready = json!({"type": "Ready", "status": status, "lastTransitionTime": since});
        let conditions = json!([{"type": "DiskPressure", "status": "False"}, ready]);
        serde_json::from_value(json!({"metadata": {"name": "a"}, "status": {"conditions": conditions}})).unwrap()
    }

    #[test]
    fn a_node_is_lost_until_some_time_after_it_is_ready_again() {
        let noon = Timestamp(1_796_040_000);
        let (long_ago, just_now) = ("2026-11-30T09:00:00Z", "2026-11-30T11:59:30Z");
        assert!(is_lost(&node("Unknown", long_ago), noon));
        assert!(is_lost(&node("False", long_ago), noon));
        assert!(is_lost(&node("True", just_now), noon));
        assert!(!is_lost(&node("True", long_ago), noon));
        assert!(!is_lost(&Node::default(), noon));
    }

    #[test]
    fn a_node_is_asked_about_again_when_more_of_its_pods_become_unready() {
        let mut known = HashMap::new();
        let wanted = |unready| BTreeMap::from([(Arc::from("a"), unready)]);
        assert_eq!(due(&mut known, &wanted(1)).0.len(), 1);
        known.insert(
            Arc::from("a"),
            Known {
                unready: 1,
                due: Instant::now() + LATER,
                lost: Some(false),
            },
        );
        assert!(due(&mut known, &wanted(1)).0.is_empty());
        assert_eq!(due(&mut known, &wanted(2)).0.len(), 1);
        assert!(due(&mut known, &BTreeMap::new()).0.is_empty());
        assert!(known.is_empty());
    }

    #[test]
    fn every_node_has_its_turn() {
        let mut known = HashMap::new();
        let names = (0..=AT_ONCE).map(|number| Arc::<str>::from(format!("node-{number:03}")));
        let wanted: BTreeMap<_, _> = names.map(|name| (name, 1)).collect();
        let (first, more) = due(&mut known, &wanted);
        assert_eq!((first.len(), more), (AT_ONCE, true));
        for name in first {
            let answered = Known {
                unready: 1,
                due: Instant::now(),
                lost: Some(false),
            };
            known.insert(name, answered);
        }
        // All of them are due again, but one was never asked about.
        let (second, _) = due(&mut known, &wanted);
        assert_eq!(&*second[0], format!("node-{AT_ONCE:03}"));
    }
}
