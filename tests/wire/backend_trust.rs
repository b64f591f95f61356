//! TLS to pods where it is at its edges: trust that changes while requests wait, pods that refuse, bodies that are cut.

use crate::backend_tls::{GET, NAME, TlsPod, authorities, outcome, pod_config, rig, world};
use crate::rig::{PATIENCE, Rig, eventually, get, ingress};
use crate::tls_rig::{Made, make};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

const UNVERIFIED: &str = "narthex.io/backend-verify: \"false\"";

type Secure = StreamOwned<ServerConnection, TcpStream>;

/// A pod that does with each connection under TLS what a test says.
fn pod(config: ServerConfig, serve: impl Fn(Secure) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (config, serve) = (Arc::new(config), Arc::new(serve));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, serve) = (config.clone(), serve.clone());
            std::thread::spawn(move || {
                serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream));
            });
        }
    });
    address
}

/// The next request's head; none when the connection ends.
fn head(stream: &mut Secure) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// Waits until the table has an Ingress, by its name and host.
fn settled(rig: &Rig, name: &str, host: &str) {
    eventually("the change is live", || {
        let (_, said) = get(rig.admin, &format!("/api/v1/explain?url=http://{host}/"));
        said.contains(name).then_some(())
    });
}

/// A pod that answers `/slow` when it is told to, and everything else at once. Says what it was asked for.
fn slow_pod(made: &Made) -> (SocketAddr, Receiver<String>, Sender<()>) {
    let (asked, heads) = channel();
    let (go, may_go) = channel();
    let may_go = Mutex::new(may_go);
    let address = pod(pod_config(made, None), move |mut stream| {
        while let Some(head) = head(&mut stream) {
            asked.send(head.clone()).unwrap();
            if head.starts_with("GET /slow ") {
                may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
            if stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .is_err()
            {
                return;
            }
        }
    });
    (address, heads, go)
}

#[test]
fn a_request_that_waited_while_trust_changed_goes_by_the_new_one() {
    let made = make(&[NAME]);
    let (address, heads, go) = slow_pod(&made);
    let annotations = "narthex.io/backend-ca-secret: ca, narthex.io/max-in-flight: \"1\", narthex.io/max-pending: \"9\", \
                       narthex.io/queue-timeout: 60s";
    let manifests = world(address, annotations);
    let rig = rig(manifests.clone() + &authorities("ca", &made.certificate));
    let mut first = rig.client();
    first.send(GET.replace("/ ", "/slow "));
    assert!(heads.recv_timeout(PATIENCE).unwrap().starts_with("GET /slow "));
    let mut second = rig.client();
    second.send(GET);
    eventually("the second waits", || {
        (rig.counter("requests_total") == 2).then_some(())
    });
    let changed = manifests + &authorities("ca", &make(&[NAME]).certificate);
    let changed = changed + &ingress("marker", "marker.test", "/", "web", "");
    std::fs::write(rig.manifest("all.yaml"), changed).unwrap();
    settled(&rig, "default/marker", "marker.test");
    go.send(()).unwrap();
    assert_eq!(first.answer().status, 200, "a request under way is cut");
    assert_eq!(
        second.answer().status,
        502,
        "the old trust is used for a new connection"
    );
    assert_eq!(
        rig.client().send(GET).answer().status,
        502,
        "a connection made under the old trust is kept"
    );
    assert!(heads.try_recv().is_err(), "a pod that is not trusted was asked");
}

#[test]
fn what_is_open_when_trust_changes_goes_on() {
    let made = make(&[NAME]);
    let pod = TlsPod::start(pod_config(&made, None));
    let manifests = world(pod.address, "narthex.io/backend-ca-secret: ca");
    let rig = rig(manifests.clone() + &authorities("ca", &made.certificate));
    let mut socket = rig.client();
    socket.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(socket.answer().status, 101);
    let changed = manifests + &authorities("ca", &make(&[NAME]).certificate);
    std::fs::write(rig.manifest("all.yaml"), changed).unwrap();
    eventually("the pod is not trusted any more", || {
        (rig.client().send(GET).answer().status == 502).then_some(())
    });
    assert_eq!(socket.send("hello").bytes(5), b"hello");
}

/// RFC 9112, section 9.8: a body that ends with the connection is whole only if TLS says that it is the end.
/// With a length nothing can be cut unnoticed, and many servers leave close_notify out.
#[test]
fn a_body_cut_under_tls_does_not_pass_for_a_whole_one() {
    for (head, bids_farewell, whole) in [
        ("", true, true),
        ("", false, false),
        ("content-length: 4\r\n", false, true),
    ] {
        let address = pod(pod_config(&make(&[NAME]), None), move |mut stream| {
            super::backend_trust::head(&mut stream);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}connection: close\r\n\r\nbody");
            if bids_farewell {
                stream.conn.send_close_notify();
            }
            let _ = stream.flush();
        });
        let rig = rig(world(address, UNVERIFIED));
        let said = rig
            .client()
            .send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            .rest();
        let said = String::from_utf8(said).unwrap();
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
        let complete =
            said.ends_with("\r\n0\r\n\r\n") || (said.contains("content-length: 4") && said.ends_with("body"));
        assert_eq!(complete, whole, "{head:?}, close_notify {bids_farewell}: {said}");
    }
}

/// Under TLS 1.3 a server looks at the client's certificate after the client thinks the handshake is done.
#[test]
fn a_pod_that_asks_for_a_certificate_is_named_as_such() {
    let made = make(&[NAME]);
    for protocol in ["HTTPS", "GRPCS"] {
        let mut config = pod_config(&made, Some(&made));
        if protocol == "GRPCS" {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let address = pod(config, |mut stream| {
            let _ = stream.read(&mut [0; 1]);
        });
        let annotations = format!("{UNVERIFIED}, narthex.io/backend-protocol: {protocol}");
        let (status, said) = outcome(world(address, &annotations));
        assert_eq!(status, 502, "{protocol}: {said}");
        assert!(
            said.contains("tls_refused") && said.contains("backend-client-secret"),
            "{protocol}: {said}"
        );
    }
}
