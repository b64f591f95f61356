//! TLSRoutes and TCPRoutes: connections that are passed on to pods, by the name that a client asks for or by their port.

use crate::gateway::{FLAGS, connect, gateway, route_of, rule, services};
use crate::gateway_tls::https;
use crate::openshift::within;
use crate::passthrough::{service, tls_pod};
use crate::rig::{Rig, eventually, free_address, get, ingress};
use crate::tls_rig::{Tls, config, make, secret};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A pod that says its name first, repeats what it hears, and says goodbye when its client has nothing more to say.
fn greeter(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut heard = Vec::new();
                let talked = stream
                    .write_all(name.as_bytes())
                    .and_then(|()| stream.read_to_end(&mut heard))
                    .and_then(|_| stream.write_all(&heard))
                    .and_then(|()| stream.write_all(b"bye"));
                drop(talked);
            });
        }
    });
    address
}

/// What the pod says first.
fn greeting(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut first = [0; 3];
    stream.read_exact(&mut first)?;
    Ok(String::from_utf8_lossy(&first).into_owned())
}

/// What the pod says to a client that says `hello` and no more.
fn conversation(mut stream: TcpStream) -> std::io::Result<String> {
    stream.write_all(b"hello")?;
    stream.shutdown(Shutdown::Write)?;
    let mut rest = String::new();
    stream.read_to_string(&mut rest)?;
    Ok(rest)
}

fn stream_route(kind: &str, name: &str, section: &str, more: &str, backends: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n\
         spec: {{parentRefs: [{{name: gw, sectionName: {section}}}]{more}, rules: [{{backendRefs: [{backends}]}}]}}\n---\n"
    )
}

fn tcp(name: &str, section: &str, backends: &str) -> String {
    stream_route("TCPRoute", name, section, "", backends)
}

fn tls(name: &str, section: &str, hostnames: &str, backends: &str) -> String {
    stream_route(
        "TLSRoute",
        name,
        section,
        &format!(", hostnames: [{hostnames}]"),
        backends,
    )
}

fn listener(name: &str, protocol: &str, port: u16, more: &str) -> String {
    format!("{{name: {name}, protocol: {protocol}, port: {port}{more}}}")
}

/// Whether a connection ends in a reset before a byte.
fn is_reset(port: u16) -> bool {
    let mut stream = connect(port).stream;
    let read = stream.read(&mut [0; 1]);
    read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn a_tcp_connection_goes_to_the_pods_of_the_oldest_route() {
    let [port, none, bad] = [(); 3].map(|()| free_address().port());
    let log = tempfile::tempdir().unwrap();
    let log = log.path().join("access.log");
    let flags = ["--access-log", "json", "--access-log-file", log.to_str().unwrap()];
    let flags = [FLAGS, &flags].concat();
    let backend = |name: &str, weight: u32| format!("{{name: {name}, port: 80, weight: {weight}}}");
    let rig = Rig::with(1, &flags, |_| {
        let listeners =
            [("tcp", port), ("none", none), ("bad", bad)].map(|(name, port)| listener(name, "TCP", port, ""));
        let younger = tcp("younger", "tcp", &backend("two", 1));
        service("one", greeter("one"))
            + &service("two", greeter("two"))
            + &gateway("gw", &listeners)
            + &tcp("bad", "bad", &backend("missing", 1))
            + &younger.replace(
                "name: younger",
                "name: younger, creationTimestamp: \"2026-01-02T00:00:00Z\"",
            )
    });
    let file = rig.manifest("older.yaml");
    let older = |backends: &str| {
        let text = tcp("older", "tcp", backends);
        let text = text.replace(
            "name: older",
            "name: older, creationTimestamp: \"2026-01-01T00:00:00Z\"",
        );
        std::fs::write(&file, text).unwrap();
    };
    let talk = || {
        let mut stream = connect(port).stream;
        greeting(&mut stream).unwrap() + &conversation(stream).unwrap()
    };
    assert_eq!(talk(), "twohellobye");
    let mut held = connect(port).stream;
    assert_eq!(greeting(&mut held).unwrap(), "two");
    older(&backend("one", 1));
    eventually("the older route has the listener", || {
        (talk() == "onehellobye").then_some(())
    });
    // A connection keeps its pod.
    assert_eq!(conversation(held).unwrap(), "hellobye");
    // By weight: 64 connections all go to one of two with a chance of 1 to 2^63.
    older(&[backend("one", 1), backend("two", 1)].join(", "));
    eventually("both get some", || (talk() == "twohellobye").then_some(()));
    let said: std::collections::BTreeSet<String> = (0..64).map(|_| talk()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    older(&[backend("one", 0), backend("two", 1)].join(", "));
    eventually("one gets nothing", || {
        (0..16).all(|_| talk() == "twohellobye").then_some(())
    });
    assert!(is_reset(none) && is_reset(bad));
    let routes = get(rig.admin, "/api/v1/routes?limit=100").1;
    assert!(routes.contains("TCPRoute default/older"), "{routes}");
    let line = eventually("it is logged", || {
        let text = std::fs::read_to_string(&log).ok()?;
        let mut lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.find(|line| line["status"] == 200 && line["origin"].as_str().is_some_and(|at| at.contains("older")))
    });
    assert_eq!(
        (&line["scheme"], &line["bytes_in"], &line["bytes_out"]),
        (&"tcp".into(), &5.into(), &11.into())
    );
}

/// TLS of all kinds at one address and port: the name that a client asks for decides.
#[test]
fn the_name_in_the_handshake_decides_where_tls_ends() {
    let port = free_address().port();
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 78, 1), port));
    let (first, second, ours) = (
        make(&["a.pass.test"]),
        make(&["b.pass.test"]),
        make(&["end.test", "web.test"]),
    );
    let flags = [FLAGS, &["--gateway-addresses", "127.0.78.1"]].concat();
    let rig = Rig::with(1, &flags, |pods| {
        let pass = |name: &str, host: &str| {
            listener(
                name,
                "TLS",
                port,
                &format!(", hostname: {host:?}, tls: {{mode: Passthrough}}"),
            )
        };
        let ended = listener(
            "ended",
            "TLS",
            port,
            ", hostname: end.test, tls: {certificateRefs: [{name: ours}]}",
        );
        let listeners = [
            pass("pass", "*.pass.test"),
            pass("deep", "c.pass.test"),
            ended,
            https("web", port, "web.test", "{name: ours}"),
        ];
        let parent = "[{name: gw, sectionName: web}]";
        services(pods)
            + &service("first", tls_pod(&first, "first"))
            + &service("second", tls_pod(&second, "second"))
            + &service("greeter", greeter("hey"))
            + &secret("ours", &ours.certificate, &ours.key)
            + &gateway("gw", &listeners)
            + &tls("first", "pass", "a.pass.test", "{name: first, port: 80}")
            // Its hostname is wider than that of the listener.
            + &tls("second", "pass", "'*.test'", "{name: second, port: 80}")
            + &tls("ended", "ended", "end.test", "{name: greeter, port: 80}")
            + &route_of("web", parent, "", &rule("{path: {value: /}}", 0))
    });
    let open = |name: &str| {
        drop(eventually("the port is open", || TcpStream::connect(address).ok()));
        let mut config = config(rustls::ALL_VERSIONS);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Tls::with(address, Some(name), Arc::new(config))
    };
    for (name, shown, pod) in [
        ("a.pass.test", &first, "x-pod: first"),
        ("b.pass.test", &second, "x-pod: second"),
        ("x.y.pass.test", &second, "x-pod: second"),
    ] {
        let mut client = open(name).unwrap();
        assert!(client.certificate() == shown.der, "{name}");
        let (status, said) = client.get(name, "/");
        assert!(status == 200 && said.contains(pod), "{name}: {said}");
    }
    // The best listener alone answers, and it has no route.
    for name in ["c.pass.test", "pass.test", "nobody.test"] {
        assert!(open(name).is_err(), "{name}");
    }
    let mut client = open("end.test").unwrap();
    assert!(client.certificate() == ours.der);
    assert_eq!(client.0.conn.alpn_protocol(), None);
    let mut said = [0; 3];
    client.0.read_exact(&mut said).unwrap();
    client.0.write_all(b"hello").unwrap();
    client.0.conn.send_close_notify();
    client.0.flush().unwrap();
    let mut rest = String::new();
    client.0.read_to_string(&mut rest).unwrap();
    assert_eq!((&said, rest.as_str()), (b"hey", "hellobye"));
    let web = open("web.test").unwrap();
    assert!(web.certificate() == ours.der);
    assert_eq!(web.0.conn.alpn_protocol(), Some(&b"h2"[..]));
    let explained = get(
        rig.admin,
        &format!("/api/v1/explain?url=https://a.pass.test:{port}/&to={address}"),
    )
    .1;
    assert!(explained.contains("TLSRoute default/first"), "{explained}");
    let explained = get(
        rig.admin,
        &format!("/api/v1/explain?url=https://c.pass.test:{port}/&to={address}"),
    )
    .1;
    assert!(explained.contains("c.pass.test are closed"), "{explained}");
}

