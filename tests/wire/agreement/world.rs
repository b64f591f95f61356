//! Manifests, generated or given, and the flags they are served with.

use crate::tls_rig::{make, secret};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a narthex serves.
pub struct World {
    /// Manifests, one text for each file.
    pub files: Vec<String>,
    /// Hosts that requests ask for.
    pub hosts: Vec<String>,
    /// Paths that requests begin with.
    pub paths: Vec<String>,
    /// The class that most Ingresses name, if the manifests are given.
    class: Option<String>,
    /// Whether there are Routes of OpenShift.
    routes: bool,
    /// How many pods there are so far, and their port.
    pods: u32,
    port: u16,
}

/// How it is started.
pub struct Flags {
    pub https: bool,
    pub proxy_protocol: bool,
    more: Vec<String>,
}

const NAMESPACES: [&str; 3] = ["default", "shop", "blog"];
const HOSTS: [&str; 9] = [
    "a.test",
    "b.test",
    "www.a.test",
    "*.a.test",
    "*.b.test",
    "api.b.test",
    "*.www.a.test",
    "C.test",
    "",
];
const ASKED: [&str; 8] = [
    "a.test",
    "b.test",
    "www.a.test",
    "x.a.test",
    "x.b.test",
    "api.b.test",
    "x.www.a.test",
    "c.test",
];
const PATHS: [&str; 15] = [
    "/",
    "/api",
    "/api/",
    "/api/v1",
    "/api/v1/users",
    "/a%2Fb",
    "/foo//bar",
    "/foo/bar",
    "/café",
    "/.well-known/acme-challenge",
    "/a",
    "/a/b/c/d/e",
    "/x/../y",
    "",
    "//",
];
const ANNOTATIONS: [(&str, &str); 9] = [
    ("narthex.io/ssl-redirect", "true"),
    ("narthex.io/ssl-redirect", "false"),
    ("narthex.io/merge-slashes", "false"),
    ("narthex.io/merge-slashes", "false"),
    ("narthex.io/hsts", "max-age=60"),
    ("nginx.ingress.kubernetes.io/auth-url", "https://auth.test/"),
    ("nginx.ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8"),
    ("kubernetes.io/ingress.class", "another"),
    ("narthex.io/retries", "1"),
];
const PROTOCOLS: [&str; 6] = ["HTTP", "HTTP", "HTTPS", "H2C", "GRPC", "GRPCS"];

fn one<'c, T>(rng: &mut fastrand::Rng, choices: &'c [T]) -> &'c T {
    &choices[rng.usize(..choices.len())]
}

fn often(rng: &mut fastrand::Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}

impl Flags {
    /// Whether heads may be much smaller than they usually may.
    pub fn has_small_heads(&self) -> bool {
        self.more.iter().any(|flag| flag == "--max-head")
    }

    pub fn make(rng: &mut fastrand::Rng, world: &World) -> Self {
        let https = often(rng, 80);
        let trusted = often(rng, 50);
        let mut flags = Self {
            https,
            proxy_protocol: trusted && often(rng, 50),
            more: Vec::new(),
        };
        let mut add = |flag: &str, value: &str| flags.more.extend([flag.to_owned(), value.to_owned()]);
        if !https {
            add("--listen-https", "off");
        }
        if trusted {
            add("--trusted-proxies", "127.0.0.0/8");
        }
        for (percent, flag, value) in [
            (30, "--encoded-slash", "reject"),
            (30, "--https-port", "8443"),
            (20, "--max-headers", "20"),
            (20, "--max-uri", "100"),
            (20, "--max-head", "2KiB"),
            (10, "--ssl-redirect", "false"),
        ] {
            if often(rng, percent) {
                add(flag, value);
            }
        }
        if often(rng, 20) && !world.is_given() {
            add("--default-certificate", "default/tls-0");
        }
        flags
    }

    pub fn arguments(&self, world: &World) -> Vec<String> {
        let mut all = self.more.clone();
        if self.proxy_protocol {
            all.extend(["--proxy-protocol".to_owned(), "optional".to_owned()]);
        }
        if world.routes {
            all.extend(["--drop-in", "openshift", "--route-wildcards"].map(str::to_owned));
        }
        if let Some(class) = &world.class {
            all.extend(["--ingress-class".to_owned(), class.clone()]);
        }
        all
    }
}

