//! Policies on a real API server: what they are made of comes late, is changed and goes, and a canary's weight is edited under load.

use crate::fixture::Server;
use crate::status::{HOME, eventually, grant};
use crate::world::{Admin, ingress, service};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval, timeout};

const TEAM: &str = "policies-team";

/// The machine's own address: pods cannot be on loopback in a cluster. Nothing is sent to find it out.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    socket.local_addr().unwrap().ip()
}

/// A pod that answers each request with 200, and counts them.
struct Pod {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Pod {
    async fn start() -> Self {
        let listener = TcpListener::bind((own_address(), 0)).await.unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::<AtomicU64>::default());
        let counted = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, counted.clone()));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    fn slice(&self, service: &str) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": service, "namespace": TEAM, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": self.address.port(), "protocol": "TCP"}],
            "endpoints": [{"addresses": [self.address.ip().to_string()], "conditions": {"ready": true}}],
        })
    }
}

async fn answer(mut stream: TcpStream, requests: Arc<AtomicU64>) {
    while read_head(&mut stream).await.is_some() {
        requests.fetch_add(1, Ordering::SeqCst);
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        if stream.write_all(reply).await.is_err() {
            return;
        }
    }
}

/// A head without a body; absent at the end of the connection.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(head).ok()
}

struct Narthex {
    child: Child,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Narthex {
    async fn start(server: &Server, folder: &Path) -> Self {
        let port = || {
            std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
        };
        let (http, admin) = (port(), port());
        let child = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["serve", "--drop-in", "ingress-nginx", "--pod", "policies"])
            .args(["--listen-http", &http.to_string(), "--admin", &admin.to_string()])
            .args(["--namespace", HOME, "--watch-namespace", TEAM, "--kubeconfig"])
            .arg(server.kubeconfig("writer"))
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let narthex = Self { child, http, admin };
        eventually("narthex is ready", async || {
            (narthex.get(narthex.admin, "/readyz", &[]).await? == 200).then_some(())
        })
        .await;
        narthex
    }

