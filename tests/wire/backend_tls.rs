//! TLS to pods: whom narthex trusts, what it shows, and what it says when there is no TLS to be had.

use crate::rig::{PATIENCE, Rig, eventually, ingress, slice};
use crate::serving::serve_each;
use crate::tls_rig::{Made, make, make_with, secret};
use rcgen::PKCS_ECDSA_P256_SHA256;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
/// Whom pods' certificates are for where nothing else is said.
pub const NAME: &str = "web.default.svc";

/// A pod that speaks HTTP/1.1 under TLS, and answers with the name it was asked for by SNI.
pub struct TlsPod {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

fn pair(made: &Made) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = vec![CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()];
    (chain, PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap())
}

/// A pod that speaks these versions of TLS alone, and the suites of 1.2 whose names have this in them.
pub fn pod_of(shown: &Made, versions: &[&'static rustls::SupportedProtocolVersion], suites: &str) -> ServerConfig {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let has = |known: &rustls::SupportedCipherSuite| known.suite().as_str().is_some_and(|name| name.contains(suites));
    provider
        .cipher_suites
        .retain(|known| known.tls13().is_some() || has(known));
    let builder = ServerConfig::builder_with_provider(Arc::new(provider));
    let (chain, key) = pair(shown);
    let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
    builder.with_single_cert(chain, key).unwrap()
}

/// What a pod shows, and whose certificates it asks for.
pub fn pod_config(shown: &Made, clients: Option<&Made>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(made) => {
            let mut roots = RootCertStore::empty();
            roots.add(pair(made).0.remove(0)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let (chain, key) = pair(shown);
    builder.with_single_cert(chain, key).unwrap()
}

impl TlsPod {
    pub fn start(config: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pod = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
        };
        let (config, connections) = (Arc::new(config), pod.connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let connections = connections.clone();
                std::thread::spawn(move || serve(StreamOwned::new(connection, stream), &connections));
            }
        });
        pod
    }
}

fn serve(mut stream: StreamOwned<ServerConnection, std::net::TcpStream>, connections: &AtomicUsize) {
    let mut all = Vec::new();
    let mut first = true;
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => all.extend_from_slice(&piece[..count]),
            _ => return,
        }
        let Some(end) = all.windows(4).position(|end| end == b"\r\n\r\n") else {
            continue;
        };
        if std::mem::take(&mut first) {
            connections.fetch_add(1, Ordering::SeqCst);
        }
        let head = String::from_utf8(all.drain(..end + 4).collect()).unwrap();
        if head.contains("websocket") {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(switch.as_bytes()).unwrap();
            let mut said = [0; 5];
            stream.read_exact(&mut said).unwrap();
            stream.write_all(&said).unwrap();
            return;
        }
        let name = stream.conn.server_name().unwrap_or("-").to_owned();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

pub fn authorities(name: &str, pem: &str) -> String {
    let text = pem.replace('\n', "\n    ");
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n  ca.crt: |\n    {text}\n---\n")
}

pub fn world(pod: SocketAddr, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: {{{annotations}}}}}\n\
         spec: {{ports: [{{port: 80, appProtocol: https}}]}}\n---\n"
    ) + &slice("web", pod, "p0")
        + &ingress("web", "a.test", "/", "web", "")
}

pub fn rig(manifests: String) -> Rig {
    Rig::with(0, &["--shards", "1"], |_| manifests)
}

/// A status, and what the log says of the failure.
pub fn outcome(manifests: String) -> (u16, String) {
    let rig = rig(manifests);
    let answer = rig.client().send(GET).answer();
    if answer.status == 200 {
        return (200, String::from_utf8(answer.body).unwrap());
    }
    let said = eventually("the log says why", || {
        let log = rig.log();
        log.lines()
            .find(|line| line.contains("request failed"))
            .map(str::to_owned)
    });
    (answer.status, said)
}