impl World {
    fn empty(port: u16) -> Self {
        Self {
            files: Vec::new(),
            hosts: ASKED.map(str::to_owned).to_vec(),
            paths: PATHS
                .iter()
                .filter(|path| path.starts_with('/'))
                .map(ToString::to_string)
                .collect(),
            class: None,
            routes: false,
            pods: 0,
            port,
        }
    }

    fn push(&mut self, object: &Value) {
        self.files.push(object.to_string());
    }

    /// Generated manifests.
    pub fn make(rng: &mut fastrand::Rng, port: u16) -> Self {
        let mut world = Self::empty(port);
        for (index, names) in [&["a.test"][..], &["*.a.test"], &["b.test", "*.b.test"], &["api.b.test"]]
            .iter()
            .enumerate()
        {
            let made = make(names);
            for namespace in NAMESPACES {
                let text = secret(&format!("tls-{index}"), &made.certificate, &made.key);
                let text = text.replace("metadata: {", &format!("metadata: {{namespace: {namespace}, "));
                world.files.push(text);
            }
        }
        for namespace in NAMESPACES {
            for number in 0..6 {
                let mut annotations =
                    json!({"narthex.io/backend-protocol": *one(rng, &PROTOCOLS), "narthex.io/backend-verify": "false"});
                if often(rng, 5) {
                    annotations["traefik.ingress.kubernetes.io/auth-type"] = json!("basic");
                }
                let service = json!({
                    "apiVersion": "v1", "kind": "Service",
                    "metadata": {"name": format!("s{number}"), "namespace": namespace, "annotations": annotations},
                    "spec": {"ports": [{"name": "web", "port": 80}]},
                });
                world.serve(rng, &service);
            }
        }
        for number in 0..rng.usize(8..24) {
            let ingress = world.ingress(rng, number);
            world.push(&ingress);
        }
        world.routes = often(rng, 50);
        let routes = if world.routes { rng.usize(8..24) } else { 0 };
        for number in 0..routes {
            world.push(&route(rng, number));
        }
        world
    }

    fn ingress(&mut self, rng: &mut fastrand::Rng, number: usize) -> Value {
        let mut annotations = json!({});
        while often(rng, 45) {
            let (name, value) = *one(rng, &ANNOTATIONS);
            // Guards and foreign classes hide much, so there are few of them.
            if name.starts_with("narthex.io/") || often(rng, 25) {
                annotations[name] = json!(value);
            }
        }
        let backend = |rng: &mut fastrand::Rng| {
            let name = if often(rng, 6) {
                "gone".to_owned()
            } else {
                format!("s{}", rng.u32(..6))
            };
            let port = match rng.u32(..12) {
                0 => json!({"number": 81}),
                1..4 => json!({"name": "web"}),
                _ => json!({"number": 80}),
            };
            json!({"service": {"name": name, "port": port}})
        };
        let rules: Vec<Value> = (0..rng.usize(0..3))
            .map(|_| {
                let paths: Vec<Value> = (0..rng.usize(1..5))
                    .map(|_| {
                        let kind = *one(rng, &["Prefix", "Prefix", "Exact", "ImplementationSpecific"]);
                        json!({"path": *one(rng, &PATHS), "pathType": kind, "backend": backend(rng)})
                    })
                    .collect();
                json!({"host": *one(rng, &HOSTS), "http": {"paths": paths}})
            })
            .collect();
        let mut spec = json!({"rules": rules});
        if often(rng, 20) {
            spec["defaultBackend"] = backend(rng);
        }
        if often(rng, 50) {
            let hosts: Vec<&str> = (0..2).map(|_| *one(rng, &HOSTS[..8])).collect();
            spec["tls"] = json!([{"hosts": hosts, "secretName": format!("tls-{}", rng.u32(..5))}]);
        }
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": format!("i{number}"), "namespace": *one(rng, &NAMESPACES), "annotations": annotations,
                         "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", rng.u32(..60))},
            "spec": spec,
        })
    }

    /// Whether somebody else has written the manifests.
    pub fn is_given(&self) -> bool {
        self.class.is_some()
    }

    /// Adds a Service with pods of ours; perhaps without any.
    fn serve(&mut self, rng: &mut fastrand::Rng, service: &Value) {
        self.push(service);
        let meta = &service["metadata"];
        let (name, namespace) = (meta["name"].as_str().unwrap_or_default(), &meta["namespace"]);
        let ports: Vec<Value> = service["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| json!({"name": port["name"], "port": self.port, "protocol": "TCP", "appProtocol": port["appProtocol"]}))
            .collect();
        let count = if often(rng, 12) { 0 } else { rng.u32(1..4) };
        let endpoints: Vec<Value> = (0..count)
            .map(|_| {
                self.pods += 1;
                let [_, high, middle, low] = self.pods.to_be_bytes();
                json!({"addresses": [format!("127.{}.{middle}.{low}", high + 1)], "conditions": {"ready": true}})
            })
            .collect();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": format!("{name}-ours"), "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "ports": ports, "endpoints": endpoints,
        });
        self.push(&slice);
    }

    /// The manifests of one folder, with pods of ours behind their Services.
    pub fn of(rng: &mut fastrand::Rng, folder: &Path, port: u16) -> Self {
        let mut world = Self::empty(port);
        let mut classes: BTreeMap<String, usize> = BTreeMap::new();
        let (mut hosts, mut paths) = (BTreeSet::new(), BTreeSet::new());
        for file in files(folder) {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            for document in format!("\n{text}").split("\n---") {
                // What cannot be read is for narthex to complain of.
                let Ok(object) = serde_saphyr::from_str::<Value>(document) else {
                    world.files.push(document.to_owned());
                    continue;
                };
                let items = object["items"].as_array().cloned().unwrap_or_else(|| vec![object]);
                for object in items {
                    look(&object, &mut hosts, &mut paths);
                    match object["kind"].as_str() {
                        Some("EndpointSlice" | "Endpoints" | "Pod") | None => {}
                        Some("Service") if object["spec"]["type"] != "ExternalName" => world.serve(rng, &object),
                        _ => {
                            let class = object["spec"]["ingressClassName"].as_str();
                            if let Some(class) = class {
                                *classes.entry(class.to_owned()).or_default() += 1;
                            }
                            world.push(&object);
                        }
                    }
                }
            }
        }
        let most = classes.into_iter().max_by_key(|(_, count)| *count);
        world.class = Some(most.map_or_else(|| "narthex".to_owned(), |(class, _)| class));
        // Those that are written in the manifests are asked for more often.
        for _ in 0..3 {
            world.hosts.extend(hosts.iter().cloned());
            world.paths.extend(paths.iter().cloned());
        }
        world
    }
}

