//! The PROXY protocol towards pods.

use crate::rig::{PATIENCE, Rig, ingress, service_with, slice};
use std::io::{Read, Write};
use std::net::SocketAddr;

/// A pod that takes a header in front of each connection, and says what came.
fn pod_behind_a_header() -> (SocketAddr, std::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (said, came) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let said = said.clone();
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let mut piece = [0; 4096];
                // The header itself begins with an empty line.
                while !all
                    .get(16..)
                    .is_some_and(|rest| rest.windows(4).any(|end| end == b"\r\n\r\n"))
                {
                    let count = stream.read(&mut piece).unwrap();
                    assert!(count > 0, "{all:?}");
                    all.extend_from_slice(&piece[..count]);
                }
                said.send(all).unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .unwrap();
                // Kept open: who does not use it again closes it.
                assert_eq!(stream.read(&mut piece).unwrap_or(0), 0, "a second request on it");
                said.send(Vec::new()).unwrap();
            });
        }
    });
    (address, came)
}

#[test]
fn pods_that_ask_for_it_get_a_header_and_a_connection_for_each_request() {
    let (pod, came) = pod_behind_a_header();
    let rig = Rig::with(0, &[], |_| {
        service_with("web", &[], "narthex.io/backend-proxy-protocol: v2")
            + &slice("web", pod, "p0")
            + &ingress("web", "a.test", "/", "web", "")
    });
    let mut client = rig.client();
    let from = client.stream.local_addr().unwrap();
    for _ in 0..2 {
        assert_eq!(
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer().status,
            200
        );
        let bytes = came.recv_timeout(PATIENCE).unwrap();
        let header = ppp::v2::Header::try_from(bytes.as_slice()).unwrap();
        let ppp::v2::Addresses::IPv4(addresses) = header.addresses else {
            panic!("{header:?}");
        };
        assert_eq!(
            SocketAddr::from((addresses.source_address, addresses.source_port)),
            from
        );
        assert_eq!(
            SocketAddr::from((addresses.destination_address, addresses.destination_port)),
            rig.http
        );
        assert!(bytes[header.len()..].starts_with(b"GET / HTTP/1.1\r\n"));
        let closed = came.recv_timeout(PATIENCE).unwrap();
        assert!(closed.is_empty(), "the connection is not kept");
    }
}
