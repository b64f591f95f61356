//! The PROXY protocol from balancers, and who the client of a request is.

use crate::rig::{Client, Rig, eventually};
use crate::tls_rig::{Tls, config, make, secret, secure, world};
use rustls::pki_types::ServerName;
use socket2::{Domain, Socket, Type};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const TCP4: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// 192.0.2.2:4711 to 10.0.0.1:80.
const V4: &[u8] = &[192, 0, 2, 2, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
/// PP2_TYPE_SSL: over TLS 1.2, without a certificate.
const SSL: &[u8] = b"\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.2";

/// A header of version 2 that says so many bytes behind its length, most of them nothing (PP2_TYPE_NOOP).
fn padded(bytes: u16) -> Vec<u8> {
    let rest = bytes - 15;
    let padding = vec![0; usize::from(rest)];
    v2(0x21, 0x11, &[V4, &[4], &rest.to_be_bytes(), &padding].concat())
}

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, payload].concat()
}

/// 127.0.0.1 is the balancer; 127.0.0.2 is not.
pub fn rig(how: &str, more: &[&str]) -> Rig {
    let flags = ["--proxy-protocol", how, "--trusted-proxies", "127.0.0.1"];
    Rig::new(1, &[&flags, more].concat())
}

pub fn stream(from: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn stranger(to: SocketAddr) -> Client {
    Client::over(stream("127.0.0.2", to))
}

/// Sends byte by byte, each when narthex has read the one before.
fn slowly(client: &mut Client, bytes: &[u8]) {
    for byte in bytes {
        client.send([*byte]);
        is_read(&client.stream);
    }
}

/// Waits until the other end of a connection has read all that was sent.
fn is_read(tcp: &TcpStream) {
    eventually("narthex reads it", || (unread(tcp) == Some(0)).then_some(()));
}

/// How many bytes the other end has not read, by what the kernel says of it (proc(5), net/tcp).
fn unread(tcp: &TcpStream) -> Option<usize> {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port()),
        SocketAddr::V6(_) => unreachable!("the tests listen on IPv4"),
    };
    let ends = [hex(tcp.peer_addr().unwrap()), hex(tcp.local_addr().unwrap())].join(" ");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find(|line| line.contains(&ends))?;
    let queues = line.split_whitespace().nth(4)?;
    usize::from_str_radix(queues.split(':').nth(1)?, 16).ok()
}

/// What the pod was told of the client of a request that began with this header.
fn told(rig: &Rig, header: &[u8]) -> String {
    let mut client = rig.client();
    let answer = client.send([header, GET].concat()).answer();
    assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(header));
    assert!(client.goes_on(), "one header serves the whole connection");
    rig.pod().last().field("x-forwarded-for").join("|")
}

#[test]
fn the_header_names_the_client() {
    let rig = rig("required", &[]);
    let v6 = [
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2][..],
        &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0x12, 0x67, 0, 80],
    ]
    .concat();
    let mapped = b"PROXY TCP6 ::ffff:192.0.2.3 ::ffff:10.0.0.1 4711 80\r\n";
    for (header, wanted) in [
        (TCP4.to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 fd00::1 4711 80\r\n".to_vec(), "2001:db8::1"),
        (mapped.to_vec(), "192.0.2.3"),
        (v2(0x21, 0x11, V4), "192.0.2.2"),
        (v2(0x21, 0x21, &v6), "2001:db8::2"),
        (padded(4096), "192.0.2.2"),
        // The balancer speaks for itself.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"PROXY UNKNOWN a b c d e f g\r\n".to_vec(), "127.0.0.1"),
        (v2(0x20, 0x00, b""), "127.0.0.1"),
        (v2(0x20, 0x11, V4), "127.0.0.1"),
        (v2(0x21, 0x00, b""), "127.0.0.1"),
        (v2(0x21, 0x31, &[0; 216]), "127.0.0.1"),
    ] {
        assert_eq!(told(&rig, &header), wanted, "{:?}", String::from_utf8_lossy(&header));
    }
    assert_eq!(rig.counter("proxy_protocol_failures_total"), 0);
}

