//! Hosts as rules and certificates name them.

use crate::table::HostPattern;
use crate::table::canonical::canonical_host;

/// A rule's host in the form requests have; the error says what would be right.
pub(super) fn read_host(host: &str) -> Result<HostPattern, String> {
    // An IPv6 address is written bare in manifests and in brackets in requests.
    let bracketed;
    let address = match host.parse::<std::net::Ipv6Addr>() {
        Ok(_) => {
            bracketed = format!("[{host}]");
            &bracketed
        }
        Err(_) => host,
    };
    let (wildcard, name) = match address.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, address),
    };
    if wildcard && (name.starts_with('[') || name.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Err("a wildcard must be followed by a DNS name, as in *.example.com".to_owned());
    }
    let has_port = match name.rsplit_once(']') {
        Some((_, after)) => !after.is_empty(),
        None => name.contains(':'),
    };
    match canonical_host(name) {
        _ if host == "*" => Err("omit the host to match all hosts".to_owned()),
        _ if !host.is_ascii() => Err("write it as an A-label (xn--...), as requests do".to_owned()),
        _ if name.contains('*') => Err("a wildcard must be the whole first label, as in *.example.com".to_owned()),
        _ if name.contains('/') => Err("write only the name, without scheme or path".to_owned()),
        _ if has_port => Err("omit the port; a rule applies to all ports".to_owned()),
        Ok(canonical) if wildcard => Ok(HostPattern::Wildcard(canonical.name.into())),
        Ok(canonical) => Ok(HostPattern::Exact(canonical.name.into())),
        Err(error) => Err(error.to_string()),
    }
}