/// Finds hosts and paths in an object.
fn look(object: &Value, hosts: &mut BTreeSet<String>, paths: &mut BTreeSet<String>) {
    match object {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("host", Value::String(host)) if !host.is_empty() => {
                        hosts.insert(host.replace('*', "x").to_lowercase());
                    }
                    ("path", Value::String(path)) if path.starts_with('/') && path.is_ascii() => {
                        paths.insert(path.clone());
                    }
                    _ => look(value, hosts, paths),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| look(item, hosts, paths)),
        _ => {}
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
    });
    files.sort();
    files
}

/// A Route. Its namespace has what a host is for, so few hosts have several Routes, and paths for both schemes.
fn route(rng: &mut fastrand::Rng, number: usize) -> Value {
    let host = *one(rng, &["a.test", "a.test", "b.test", "www.a.test", "x.b.test"]);
    let mut spec = json!({
        "host": host,
        "path": *one(rng, &["", "/", "/api", "/api/v1", "/foo", "/.well-known/acme-challenge", "/a/b"]),
        "to": {"kind": "Service", "name": format!("s{}", rng.u32(..6))},
    });
    if host == "x.b.test" {
        spec["wildcardPolicy"] = json!("Subdomain");
    }
    if often(rng, 60) {
        let termination = *one(rng, &["edge", "edge", "reencrypt"]);
        let policy = *one(rng, &["None", "Allow", "Redirect"]);
        spec["tls"] = json!({"termination": termination, "insecureEdgeTerminationPolicy": policy});
    }
    let namespace = if often(rng, 80) { "default" } else { "shop" };
    json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {"name": format!("r{number}"), "namespace": namespace,
                     "creationTimestamp": format!("2025-01-01T00:00:{:02}Z", rng.u32(..60))},
        "spec": spec,
    })
}

/// A folder and those in it, as far as they have manifests.
pub fn folders(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        open.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
        if !files(&folder).is_empty() {
            found.push(folder);
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{}: no manifests", folder.display());
    found
}
