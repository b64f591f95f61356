//! Rates of ingress-nginx: one bucket for each client and Ingress, over hosts, paths and shards.

use crate::ingress_nginx::{nginx, rig};
use crate::rig::{Client, Rig, eventually, service_with};

const ALL: &[(&str, &str)] = &[("Prefix", "/")];

/// Sends requests on connections of their own, which go to all shards; how many of them get 200, the rest gets 503.
fn passed(rig: &Rig, hosts: &[&str], count: usize) -> usize {
    let statuses = hosts.iter().cycle().take(count).map(|host| {
        let mut client = Client::connect(rig.http);
        let answer = client.send(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer();
        assert!(
            answer.status == 200 || answer.body == b"too many requests\n",
            "{}",
            answer.head
        );
        answer.status
    });
    statuses.filter(|status| *status == 200).count()
}

/// A bucket that empties by one in a minute, so that what passes is known however slow the test is.
fn limited(host: &str, multiplier: &str, more: &[(&str, &str)]) -> String {
    let limits = [("limit-rpm", "1"), ("limit-burst-multiplier", multiplier)];
    nginx(host, &[&limits[..], more].concat(), ALL)
}

#[test]
fn a_burst_passes_and_no_more() {
    let rig = rig(&["--shards", "4"], || {
        let two_hosts = limited("a.test", "25", &[]).replace(
            "rules: [",
            "rules: [{host: b.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: \
             {number: 80}}}}]}}, ",
        );
        two_hosts
            + &limited("other.test", "1", &[])
            + &limited("exempt.test", "1", &[("limit-whitelist", "127.0.0.0/8")])
            + &limited("denied.test", "1", &[("denylist-source-range", "127.0.0.1")])
            + &nginx("broken.test", &[("limit-rps", "five")], ALL)
            + &nginx("off.test", &[("limit-rps", "0")], ALL)
    });
    assert_eq!(passed(&rig, &["a.test", "b.test"], 60), 26, "one bucket for both hosts");
    assert_eq!(passed(&rig, &["other.test"], 10), 2, "another Ingress has its own");
    assert_eq!(passed(&rig, &["exempt.test", "off.test"], 40), 40);
    // Limits come before lists of addresses.
    let status = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        rig.client().send(request).answer().status
    };
    assert_eq!(
        [status("denied.test"), status("denied.test"), status("denied.test")],
        [403, 403, 503]
    );
    assert_eq!(status("broken.test"), 503);
    assert_eq!(rig.pod().requests().len(), 26 + 2 + 40);
    assert!(rig.log().contains("too_often"), "the reason is logged");
}

#[test]
fn an_edit_of_the_number_keeps_what_was_counted() {
    let rig = rig(&[], || limited("a.test", "4", &[]) + &nginx("b.test", &[], ALL));
    assert_eq!(passed(&rig, &["a.test"], 10), 5);
    let manifests = service_with("web", &rig.pods, "")
        + &limited("a.test", "7", &[])
        + &nginx("b.test", &[("permanent-redirect", "https://c.test/")], ALL);
    std::fs::write(rig.manifest("all.yaml"), manifests).unwrap();
    eventually("the edit is live", || {
        let request = "GET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
        (rig.client().send(request).answer().status == 301).then_some(())
    });
    assert_eq!(passed(&rig, &["a.test"], 10), 3);
}
