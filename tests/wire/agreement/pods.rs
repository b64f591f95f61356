//! Pods at all addresses of the loopback network, which speak whatever they are spoken to and say which of them answers.

use crate::serving::serve_each;
use crate::tls_rig::make;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// Starts them; the port all of them listen on.
pub fn start() -> u16 {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(tls()));
    serve_each(listener, move |stream| serve(stream, acceptor.clone()));
    port
}

fn tls() -> ServerConfig {
    let made = make(&["pod.test"]);
    let chain = vec![CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor) {
    let Ok(address) = stream.local_addr() else { return };
    let mut first = [0; 3];
    // A preface of HTTP/2 comes in one piece.
    let Ok(count) = stream.peek(&mut first).await else {
        return;
    };
    if first[..count].first() == Some(&22) {
        let Ok(stream) = acceptor.accept(stream).await else {
            return;
        };
        let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        converse(stream, address, multiplexed).await;
    } else {
        converse(stream, address, &first == b"PRI").await;
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
    multiplexed: bool,
) {
    let answer = service_fn(move |_: Request<Incoming>| async move {
        let reply = Response::builder().header("x-pod", address.to_string());
        Ok::<_, Infallible>(reply.body(Empty::<Bytes>::new()).unwrap())
    });
    let io = TokioIo::new(stream);
    // Why a connection ends is of no interest here.
    if multiplexed {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.max_header_list_size(1 << 20);
        let _ = builder.serve_connection(io, answer).await;
    } else {
        // narthex adds fields of its own to the hundred that a client may send.
        let mut builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.max_headers(256).serve_connection(io, answer).await;
    }
}
