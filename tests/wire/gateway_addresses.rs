//! Gateways that have addresses for themselves.

use crate::gateway::{FLAGS, http, route_of, rule, services};
use crate::rig::{Client, Rig, eventually, free_address, get, ingress};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

fn gateway(name: &str, created: u32, port: u16, more: &str) -> String {
    let listener = http("web", port, "");
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {{name: {name}, creationTimestamp: \"2026-01-01T00:00:{created:02}Z\"}}\n\
         spec: {{gatewayClassName: narthex, listeners: [{listener}]{more}}}\n---\n"
    )
}

fn pool(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 77, last)), port)
}

fn status(address: SocketAddr, path: &str) -> u16 {
    let stream = eventually("the address is listened on", || TcpStream::connect(address).ok());
    let text = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    Client::over(stream).send(text).answer().status
}

fn is_closed(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn each_gateway_answers_at_its_own_address_for_its_own_routes_alone() {
    let port = free_address().port();
    let flags = [FLAGS, &["--gateway-addresses", "127.0.77.0/29"]].concat();
    let rig = Rig::with(2, &flags, |pods| {
        let path = |value: &str| format!("{{path: {{value: {value}}}}}");
        services(pods)
            + &gateway("one", 1, port, "")
            + &gateway("two", 2, port, ", addresses: [{value: 127.0.77.5}]")
            + &route_of("r1", "[{name: one}]", "", &rule(&path("/one"), 0))
            + &route_of("r2", "[{name: two}]", "", &rule(&path("/two"), 1))
            + &ingress("i", "a.test", "/ingress", "s0", "")
    });
    let (one, two) = (pool(1, port), pool(5, port));
    assert_eq!(
        [status(one, "/one"), status(one, "/two"), status(one, "/ingress")],
        [200, 404, 404]
    );
    assert_eq!(
        [status(two, "/one"), status(two, "/two"), status(two, "/ingress")],
        [404, 200, 404]
    );
    assert_eq!(
        rig.client()
            .send("GET /ingress HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .answer()
            .status,
        200
    );
    assert!(is_closed(pool(2, port)), "nobody has this address");
    let explain = |more: &str| {
        get(
            rig.admin,
            &format!("/api/v1/explain?url=http://a.test:{port}/two{more}"),
        )
        .1
    };
    assert!(
        explain(&format!("&to={two}")).contains("HTTPRoute default/r2"),
        "{}",
        explain(&format!("&to={two}"))
    );
    assert!(!explain(&format!("&to={one}")).contains("HTTPRoute default/r2"));

    // A third one changes nothing for the others, and gets the next address that is free.
    let file = rig.manifest("three.yaml");
    let three = |more: &str| {
        let rule = rule("{path: {value: /three}}", 0);
        gateway("three", 0, port, more) + &route_of("r3", "[{name: three}]", "", &rule)
    };
    std::fs::write(&file, three("")).unwrap();
    assert_eq!([status(pool(2, port), "/three"), status(one, "/one")], [200, 200]);
    std::fs::write(&file, three(", addresses: [{value: 127.0.77.6}]")).unwrap();
    assert_eq!(status(pool(6, port), "/three"), 200);
    eventually("it has left the other address", || {
        is_closed(pool(2, port)).then_some(())
    });
    std::fs::remove_file(&file).unwrap();
    eventually("its address is closed", || is_closed(pool(6, port)).then_some(()));
    assert_eq!([status(one, "/one"), status(two, "/two")], [200, 200]);
}

/// The listener for all addresses takes connections to addresses of Gateways too, where nothing else listens.
#[test]
fn an_address_of_a_gateway_answers_for_nobody_else() {
    let port = free_address().port();
    let flags = [
        "--gateway-addresses",
        "127.0.77.0/24",
        "--listen-http",
        &format!("0.0.0.0:{port}"),
    ];
    let rig = Rig::with(1, &flags, |pods| {
        services(pods) + &ingress("i", "a.test", "/", "s0", "")
    });
    assert_eq!(status(SocketAddr::from(([127, 0, 0, 1], port)), "/"), 200);
    let mut stray = TcpStream::connect(pool(9, port)).unwrap();
    let ended = stray.read(&mut [0; 16]);
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    eventually("it is counted", || {
        (rig.counter("stray_connections_total") == 1).then_some(())
    });
}
