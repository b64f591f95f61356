//! Kinds that are forbidden: what is said, what stands in, and what happens once they are allowed.

use crate::fixture::shared;
use crate::world::{Admin, World, endpoints, ingress, service, slice};
use narthex::testing::model::Kind;

const INGRESS_RULE: &str =
    r#"{apiGroups: ["networking.k8s.io"], resources: ["ingresses"], verbs: ["get","list","watch"]}"#;
const CLASS_RULE: &str =
    r#"{apiGroups: ["networking.k8s.io"], resources: ["ingressclasses"], verbs: ["get","list","watch"]}"#;
const SLICE_RULE: &str =
    r#"{apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get","list","watch"]}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_no_rights_each_watch_says_which_rule_to_add() {
    let mut world = World::watch(shared(), "nobody", &[]).await;
    let expected = [
        (
            "ingresses",
            format!("forbidden: add to the ClusterRole: {INGRESS_RULE}"),
        ),
        (
            "ingressclasses",
            format!("forbidden: add to the ClusterRole: {CLASS_RULE}"),
        ),
        (
            "endpointslices",
            format!("forbidden: add to the ClusterRole: {SLICE_RULE}; Endpoints are read instead"),
        ),
    ];
    world
        .until("all is denied", |world| {
            let all = [
                "ingresses",
                "ingressclasses",
                "endpointslices",
                "endpoints",
                "services",
                "secrets",
            ];
            all.iter().all(|watch| world.failing(watch).is_some())
        })
        .await;
    for (watch, advice) in expected {
        assert_eq!(world.failing(watch).as_deref(), Some(advice.as_str()), "{watch}");
    }
    assert!(!world.watches.all_synced());
    // Of kinds that nobody has to have, being denied is known too.
    let is_sought = |said: &String| {
        [
            "gatewayclasses",
            "gateways",
            "httproutes",
            "grpcroutes",
            "tlsroutes",
            "tcproutes",
            "referencegrants",
        ]
        .iter()
        .any(|kind| *said == format!("synced {kind}"))
    };
    assert!(
        world.history.iter().all(is_sought),
        "nothing known, nothing said: {:?}",
        world.history
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn optional_kinds_do_not_block_and_come_when_allowed() {
    let server = shared();
    let admin = Admin::of(server).await;
    let required: (&str, &[&str]) = ("networking.k8s.io", &["ingresses"]);
    let core: (&str, &[&str]) = ("", &["services"]);
    let slices: (&str, &[&str]) = ("discovery.k8s.io", &["endpointslices"]);
    admin.allow("optional", None, &[required, core, slices]).await;
    let mut world = World::watch(server, "optional", &[]).await;
    world.until_synced().await;
    world
        .until("said", |world| {
            let optional = ["ingressclasses", "secrets", "namespaces"];
            optional.iter().all(|watch| world.failing(watch).is_some())
        })
        .await;
    let said = world.failing("namespaces").unwrap();
    assert!(said.contains("resources: [\"namespaces\"]"), "{said}");
    assert!(
        said.contains("until then, Ingresses of a namespace that is being deleted keep"),
        "{said}"
    );
    assert!(world.live("endpointslices"));
    assert!(!world.watches.snapshot().contains_key("endpoints"));

    admin
        .allow(
            "optional",
            None,
            &[
                ("networking.k8s.io", &["ingresses", "ingressclasses"]),
                ("", &["services", "secrets", "namespaces"]),
                slices,
            ],
        )
        .await;
    world
        .until("allowed", |world| {
            let optional = ["ingressclasses", "secrets", "namespaces"];
            optional.iter().all(|watch| world.live(watch))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_slices_endpoints_stand_in_until_slices_are_allowed() {
    let server = shared();
    let admin = Admin::of(server).await;
    admin.namespaces(&["walk"]).await;
    admin.apply(endpoints("walk", "web", "10.0.0.1")).await;
    admin.apply(slice("walk", "web-1", "10.0.0.2")).await;
    let walkthrough: [(&str, &[&str]); 2] = [("networking.k8s.io", &["ingresses"]), ("", &["services", "endpoints"])];
    admin.allow("walker", None, &walkthrough).await;

    let mut world = World::watch(server, "walker", &[]).await;
    world.until_synced().await;
    world
        .until("said", |world| world.failing("endpointslices").is_some())
        .await;
    assert!(world.has("Endpoints walk/web"));
    assert_eq!(world.count(Kind::EndpointSlice), 0);
    assert!(world.failing("endpointslices").unwrap().contains(SLICE_RULE));
    admin.apply(endpoints("walk", "late", "10.0.0.3")).await;
    world.until("a change", |world| world.has("Endpoints walk/late")).await;

    // Allowed: slices take over, without a moment that has neither.
    let both: [(&str, &[&str]); 3] = [
        walkthrough[0],
        walkthrough[1],
        ("discovery.k8s.io", &["endpointslices"]),
    ];
    admin.allow("walker", None, &both).await;
    world
        .until("slices", |world| {
            world.has("EndpointSlice walk/web-1") && world.count(Kind::Endpoints) == 0
        })
        .await;
    world
        .until("the stand-in is forgotten", |world| {
            !world.watches.snapshot().contains_key("endpoints")
        })
        .await;
    assert!(
        world.watches.all_synced(),
        "a change of watch is no reason to be unready"
    );
    let said = |what: &str| world.history.iter().position(|said| said.starts_with(what));
    assert!(
        said("replace EndpointSlice") < said("replace Endpoints 0"),
        "{:?}",
        world.history
    );
    admin.apply(slice("walk", "web-2", "10.0.0.4")).await;
    world
        .until("a change of a slice", |world| world.has("EndpointSlice walk/web-2"))
        .await;

    // And back: stale slices must not hide what Endpoints say.
    admin.allow("walker", None, &walkthrough).await;
    world
        .until("endpoints again", |world| {
            world.has("Endpoints walk/late") && world.count(Kind::EndpointSlice) == 0
        })
        .await;
    assert!(world.watches.all_synced());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_namespaces_no_more_rights_are_needed_and_nothing_else_is_seen() {
    let server = shared();
    let admin = Admin::of(server).await;
    admin.namespaces(&["team-a", "team-b", "team-c"]).await;
    for namespace in ["team-a", "team-b", "team-c"] {
        admin.apply(ingress(namespace, "web", "a.example")).await;
        admin.apply(service(namespace, "web", 80)).await;
        admin.apply(slice(namespace, "web-1", "10.0.0.1")).await;
    }
    for namespace in ["team-a", "team-b"] {
        let kinds: [(&str, &[&str]); 3] = [
            ("networking.k8s.io", &["ingresses"]),
            ("", &["services", "secrets"]),
            ("discovery.k8s.io", &["endpointslices"]),
        ];
        admin.allow("team", Some(namespace), &kinds).await;
    }
    let mut world = World::watch(server, "team", &["team-a", "team-b"]).await;
    world.until_synced().await;
    for kind in [Kind::Ingress, Kind::Service, Kind::EndpointSlice] {
        assert_eq!(world.count(kind), 2, "{kind}");
    }
    world
        .until("said", |world| world.failing("ingressclasses").is_some())
        .await;
    assert!(world.failing("ingressclasses").unwrap().contains(CLASS_RULE));
    admin.apply(service("team-c", "late", 80)).await;
    admin.apply(service("team-b", "late", 80)).await;
    world.until("a change", |world| world.has("Service team-b/late")).await;
    admin.delete(service("team-a", "web", 0)).await;
    world
        .until("a deletion", |world| !world.has("Service team-a/web"))
        .await;
    assert!(world.has("Service team-b/web"), "one namespace's list is not another's");
    assert!(world.objects.keys().all(|name| !name.contains("team-c")));

    let mut outside = World::watch(server, "team", &["team-c"]).await;
    outside
        .until("denied", |world| world.failing("ingresses in team-c").is_some())
        .await;
    assert_eq!(
        outside.failing("ingresses in team-c").unwrap(),
        format!("forbidden: add to a Role in namespace team-c: {INGRESS_RULE}")
    );
}
