//! Nodes that Kubernetes has lost sight of.

use crate::fixture::shared;
use crate::world::{Admin, World};
use serde_json::{Value, json};

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
}

fn ready(status: &str) -> Value {
    json!({"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
}

fn said(world: &World, wanted: &str) -> usize {
    world.history.iter().filter(|said| *said == wanted).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_asked_about_while_somebody_wants_to_know() {
    let server = shared();
    let admin = Admin::of(server).await;
    for name in ["well", "silent"] {
        admin.apply(node(name)).await;
    }
    admin.status(&node("well"), ready("True")).await;
    admin.status(&node("silent"), ready("Unknown")).await;
    let mut world = World::watch(server, "admin", &[]).await;
    world.until_synced().await;
    world.ask_about(&[("well", 1), ("silent", 1), ("absent", 1), ("well/proxy", 1)]);
    world
        .until("all answers", |world| {
            said(world, "node silent lost true") == 1
                && said(world, "node well lost false") == 1
                && said(world, "node absent lost false") == 1
                && said(world, "node well/proxy lost false") == 1
        })
        .await;

    // It is heard of again, and another pod of it became unready.
    admin.status(&node("silent"), ready("True")).await;
    world.ask_about(&[("silent", 2)]);
    world
        .until("it is well again", |world| said(world, "node silent lost false") == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_read_nodes_unready_pods_get_no_requests() {
    let server = shared();
    let admin = Admin::of(server).await;
    admin.apply(node("unseen")).await;
    admin.status(&node("unseen"), ready("Unknown")).await;
    let read: &[&str] = &["services", "secrets", "configmaps", "namespaces"];
    admin
        .allow(
            "no-nodes",
            None,
            &[
                ("networking.k8s.io", &["ingresses", "ingressclasses"]),
                ("discovery.k8s.io", &["endpointslices"]),
                ("", read),
            ],
        )
        .await;
    let mut world = World::watch(server, "no-nodes", &[]).await;
    world.until_synced().await;
    world.ask_about(&[("unseen", 1)]);
    world
        .until("an answer", |world| said(world, "node unseen lost false") == 1)
        .await;
}
