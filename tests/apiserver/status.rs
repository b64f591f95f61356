//! What the cluster is told: addresses and Events, by one process, under the shipped rights and no others.

use crate::fixture::{Server, shared};
use crate::world::{Admin, ingress, service, slice};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// Where narthex is, and where the Ingresses are.
pub const HOME: &str = "narthex-system";
pub const TEAM: &str = "status-team";

/// A narthex under the shipped rights.
pub struct Narthex(Child);

impl Narthex {
    pub fn start(server: &Server, pod: &str, folder: &Path) -> Self {
        let port = || {
            TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .to_string()
        };
        let child = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args([
                "serve",
                "--listen-http",
                &port(),
                "--admin",
                &port(),
                "--pod",
                pod,
                "--namespace",
                HOME,
            ])
            .args(["--watch-namespace", TEAM, "--drain-grace", "0s", "--kubeconfig"])
            .arg(server.kubeconfig("writer"))
            .stderr(std::fs::File::create(folder.join(format!("{pod}.log"))).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub fn terminate(&mut self) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Narthex {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The rights that are shipped with narthex, for its user.
pub async fn grant(admin: &Admin) {
    for file in ["clusterrole", "clusterrolebinding", "secrets", "status"] {
        grant_file(admin, file, "writer").await;
    }
}

/// The rights of one of the shipped files, for a user.
pub async fn grant_file(admin: &Admin, file: &str, user: &str) {
    let path = format!("{}/rbac/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
    for document in std::fs::read_to_string(path).unwrap().split("\n---\n") {
        let mut object: Value = serde_saphyr::from_str(document).unwrap();
        if let Some(subjects) = object.get_mut("subjects") {
            *subjects = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]);
        }
        admin.apply(object).await;
    }
}

/// A node with an address of each kind.
pub async fn node(admin: &Admin, name: &str) {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    admin.apply(node.clone()).await;
    let addresses =
        json!([{"type": "InternalIP", "address": "10.1.1.1"}, {"type": "ExternalIP", "address": "203.0.113.5"}]);
    admin.status(&node, json!({"addresses": addresses})).await;
}

pub async fn pod(admin: &Admin, name: &str, node: &str, ready: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": HOME, "labels": {"app.kubernetes.io/name": "narthex"}},
        "spec": {"nodeName": node, "hostNetwork": true, "containers": [{"name": "narthex", "image": "narthex:dev"}]},
    });
    admin.apply(pod.clone()).await;
    let conditions = json!([{"type": "Ready", "status": ready}]);
    admin
        .status(&pod, json!({"hostIP": "192.0.2.9", "conditions": conditions}))
        .await;
}

pub async fn address(admin: &Admin, ingress: &str) -> Option<String> {
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{TEAM}/ingresses/{ingress}");
    let found = admin.read(&path).await?;
    Some(found.pointer("/status/loadBalancer/ingress/0/ip")?.as_str()?.to_owned())
}

/// Events about an Ingress, each as type, reason and note.
pub async fn events(admin: &Admin, ingress: &str) -> Vec<(String, String, String)> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{TEAM}/events");
    let list = admin.read(&path).await.unwrap();
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["regarding"]["name"] == ingress && event["regarding"]["uid"].is_string())
        .map(|event| (text(event, "type"), text(event, "reason"), text(event, "note")))
        .collect()
}

pub async fn holder(admin: &Admin) -> String {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/narthex");
    let lease = admin.read(&path).await.unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingresses_get_addresses_and_problems_are_told_by_one_process_at_a_time() {
    let admin = Admin::of(shared()).await;
    let folder = tempfile::tempdir().unwrap();
    admin.namespaces(&[HOME, TEAM]).await;
    grant(&admin).await;
    node(&admin, "edge-1").await;
    pod(&admin, "first", "edge-1", "True").await;
    admin.apply(service(TEAM, "web", 80)).await;
    admin.apply(slice(TEAM, "web", "10.2.0.1")).await;
    admin.apply(ingress(TEAM, "good", "good.test")).await;
    let mut theirs = ingress(TEAM, "theirs", "theirs.test");
    theirs["spec"]["ingressClassName"] = json!("nginx");
    admin.apply(theirs).await;
    let mut broken = ingress(TEAM, "broken", "broken.test");
    *broken
        .pointer_mut("/spec/rules/0/http/paths/0/backend/service/name")
        .unwrap() = json!("nowhere");
    admin.apply(broken).await;

    let mut first = Narthex::start(shared(), "first", folder.path());
    eventually("the address is there", async || {
        (address(&admin, "good").await? == "203.0.113.5").then_some(())
    })
    .await;
    assert!(holder(&admin).await.starts_with("first_"));
    let said = eventually("the problem is told", async || {
        events(&admin, "broken").await.into_iter().next()
    })
    .await;
    assert_eq!(
        (said.0.as_str(), said.1.as_str()),
        ("Warning", "ServiceNotFound"),
        "{said:?}"
    );
    assert!(
        said.2.contains("spec.rules[0].http.paths[0]") && said.2.contains("nowhere"),
        "{said:?}"
    );
    // What is made later gets its address too, and what somebody wrote over it is put right with the next look.
    admin.apply(ingress(TEAM, "late", "late.test")).await;
    eventually("the late one too", async || address(&admin, "late").await).await;
    assert_eq!(
        address(&admin, "theirs").await,
        None,
        "another controller's status is its own"
    );

    // The next one takes over at once when the first ends, and says nothing twice.
    pod(&admin, "second", "edge-1", "True").await;
    let _second = Narthex::start(shared(), "second", folder.path());
    first.terminate();
    eventually("the second writes", async || {
        holder(&admin).await.starts_with("second_").then_some(())
    })
    .await;
    admin.apply(service(TEAM, "nowhere", 80)).await;
    let mended = eventually("it is mended", async || {
        let all = events(&admin, "broken").await;
        all.iter().any(|event| event.1 == "Mended").then_some(all)
    })
    .await;
    let warned = mended.iter().filter(|event| event.1 == "ServiceNotFound").count();
    assert_eq!(warned, 1, "{mended:?}");
    admin.apply(ingress(TEAM, "later", "later.test")).await;
    eventually("the second writes addresses", async || address(&admin, "later").await).await;
    for pod in ["first", "second"] {
        let log = std::fs::read_to_string(folder.path().join(format!("{pod}.log"))).unwrap();
        assert!(!log.contains("orbidden"), "under the shipped rights: {log}");
    }
}
