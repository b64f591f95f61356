//! Sockets follow the listeners of the table: they are opened, closed and kept while narthex runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use arc_swap::ArcSwap;
use clap::Parser;
use http::StatusCode;
use narthex::cli::Cli;
use narthex::compile::{Options, State};
use narthex::serve::handover::{self, Name, Place};
use narthex::serve::{Server, bind};
use narthex::source::directory::parse::parse;
use narthex::table::{
    Answer, Destination, HostPattern, HostSet, Hosts, Listener, ListenerId, PathKind, PathPattern, Serves, Table,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A pod that says when it has read a head, and answers when it is told to.
struct Pod {
    address: SocketAddr,
    asked: Receiver<()>,
    answer: Sender<()>,
}

impl Pod {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asks, asked) = channel();
        let (answer, answers) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                while read_head(&mut stream).is_some() {
                    if asks.send(()).is_err() || answers.recv().is_err() {
                        return;
                    }
                    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                    if stream.write_all(reply).is_err() {
                        break;
                    }
                }
            }
        });
        Self { address, asked, answer }
    }
}

/// A head, to its empty line.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap().to_lowercase())
}

/// narthex in this process.
struct Rig {
    server: Server,
    tables: Arc<ArcSwap<Table>>,
    state: State,
    pod: Pod,
    /// The listener that is always there.
    first: SocketAddr,
}

impl Rig {
    fn start() -> Self {
        raise_descriptor_limit();
        let pod = Pod::start();
        let manifests = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: web, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\n\
             ports: [{{port: {}}}]\nendpoints: [{{addresses: [\"127.0.0.1\"]}}]\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web}}\nspec: {{rules: [{{host: a.test, \
             http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]}}\n",
            pod.address.port()
        );
        let parsed = parse(Path::new("all.yaml"), &manifests);
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let listener = Arc::new(Listener::http(0, "127.0.0.1:0".parse().unwrap()));
        let bound = bind(Place::of(&listener), false).unwrap();
        let first = bound.address();
        let options = Options {
            listeners: vec![listener],
            ..Options::default()
        };
        let mut state = State::compile(options, parsed.objects.into_iter().map(|(object, _)| object));
        let tables = Arc::new(ArcSwap::from_pointee(state.table()));
        let args = Cli::parse_from(["narthex"]).serve;
        let settings = Arc::new(args.proxy_settings(None, 1000));
        let mut server = Server::start(tables.clone(), settings, args.shard_settings(None), 2, 1000).unwrap();
        server.listen(vec![bound]).unwrap();
        Self {
            server,
            tables,
            state,
            pod,
            first,
        }
    }

    /// A table with these listeners beside the first becomes live.
    fn swap(&mut self, listeners: impl IntoIterator<Item = Listener>) {
        let mut table = self.state.table();
        for listener in listeners {
            table.set_listener(listener.id.slot, Some(Arc::new(listener)));
        }
        let table = Arc::new(table);
        self.tables.store(table.clone());
        self.server.table_changed(&table);
    }

    fn until_open(&self, count: usize) {
        until("the sockets are not those of the table", || {
            (self.server.sockets().open() == count).then_some(())
        });
    }
}

/// A thousand sockets with their duplicates take more descriptors than the usual limit.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, wanted).unwrap();
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, host: &str) {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
}

/// The head of a reply, whose body is read too.
fn head(stream: &mut TcpStream) -> String {
    let head = read_head(stream).unwrap();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).unwrap();
    head
}

fn status(stream: &mut TcpStream, host: &str) -> u16 {
    ask(stream, host);
    head(stream).split(' ').nth(1).unwrap().parse().unwrap()
}

/// Addresses that only this test has, on a port that was free a moment ago.
fn addresses(network: u8, count: u16) -> Vec<SocketAddr> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let each = (0..count).map(|index| {
        let [high, low] = (index + 1).to_be_bytes();
        SocketAddr::from(([127, network, high, low], port))
    });
    each.collect()
}

fn nothing() -> Destination {
    Destination::Answer(Arc::new(Answer {
        status: StatusCode::NOT_FOUND,
        location: None,
    }))
}

#[test]
fn a_thousand_listeners_come_and_go() {
    let mut rig = Rig::start();
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
    let mut rig = Rig::start();
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
    let mut rig = Rig::start();
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
    let mut rig = Rig::start();
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
    let mut rig = Rig::start();
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
        let wanted: Vec<_> = listeners(1..21).iter().map(Place::of).collect();
        let inherited = loop {
            if let Some((_, inherited)) = handover::ask(&name, &wanted).await.unwrap() {
                break inherited;
            }
            tokio::task::yield_now().await;
        };
        let given: Vec<_> = inherited.iter().map(|one| one.place).collect();
        let open: Vec<_> = listeners(10..21).iter().map(Place::of).collect();
        assert_eq!(given, open);
        for one in &inherited {
            let local = one.socket.local_addr().unwrap().as_socket();
            assert_eq!(local, Some(one.place.address));
        }
        offering.abort();
    });
}
