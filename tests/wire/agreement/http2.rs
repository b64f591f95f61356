//! Sends a request over HTTP/2, in plain or under TLS.

use super::Fate;
use super::request::Request;
use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends it on a connection of its own, and reads the head of the reply.
pub fn send(
    address: SocketAddr,
    request: &Request,
    (name, tls): (ServerName<'static>, &Arc<ClientConfig>),
) -> Result<Fate, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = async {
        let stream = TcpStream::connect(address).await;
        let mut stream = stream.map_err(|error| error.to_string())?;
        if let Some(header) = request.proxy_header() {
            let written = stream.write_all(header.as_bytes()).await;
            written.map_err(|error| error.to_string())?;
        }
        if !request.tls {
            return ask(stream, request).await;
        }
        let mut config = ClientConfig::clone(tls);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        ask(shaken.map_err(|error| format!("handshake: {error}"))?, request).await
    };
    let answer = async { tokio::time::timeout(PATIENCE, asked).await };
    let answer = runtime.unwrap().block_on(answer);
    answer.unwrap_or_else(|_| Err("no reply".to_owned()))
}

async fn ask(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, request: &Request) -> Result<Fate, String> {
    let said = |error: h2::Error| format!("HTTP/2: {error}");
    let (client, connection) = h2::client::handshake(stream).await.map_err(said)?;
    tokio::spawn(connection);
    let mut client = client.ready().await.map_err(said)?;
    let (head, body) = request.http2();
    let (reply, mut sending) = client.send_request(head, body.is_empty()).map_err(said)?;
    if !body.is_empty() {
        // narthex may answer and reset the stream before it has the body; what it says is what counts.
        let _ = sending.send_data(Bytes::from_static(body.as_bytes()), true);
    }
    let reply = reply.await.map_err(said)?;
    let field = |name: &str| {
        let value = reply.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Fate {
        status: reply.status().as_u16(),
        location: field("location"),
        pod: field("x-pod"),
        grpc: reply.headers().contains_key("grpc-status"),
    })
}
