//! Secrets: certificates all together, any other by name.

use crate::fixture::shared;
use crate::world::{Admin, World, hurried, secret};
use clap::Parser;
use narthex::testing::cli::Cli;
use narthex::testing::compile::{Options, State};
use narthex::testing::control::{Control, Guard, Shared};
use narthex::testing::dialect::Object;
use narthex::testing::model::Kind;
use narthex::testing::serve::handover::SocketKey;
use narthex::testing::serve::{Binding, Server, bind};
use narthex::testing::source::cluster::{self, ClusterOptions};
use narthex::testing::source::{EVENT_QUEUE, NAMED_SECRETS, Wanted};
use narthex::testing::table::Listener;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

const TLS: &str = "kubernetes.io/tls";

/// Its `tls.crt`.
fn certificate(world: &World, name: &str) -> Option<String> {
    match world.objects.get(name)? {
        Object::Secret(secret) => Some(String::from_utf8(secret.certificate.clone()?.to_vec()).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn is(name: &str, text: &str) -> impl Fn(&World) -> bool {
    move |world| certificate(world, name).as_deref() == Some(text)
}

fn lists(world: &World) -> usize {
    let lists = world.history.iter().filter(|said| said.starts_with("replace Secret"));
    lists.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_come_with_their_data_and_others_when_they_are_wanted() {
    let server = shared();
    let admin = Admin::of(server).await;
    let ns = "secrets";
    admin.namespaces(&[ns]).await;
    admin.apply(secret(ns, "cert", TLS, "one")).await;
    admin.apply(secret(ns, "opaque", "Opaque", "one")).await;
    let mut world = World::watch(server, "admin", &[ns]).await;
    world.want(&[(ns, "cert"), (ns, "opaque"), (ns, "missing"), (ns, "no such,name")]);
    world.until_synced().await;
    // Readiness waited for all of them.
    assert!(is("Secret secrets/cert", "one")(&world) && is("Secret secrets/opaque", "one")(&world));
    world.until("all is well", |world| world.live(NAMED_SECRETS)).await;
    let names: Vec<String> = world.watches.snapshot().into_keys().collect();
    let of_secrets: Vec<&String> = names
        .iter()
        .filter(|name| name.to_lowercase().starts_with("secret"))
        .collect();
    assert_eq!(
        of_secrets,
        [NAMED_SECRETS, "secrets in secrets"],
        "one line for all named ones"
    );

    admin.apply(secret(ns, "cert", TLS, "two")).await;
    world.until("a renewal", is("Secret secrets/cert", "two")).await;
    admin.apply(secret(ns, "opaque", "Opaque", "two")).await;
    world.until("a change", is("Secret secrets/opaque", "two")).await;
    admin.apply(secret(ns, "missing", "Opaque", "late")).await;
    world.until("a late one", is("Secret secrets/missing", "late")).await;

    // A type cannot be changed, so whoever chose the wrong one makes the Secret again.
    admin.delete(secret(ns, "opaque", "", "")).await;
    world
        .until("a deletion", |world| !world.has("Secret secrets/opaque"))
        .await;
    admin.apply(secret(ns, "opaque", TLS, "three")).await;
    world.until("another type", is("Secret secrets/opaque", "three")).await;
    admin.delete(secret(ns, "opaque", "", "")).await;
    admin.apply(secret(ns, "opaque", "Opaque", "four")).await;
    world.until("and back", is("Secret secrets/opaque", "four")).await;

    world.want(&[(ns, "cert"), (ns, "opaque")]);
    world
        .until("wanted no more", |world| !world.has("Secret secrets/missing"))
        .await;
    assert!(world.has("Secret secrets/cert") && world.has("Secret secrets/opaque"));
    assert!(world.broken.is_empty(), "{:?}", world.broken);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_list_of_certificates_takes_no_other_secret_away() {
    let server = shared();
    let admin = Admin::of(server).await;
    let ns = "relist";
    admin.namespaces(&[ns]).await;
    admin.apply(secret(ns, "cert", TLS, "one")).await;
    admin.apply(secret(ns, "opaque", "Opaque", "one")).await;
    let mut world = World::watch(server, "admin", &[ns]).await;
    world.want(&[(ns, "opaque")]);
    world.until_synced().await;
    world
        .until("both", |world| {
            world.has("Secret relist/cert") && world.has("Secret relist/opaque")
        })
        .await;
    let before = lists(&world);
    let deadline = Instant::now() + Duration::from_secs(60);
    while lists(&world) == before {
        // Others' changes make the history, then etcd forgets it: where the next watch wants to go on is gone.
        for number in 0..5 {
            admin
                .apply(secret("default", "other", "Opaque", &number.to_string()))
                .await;
        }
        tokio::task::spawn_blocking(|| shared().compact()).await.unwrap();
        let soon = Instant::now() + Duration::from_secs(2);
        world
            .until("two seconds, or another list", |world| {
                assert!(world.has("Secret relist/opaque"), "{:?}", world.history);
                lists(world) > before || Instant::now() > soon
            })
            .await;
        assert!(Instant::now() < deadline, "no second list: {:?}", world.history);
    }
    assert!(
        world.history.contains(&"replace Secret 2".to_owned()),
        "{:?}",
        world.history
    );
    admin.apply(secret(ns, "opaque", "Opaque", "two")).await;
    world
        .until("a change after it", is("Secret relist/opaque", "two"))
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_listing_is_forbidden_those_that_are_wanted_come_by_name() {
    let server = shared();
    let admin = Admin::of(server).await;
    admin.namespaces(&["open", "closed", "single"]).await;
    let kinds: [(&str, &[&str]); 3] = [
        ("networking.k8s.io", &["ingresses", "ingressclasses"]),
        ("", &["services"]),
        ("discovery.k8s.io", &["endpointslices"]),
    ];
    admin.allow("narrow", None, &kinds).await;
    admin.allow("narrow", Some("open"), &[("", &["secrets"])]).await;
    // Here one Secret alone may be read.
    admin.allow("narrow", Some("single"), &[("", &["secrets"])]).await;
    let rule = json!({
        "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["cert"], "verbs": ["get", "list", "watch"],
    });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "narrow", "namespace": "single"}, "rules": [rule],
    });
    admin.apply(role).await;
    for namespace in ["open", "closed", "single"] {
        for name in ["cert", "other"] {
            admin.apply(secret(namespace, name, TLS, "one")).await;
        }
    }
    let mut world = World::watch(server, "narrow", &[]).await;
    world.want(&[("open", "cert"), ("closed", "cert"), ("single", "cert")]);
    world.until_synced().await;
    for name in ["Secret open/cert", "Secret single/cert"] {
        assert!(is(name, "one")(&world), "readiness waited for {name}");
    }
    world
        .until("said", |world| {
            world.failing("secrets").is_some() && world.failing(NAMED_SECRETS).is_some()
        })
        .await;
    const RULE: &str = r#"{apiGroups: [""], resources: ["secrets"], verbs: ["get","list","watch"]}"#;
    assert_eq!(
        world.failing("secrets").unwrap(),
        format!("forbidden: add to the ClusterRole: {RULE}; until then, those that are wanted are asked for by name")
    );
    assert_eq!(
        world.failing(NAMED_SECRETS).unwrap(),
        format!("1 of 3; closed/cert: forbidden: add to a Role in namespace closed: {RULE}")
    );
    admin.apply(secret("open", "cert", TLS, "two")).await;
    world.until("a renewal", is("Secret open/cert", "two")).await;
    assert!(!world.has("Secret closed/cert") && !world.has("Secret open/other"));

    // One more Role, and then all of the cluster: named watches are needed no more.
    admin.allow("narrow", Some("closed"), &[("", &["secrets"])]).await;
    world.until("a new role", is("Secret closed/cert", "one")).await;
    world.until("all is well", |world| world.live(NAMED_SECRETS)).await;
    let all: [(&str, &[&str]); 3] = [kinds[0], ("", &["services", "secrets"]), kinds[2]];
    admin.allow("narrow", None, &all).await;
    world
        .until("all of them", |world| {
            world.live("secrets") && world.has("Secret open/other")
        })
        .await;
    world.want(&[]);
    admin.apply(secret("closed", "cert", TLS, "three")).await;
    world.until("a renewal", is("Secret closed/cert", "three")).await;
    assert!(world.has("Secret open/cert"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_task_asks_for_what_the_table_needs_before_it_is_ready() {
    let api = shared();
    let admin = Admin::of(api).await;
    let ns = "default-certificate";
    admin.namespaces(&[ns]).await;
    admin.apply(secret(ns, "cert", "Opaque", "one")).await;
    let args = Cli::parse_from(["narthex"]).serve;
    let options = ClusterOptions {
        kubeconfig: Some(api.kubeconfig("admin")),
        // The default certificate's namespace need not be one that is watched.
        namespaces: vec!["default".to_owned()],
        timing: hurried(),
        ..ClusterOptions::default()
    };
    let client = cluster::connect(&options).await.unwrap();
    let (sender, events) = mpsc::channel(EVENT_QUEUE);
    let (secrets, wanted) = watch::channel(Wanted::default());
    let shared = Arc::new(Shared::new(Arc::default()));
    let tables = shared.tables.clone();
    let server = Server::start(
        tables,
        Arc::new(args.proxy_settings(None, 1000)),
        args.shard_settings(None),
        1,
        10,
    )
    .unwrap();
    let listener = Arc::new(Listener::http(0, "127.0.0.1:0".parse().unwrap()));
    let bound = vec![bind(SocketKey::of(&listener), &Binding::default()).unwrap()];
    let state = State::new(Options {
        listeners: vec![listener],
        default_certificate: Some((ns.into(), "cert".into())),
        ..Options::default()
    });
    let control = Control {
        guard: Guard::new(state),
        events,
        sender: sender.clone(),
        secrets,
        shared: shared.clone(),
        server: Arc::new(Mutex::new(server)),
        admin_service: None,
        live: None,
        bound,
    };
    let source = tokio::spawn(cluster::run(client, options, sender, shared.watches.clone(), wanted));
    let control = tokio::spawn(control.run());
    let deadline = Instant::now() + Duration::from_secs(60);
    while !shared.is_ready() {
        assert!(Instant::now() < deadline, "{:?}", shared.watches.snapshot());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Counted just before it became ready.
    assert_eq!(shared.counts.lock().unwrap()[&Kind::Secret], 1);
    source.abort();
    control.abort();
}
