//! What happens in the cluster arrives.

use crate::fixture::shared;
use crate::world::{Admin, World, class, hurried, ingress, secret, service, slice};
use narthex::testing::dialect::Object;
use narthex::testing::model::Kind;
use narthex::testing::source::cluster::Timing;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_is_listed_and_its_changes_arrive() {
    let server = shared();
    let admin = Admin::of(server).await;
    let ns = "kinds";
    admin.namespaces(&[ns, "elsewhere"]).await;
    // More than a page of them.
    for number in 0..7 {
        admin.apply(ingress(ns, &format!("web-{number}"), "a.example")).await;
    }
    admin.apply(service(ns, "web", 80)).await;
    admin.apply(slice(ns, "web-1", "10.0.0.1")).await;
    admin.apply(class("kinds", "narthex.io/ingress-controller")).await;
    admin.apply(secret(ns, "cert", "kubernetes.io/tls", "one")).await;
    admin.apply(secret(ns, "password", "Opaque", "one")).await;
    admin.apply(ingress("elsewhere", "web", "a.example")).await;

    let mut world = World::watch(server, "admin", &[ns]).await;
    assert!(!world.watches.all_synced(), "nothing is listed yet");
    world.until_synced().await;
    assert_eq!(world.count(Kind::Ingress), 7);
    let first: Vec<_> = world
        .history
        .iter()
        .filter(|said| said.contains("Ingress ") || said.contains(" ingresses"))
        .collect();
    assert_eq!(
        first,
        ["replace Ingress 7", "synced ingresses in kinds"],
        "one list, one change"
    );
    world
        .until("the optional kinds", |world| {
            world.has("IngressClass kinds") && world.has("Secret kinds/cert")
        })
        .await;
    assert!(world.has("Service kinds/web") && world.has("EndpointSlice kinds/web-1"));
    assert!(!world.has("Secret kinds/password"), "only certificates are watched");
    let Object::Secret(cert) = &world.objects["Secret kinds/cert"] else {
        panic!()
    };
    assert_eq!(cert.kind.as_deref(), Some("kubernetes.io/tls"));

    // Edits.
    admin.apply(ingress(ns, "web-0", "b.example")).await;
    admin.apply(service(ns, "web", 8080)).await;
    admin.apply(slice(ns, "web-1", "10.0.0.2")).await;
    admin.apply(class("kinds", "narthex.io/ingress-controller")).await;
    world
        .until("edits", |world| {
            let host = match &world.objects["Ingress kinds/web-0"] {
                Object::Ingress(ingress) => ingress.rules[0].host.clone(),
                _ => None,
            };
            let address = match &world.objects["EndpointSlice kinds/web-1"] {
                Object::Endpoints(slice) => slice.subsets[0].endpoints[0].addresses[0].clone(),
                _ => String::new(),
            };
            let ports = match &world.objects["Service kinds/web"] {
                Object::Service(service) => service.ports.iter().map(|port| port.port).collect(),
                _ => vec![],
            };
            host.as_deref() == Some("b.example") && address == "10.0.0.2" && ports == [8080]
        })
        .await;

    // New ones, and deletions.
    admin.apply(service(ns, "new", 80)).await;
    for object in [
        ingress(ns, "web-0", ""),
        service(ns, "web", 0),
        slice(ns, "web-1", ""),
        class("kinds", ""),
        secret(ns, "cert", "", ""),
    ] {
        admin.delete(object).await;
    }
    world
        .until("deletions", |world| {
            let gone = [
                "Ingress kinds/web-0",
                "Service kinds/web",
                "EndpointSlice kinds/web-1",
                "IngressClass kinds",
                "Secret kinds/cert",
            ];
            world.has("Service kinds/new") && gone.iter().all(|name| !world.has(name))
        })
        .await;
    assert!(world.objects.keys().all(|name| !name.contains("elsewhere/")));
    assert!(world.broken.is_empty(), "{:?}", world.broken);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_watch_is_heard_of_by_its_bookmarks() {
    let server = shared();
    let admin = Admin::of(server).await;
    admin.namespaces(&["quiet"]).await;
    // The server sends a bookmark two seconds before it ends a watch, if anything at all happened to that kind.
    admin.apply(service("default", "not-so-quiet", 80)).await;
    let watch_time = Duration::from_secs(8);
    let timing = Timing {
        watch_time,
        compare_every: Duration::from_secs(3600),
        ..hurried()
    };
    let mut world = World::watch_with(server.kubeconfig("admin"), &["quiet"], timing).await;
    world.until_synced().await;
    let heard = |world: &World| world.watches.snapshot()["services in quiet"].last_event.unwrap();
    // A list, an opening, an end and the next opening come in no time or a whole watch apart; a bookmark is between.
    let mut last = heard(&world);
    let mut steps = vec![];
    while !steps
        .iter()
        .any(|step| (Duration::from_millis(500)..watch_time - Duration::from_secs(1)).contains(step))
    {
        assert!(steps.len() < 12, "no bookmark: {steps:?}");
        world.until("another sign of life", |world| heard(world) > last).await;
        steps.push(heard(&world) - last);
        last = heard(&world);
    }
    let change = world.history.iter().find(|said| said.contains("quiet/"));
    assert_eq!(change, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_history_is_made_up_for_by_a_list() {
    let server = shared();
    let admin = Admin::of(server).await;
    admin.namespaces(&["history"]).await;
    admin
        .apply(class("history-stays", "narthex.io/ingress-controller"))
        .await;
    admin
        .apply(class("history-goes", "narthex.io/ingress-controller"))
        .await;
    let mut world = World::watch(server, "admin", &["history"]).await;
    world
        .until("the first list", |world| world.has("IngressClass history-goes"))
        .await;
    let lists = |world: &World| {
        world
            .history
            .iter()
            .filter(|said| said.starts_with("replace IngressClass"))
            .count()
    };
    let before = lists(&world);
    // Others' changes make the history, then etcd forgets it: where the next watch wants to go on is gone.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while lists(&world) == before {
        for number in 0..5 {
            admin.apply(service("history", "other", 1000 + number)).await;
        }
        tokio::task::spawn_blocking(|| shared().compact()).await.unwrap();
        let soon = tokio::time::Instant::now() + Duration::from_secs(2);
        world
            .until("two seconds, or another list", |world| {
                lists(world) > before || tokio::time::Instant::now() > soon
            })
            .await;
        assert!(
            tokio::time::Instant::now() < deadline,
            "no second list: {:?}",
            world.history
        );
    }
    admin.delete(class("history-goes", "")).await;
    world
        .until("a change after the list", |world| {
            !world.has("IngressClass history-goes")
        })
        .await;
    assert!(world.has("IngressClass history-stays"));
    assert!(!world.history.contains(&"replace IngressClass 0".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotations_of_others_are_dropped() {
    let server = shared();
    let admin = Admin::of(server).await;
    admin.namespaces(&["notes"]).await;
    let mut object: Value = ingress("notes", "web", "a.example");
    object["metadata"]["annotations"] = json!({"narthex.io/merge-slashes": "false", "example.com/note": "x"});
    admin.apply(object).await;
    let mut world = World::watch(server, "admin", &["notes"]).await;
    world.until_synced().await;
    let meta = world.objects["Ingress notes/web"].meta();
    assert_eq!(
        meta.annotations.keys().collect::<Vec<_>>(),
        ["narthex.io/merge-slashes"]
    );
    assert!(meta.created.0 > 1_700_000_000 && meta.created.0 < i64::MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_deleted_is_known_to_be() {
    let server = shared();
    let admin = Admin::of(server).await;
    admin.namespaces(&["ending", "staying"]).await;
    let mut held = ingress("staying", "held", "a.example");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    admin.apply(held.clone()).await;
    let mut world = World::watch(server, "admin", &[]).await;
    world.until_synced().await;
    let deleting = |world: &World, name: &str| world.objects.get(name).map(|object| object.meta().deleting);
    world
        .until("all is there", |world| {
            ["Namespace ending", "Namespace staying", "Ingress staying/held"]
                .iter()
                .all(|name| deleting(world, name) == Some(false))
        })
        .await;
    // Nobody here finishes what a deletion begins, so both stay as they are meanwhile.
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ending"}});
    admin.delete(namespace).await;
    admin.delete(held.clone()).await;
    world
        .until("both are being deleted", |world| {
            ["Namespace ending", "Ingress staying/held"]
                .iter()
                .all(|name| deleting(world, name) == Some(true))
        })
        .await;
    assert_eq!(deleting(&world, "Namespace staying"), Some(false));
    held["metadata"]["finalizers"] = json!([]);
    admin.apply(held).await;
    world
        .until("the Ingress is gone", |world| !world.has("Ingress staying/held"))
        .await;
    world.end().await;
}
