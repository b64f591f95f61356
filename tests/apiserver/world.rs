//! The two ends a test holds: the API (as admin, to change things) and what the source says of it.

use crate::fixture::Server;
use narthex::testing::dialect::{Change, Object};
use narthex::testing::model::{Diagnostic, Kind, ObjectRef};
use narthex::testing::source::cluster::{self, ClusterOptions, Timing};
use narthex::testing::source::{Event, Phase, Wanted, Watches};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

/// How long anything may take to arrive. Far more than it takes; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// As in production, in a hurry.
pub fn hurried() -> Timing {
    Timing {
        watch_time: Duration::from_secs(5),
        margin: Duration::from_secs(1),
        page_size: 3,
        compare_every: Duration::from_secs(2),
        well_after: Duration::from_secs(1),
        shortest_wait: Duration::from_millis(50),
        longest_wait: Duration::from_secs(1),
        denied_wait: Duration::from_secs(1),
    }
}

/// What a cluster source has said, put together as the control task would.
pub struct World {
    /// All objects, as last seen.
    pub objects: BTreeMap<String, Object>,
    /// Every change, in order, in short: `replace Ingress 2`, `apply Service default/web`.
    pub history: Vec<String>,
    /// What could not be decoded.
    pub broken: Vec<Diagnostic>,
    /// The state of the watches.
    pub watches: Arc<Watches>,
    wanted: watch::Sender<Wanted>,
    events: mpsc::Receiver<Event>,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    /// Starts a source for one of the server's users.
    pub async fn watch(server: &Server, user: &str, namespaces: &[&str]) -> Self {
        Self::watch_with(server.kubeconfig(user), namespaces, hurried()).await
    }

    /// Starts a source.
    pub async fn watch_with(kubeconfig: PathBuf, namespaces: &[&str], timing: Timing) -> Self {
        let options = ClusterOptions {
            kubeconfig: Some(kubeconfig),
            namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
            timing,
            ..ClusterOptions::default()
        };
        let client = cluster::connect(&options).await.unwrap();
        let (sender, events) = mpsc::channel(16);
        let (wanted, taken) = watch::channel(Wanted::default());
        let watches = Arc::<Watches>::default();
        let task = tokio::spawn(cluster::run(client, options, sender, watches.clone(), taken));
        World {
            objects: BTreeMap::new(),
            history: vec![],
            broken: vec![],
            watches,
            wanted,
            events,
            task,
        }
    }

    /// Wants these Secrets, by namespace and name, and no others.
    pub fn want(&self, names: &[(&str, &str)]) {
        let names = names.iter().map(|&(namespace, name)| (namespace.into(), name.into()));
        self.wanted.send_modify(|wanted| wanted.names = names.collect());
    }

    /// Asks about these nodes, each with how many of its pods are unready, and about no others.
    pub fn ask_about(&self, nodes: &[(&str, usize)]) {
        let nodes = nodes.iter().map(|&(name, unready)| (name.into(), unready));
        self.wanted.send_modify(|wanted| wanted.nodes = nodes.collect());
    }

    /// Takes events until something holds.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            // Not everything that is waited for comes with an event: the state of a watch does not.
            let soon = deadline.min(Instant::now() + Duration::from_millis(50));
            match timeout_at(soon, self.events.recv()).await {
                Ok(Some(event)) => self.take(event),
                Ok(None) => panic!("the source ended while waiting for: {what}"),
                Err(_) if Instant::now() < deadline => {}
                Err(_) => panic!(
                    "never came: {what}\nobjects: {:#?}\nhistory: {:#?}\nwatches: {:#?}",
                    self.objects.keys(),
                    self.history,
                    self.watches.snapshot()
                ),
            }
        }
    }

    /// Takes events until every required watch has its first list.
    pub async fn until_synced(&mut self) {
        self.until("first lists", |world| world.watches.all_synced()).await;
    }

    /// Whether an object is there: `Ingress default/web`.
    pub fn has(&self, object: &str) -> bool {
        self.objects.contains_key(object)
    }

    /// How many of a kind are there.
    pub fn count(&self, kind: Kind) -> usize {
        self.objects.values().filter(|object| object.kind() == kind).count()
    }

    /// Why a watch is failing.
    pub fn failing(&self, watch: &str) -> Option<String> {
        match self.watches.snapshot().remove(watch)?.phase {
            Phase::Failing(why) => Some(why),
            _ => None,
        }
    }

    /// Whether a watch follows changes.
    pub fn live(&self, watch: &str) -> bool {
        self.watches
            .snapshot()
            .get(watch)
            .is_some_and(|watch| watch.phase == Phase::Live)
    }

    /// Ends the source, which must notice by itself.
    pub async fn end(self) {
        drop(self.events);
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("run returns when nobody listens")
            .unwrap();
    }

    fn take(&mut self, event: Event) {
        let change = match event {
            Event::Synced(name) => {
                self.history.push(format!("synced {name}"));
                self.watches.synced(&name);
                let complete = self.watches.all_listed();
                return self.wanted.send_modify(|wanted| wanted.complete = complete);
            }
            Event::Change(change) => change,
            Event::Together(changes) => panic!("an API server tells of one change at a time: {changes:?}"),
        };
        match change {
            Change::Apply(object) => {
                let name = object.reference().to_string();
                self.history.push(format!("apply {name}"));
                self.objects.insert(name, object);
            }
            Change::Delete(object) => {
                self.history.push(format!("delete {object}"));
                self.objects.remove(&object.to_string());
            }
            Change::Replace {
                kind,
                namespace,
                objects,
                broken,
            } => {
                self.history.push(format!("replace {kind} {}", objects.len()));
                let gone = |reference: &ObjectRef| {
                    let here = namespace
                        .as_ref()
                        .is_none_or(|namespace| *namespace == reference.namespace);
                    reference.kind == kind && here
                };
                self.objects.retain(|_, object| !gone(&object.reference()));
                self.objects.extend(
                    objects
                        .into_iter()
                        .map(|object| (object.reference().to_string(), object)),
                );
                self.broken.extend(broken);
            }
            Change::Broken(diagnostic) => self.broken.push(diagnostic),
            Change::Node { name, lost } => {
                self.history.push(format!("node {name} lost {lost}"));
            }
            other => panic!("not for a cluster to say: {other:?}"),
        }
    }
}