#[test]
fn the_header_may_come_byte_by_byte() {
    for how in ["optional", "required"] {
        let rig = rig(how, &[]);
        for header in [TCP4.to_vec(), v2(0x21, 0x11, &[V4, SSL].concat())] {
            let mut client = rig.client();
            slowly(&mut client, &[&header, GET].concat());
            assert_eq!(client.answer().status, 200);
            let address = rig.pod().last().field("x-forwarded-for");
            assert!(address[0].starts_with("192.0.2."), "{address:?}");
        }
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(long.len(), 108);
    let bad = [
        GET.to_vec(),
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\x16\x03\x01\0\0".to_vec(),
        b"\r\n\r\n\0\r\nQUIP\n".to_vec(),
        long.clone().into_bytes(),
        format!("PROXY TCP4 {}", "1".repeat(4000)).into_bytes(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n".to_vec(),
        b"PROXY TCP6 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(),
        padded(4097),
        v2(0x21, 0x11, &V4[..11]),
        v2(0x31, 0x11, V4),
        v2(0x22, 0x11, V4),
        v2(0x21, 0x51, V4),
        v2(0x21, 0x11, &[V4, b"\x20\0\x0f\x01"].concat()),
    ];
    let rig = rig("required", &[]);
    for bytes in &bad {
        let mut client = rig.client();
        client.send(bytes).send(GET);
        assert!(client.ends(), "{:?}", String::from_utf8_lossy(bytes));
    }
    assert!(rig.pod().requests().is_empty());
    assert_eq!(rig.counter("proxy_protocol_failures_total"), bad.len() as u64);
    // One byte less is a line.
    assert_eq!(told(&rig, long.replacen("xx", "x", 1).as_bytes()), "127.0.0.1");
    eventually("it is logged", || {
        let log = rig.log();
        let all = [
            "no PROXY header",
            "PROXY header is too long",
            "PROXY header is malformed",
        ];
        all.iter().all(|said| log.contains(said)).then_some(())
    });
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for_without_end() {
    let rig = rig("required", &["--head-timeout", "300ms"]);
    for begun in [&b""[..], b"P", &TCP4[..20], &SIGNATURE[..5], &v2(0x21, 0x11, V4)[..20]] {
        let mut client = rig.client();
        assert!(client.send(begun).ends(), "{begun:?}");
    }
    assert_eq!(rig.counter("proxy_protocol_failures_total"), 5);
    // A probe of a balancer that only connects is no failure.
    drop(rig.client());
    rig.logged("before it said anything");
    assert_eq!(rig.counter("proxy_protocol_failures_total"), 5);
}

#[test]
fn only_trusted_proxies_may_send_one() {
    let optional = rig("optional", &[]);
    for header in [TCP4.to_vec(), v2(0x21, 0x11, V4)] {
        let answer = stranger(optional.http).send([&header, GET].concat()).answer();
        assert_eq!(answer.status, 400);
        let mut client = stranger(optional.https);
        client.send([&header[..], b"\x16\x03\x01\0\0"].concat());
        assert!(!String::from_utf8_lossy(&client.rest()).contains("200"));
    }
    assert!(optional.pod().requests().is_empty());
    assert_eq!(stranger(optional.http).send(GET).answer().status, 200);
    assert_eq!(optional.pod().last().field("x-forwarded-for"), ["127.0.0.2"]);

    let required = rig("required", &[]);
    for header in [&b""[..], TCP4] {
        assert!(stranger(required.http).send([header, GET].concat()).ends());
    }
    assert!(stranger(required.https).send(b"\x16\x03\x01\0\0").ends());
    assert!(required.pod().requests().is_empty());
    assert_eq!(required.counter("proxy_protocol_failures_total"), 3);

    let off = Rig::new(1, &["--trusted-proxies", "127.0.0.1"]);
    assert_eq!(off.client().send([TCP4, GET].concat()).answer().status, 400);
}

#[test]
fn without_a_header_nothing_is_lost_of_a_request() {
    let rig = rig("optional", &[]);
    for begun in [
        "GET /",
        "POST /",
        "PUT /",
        "PROPFIND /",
        "PROXIES /",
        "P /",
        "\r\nGET /",
        "PRI /",
        "PR",
    ] {
        let rest = " HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n";
        let request = match begun {
            "PR" => format!("PROXYING /{rest}"),
            begun => format!("{begun}{rest}"),
        };
        for whole in [true, false] {
            let before = rig.pod().requests().len();
            let mut client = rig.client();
            if whole {
                client.send(&request);
            } else {
                slowly(&mut client, request.as_bytes());
            }
            assert_eq!(client.answer().status, 200, "{request:?}");
            let got = rig.pod().requests();
            assert_eq!(got.len(), before + 1);
            let wanted = format!("{} / HTTP/1.1", request.trim_start().split(' ').next().unwrap());
            assert_eq!(got[before].line(), wanted);
        }
    }
}

#[test]
fn a_named_client_is_trusted_only_if_it_is_a_trusted_proxy() {
    let flags = [
        "--proxy-protocol",
        "required",
        "--trusted-proxies",
        "127.0.0.1,10.0.0.0/8",
    ];
    let rig = Rig::new(1, &flags);
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
                   X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\r\n";
    let field = |header: &str, name: &str| {
        let answer = rig.client().send([header, request].concat()).answer();
        assert_eq!(answer.status, 200);
        rig.pod().last().field(name)
    };
    let stranger = "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n";
    assert_eq!(field(stranger, "x-forwarded-for"), ["192.0.2.1"]);
    assert_eq!(field(stranger, "x-real-ip"), ["192.0.2.1"]);
    assert_eq!(field(stranger, "x-forwarded-proto"), ["http"]);
    assert!(field(stranger, "forwarded").is_empty());
    let proxy = "PROXY TCP4 10.1.1.1 10.0.0.1 4711 80\r\n";
    assert_eq!(field(proxy, "x-forwarded-for"), ["6.6.6.6, 10.1.1.1"]);
    assert_eq!(field(proxy, "x-real-ip"), ["6.6.6.6"]);
    assert_eq!(field(proxy, "x-forwarded-proto"), ["https"]);
    assert_eq!(field(proxy, "forwarded"), ["for=6.6.6.6", "for=10.1.1.1;proto=http"]);
}

#[test]
fn the_log_and_x_real_ip_name_the_client_behind_all_trusted_proxies() {
    let rig = Rig::new(1, &["--trusted-proxies", "127.0.0.1,10.0.0.0/8"]);
    let mut client = rig.client();
    for (forwarded, wanted) in [
        ("6.6.6.6, 192.0.2.7, 10.1.1.1", "192.0.2.7"),
        // Each request of a connection speaks for itself.
        ("192.0.2.8", "192.0.2.8"),
        ("192.0.2.9, nonsense", "127.0.0.1"),
    ] {
        for (host, status) in [("a.test", 200), ("nobody.test", 404)] {
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {forwarded}\r\n\r\n");
            assert_eq!(client.send(request).answer().status, status);
        }
        assert_eq!(rig.pod().last().field("x-real-ip"), [wanted]);
        let said = format!("{forwarded}, 127.0.0.1");
        assert_eq!(rig.pod().last().field("x-forwarded-for"), [said]);
        rig.logged(&format!("\"client\":\"{wanted}\""));
    }
    // From a stranger it is not looked at.
    let request = "GET / HTTP/1.1\r\nHost: nobody.test\r\nX-Forwarded-For: 192.0.2.10\r\n\r\n";
    assert_eq!(stranger(rig.http).send(request).answer().status, 404);
    rig.logged("\"client\":\"127.0.0.2\"");
    assert!(!rig.log().contains("192.0.2.10"));
}

#[test]
fn tls_towards_the_balancer_counts_as_https() {
    let made = make(&["a.test"]);
    let manifests = secret("a", &made.certificate, &made.key)
        + &secure("a", "a.test", "a.test", "a", "narthex.io/hsts: \"max-age=600\"");
    let rig = world(
        &["--proxy-protocol", "required", "--trusted-proxies", "127.0.0.1"],
        &manifests,
    );
    let answer = rig.client().send([&v2(0x21, 0x11, V4), GET].concat()).answer();
    assert_eq!(answer.status, 308, "plain goes to HTTPS");
    // With a client certificate of an earlier connection, but no TLS.
    let mut no_tls = SSL.to_vec();
    no_tls[3] = 4;
    let answer = rig
        .client()
        .send([v2(0x21, 0x11, &[V4, &no_tls].concat()), GET.to_vec()].concat())
        .answer();
    assert_eq!(answer.status, 308);

    let answer = rig
        .client()
        .send([v2(0x21, 0x11, &[V4, SSL].concat()), GET.to_vec()].concat())
        .answer();
    assert_eq!(answer.status, 200, "it is there already");
    assert_eq!(answer.field("strict-transport-security"), Some("max-age=600"));
    let got = rig.pod().last();
    assert_eq!(got.field("x-forwarded-proto"), ["https"]);
    assert_eq!(got.field("x-forwarded-port"), ["443"]);
    assert_eq!(got.field("x-forwarded-for"), ["192.0.2.2"]);
}

#[test]
fn it_comes_before_tls_and_before_http2() {
    let made = make(&["a.test"]);
    let manifests = secret("a", &made.certificate, &made.key) + &secure("a", "a.test", "a.test", "a", "");
    for how in ["optional", "required"] {
        let rig = world(
            &[
                "--proxy-protocol",
                how,
                "--trusted-proxies",
                "127.0.0.1",
                "--ssl-redirect=false",
            ],
            &manifests,
        );
        let name = || ServerName::try_from("a.test").unwrap();
        let config = || Arc::new(config(rustls::ALL_VERSIONS));
        for header in [TCP4.to_vec(), v2(0x21, 0x11, V4)] {
            let mut tcp = stream("127.0.0.1", rig.https);
            tcp.write_all(&header).unwrap();
            let mut tls = Tls::over(tcp, name(), config()).unwrap();
            assert_eq!(tls.get("a.test", "/").0, 200);
            let got = rig.pod().last();
            assert!(
                got.field("x-forwarded-for")[0].starts_with("192.0.2."),
                "{}",
                got.text()
            );
            assert_eq!(got.field("x-forwarded-proto"), ["https"]);
            h2_get(&rig, &header);
            assert!(rig.pod().last().field("x-forwarded-for")[0].starts_with("192.0.2."));
        }
        let without = Tls::over(stream("127.0.0.1", rig.https), name(), config());
        if how == "required" {
            assert!(without.is_err());
            continue;
        }
        assert_eq!(without.unwrap().get("a.test", "/").0, 200);
        assert_eq!(rig.pod().last().field("x-forwarded-for"), ["127.0.0.1"]);
        h2_get(&rig, b"");
        assert_eq!(rig.pod().last().field("x-forwarded-for"), ["127.0.0.1"]);
        // What was held back for a header and is none is no TLS either.
        let mut tcp = stream("127.0.0.1", rig.https);
        tcp.set_nodelay(true).unwrap();
        tcp.write_all(b"P").unwrap();
        is_read(&tcp);
        assert!(Tls::over(tcp, name(), config()).is_err());
    }
}

/// A request over HTTP/2 by prior knowledge, behind these bytes, with its preface split where it could still be a
/// header.
fn h2_get(rig: &Rig, header: &[u8]) {
    let mut tcp = stream("127.0.0.1", rig.http);
    tcp.set_nodelay(true).unwrap();
    tcp.write_all(header).unwrap();
    tcp.write_all(b"PR").unwrap();
    is_read(&tcp);
    tcp.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let asked = async {
        let tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        let (mut client, connection) = h2::client::handshake(Begun { tcp, said: 2 }).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = http::Request::get("http://a.test/").body(()).unwrap();
        let reply = client.send_request(request, true).unwrap().0.await.unwrap();
        driver.abort();
        reply.status()
    };
    let status = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), asked).await });
    assert_eq!(status.expect("it takes too long"), 200);
}

