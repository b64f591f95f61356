//! What stands before a good request is a PROXY header as the specification has it, and then its client is believed; or it
//! is none, and nothing comes of it.

#![no_main]

#[path = "shared/rig.rs"]
mod rig;
#[path = "shared/strict.rs"]
mod strict;

use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

const REQUEST: &[u8] = b"GET /fuzz HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Whose client a header names; none if it is no header, and `Some(None)` if it names nobody.
fn oracle(header: &[u8]) -> Option<Option<IpAddr>> {
    if let Some(rest) = header.strip_prefix(V2) {
        let (fixed, rest) = rest.split_at_checked(4)?;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if rest.len() != length {
            return None;
        }
        return match (fixed[0], fixed[1] >> 4, fixed[1] & 15) {
            (0x21, 1, 1) => Some(Some(<[u8; 4]>::try_from(rest.get(..4)?).ok()?.into())),
            (0x21, 2, 1) => Some(Some(<[u8; 16]>::try_from(rest.get(..16)?).ok()?.into())),
            _ => Some(None),
        };
    }
    let line = header.strip_prefix(b"PROXY ")?.strip_suffix(b"\r\n")?;
    // Whatever follows is to be ignored.
    if line.starts_with(b"UNKNOWN") {
        return Some(None);
    }
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ').skip(1);
    Some(Some(words.next()?.parse().ok()?))
}

fuzz_target!(|data: &[u8]| {
    static RIG: OnceLock<rig::Rig> = OnceLock::new();
    let flags = ["--proxy-protocol", "required", "--trusted-proxies", "127.0.0.0/8"];
    let rig = RIG.get_or_init(|| rig::Rig::start(&flags));
    let (_, got) = rig.play(Ipv4Addr::LOCALHOST, &[data, REQUEST].concat());
    for request in got.iter().filter(|request| request.line == "GET /fuzz HTTP/1.1") {
        let real = request
            .fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("x-real-ip"))
            .expect("X-Real-IP");
        let real: IpAddr = real.1.parse().expect("an address");
        // A header may be followed by requests of the input's own; the last is ours.
        let named = (0..=data.len()).rev().find_map(|end| oracle(&data[..end]));
        match named {
            Some(Some(client)) => assert_eq!(real.to_canonical(), client.to_canonical()),
            Some(None) => assert!(real.is_loopback(), "{real} for a header that names nobody"),
            None => panic!("a request passed without a header"),
        }
    }
});