/// The API, as admin.
pub struct Admin(kube::Client);

impl Admin {
    /// Of a server.
    pub async fn of(server: &Server) -> Self {
        let options = ClusterOptions {
            kubeconfig: Some(server.kubeconfig("admin")),
            ..Default::default()
        };
        Admin(cluster::connect(&options).await.unwrap())
    }

    /// Makes or changes an object, tried again until the server takes it: one that has just started may refuse.
    pub async fn apply(&self, object: Value) {
        let uri = format!("{}?fieldManager=test&force=true", path(&object));
        let body = object.to_string();
        let request = || {
            http::Request::patch(&uri)
                .header("content-type", "application/apply-patch+yaml")
                .body(body.clone().into_bytes())
                .unwrap()
        };
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.0.request::<Value>(request()).await {
            assert!(Instant::now() < deadline, "{uri}: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Deletes an object.
    pub async fn delete(&self, object: Value) {
        let request = http::Request::delete(path(&object)).body(vec![]).unwrap();
        self.0
            .request::<Value>(request)
            .await
            .unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// What is at a path; none if nothing is.
    pub async fn read(&self, path: &str) -> Option<Value> {
        let request = http::Request::get(path).body(vec![]).unwrap();
        self.0.request::<Value>(request).await.ok()
    }

    /// Puts fields into the status of an object.
    pub async fn status(&self, object: &Value, status: Value) {
        let request = http::Request::patch(format!("{}/status", path(object)))
            .header("content-type", "application/merge-patch+json")
            .body(json!({"status": status}).to_string().into_bytes())
            .unwrap();
        self.0.request::<Value>(request).await.unwrap();
    }

    /// Makes namespaces.
    pub async fn namespaces(&self, names: &[&str]) {
        for name in names {
            self.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
                .await;
        }
    }

    /// Gives a user the right to read some kinds; in one namespace, or everywhere.
    pub async fn allow(&self, user: &str, namespace: Option<&str>, kinds: &[(&str, &[&str])]) {
        let rule = |&(group, resources): &(&str, &[&str])| json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]});
        let rules: Vec<Value> = kinds.iter().map(rule).collect();
        let (role, metadata) = match namespace {
            Some(namespace) => ("Role", json!({"name": user, "namespace": namespace})),
            None => ("ClusterRole", json!({"name": user})),
        };
        let group = "rbac.authorization.k8s.io";
        let api_version = format!("{group}/v1");
        self.apply(json!({"apiVersion": api_version, "kind": role, "metadata": metadata, "rules": rules}))
            .await;
        self.apply(json!({
            "apiVersion": api_version, "kind": format!("{role}Binding"), "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": role, "name": user},
            "subjects": [{"kind": "User", "apiGroup": group, "name": user}],
        }))
        .await;
    }
}

fn path(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let api_version = text("/apiVersion").unwrap();
    let root = if api_version.contains('/') { "apis" } else { "api" };
    let kind = text("/kind").unwrap().to_lowercase();
    let plural = match kind.as_str() {
        "endpoints" => kind,
        _ if kind.ends_with('s') => format!("{kind}es"),
        _ => format!("{kind}s"),
    };
    let name = text("/metadata/name").unwrap();
    match text("/metadata/namespace") {
        Some(namespace) => format!("/{root}/{api_version}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("/{root}/{api_version}/{plural}/{name}"),
    }
}

/// An Ingress for a host.
pub fn ingress(namespace: &str, name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"rules": [{"host": host, "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
        ]}}]},
    })
}

/// A Service with one port.
pub fn service(namespace: &str, name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"name": "http", "port": port}]},
    })
}

/// An EndpointSlice with one address.
pub fn slice(namespace: &str, name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
    })
}

/// An Endpoints object with one address.
pub fn endpoints(namespace: &str, name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name, "namespace": namespace},
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"name": "http", "port": 8080}]}],
    })
}

/// An IngressClass.
pub fn class(name: &str, controller: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": name},
        "spec": {"controller": controller},
    })
}

/// A Secret of a type, with a certificate.
pub fn secret(namespace: &str, name: &str, kind: &str, certificate: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "type": kind,
        "stringData": {"tls.crt": certificate, "tls.key": "key"},
    })
}
