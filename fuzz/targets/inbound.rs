//! The whole inbound stack, over a socket: whatever comes, the connection ends, and what reaches the pod is something of
//! which there are no two opinions (the pod panics if there are), for a host that has a rule.

#![no_main]

#[path = "shared/rig.rs"]
mod rig;
#[path = "shared/strict.rs"]
mod strict;

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

fuzz_target!(|data: &[u8]| {
    static RIG: OnceLock<rig::Rig> = OnceLock::new();
    let (_, got) = RIG.get_or_init(|| rig::Rig::start(&[])).play(data);
    for request in got {
        let target = request.line.split(' ').nth(1).expect("a target");
        assert!(target.starts_with('/'), "{}", request.line);
        assert!(request.line.ends_with(" HTTP/1.1"), "{}", request.line);
        let hosts: Vec<&String> = request
            .fields
            .iter()
            .filter(|(name, _)| name == "host")
            .map(|(_, value)| value)
            .collect();
        let [host] = hosts[..] else { panic!("{hosts:?}") };
        let name = host.to_ascii_lowercase();
        let name = name.split(':').next().unwrap_or_default().trim_end_matches('.');
        assert_eq!(name, "a.test", "a host without a rule reached a pod");
        for forbidden in ["connection", "keep-alive", "proxy-connection", "proxy-authorization"] {
            // What narthex itself says of this hop.
            let ours =
                |value: &str| forbidden == "connection" && matches!(value, "upgrade" | "Upgrade" | "te" | "close");
            let found = request
                .fields
                .iter()
                .find(|(name, value)| name == forbidden && !ours(value));
            assert!(found.is_none(), "{found:?} is a hop's own");
        }
    }
});
