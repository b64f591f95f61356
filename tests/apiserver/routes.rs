//! Routes of OpenShift on a real API server: a kind that is not there at first, and a status that several routers write.

use crate::fixture::Server;
use crate::status::{HOME, eventually, grant, grant_file};
use crate::world::{Admin, service, slice};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const TEAM: &str = "routes-team";

/// The kind, as far as narthex reads it.
fn definition() -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "routes.route.openshift.io"},
        "spec": {
            "group": "route.openshift.io", "scope": "Namespaced",
            "names": {"kind": "Route", "listKind": "RouteList", "plural": "routes", "singular": "route"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
            }],
        },
    })
}

fn route(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": name, "namespace": TEAM},
        "spec": {"host": host, "to": {"kind": "Service", "name": "web"}},
    })
}

struct Narthex {
    child: Child,
    admin: SocketAddr,
}

impl Narthex {
    /// Under the shipped rights.
    fn start(server: &Server, folder: &Path) -> Self {
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let admin = port();
        let child = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args([
                "serve",
                "--drop-in",
                "openshift",
                "--router-hostname",
                "edge.test",
                "--pod",
                "routes",
            ])
            .args(["--listen-http", &port().to_string(), "--admin", &admin.to_string()])
            .args(["--namespace", HOME, "--watch-namespace", TEAM, "--kubeconfig"])
            .arg(server.kubeconfig("writer"))
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, admin }
    }

    fn ask(&self, path: &str) -> Option<String> {
        let url = format!("http://{}{path}", self.admin);
        let answer = Command::new("curl").args(["-sf", "-m", "5", &url]).output().unwrap();
        answer
            .status
            .success()
            .then(|| String::from_utf8(answer.stdout).unwrap())
    }
}

impl Drop for Narthex {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn entries(admin: &Admin, name: &str) -> Vec<Value> {
    let path = format!("/apis/route.openshift.io/v1/namespaces/{TEAM}/routes/{name}");
    let route = admin.read(&path).await.unwrap_or_default();
    route["status"]["ingress"].as_array().cloned().unwrap_or_default()
}

/// The condition of narthex's entry: its status and its reason.
async fn admitted(admin: &Admin, name: &str) -> Option<(String, String)> {
    let all = entries(admin, name).await;
    let ours = all.iter().find(|entry| entry["routerName"] == "narthex")?;
    let text = |field: &str| ours["conditions"][0][field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_come_when_the_kind_does_and_their_status_is_shared() {
    let server = Server::start("routes");
    let admin = Admin::of(&server).await;
    let folder = tempfile::tempdir().unwrap();
    admin.namespaces(&[HOME, TEAM]).await;
    grant(&admin).await;
    grant_file(&admin, "cleanup", "cleaner").await;
    admin.apply(service(TEAM, "web", 80)).await;
    admin.apply(slice(TEAM, "web", "10.2.0.1")).await;
    let narthex = Narthex::start(&server, folder.path());
    eventually("narthex is ready without the kind", async || narthex.ask("/readyz")).await;

    admin.apply(definition()).await;
    let good = route("good", "a.test");
    let theirs = json!({"routerName": "default", "host": "a.test", "conditions": [{"type": "Admitted", "status": "True"}], "odd": [1]});
    admin.apply(good.clone()).await;
    // This takes away what narthex may have written already.
    admin.status(&good, json!({"ingress": [theirs]})).await;
    eventually("the Route is admitted", async || {
        (admitted(&admin, "good").await? == ("True".to_owned(), String::new())).then_some(())
    })
    .await;
    let all = entries(&admin, "good").await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[0], theirs, "another router's entry stays as it is");
    assert_eq!(
        (&all[1]["host"], &all[1]["routerCanonicalHostname"]),
        (&json!("a.test"), &json!("edge.test"))
    );

    // Of one host and path the older has it; when that goes, the younger one gets it, and its status says so.
    let age = async |name: &str| {
        let path = format!("/apis/route.openshift.io/v1/namespaces/{TEAM}/routes/{name}");
        let route = admin.read(&path).await?;
        Some(route["metadata"]["creationTimestamp"].clone())
    };
    // Of two of the same second the UID decides, and a test cannot choose that.
    eventually("there is a Route of a later second", async || {
        admin.apply(route("younger", "a.test")).await;
        if age("younger").await? == age("good").await? {
            admin.delete(route("younger", "a.test")).await;
            return None;
        }
        Some(())
    })
    .await;
    eventually("the younger one is refused", async || {
        (admitted(&admin, "younger").await? == ("False".to_owned(), "HostAlreadyClaimed".to_owned())).then_some(())
    })
    .await;
    admin.delete(good).await;
    eventually("the younger one is admitted", async || {
        (admitted(&admin, "younger").await?.0 == "True").then_some(())
    })
    .await;

    // What others have made of the entry is put right at once. If they keep on, narthex leaves it alone.
    let younger = route("younger", "a.test");
    for _ in 0..2 {
        admin.status(&younger, json!({"ingress": [theirs]})).await;
        eventually("the entry is written again", async || {
            (admitted(&admin, "younger").await?.0 == "True").then_some(())
        })
        .await;
    }
    admin.status(&younger, json!({"ingress": [theirs]})).await;
    eventually("narthex says that it stops", async || {
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        log.contains("another writer keeps changing the entry").then_some(())
    })
    .await;

    // Another process begins anew; `cleanup` takes the entry back and leaves theirs.
    drop(narthex);
    assert_eq!(entries(&admin, "younger").await, std::slice::from_ref(&theirs));
    let again = Narthex::start(&server, folder.path());
    eventually("a new holder of the Lease writes it again", async || {
        (admitted(&admin, "younger").await?.0 == "True").then_some(())
    })
    .await;
    drop(again);
    let cleanup = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args([
            "cleanup",
            "--drop-in",
            "openshift",
            "--namespace",
            HOME,
            "--wait",
            "0s",
            "--kubeconfig",
        ])
        .arg(server.kubeconfig("cleaner"))
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&cleanup.stdout),
        String::from_utf8_lossy(&cleanup.stderr)
    );
    assert!(!said.contains("orbidden"), "under the shipped rights: {said}");
    assert_eq!(entries(&admin, "younger").await, [theirs], "{said}");
}
