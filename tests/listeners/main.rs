//! Sockets follow the listeners of the table: they are opened, closed and kept while narthex runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod relay;
mod rig;

use http::StatusCode;
use narthex::testing::serve::handover::{self, Name, SocketKey};
use narthex::testing::table::{
    Answer, Destination, HostPattern, HostSet, Hosts, Listener, ListenerId, PathKind, PathPattern, Serves,
};
use rig::{PATIENCE, Pod, Rig, addresses, ask, connected, read_head, status, until};
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

fn nothing() -> Destination {
    Destination::Answer(Arc::new(Answer {
        status: StatusCode::NOT_FOUND,
        location: None,
    }))
}

#[test]
fn a_thousand_listeners_come_and_go() {
    let mut rig = Rig::start(Pod::start());
    let mut kept = connected(rig.first);
    assert_eq!(status(&mut kept, "other.test"), 404);
    let addresses = addresses(11, 1000);
    let others = |generation| -> Vec<Listener> {
        let listeners = addresses.iter().zip(1..).map(|(address, slot)| Listener {
            id: ListenerId { slot, generation },
            address: *address,
            serves: match slot % 10 {
                0 => Serves::Udp(nothing()),
                _ => Serves::Http(HostSet::Ingress),
            },
        });
        listeners.collect()
    };
    let (datagrams, connections): (Vec<_>, Vec<_>) = others(1)
        .into_iter()
        .partition(|one| matches!(one.serves, Serves::Udp(_)));

    rig.swap(others(1));
    rig.until_open(1001);
    for listener in &connections {
        assert_eq!(status(&mut connected(listener.address), "other.test"), 404);
    }
    for listener in &datagrams {
        let error = UdpSocket::bind(listener.address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
    assert_eq!(status(&mut kept, "other.test"), 404);

    rig.swap([]);
    rig.until_open(1);
    for listener in &connections {
        until("a socket stays open", || {
            let refused = TcpStream::connect(listener.address).err()?;
            (refused.kind() == ErrorKind::ConnectionRefused).then_some(())
        });
    }
    for listener in &datagrams {
        until("a socket stays open", || UdpSocket::bind(listener.address).ok());
    }
    assert_eq!(status(&mut kept, "other.test"), 404);

    // Others at the same addresses, of which some replace others before they have closed.
    rig.swap(others(2));
    rig.swap(others(3));
    rig.until_open(1001);
    until("not all sockets are new", || {
        let replies = connections.iter().all(|listener| {
            TcpStream::connect(listener.address).is_ok_and(|mut stream| {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                ask(&mut stream, "other.test");
                read_head(&mut stream).is_some_and(|head| head.starts_with("http/1.1 404"))
            })
        });
        replies.then_some(())
    });
    assert_eq!(status(&mut kept, "other.test"), 404);
    assert!(rig.server.sockets().failed().is_empty());
    assert!(rig.server.is_whole());
}

#[test]
fn a_connection_of_a_closed_listener_finishes_its_exchange() {
    let mut rig = Rig::start(Pod::start());
    let address = addresses(12, 1)[0];
    rig.swap([Listener::http(1, address)]);
    rig.until_open(2);
    let (mut busy, mut idle) = (connected(address), connected(address));
    assert_eq!(status(&mut idle, "other.test"), 404);
    ask(&mut busy, "a.test");
    rig.pod.asked.recv_timeout(PATIENCE).unwrap();

    rig.swap([]);
    rig.until_open(1);
    until("the socket stays open", || TcpStream::connect(address).err());
    let mut rest = String::new();
    assert_eq!(idle.read_to_string(&mut rest).unwrap(), 0, "{rest}");
    rig.pod.answer.send(()).unwrap();
    let head = read_head(&mut busy).unwrap();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    busy.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello");
}

#[test]
fn an_address_that_is_taken_is_reported_and_tried_again() {
    let mut rig = Rig::start(Pod::start());
    let addresses = addresses(13, 2);
    let other = TcpListener::bind(addresses[0]).unwrap();
    let wanted = || [Listener::http(1, addresses[0]), Listener::http(2, addresses[1])];
    rig.swap(wanted());
    rig.until_open(2);
    until("it is not tried again", || {
        (rig.server.sockets().failures() > 1).then_some(())
    });
    let failed = rig.server.sockets().failed();
    let (id, why) = failed.first_key_value().unwrap();
    assert_eq!((failed.len(), id.slot), (1, 1));
    assert!(
        why.contains(&format!("HTTP address {} is in use", addresses[0])),
        "{why}"
    );
    // All else works.
    for address in [rig.first, addresses[1]] {
        assert_eq!(status(&mut connected(address), "other.test"), 404);
    }
    drop(other);
    rig.until_open(3);
    assert!(rig.server.sockets().failed().is_empty());
    assert_eq!(status(&mut connected(addresses[0]), "other.test"), 404);
}

#[test]
fn a_listener_serves_its_own_hosts_only() {
    let mut rig = Rig::start(Pod::start());
    let address = addresses(14, 1)[0];
    let table = rig.state.table();
    let route = table.routes().next().unwrap().clone();
    let mut hosts = Hosts::default();
    let pattern = PathPattern {
        kind: PathKind::Prefix,
        path: "/".into(),
    };
    hosts.update(&HostPattern::Exact("b.test".into()), |host| {
        host.paths.set(&pattern, Some(route));
    });
    rig.swap([Listener {
        id: ListenerId { slot: 1, generation: 1 },
        address,
        serves: Serves::Http(HostSet::Own(Arc::new(hosts))),
    }]);
    rig.until_open(2);
    rig.pod.answer.send(()).unwrap();
    rig.pod.answer.send(()).unwrap();
    for (at, host, wanted) in [
        (rig.first, "a.test", 200),
        (rig.first, "b.test", 404),
        (address, "a.test", 404),
        (address, "b.test", 200),
    ] {
        assert_eq!(status(&mut connected(at), host), wanted, "{host} at {at}");
    }
}

/// A successor gets what is open then, and not what was.
#[test]
fn sockets_that_came_are_handed_over_and_those_that_went_are_not() {
    let mut rig = Rig::start(Pod::start());
    let addresses = addresses(15, 20);
    let listeners = |slots: std::ops::Range<u32>| -> Vec<Listener> {
        let each = addresses.iter().zip(1..).filter(|(_, slot)| slots.contains(slot));
        each.map(|(address, slot)| Listener::http(slot, *address)).collect()
    };
    rig.swap(listeners(1..15));
    rig.until_open(15);
    rig.swap(listeners(10..21));
    rig.until_open(12);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let name = Name::new(&format!("listeners-tests-{}", std::process::id())).unwrap();
        let (taken, _) = tokio::sync::watch::channel(false);
        let offering = tokio::spawn(handover::offer(name.clone(), rig.server.holdings(), taken));
        let wanted: Vec<_> = listeners(1..21).iter().map(SocketKey::of).collect();
        let inherited = loop {
            if let Some((_, inherited)) = handover::ask(&name, &wanted).await.unwrap() {
                break inherited;
            }
            tokio::task::yield_now().await;
        };
        let given: Vec<_> = inherited.iter().map(|one| one.place).collect();
        let open: Vec<_> = listeners(10..21).iter().map(SocketKey::of).collect();
        assert_eq!(given, open);
        for one in &inherited {
            let local = one.socket.local_addr().unwrap().as_socket();
            assert_eq!(local, Some(one.place.address));
        }
        offering.abort();
    });
}