    /// The status of a reply.
    async fn get(&self, address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Option<u16> {
        let mut stream = TcpStream::connect(address).await.ok()?;
        get(&mut stream, path, fields).await
    }

    async fn status(&self, host: &str, more: &[(&str, &str)]) -> Option<u16> {
        let fields = [&[("Host", host)], more].concat();
        self.get(self.http, "/", &fields).await
    }

    async fn becomes(&self, what: &str, host: &str, more: &[(&str, &str)], status: u16) {
        eventually(what, async || (self.status(host, more).await? == status).then_some(())).await;
    }
}

/// The status of a reply without a body that matters.
async fn get(stream: &mut TcpStream, path: &str, fields: &[(&str, &str)]) -> Option<u16> {
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let host = if fields.iter().any(|(name, _)| *name == "Host") {
        ""
    } else {
        "Host: admin\r\n"
    };
    let request = format!("GET {path} HTTP/1.1\r\n{host}{lines}\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut piece = [0; 4096];
    let read = timeout(Duration::from_secs(10), stream.read(&mut piece))
        .await
        .ok()?
        .ok()?;
    let head = String::from_utf8_lossy(&piece[..read]).into_owned();
    head.split(' ').nth(1)?.parse().ok()
}

impl Drop for Narthex {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn annotated(name: &str, host: &str, class: &str, annotations: Value) -> Value {
    let mut object = ingress(TEAM, name, host);
    object["metadata"]["annotations"] = annotations;
    object["spec"]["ingressClassName"] = json!(class);
    object
}

fn secret(name: &str, entries: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": TEAM}, "type": "Opaque",
        "stringData": entries,
    })
}

fn authority(name: &str) -> String {
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    parameters.self_signed(&key).unwrap().pem()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_policies_are_made_of_comes_late_changes_and_goes_and_weights_are_edited_under_load() {
    let server = Server::start("policies");
    let admin = Admin::of(&server).await;
    let folder = tempfile::tempdir().unwrap();
    admin.namespaces(&[HOME, TEAM]).await;
    grant(&admin).await;
    let (old, new) = (Pod::start().await, Pod::start().await);
    for (name, pod) in [("web", &old), ("next", &new)] {
        admin.apply(service(TEAM, name, 80)).await;
        admin.apply(pod.slice(name)).await;
    }
    let narthex = Narthex::start(&server, folder.path()).await;

    // Users of a password.
    let basic = json!({"narthex.io/auth-basic-secret": "users"});
    admin.apply(annotated("basic", "basic.test", "narthex", basic)).await;
    let (one, two) = ("Basic YW5uOm9uZQ==", "Basic YW5uOnR3bw==");
    let [one, two] = [[("Authorization", one)], [("Authorization", two)]];
    narthex
        .becomes("it is closed without its Secret", "basic.test", &one, 503)
        .await;
    let users = |password: &str| secret("users", json!({"auth": format!("ann:{{PLAIN}}{password}\n")}));
    admin.apply(users("one")).await;
    narthex.becomes("the late Secret holds", "basic.test", &one, 200).await;
    assert_eq!(narthex.status("basic.test", &[]).await, Some(401));
    admin.apply(users("two")).await;
    narthex.becomes("the new password holds", "basic.test", &two, 200).await;
    assert_eq!(
        narthex.status("basic.test", &one).await,
        Some(401),
        "what was right is forgotten"
    );
    admin.delete(users("two")).await;
    narthex.becomes("it is closed again", "basic.test", &two, 503).await;
    let before = old.requests();
    assert_eq!(narthex.status("basic.test", &two).await, Some(503));
    assert_eq!(old.requests(), before);

    // Authorities of clients: plain requests cannot show a certificate.
    let clients = json!({"narthex.io/client-ca-secret": "clients"});
    admin
        .apply(annotated("clients", "clients.test", "narthex", clients))
        .await;
    narthex.becomes("nobody verifies", "clients.test", &[], 503).await;
    let authorities = |pem: &str| secret("clients", json!({"ca.crt": pem}));
    admin.apply(authorities(&authority("one"))).await;
    narthex
        .becomes("a certificate is asked for", "clients.test", &[], 400)
        .await;
    admin.apply(authorities("nonsense")).await;
    narthex
        .becomes("the authorities cannot be read", "clients.test", &[], 503)
        .await;
    admin.apply(authorities(&authority("two"))).await;
    narthex
        .becomes("others take their place", "clients.test", &[], 400)
        .await;
    admin.delete(authorities("")).await;
    narthex.becomes("they are gone", "clients.test", &[], 503).await;

    // A ConfigMap with keys.
    let keys = json!({"narthex.io/auth-jwt-configmap": "keys"});
    admin.apply(annotated("keys", "keys.test", "narthex", keys)).await;
    narthex.becomes("there are no keys", "keys.test", &[], 503).await;
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keys", "namespace": TEAM}, "data": {"jwks.json": set},
    });
    admin.apply(map.clone()).await;
    narthex.becomes("a token is asked for", "keys.test", &[], 401).await;
    admin.delete(map).await;
    narthex.becomes("the keys are gone", "keys.test", &[], 503).await;

    // A canary, whose weight is edited twenty times a second while clients ask.
    admin.apply(annotated("main", "canary.test", "nginx", json!({}))).await;
    let canary = |weight: u32| {
        let annotations = json!({
            "nginx.ingress.kubernetes.io/canary": "true",
            "nginx.ingress.kubernetes.io/canary-weight": weight.to_string(),
        });
        let mut object = annotated("canary", "canary.test", "nginx", annotations);
        object["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = json!("next");
        object
    };
    admin.apply(canary(0)).await;
    narthex.becomes("the host is served", "canary.test", &[], 200).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stop, http) = (stop.clone(), narthex.http);
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(http).await.unwrap();
                let (mut asked, mut failed) = (0_u64, Vec::new());
                while !stop.load(Ordering::SeqCst) {
                    asked += 1;
                    match get(&mut stream, "/", &[("Host", "canary.test")]).await {
                        Some(200) => {}
                        other => failed.push(other),
                    }
                }
                (asked, failed)
            })
        })
        .collect();
    let mut ticks = interval(Duration::from_millis(50));
    for step in 0..=60 {
        ticks.tick().await;
        admin.apply(canary(step * 100 / 60)).await;
    }
    // All go to the canary now.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let before = (old.requests(), new.requests());
        eventually("requests go on", async || {
            (new.requests() > before.1 + 100).then_some(())
        })
        .await;
        if old.requests() == before.0 {
            break;
        }
        assert!(Instant::now() < deadline, "the last weight never holds");
    }
    stop.store(true, Ordering::SeqCst);
    for client in load {
        let (asked, failed) = client.await.unwrap();
        assert!(asked > 0 && failed.is_empty(), "{failed:?} of {asked}");
    }
}
