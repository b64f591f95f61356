//! The whole inbound stack, over a socket: whatever comes, the connection ends, and what reaches the pod is something of
//! which there are no two opinions (the pod panics if there are), for a host that has a rule. It is what the client sent:
//! the reader of requests finds the same requests in the client's bytes.

#![no_main]

#[path = "shared/messages.rs"]
mod messages;
#[path = "shared/rig.rs"]
mod rig;
#[path = "shared/strict.rs"]
mod strict;

use libfuzzer_sys::fuzz_target;
use messages::Message;
use rig::Got;
use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Fields that narthex writes itself, in this form or another.
const OURS: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-narthex-hops",
    "x-real-ip",
    "x-request-id",
];

/// Whether these fields are among those, in the same order.
fn are_among(fields: &[(String, String)], those: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let mut those = those.iter();
    fields
        .iter()
        .all(|(name, value)| those.any(|that| that.0 == name.as_bytes() && is_text(&that.1, value)))
}

fn is_text(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes) == text
}

fn is_cookie(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"cookie")
}

/// Whether the pod got this message of the client's.
fn is_of(got: &Got, message: &Message) -> bool {
    let method = |line: &[u8]| line.split(|byte| *byte == b' ').next().map(<[u8]>::to_vec);
    // Several lines of cookies become one without the empty ones: many servers look at one only.
    let cookies = || message.fields.iter().filter(|field| is_cookie(&field.0));
    let are_joined = cookies().count() > 1;
    let cookies: Vec<&[u8]> = cookies()
        .map(|field| &*field.1)
        .filter(|value| !value.is_empty())
        .collect();
    let theirs: Vec<_> = got
        .fields
        .iter()
        .filter(|(name, _)| !OURS.contains(&name.to_ascii_lowercase().as_str()))
        .filter(|(name, _)| !are_joined || !is_cookie(name.as_bytes()))
        .cloned()
        .collect();
    let mut lines = got.fields.iter().filter(|(name, _)| is_cookie(name.as_bytes()));
    let joined = cookies.join(&b"; "[..]);
    (!are_joined || lines.all(|(_, value)| is_text(&joined, value)))
        && message.whole
        && method(got.line.as_bytes()) == method(&message.line)
        && got.body == message.body
        && are_among(&theirs, &message.fields)
        && got.trailers.iter().all(|(name, value)| {
            let mut theirs = message.trailers.iter();
            theirs.any(|field| field.0.eq_ignore_ascii_case(name.as_bytes()) && is_text(&field.1, value))
        })
}

fuzz_target!(|data: &[u8]| {
    static RIG: OnceLock<rig::Rig> = OnceLock::new();
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let [third, fourth] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let from = Ipv4Addr::new(127, 1, third, fourth);
    let (_, mut got) = RIG.get_or_init(|| rig::Rig::start(&[])).play(from, data);
    let from = from.to_string();
    got.retain(|request| request.named("x-real-ip").any(|address| *address == from));
    // HTTP/2 has another reader.
    let read = (!data.starts_with(b"PRI * HTTP/2.0\r\n")).then(|| messages::read(data, &[]));
    let mut messages = read.iter().flat_map(|read| &read.messages);
    for request in &got {
        if read.is_some() {
            let found = messages.any(|message| is_of(request, message));
            assert!(found, "the client did not send {request:?}: {read:?}");
        }
        let target = request.line.split(' ').nth(1).expect("a target");
        assert!(target.starts_with('/'), "{}", request.line);
        assert!(request.line.ends_with(" HTTP/1.1"), "{}", request.line);
        let hosts: Vec<&String> = request.named("host").collect();
        let [host] = hosts[..] else { panic!("{hosts:?}") };
        let name = host.to_ascii_lowercase();
        let name = name.split(':').next().unwrap_or_default().trim_end_matches('.');
        assert_eq!(name, "a.test", "a host without a rule reached a pod");
        for forbidden in ["connection", "keep-alive", "proxy-connection", "proxy-authorization"] {
            // What narthex itself says of this hop.
            let ours =
                |value: &str| forbidden == "connection" && matches!(value, "upgrade" | "Upgrade" | "te" | "close");
            let found = request.named(forbidden).find(|value| !ours(value));
            assert!(found.is_none(), "{forbidden}: {found:?} is a hop's own");
        }
    }
});
