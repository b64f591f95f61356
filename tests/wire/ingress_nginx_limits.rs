//! Rates of ingress-nginx: one bucket for each client and Ingress, over hosts, paths and shards.

use crate::ingress_nginx::{nginx, rig};
use crate::rig::{Client, PATIENCE, Reply, Rig, eventually, service_with};

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
    rig.logged("too_often");
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

/// The status of a request on a connection of its own.
fn status(rig: &Rig, host: &str) -> (u16, Vec<u8>) {
    let mut client = Client::connect(rig.http);
    let answer = client.send(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer();
    (answer.status, answer.body)
}

#[test]
fn requests_under_way_are_counted_over_all_shards_and_given_back() {
    let limit = ("limit-connections", "3");
    let rig = rig(&["--shards", "4"], || {
        nginx("a.test", &[limit], ALL)
            + &nginx("b.test", &[limit, ("limit-whitelist", "127.0.0.1")], ALL)
            + &nginx("denied.test", &[limit, ("denylist-source-range", "127.0.0.1")], ALL)
            + &nginx("broken.test", &[("limit-connections", "three")], ALL)
    });
    let ok = || Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    // What was answered just now may still be counted for a moment, so that a request which is refused is made again.
    let hold = |ask: &str, count: usize| -> Vec<Client> {
        let mut clients = Vec::new();
        let deadline = std::time::Instant::now() + PATIENCE;
        while clients.len() < count {
            assert!(std::time::Instant::now() < deadline, "places are not given back");
            let before = rig.pod().requests().len();
            let mut client = Client::connect(rig.http);
            client.send(ask);
            client.stream.set_nonblocking(true).unwrap();
            let has_it = eventually("the pod has it, or it is refused", || {
                if rig.pod().requests().len() > before {
                    return Some(true);
                }
                client.stream.peek(&mut [0]).is_ok().then_some(false)
            });
            client.stream.set_nonblocking(false).unwrap();
            if has_it {
                clients.push(client);
            }
        }
        clients
    };
    let full = (503, b"too many requests\n".to_vec());
    let free_again = |why: &str| {
        rig.pod().answers(ok());
        eventually(why, || (status(&rig, "a.test").0 == 200).then_some(()));
        // As many as before may come, and no more.
        rig.pod().answers(Reply::Silence);
        let held = hold("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n", 3);
        assert_eq!(status(&rig, "a.test"), full, "{why}");
        drop(held);
        rig.pod().answers(ok());
        eventually(why, || (status(&rig, "a.test").0 == 200).then_some(()));
    };
    assert_eq!(
        (status(&rig, "broken.test").0, status(&rig, "denied.test").0),
        (503, 403)
    );
    // Clients that go while their pod is silent.
    rig.pod().answers(Reply::Silence);
    let held = hold("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n", 3);
    assert_eq!(status(&rig, "a.test"), full);
    let exempt = hold("GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n", 5);
    drop((held, exempt));
    free_again("clients have gone");
    // Pods that break off, answers of narthex's own, and answers of pods.
    for _ in 0..5 {
        rig.pod().answers(Reply::Last(Vec::new()));
        assert_eq!(status(&rig, "a.test").0, 502);
        assert_eq!(status(&rig, "denied.test").0, 403);
        rig.pod().answers(ok());
        assert_eq!(status(&rig, "a.test").0, 200);
    }
    free_again("all were answered");
    // A WebSocket is under way until it ends.
    rig.pod().answers(Reply::text(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \
         s3pPLMBiTxaQ9kYGzhZRbK+xOo=\r\n\r\n",
    ));
    let ask = "GET /x HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: \
               13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut tunnels = hold(ask, 3);
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.answer().status, 101);
    }
    rig.pod().answers(ok());
    assert_eq!(status(&rig, "a.test"), full, "tunnels are under way");
    drop(tunnels);
    free_again("tunnels have ended");
}
