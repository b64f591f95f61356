//! Which Service, or which of its addresses, gets requests: as annotations of ingress-nginx say.

use crate::ingress_nginx::{ask, nginx};
use crate::rig::{Rig, eventually, service_with};

const ALL: &[(&str, &str)] = &[("Prefix", "/")];

#[test]
fn the_address_of_a_service_is_asked_where_an_ingress_says_so() {
    let rig = Rig::with(2, &["--drop-in", "ingress-nginx"], |pods| {
        let port = pods[0].address.port();
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{clusterIP: 127.0.0.1, ports: [{{port: {port}}}]}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: web, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\n\
             ports: [{{port: {}}}]\nendpoints: [{{addresses: [127.0.0.1]}}]\n---\n",
            pods[1].address.port()
        );
        let ingresses = nginx("address.test", &[("service-upstream", "true")], ALL) + &nginx("pods.test", &[], ALL);
        service + &ingresses.replace("number: 80", &format!("number: {port}"))
    });
    for (host, pod) in [("address.test", 0), ("pods.test", 1), ("address.test", 0)] {
        let before = rig.pods[pod].requests().len();
        assert_eq!(ask(&rig, "GET", host, "/", &[]).status, 200, "{host}");
        assert_eq!(rig.pods[pod].requests().len(), before + 1, "{host}");
    }
}

#[test]
fn another_service_stands_in_while_there_are_no_endpoints() {
    let ingress = || {
        nginx("a.test", &[("default-backend", "spare")], ALL)
            + &nginx("b.test", &[], ALL)
            + &nginx("c.test", &[("default-backend", "nobody")], ALL)
    };
    let rig = Rig::with(2, &["--drop-in", "ingress-nginx"], |pods| {
        service_with("web", &[], "") + &service_with("spare", &pods[1..], "") + &ingress()
    });
    assert_eq!(ask(&rig, "GET", "a.test", "/x", &[]).status, 200);
    assert_eq!(rig.pods[1].requests().len(), 1);
    assert_eq!(ask(&rig, "GET", "b.test", "/x", &[]).status, 503);
    assert_eq!(ask(&rig, "GET", "c.test", "/x", &[]).status, 503);
    let manifests = service_with("web", &rig.pods[..1], "") + &service_with("spare", &rig.pods[1..], "") + &ingress();
    std::fs::write(rig.manifest("all.yaml"), manifests).unwrap();
    eventually("the pods are there", || {
        let request = "GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n";
        (rig.client().send(request).answer().status == 200).then_some(())
    });
    let before = rig.pods[1].requests().len();
    assert_eq!(ask(&rig, "GET", "a.test", "/x", &[]).status, 200);
    assert_eq!(
        rig.pods[1].requests().len(),
        before,
        "the Service of the rule has pods of its own again"
    );
}
