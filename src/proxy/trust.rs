//! Whose word is taken for where a request comes from.

use super::forwarded::{self, address};
use crate::message::{Fields, Name};
use ipnet::IpNet;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// How many addresses of `X-Forwarded-For` are looked at: more proxies in a row than there are.
const MAX_PROXIES: usize = 32;

/// `--trusted-proxies`.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// These networks.
    pub fn new(nets: &[IpNet]) -> Self {
        Self(nets.into())
    }

    /// Whether an address is in them. IPv4 in IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// What a request that came from a trusted proxy says of its client.
    ///
    /// Who it is: in `X-Forwarded-For`, from the right, the first address that is not trusted itself. Where all are, the
    /// last one seen; what is no address ends the list, for nobody who is trusted wrote what stands to its left. Only
    /// where there is no such field, `Forwarded` is read in the same way: many proxies that set the former pass the
    /// latter on as a client sent it.
    ///
    /// How it came: what the proxy that spoke with the client says. Where both fields speak of it, it came by HTTPS only
    /// if both say so.
    pub fn told<'h>(&self, proxy: IpAddr, fields: &'h Fields) -> Told<'h> {
        let (by_list, hops) = self.walk(list(fields, &Name::XForwardedFor).map(address));
        let (mut https, mut host, mut by_forwarded) = (None, None, None);
        for element in forwarded::elements(fields).take(MAX_PROXIES) {
            let address = element.address();
            (https, host) = (element.proto.as_deref().and_then(is_https), element.host);
            let Some(address) = address else { break };
            by_forwarded = Some(address);
            if !self.contains(address) {
                break;
            }
        }
        let mut schemes = list(fields, &Name::XForwardedProto);
        // As many schemes are given as addresses, or only one, by the first proxy or for all.
        let mut said = schemes.next();
        for _ in 1..hops {
            said = schemes.next().or(said);
        }
        let said = said.map(|text| is_https(text) == Some(true));
        Told {
            // A host that a stranger names must not reach a pod by a field that its proxy does not know.
            host: host.filter(|_| by_list.is_none() && said.is_none()),
            client: by_list.or(by_forwarded).unwrap_or(proxy),
            https: match (said, https) {
                (Some(said), Some(https)) => Some(said && https),
                (said, https) => said.or(https),
            },
        }
    }

    /// The first address that is not trusted, or the last one seen, and how many were looked at.
    fn walk(&self, addresses: impl Iterator<Item = Option<IpAddr>>) -> (Option<IpAddr>, usize) {
        let (mut client, mut hops) = (None, 0);
        for address in addresses.map_while(|address| address) {
            (client, hops) = (Some(address), hops + 1);
            if !self.contains(address) {
                break;
            }
        }
        (client, hops)
    }
}

/// What trusted proxies say of a request's client.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<'h> {
    /// Its address; the proxy's own where they do not say.
    pub client: IpAddr,
    /// Whether it came by HTTPS; none where they do not say.
    pub https: Option<bool>,
    /// The host it asked for, by `Forwarded`.
    pub host: Option<Cow<'h, str>>,
}

/// The elements of a list over all its lines, from the right, without empty ones; at most [`MAX_PROXIES`].
fn list<'h>(fields: &'h Fields, name: &'static Name) -> impl Iterator<Item = &'h str> {
    let lines = fields.get_all(name).rev();
    let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let elements = elements.take(MAX_PROXIES).map(<[u8]>::trim_ascii);
    // What is no text is no address and no scheme either.
    elements
        .filter(|element| !element.is_empty())
        .map(|element| std::str::from_utf8(element).unwrap_or("?"))
}