/// No new connection comes, and those under way have their time.
#[test]
fn connections_of_a_listener_that_is_removed_end_after_a_while() {
    let port = free_address().port();
    let flags = [FLAGS, &["--drain-deadline", "1s"]].concat();
    let rig = Rig::with(1, &flags, |_| service("one", greeter("one")));
    let file = rig.manifest("gateway.yaml");
    let text = gateway("gw", &[listener("tcp", "TCP", port, "")]) + &tcp("r", "tcp", "{name: one, port: 80}");
    std::fs::write(&file, text).unwrap();
    let mut held = connect(port).stream;
    assert_eq!(greeting(&mut held).unwrap(), "one");
    std::fs::remove_file(&file).unwrap();
    eventually("the port is closed", || {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpStream::connect(address).is_err().then_some(())
    });
    // It ends within the read's time-out, which is the rig's patience.
    assert!(!matches!(held.read(&mut [0; 1]), Err(error) if error.kind() == ErrorKind::WouldBlock));
}

/// Passing on TLS must not be a way to take what is said to somebody else's host.
#[test]
fn a_tlsroute_takes_no_name_from_the_ingress_of_another_namespace() {
    let theirs = make(&["a.test", "b.test"]);
    let pod = tls_pod(&theirs, "theirs");
    let rig = Rig::with(1, FLAGS, |pods| {
        services(pods) + &ingress("a", "a.test", "/", "s0", "") + &ingress("wide", "'*.wide.test'", "/", "s0", "")
    });
    let evil = service("tls", pod)
        + &gateway(
            "gw",
            &[listener("any", "TLS", rig.https.port(), ", tls: {mode: Passthrough}")],
        )
        + &tls(
            "r",
            "any",
            "a.test, x.wide.test, '*.test', b.test",
            "{name: tls, port: 80}",
        );
    std::fs::write(rig.manifest("evil.yaml"), within("evil", &evil)).unwrap();
    let shown = |name: &str| Tls::open(&rig, name).certificate();
    eventually("the route is served", || (shown("b.test") == theirs.der).then_some(()));
    assert!(shown("a.test") != theirs.der);
    // Names that no Ingress has so exactly are free.
    assert!(shown("x.wide.test") == theirs.der);
    assert!(shown("y.wide.test") != theirs.der);
    assert!(shown("other.test") == theirs.der);
}