#[test]
fn pods_are_trusted_by_the_authorities_of_their_secret_and_for_their_name() {
    let made = make(&[NAME]);
    let pod = TlsPod::start(pod_config(&made, None));
    let ca = |annotations: &str| {
        let annotations = format!("narthex.io/backend-ca-secret: ca, {annotations}");
        world(pod.address, &annotations) + &authorities("ca", &made.certificate)
    };
    assert_eq!(outcome(ca("")), (200, NAME.to_owned()));
    let (status, said) = outcome(ca("narthex.io/backend-server-name: other.example"));
    assert_eq!(status, 502);
    assert!(
        said.contains("tls_untrusted") && said.contains("it is not for \\\"other.example\\\""),
        "{said}"
    );
    // Nobody the system knows has signed it; without verification it does.
    let (status, said) = outcome(world(pod.address, ""));
    assert!(
        status == 502 && said.contains("backend-ca-secret") || status == 503,
        "{status} {said}"
    );
    assert_eq!(
        outcome(world(pod.address, "narthex.io/backend-verify: \"false\"")).0,
        200
    );
    // Another's authorities.
    let other = world(pod.address, "narthex.io/backend-ca-secret: ca") + &authorities("ca", &make(&[NAME]).certificate);
    let (status, said) = outcome(other);
    assert_eq!(status, 502);
    assert!(
        said.contains("tls_untrusted") && said.contains("none of the authorities"),
        "{said}"
    );
}

#[test]
fn expired_certificates_of_pods_are_refused() {
    let made = make_with(&[NAME], &PKCS_ECDSA_P256_SHA256, |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let pod = TlsPod::start(pod_config(&made, None));
    let (status, said) =
        outcome(world(pod.address, "narthex.io/backend-ca-secret: ca") + &authorities("ca", &made.certificate));
    assert_eq!(status, 502);
    assert!(said.contains("it has expired"), "{said}");
}

/// What `openssl req -x509` makes says of itself that it is an authority. It is trusted if it is in the list, as OpenSSL does.
#[test]
fn an_authority_that_is_a_pods_own_certificate_is_trusted() {
    let authority = |names: &[&str], until: i32| {
        make_with(names, &PKCS_ECDSA_P256_SHA256, |parameters| {
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
        })
    };
    let other = authority(&[NAME], 2100);
    for (made, listed, wanted) in [
        (authority(&[NAME], 2100), None, "200"),
        (authority(&["another.name"], 2100), None, "it is not for"),
        (authority(&[NAME], 2021), None, "it has expired"),
        (authority(&[NAME], 2100), Some(&other), "it is that of an authority"),
    ] {
        let pod = TlsPod::start(pod_config(&made, None));
        let listed = listed.unwrap_or(&made);
        let (status, said) =
            outcome(world(pod.address, "narthex.io/backend-ca-secret: ca") + &authorities("ca", &listed.certificate));
        match wanted {
            "200" => assert_eq!((status, &*said), (200, NAME)),
            wanted => assert!(status == 502 && said.contains(wanted), "{wanted}: {status} {said}"),
        }
    }
}

#[test]
fn pods_that_ask_for_a_certificate_get_the_one_that_is_named() {
    let (made, ours) = (make(&[NAME]), make(&["narthex.example"]));
    let pod = TlsPod::start(pod_config(&made, Some(&ours)));
    let with = |more: &str| {
        let annotations = format!("narthex.io/backend-ca-secret: ca, {more}");
        world(pod.address, &annotations)
            + &authorities("ca", &made.certificate)
            + &secret("ours", &ours.certificate, &ours.key)
            + &secret("other", &made.certificate, &made.key)
    };
    assert_eq!(outcome(with("narthex.io/backend-client-secret: ours")).0, 200);
    for more in ["", "narthex.io/backend-client-secret: other"] {
        let (status, said) = outcome(with(more));
        assert_eq!(status, 502, "{more}: {said}");
    }
}

#[test]
fn a_secret_that_is_missing_or_broken_asks_nobody_in_plain_and_hurts_no_other() {
    let made = make(&[NAME]);
    let pod = TlsPod::start(pod_config(&made, None));
    let other =
        "apiVersion: v1\nkind: Service\nmetadata: {name: other, annotations: {narthex.io/backend-verify: \"false\"}}\n\
                 spec: {ports: [{port: 80, appProtocol: kubernetes.io/wss}]}\n---\n"
            .to_owned()
            + &slice("other", pod.address, "p0")
            + &ingress("other", "b.test", "/", "other", "");
    let missing = world(pod.address, "narthex.io/backend-ca-secret: ca") + &other;
    let rig = rig(missing.clone());
    let status = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        rig.client().send(request).answer().status
    };
    assert_eq!((status("a.test"), status("b.test")), (503, 200));
    assert!(
        rig.log()
            .contains("Secret \\\"ca\\\" does not exist in namespace \\\"default\\\""),
        "{}",
        rig.log()
    );
    let put = |text: &str| std::fs::write(rig.manifest("all.yaml"), text).unwrap();
    put(&(missing.clone() + &authorities("ca", "nonsense")));
    eventually("the log says what is wrong", || {
        rig.log()
            .contains("ca.crt of Secret \\\"ca\\\" holds no certificate")
            .then_some(())
    });
    assert_eq!((status("a.test"), status("b.test")), (503, 200));
    put(&(missing.clone() + &authorities("ca", &made.certificate)));
    eventually("it is mended", || (status("a.test") == 200).then_some(()));
    // What was good stays in use when its next version is not.
    put(&(missing.clone() + &authorities("ca", "nonsense again")));
    rig.logged("its last good content stays in use");
    assert_eq!(status("a.test"), 200);
    // One that trusts somebody else is live at once, also for connections that were kept.
    put(&(missing.clone() + &authorities("ca", &make(&[NAME]).certificate)));
    eventually("the pod is not trusted any more", || {
        (status("a.test") == 502).then_some(())
    });
}

