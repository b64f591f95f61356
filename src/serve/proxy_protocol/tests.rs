//! What a whole header says, and that hostile ones say nothing and harm nobody.

use super::*;
use proptest::prelude::*;

fn proxied(client: &str, local: &str, tls_version: Option<&'static str>) -> Option<Opening> {
    Some(Opening::Proxied(Ends {
        client: client.parse().unwrap(),
        local: local.parse().unwrap(),
        tls_version: tls_version.map(Cow::Borrowed),
        silent_on_tls: tls_version.is_none(),
    }))
}

fn v2_header(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [V2, &[command, family], &length, payload].concat()
}

const V4_PAYLOAD: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0, 80];

#[test]
fn version_1_names_the_client() {
    let tcp4 = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n";
    assert_eq!(parse_v1(tcp4), proxied("192.0.2.1:4711", "10.0.0.1:80", None));
    let tcp6 = b"PROXY TCP6 2001:db8::1 fd00::1 4711 80\r\n";
    assert_eq!(parse_v1(tcp6), proxied("[2001:db8::1]:4711", "[fd00::1]:80", None));
}

#[test]
fn version_1_unknown_is_local_whatever_follows() {
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN 1 2 3 4 5 6 7 8 9\r\n",
        "PROXY UNKNOWN ffff::1 x\r\n",
    ] {
        assert_eq!(parse_v1(line.as_bytes()), Some(Opening::Local), "{line:?}");
    }
}

#[test]
fn version_1_is_read_strictly() {
    for line in [
        "PROXY \r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN\n",
        "PROXY TCP4\r\n",
        "PROXY tcp4 192.0.2.1 10.0.0.1 4711 80\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80 \r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 +80\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 04711 80\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 65536 80\r\n",
        "PROXY TCP4 192.0.2.01 10.0.0.1 4711 80\r\n",
        "PROXY TCP4 2001:db8::1 fd00::1 4711 80\r\n",
        "PROXY TCP6 192.0.2.1 10.0.0.1 4711 80\r\n",
        "PROXY TCP6 fe80::1%eth0 fd00::1 4711 80\r\n",
        "PROXY\rTCP4 192.0.2.1 10.0.0.1 4711 80\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\r\n",
    ] {
        assert_eq!(parse_v1(line.as_bytes()), None, "{line:?}");
    }
}

#[test]
fn version_2_names_the_client_and_its_tls() {
    let ssl = |client: u8, fields: &[u8]| {
        let value = [&[client, 0, 0, 0, 1], fields].concat();
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        let tlv = [&[0x20][..], &length, &value].concat();
        parse_v2(&v2_header(
            0x21,
            0x11,
            &[&V4_PAYLOAD[..], &[0x04, 0, 1, 0], &tlv].concat(),
        ))
    };
    let (client, local) = ("192.0.2.1:4711", "10.0.0.1:80");
    let plain = parse_v2(&v2_header(0x21, 0x11, &V4_PAYLOAD));
    assert_eq!(plain, proxied(client, local, None));
    let version = b"\x21\0\x07TLSv1.2";
    assert_eq!(ssl(1, version), proxied(client, local, Some("TLSv1.2")));
    assert_eq!(ssl(1, b""), proxied(client, local, Some("unknown")));
    assert_eq!(ssl(1, b"\x21\0\x03a\r\n"), proxied(client, local, Some("unknown")));
    // A certificate shown in an earlier connection (PP2_CLIENT_CERT_SESS) is not TLS in this one.
    let Some(Opening::Proxied(ends)) = ssl(4, version) else {
        panic!("{version:?}")
    };
    assert_eq!((ends.tls_version, ends.silent_on_tls), (None, false));
    assert_eq!(ssl(1, b"\x21\0\x08TLSv1.2"), None, "a field longer than what it is in");
}

#[test]
fn version_2_of_no_address_of_a_client_is_local() {
    for (command, family, payload) in [
        (0x20, 0x00, &[][..]),
        (0x20, 0x11, &V4_PAYLOAD),
        // Of LOCAL, all the rest is ignored.
        (0x20, 0xff, &[1, 2, 3]),
        (0x21, 0x00, &[]),
        (0x21, 0x01, &[1, 2, 3]),
        (0x21, 0x31, &[0; 216]),
        (0x21, 0x12, &V4_PAYLOAD),
    ] {
        let header = v2_header(command, family, payload);
        assert_eq!(parse_v2(&header), Some(Opening::Local), "{header:?}");
    }
}

#[test]
fn version_2_is_read_strictly() {
    for (command, family, payload) in [
        (0x11, 0x11, &V4_PAYLOAD[..]),
        (0x22, 0x11, &V4_PAYLOAD),
        (0x21, 0x41, &V4_PAYLOAD),
        (0x21, 0x13, &V4_PAYLOAD),
        (0x21, 0x11, &V4_PAYLOAD[..11]),
        (0x21, 0x21, &V4_PAYLOAD),
        (0x21, 0x31, &[0; 215]),
        (0x21, 0x11, &[&V4_PAYLOAD[..], &[4, 0]].concat()),
        (0x21, 0x11, &[&V4_PAYLOAD[..], &[4, 0, 1]].concat()),
        (0x21, 0x11, &[&V4_PAYLOAD[..], &[0x20, 0, 4, 1, 0, 0, 0]].concat()),
    ] {
        let header = v2_header(command, family, payload);
        assert_eq!(parse_v2(&header), None, "{header:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_harm(rest in prop::collection::vec(any::<u8>(), 0..300), text in "[ -~\r\n]{0,90}") {
        let _ = parse_v2(&[V2, &rest].concat());
        let _ = parse_v1(&[V1, &rest, b"\r\n"].concat());
        let _ = parse_v1(format!("PROXY TCP4 {text}\r\n").as_bytes());
        let _ = client_tls(&rest);
    }

    #[test]
    fn no_payload_harms(command in 0x1f_u8..0x23, family in any::<u8>(), payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_v2(&v2_header(command, family, &payload));
    }

    #[test]
    fn what_we_write_we_read(client in any::<std::net::SocketAddr>(), local in any::<std::net::SocketAddr>(), tls in any::<bool>()) {
        let version = tls.then_some("TLSv1.3");
        let header = crate::upstream::proxy_protocol::header(client, local, version);
        let Some(Opening::Proxied(ends)) = parse_v2(&header) else { panic!("{header:?}") };
        prop_assert_eq!(ends.client.ip().to_canonical(), client.ip().to_canonical());
        prop_assert_eq!(ends.local.ip().to_canonical(), local.ip().to_canonical());
        prop_assert_eq!((ends.client.port(), ends.local.port()), (client.port(), local.port()));
        prop_assert_eq!(ends.tls_version.as_deref(), version);
    }
}
