//! Connections that are passed on as they come.

use crate::rig::{PATIENCE, Pod, Rig, addresses, ask, connected, read_head, until};
use narthex::testing::dialect::Change;
use narthex::testing::source::directory::parse::parse;
use narthex::testing::table::{Destination, HostSet, Listener, ListenerId, Names, Serves, TlsMode};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// Bytes that were read and written.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<(Vec<u8>, Vec<u8>)>>);

/// A connection whose bytes are written down.
struct Recorded {
    stream: TcpStream,
    record: Record,
    /// Bytes that are sent at a time.
    piece: usize,
}

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.record.0.lock().unwrap().0.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(&bytes[..bytes.len().min(self.piece)])?;
        self.record.0.lock().unwrap().1.extend_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn recorded(stream: TcpStream, piece: usize) -> (Recorded, Record) {
    let record = Record::default();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let recorded = Recorded {
        stream,
        record: record.clone(),
        piece,
    };
    (recorded, record)
}

/// A certificate for a name, and its key.
fn certificate(name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    (
        certificate.der().clone(),
        PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    )
}

/// Ends TLS itself and answers one line with another; what it read and wrote at the end.
fn ends_tls(listener: TcpListener, config: ServerConfig) -> Receiver<(Vec<u8>, Vec<u8>)> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (stream, record) = recorded(listener.accept().unwrap().0, usize::MAX);
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream);
        let mut line = [0; 5];
        tls.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"ping\n");
        tls.write_all(b"pong\n").unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        tls.sock.stream.shutdown(Shutdown::Write).unwrap();
        // The client's end too.
        let _ = io::copy(&mut tls.sock, &mut io::sink());
        let record = record.0.lock().unwrap().clone();
        let _ = tell.send(record);
    });
    told
}

fn client_of(roots: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.unwrap().with_root_certificates(store).with_no_client_auth())
}

#[test]
fn a_connection_that_is_passed_through_arrives_byte_for_byte() {
    let (certificate, key) = certificate("pass.test");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut pod = Pod::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    pod.address = listener.local_addr().unwrap();
    let told = ends_tls(listener, config);
    let mut rig = Rig::start(pod);
    let to = rig.state.table().routes().next().unwrap().to.clone();
    let address = addresses(16, 1)[0];
    let mut names = Names {
        any: Some(TlsMode::Terminate(HostSet::Ingress)),
        ..Names::default()
    };
    names.exact.insert("pass.test".into(), TlsMode::Passthrough(to));
    rig.swap([Listener {
        id: ListenerId { slot: 1, generation: 1 },
        address,
        serves: Serves::Tls(Arc::new(names)),
    }]);
    rig.until_open(2);

    // The ClientHello comes in many pieces.
    let (stream, sent) = recorded(connected(address), 100);
    let name = ServerName::try_from("pass.test").unwrap();
    let connection = ClientConnection::new(client_of(std::slice::from_ref(&certificate)), name).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    tls.write_all(b"ping\n").unwrap();
    let mut line = String::new();
    tls.read_to_string(&mut line).unwrap();
    assert_eq!(line, "pong\n");
    assert_eq!(
        tls.conn.peer_certificates().unwrap(),
        std::slice::from_ref(&certificate)
    );
    tls.sock.stream.shutdown(Shutdown::Write).unwrap();
    let (read, written) = told.recv_timeout(PATIENCE).unwrap();
    let sent = sent.0.lock().unwrap().clone();
    assert!(sent.1.len() > 1000);
    assert_eq!((&sent.1, &sent.0), (&read, &written));

    // Any other name is shown a certificate of narthex, which this client does not trust.
    let (stream, _) = recorded(connected(address), usize::MAX);
    let name = ServerName::try_from("a.test").unwrap();
    let connection = ClientConnection::new(client_of(&[certificate]), name).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    let error = tls.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn a_stream_is_passed_on_whichever_side_speaks_first() {
    let mut pod = Pod::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    pod.address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"220 hello\r\n\r\n").unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).unwrap();
            stream.write_all(heard.to_uppercase().as_bytes()).unwrap();
        }
    });
    let mut rig = Rig::start(pod);
    let to = rig.state.table().routes().next().unwrap().to.clone();
    let address = addresses(17, 1)[0];
    rig.swap([Listener {
        id: ListenerId { slot: 1, generation: 1 },
        address,
        serves: Serves::Tcp(to),
    }]);
    rig.until_open(2);
    for _ in 0..2 {
        let mut client = connected(address);
        assert_eq!(read_head(&mut client).unwrap(), "220 hello\r\n\r\n");
        ask(&mut client, "a.test");
        client.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "GET / HTTP/1.1\r\nHOST: A.TEST\r\n\r\n");
    }
    // Nothing leads anywhere any more.
    let nowhere = Listener {
        id: ListenerId { slot: 1, generation: 2 },
        address: addresses(18, 1)[0],
        serves: Serves::Tcp(Destination::Split(Arc::new(narthex::testing::table::Split(Box::new(
            [],
        ))))),
    };
    let address = nowhere.address;
    rig.swap([nowhere]);
    until("the listener is not open", || TcpStream::connect(address).ok());
    // An orderly end would look like one of a conversation.
    let ended = connected(address).read(&mut [0; 1]).unwrap_err();
    assert_eq!(ended.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_stream_counts_for_max_in_flight() {
    let mut pod = Pod::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    pod.address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // It ends when its client does.
            std::thread::spawn(move || {
                stream.write_all(b"220 hello\r\n\r\n").unwrap();
                io::copy(&mut stream, &mut io::sink())
            });
        }
    });
    let mut rig = Rig::start(pod);
    let limited = "{apiVersion: v1, kind: Service, metadata: {name: web, annotations: {narthex.io/max-in-flight: \"1\"}}, \
                   spec: {ports: [{port: 80}]}}";
    let parsed = parse(Path::new("limited.yaml"), limited);
    for (object, _) in parsed.objects {
        rig.state.apply(Change::Apply(object));
    }
    let to = rig.state.table().routes().next().unwrap().to.clone();
    let address = addresses(19, 1)[0];
    rig.swap([Listener {
        id: ListenerId { slot: 1, generation: 1 },
        address,
        serves: Serves::Tcp(to),
    }]);
    rig.until_open(2);
    let mut first = connected(address);
    assert_eq!(read_head(&mut first).unwrap(), "220 hello\r\n\r\n");
    assert_eq!(
        read_head(&mut connected(address)),
        None,
        "a second one, while the first is under way"
    );
    drop(first);
    until("there is no room after the first has gone", || {
        read_head(&mut connected(address))
    });
}