/// A connection on which so many bytes have been said already.
struct Begun {
    tcp: tokio::net::TcpStream,
    said: usize,
}

impl AsyncRead for Begun {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let said = self.said.min(bytes.len());
        if said > 0 {
            self.said -= said;
            return Poll::Ready(Ok(said));
        }
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[test]
fn nobody_can_be_believed_without_trusted_proxies() {
    for how in ["optional", "required"] {
        let out = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["serve", "--manifests", "/nowhere", "--proxy-protocol", how])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success());
        assert!(
            said.contains("--proxy-protocol") && said.contains("--trusted-proxies"),
            "{said}"
        );
    }
}

#[test]
fn who_came_to_port_443_of_a_balancer_that_is_silent_on_tls_is_not_redirected_for_ever() {
    let made = make(&["a.test"]);
    let manifests = secret("a", &made.certificate, &made.key) + &secure("a", "a.test", "a.test", "a", "");
    let flags = ["--proxy-protocol", "required", "--trusted-proxies", "127.0.0.1"];
    let rig = world(&flags, &manifests);
    let to = |port: u16| {
        let [high, low] = port.to_be_bytes();
        vec![192, 0, 2, 2, 10, 0, 0, 1, 0x12, 0x67, high, low]
    };
    let plain_ssl: &[u8] = b"\x20\0\x05\0\0\0\0\0";
    for (header, status) in [
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n".to_vec(), 200),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(), 308),
        (v2(0x21, 0x11, &to(443)), 200),
        (v2(0x21, 0x11, &to(80)), 308),
        (v2(0x21, 0x11, &to(rig.https.port())), 200),
        // It says that there was no TLS.
        (v2(0x21, 0x11, &[&to(443)[..], plain_ssl].concat()), 308),
        (v2(0x21, 0x11, &[&to(80)[..], SSL].concat()), 200),
    ] {
        let mut client = rig.client();
        let answer = client.send([&header, GET].concat()).answer();
        assert_eq!(answer.status, status, "{:?}", String::from_utf8_lossy(&header));
        if status == 200 {
            assert_eq!(rig.pod().last().field("x-forwarded-proto"), ["https"]);
        }
    }
}