#[test]
fn connections_under_tls_are_used_again_and_carry_websockets() {
    let made = make(&[NAME]);
    let pod = TlsPod::start(pod_config(&made, None));
    let rig = rig(world(pod.address, "narthex.io/backend-ca-secret: ca") + &authorities("ca", &made.certificate));
    for _ in 0..5 {
        assert!(rig.client().goes_on());
    }
    assert_eq!(pod.connections.load(Ordering::SeqCst), 1);
    let mut client = rig.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.send("hello").bytes(5), b"hello");
}

#[test]
fn a_pod_that_speaks_something_else_is_told_in_the_log() {
    let made = make(&[NAME]);
    // TLS is asked for where there is none.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let (status, said) = outcome(world(address, "narthex.io/backend-verify: \"false\""));
    assert_eq!(status, 502);
    assert!(
        said.contains("not_tls") && said.contains("does not speak TLS"),
        "{said}"
    );
    // There is TLS where none is asked for.
    let secret = TlsPod::start(pod_config(&made, None));
    let (status, said) = outcome(world(secret.address, "narthex.io/backend-protocol: HTTP"));
    assert_eq!(status, 502);
    assert!(said.contains("backend-protocol: HTTPS"), "{said}");
    // HTTP/2 is asked for, and the pod has HTTP/1.1 only.
    let annotations = "narthex.io/backend-protocol: GRPCS, narthex.io/backend-verify: \"false\"";
    let (status, said) = outcome(world(secret.address, annotations));
    assert_eq!(status, 502);
    assert!(said.contains("tls_no_http2"), "{said}");
}

#[test]
fn grpcs_is_http2_under_tls() {
    let made = make(&[NAME]);
    let mut config = pod_config(&made, None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (said, schemes) = std::sync::mpsc::channel();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    serve_each(listener, move |stream| {
        let (acceptor, said) = (acceptor.clone(), said.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut reply))) = connection.accept().await {
                said.send(request.uri().to_string()).unwrap();
                reply.send_response(http::Response::new(()), true).unwrap();
            }
        }
    });
    let annotations = "narthex.io/backend-protocol: GRPCS, narthex.io/backend-ca-secret: ca";
    let rig = rig(world(address, annotations) + &authorities("ca", &made.certificate));
    assert_eq!(rig.client().send(GET).answer().status, 200);
    assert_eq!(schemes.recv_timeout(PATIENCE).unwrap(), "https://a.test/");
}
