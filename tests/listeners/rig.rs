//! narthex in this process, with a table that tests change, and a pod that waits to be told.

use arc_swap::ArcSwap;
use clap::Parser;
use narthex::testing::cli::Cli;
use narthex::testing::compile::{Options, State};
use narthex::testing::serve::handover::SocketKey;
use narthex::testing::serve::{Binding, Server, Tls, bind};
use narthex::testing::source::directory::parse::parse;
use narthex::testing::table::{Listener, Table};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
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
pub struct Pod {
    pub address: SocketAddr,
    pub asked: Receiver<()>,
    pub answer: Sender<()>,
}

impl Pod {
    pub fn start() -> Self {
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
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
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
pub struct Rig {
    pub server: Server,
    tables: Arc<ArcSwap<Table>>,
    pub state: State,
    pub pod: Pod,
    /// The listener that is always there.
    pub first: SocketAddr,
}

impl Rig {
    pub fn start(pod: Pod) -> Self {
        raise_descriptor_limit();
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
        let bound = bind(SocketKey::of(&listener), &Binding::default()).unwrap();
        let first = bound.address();
        let options = Options {
            listeners: vec![listener],
            ..Options::default()
        };
        let mut state = State::compile(options, parsed.objects.into_iter().map(|(object, _)| object));
        let tables = Arc::new(ArcSwap::from_pointee(state.table()));
        let args = Cli::parse_from(["narthex"]).serve;
        let settings = Arc::new(args.proxy_settings(None, 1000));
        let tls = Arc::new(Tls::new(&args.tls_settings(), tables.clone()).unwrap());
        let mut server = Server::start(tables.clone(), settings, args.shard_settings(Some(tls)), 2, 1000).unwrap();
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
    pub fn swap(&mut self, listeners: impl IntoIterator<Item = Listener>) {
        let mut table = self.state.table();
        for listener in listeners {
            table.set_listener(listener.id.slot, Some(Arc::new(listener)));
        }
        let table = Arc::new(table);
        self.tables.store(table.clone());
        self.server.table_changed(&table);
    }

    pub fn until_open(&self, count: usize) {
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

pub fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn ask(stream: &mut TcpStream, host: &str) {
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

pub fn status(stream: &mut TcpStream, host: &str) -> u16 {
    ask(stream, host);
    head(stream).split(' ').nth(1).unwrap().parse().unwrap()
}

/// Addresses that only this test has, on a port that was free a moment ago.
pub fn addresses(network: u8, count: u16) -> Vec<SocketAddr> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let each = (0..count).map(|index| {
        let [high, low] = (index + 1).to_be_bytes();
        SocketAddr::from(([127, network, high, low], port))
    });
    each.collect()
}
