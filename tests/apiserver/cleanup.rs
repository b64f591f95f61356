//! `narthex cleanup`, under the shipped rights for it and no others: while a narthex still runs, and after its end.

use crate::fixture::Server;
use crate::status::{HOME, Narthex, TEAM, address, events, eventually, grant, grant_file, holder, node, pod};
use crate::world::{Admin, class, ingress, service, slice};
use serde_json::{Value, json};
use std::process::{Command, Output};

fn cleanup(server: &Server) -> Output {
    Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["cleanup", "--namespace", HOME, "--wait", "0s", "--kubeconfig"])
        .arg(server.kubeconfig("cleaner"))
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(!all.contains("orbidden"), "under the shipped rights: {all}");
    all
}

/// An Ingress of a class.
fn of_class(name: &str, class: &str) -> Value {
    let mut ingress = ingress(TEAM, name, &format!("{name}.test"));
    ingress["spec"]["ingressClassName"] = json!(class);
    ingress
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_is_taken_back_and_does_not_return() {
    // A server of its own: all that any narthex wrote to it goes.
    let server = Server::start("cleanup");
    let admin = Admin::of(&server).await;
    let folder = tempfile::tempdir().unwrap();
    admin.namespaces(&[HOME, TEAM]).await;
    grant(&admin).await;
    grant_file(&admin, "cleanup", "cleaner").await;
    node(&admin, "edge-1").await;
    pod(&admin, "first", "edge-1", "True").await;
    admin.apply(class("edge", "narthex.io/ingress-controller")).await;
    admin.apply(class("nginx", "k8s.io/ingress-nginx")).await;
    admin.apply(service(TEAM, "web", 80)).await;
    admin.apply(slice(TEAM, "web", "10.2.0.1")).await;
    admin.apply(ingress(TEAM, "good", "good.test")).await;
    admin.apply(of_class("classed", "edge")).await;
    let theirs = of_class("theirs", "nginx");
    admin.apply(theirs.clone()).await;
    let shown = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}});
    admin.status(&theirs, shown).await;
    let mut broken = ingress(TEAM, "broken", "broken.test");
    *broken
        .pointer_mut("/spec/rules/0/http/paths/0/backend/service/name")
        .unwrap() = json!("nowhere");
    admin.apply(broken).await;
    let mut narthex = Narthex::start(&server, "first", folder.path());
    for name in ["good", "classed", "broken"] {
        eventually("the address is there", async || address(&admin, name).await).await;
    }
    eventually("the problem is told", async || {
        (!events(&admin, "broken").await.is_empty()).then_some(())
    })
    .await;

    // While one runs: it is kept from writing, and so the Lease stays.
    let first = cleanup(&server);
    let text = said(&first);
    assert_eq!(first.status.code(), Some(1), "{text}");
    for part in [
        "Lease narthex: taken from first_",
        "Ingresses: 3 emptied; 0 without addresses of ours, 1 of other classes",
        "kept, so that nothing is written back by what still runs: narthex-system/first",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let log = folder.path().join("first.log");
    eventually("it has noticed", async || {
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("\"leads\":false")
            .then_some(())
    })
    .await;
    admin.apply(ingress(TEAM, "late", "late.test")).await;
    narthex.terminate();
    for name in ["good", "classed", "broken", "late"] {
        assert_eq!(address(&admin, name).await, None, "{name}");
    }
    assert_eq!(address(&admin, "theirs").await.as_deref(), Some("198.51.100.1"));
    assert!(events(&admin, "broken").await.is_empty());
    assert_eq!(holder(&admin).await, "cleanup");

    // When nothing is left that could take it, the Lease goes too; and then there is nothing to do.
    let ended = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first", "namespace": HOME}});
    admin.status(&ended, json!({"phase": "Succeeded"})).await;
    for _ in 0..2 {
        let again = cleanup(&server);
        let text = said(&again);
        assert_eq!(again.status.code(), Some(0), "{text}");
        assert!(text.contains("Ingresses: 0 emptied; 4 without"), "{text}");
        assert!(
            text.contains("Events: 0 deleted") && text.contains("Lease narthex: deleted"),
            "{text}"
        );
        let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/narthex");
        assert!(admin.read(&lease).await.is_none());
    }
}
