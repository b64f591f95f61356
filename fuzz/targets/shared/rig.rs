//! narthex in this process, with one host and a pod that reads as strictly as there is.

use super::strict;
use arc_swap::ArcSwap;
use clap::Parser;
use narthex::testing::cli::Cli;
use narthex::testing::compile::{Options, State};
use narthex::testing::serve::handover::SocketKey;
use narthex::testing::serve::{Binding, Server, bind};
use narthex::testing::source::directory::parse::parse;
use narthex::testing::table::Listener;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the pod got.
#[derive(Debug)]
#[allow(dead_code, reason = "not every target looks at all of it")]
pub struct Got {
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

#[allow(dead_code, reason = "not every target looks at all of it")]
impl Got {
    /// The values of the fields of this name.
    pub fn named(&self, wanted: &'static str) -> impl Iterator<Item = &String> {
        let fields = self.fields.iter();
        fields
            .filter(move |field| field.0.eq_ignore_ascii_case(wanted))
            .map(|field| &field.1)
    }
}

/// narthex, and what its pod got.
pub struct Rig {
    _server: Server,
    address: SocketAddr,
    got: Mutex<Receiver<Got>>,
}

impl Rig {
    pub fn start(flags: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pod = listener.local_addr().unwrap();
        let (tell, got) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                std::thread::spawn(move || serve(stream, &tell));
            }
        });
        let manifests = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: web, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\n\
             ports: [{{port: {}}}]\nendpoints: [{{addresses: [\"127.0.0.1\"]}}]\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web}}\nspec: {{rules: [{{host: a.test, \
             http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]}}\n",
            pod.port()
        );
        let parsed = parse(Path::new("all.yaml"), &manifests);
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let listener = Arc::new(Listener::http(0, "127.0.0.1:0".parse().unwrap()));
        let bound = bind(SocketKey::of(&listener), &Binding::default()).unwrap();
        let options = Options {
            listeners: vec![listener],
            local_endpoints: true,
            ..Options::default()
        };
        let mut state = State::compile(options, parsed.objects.into_iter().map(|(object, _)| object));
        let table = Arc::new(ArcSwap::from_pointee(state.table()));
        let args = Cli::parse_from(["narthex", "--head-timeout", "2s"].iter().chain(flags)).serve;
        let settings = Arc::new(args.proxy_settings(None, 1000));
        let mut server = Server::start(table, settings, args.shard_settings(None), 1, 1000).unwrap();
        let address = bound.address();
        server.listen(vec![bound]).unwrap();
        Self {
            _server: server,
            address,
            got: Mutex::new(got),
        }
    }

    /// Sends these bytes and no more, from this address; what narthex says until it closes, and what the pod got meanwhile,
    /// which may be what was sent before from another address.
    pub fn play(&self, from: Ipv4Addr, bytes: &[u8]) -> (Vec<u8>, Vec<Got>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        // libFuzzer's timer sends a signal each second, and only a connect that does not block survives it.
        socket
            .connect_timeout(&self.address.into(), Duration::from_secs(20))
            .unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        // narthex may have closed already; what it said is what counts.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        if let Err(error) = stream.read_to_end(&mut said) {
            let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(
                !late,
                "the connection does not end; so far {:?}",
                String::from_utf8_lossy(&said)
            );
        }
        (said, self.got.lock().unwrap().try_iter().collect())
    }
}

fn serve(mut stream: TcpStream, tell: &Sender<Got>) {
    let (mut buffer, mut piece) = (Vec::new(), [0; 65536]);
    loop {
        let message = strict::next(&buffer);
        if let Some((message, rest)) = message.and_then(|message| message.rest.map(|rest| (message, rest))) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let pairs = |fields: &[strict::Field<'_>]| {
                let fields = fields.iter();
                fields.map(|(name, value)| (text(name), text(value))).collect()
            };
            let got = Got {
                line: text(message.line),
                fields: pairs(&message.fields),
                trailers: pairs(&message.trailers),
                body: message.body,
            };
            buffer = rest.to_vec();
            let is_head = got.line.starts_with("HEAD ");
            if tell.send(got).is_err() {
                return;
            }
            let body = if is_head { "" } else { "ok" };
            let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{body}");
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => buffer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