/// Whether a scheme is that of HTTP under TLS; WebSockets have names of their own for the two (RFC 6455). None for what is
/// neither.
fn is_https(scheme: &str) -> Option<bool> {
    let is = |names: [&str; 2]| names.iter().any(|name| scheme.eq_ignore_ascii_case(name));
    if is(["https", "wss"]) {
        Some(true)
    } else {
        is(["http", "ws"]).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(lines: &[&str]) -> String {
        let nets: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|net| net.parse().unwrap())
            .collect();
        let mut headers = Fields::new();
        for line in lines {
            headers.append("x-forwarded-for", line);
        }
        TrustedProxies::new(&nets)
            .told("10.0.0.1".parse().unwrap(), &headers)
            .client
            .to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        for (lines, wanted) in [
            (&[][..], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            (&["6.6.6.6", "192.0.2.1,10.0.0.2", "10.0.0.3 , "], "192.0.2.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["::ffff:192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
            (&["2001:db8::1, fd00::1"], "2001:db8::1"),
            (&["[2001:db8::1]:4711, [fd00::1]"], "2001:db8::1"),
            (&["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["192.0.2.1, _hidden"], "10.0.0.1"),
        ] {
            assert_eq!(client(lines), wanted, "{lines:?}");
        }
    }

    fn told(fields: &[(&'static str, &str)]) -> (String, Option<bool>) {
        let nets: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let mut headers = Fields::new();
        for (name, value) in fields {
            headers.append(*name, value);
        }
        let told = TrustedProxies::new(&nets).told("10.0.0.1".parse().unwrap(), &headers);
        (told.client.to_string(), told.https)
    }

    #[test]
    fn the_scheme_is_what_the_proxy_before_the_client_says() {
        let (list, proto, forwarded) = ("x-forwarded-for", "x-forwarded-proto", "forwarded");
        for (fields, client, https) in [
            (&[][..], "10.0.0.1", None),
            (&[(proto, "https")], "10.0.0.1", Some(true)),
            (&[(proto, "WSS")], "10.0.0.1", Some(true)),
            (&[(proto, "ws")], "10.0.0.1", Some(false)),
            (&[(proto, "")], "10.0.0.1", None),
            (&[(proto, "httpss")], "10.0.0.1", Some(false)),
            // One proxy that appends to what a client sent.
            (&[(list, "192.0.2.1"), (proto, "https, http")], "192.0.2.1", Some(false)),
            (
                &[(list, "6.6.6.6, 192.0.2.1"), (proto, "https, http")],
                "192.0.2.1",
                Some(false),
            ),
            // Two proxies, of which the first spoke with the client.
            (
                &[(list, "192.0.2.1, 10.0.0.2"), (proto, "https, http")],
                "192.0.2.1",
                Some(true),
            ),
            (
                &[(list, "192.0.2.1, 10.0.0.2"), (proto, "http, https")],
                "192.0.2.1",
                Some(false),
            ),
            (
                &[(list, "192.0.2.1, 10.0.0.2"), (proto, "https")],
                "192.0.2.1",
                Some(true),
            ),
            (&[(forwarded, "proto=https")], "10.0.0.1", Some(true)),
            (&[(forwarded, "for=192.0.2.1;proto=https")], "192.0.2.1", Some(true)),
            (
                &[(forwarded, "for=\"[2001:db8::1]:4711\";proto=wss")],
                "2001:db8::1",
                Some(true),
            ),
            (
                &[(forwarded, "for=6.6.6.6;proto=https, for=192.0.2.1;proto=http")],
                "192.0.2.1",
                Some(false),
            ),
            (
                &[(forwarded, "for=192.0.2.1;proto=https, for=10.0.0.2;proto=http")],
                "192.0.2.1",
                Some(true),
            ),
            (
                &[(forwarded, "for=192.0.2.1, for=10.0.0.2;proto=https")],
                "192.0.2.1",
                None,
            ),
            (
                &[(forwarded, "for=_hidden;proto=https, for=10.0.0.2;proto=http")],
                "10.0.0.2",
                Some(true),
            ),
            (&[(forwarded, "for=6.6.6.6, nonsense, for=10.0.0.2")], "10.0.0.2", None),
            // Where they differ, what a stranger may have sent must not win.
            (&[(list, "192.0.2.1"), (forwarded, "for=6.6.6.6")], "192.0.2.1", None),
            (&[(proto, "http"), (forwarded, "proto=https")], "10.0.0.1", Some(false)),
            (&[(proto, "https"), (forwarded, "proto=http")], "10.0.0.1", Some(false)),
            (&[(proto, "https"), (forwarded, "proto=https")], "10.0.0.1", Some(true)),
        ] {
            assert_eq!(told(fields), (client.to_owned(), https), "{fields:?}");
        }
    }

    #[test]
    fn a_list_without_end_is_not_walked_to_its_end() {
        let list = format!("192.0.2.1{}", ", 10.0.0.2".repeat(MAX_PROXIES));
        assert_eq!(client(&[&list]), "10.0.0.2");
    }
}
