//! What flags can say, and how it is read.

use clap::ValueEnum;
use http::HeaderValue;
use ipnet::IpNet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// `--tls-min-version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsVersion {
    /// RFC 5246.
    #[value(name = "1.2")]
    Tls12,
    /// RFC 8446.
    #[value(name = "1.3")]
    Tls13,
}

/// `--drop-in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DropIn {
    /// IngressClasses with the controller k8s.io/ingress-nginx, and the class `nginx` if no such IngressClass exists.
    IngressNginx,
    /// Routes of OpenShift (route.openshift.io/v1).
    #[value(name = "openshift")]
    OpenShift,
}

/// `--route-ownership`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RouteOwnership {
    /// The namespace of the oldest Route, or Ingress, of a host has all of its paths.
    Namespace,
    /// Routes of several namespaces may have paths of one host.
    Any,
}

/// What becomes of `%2F` and `%5C` in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EncodedSlash {
    /// Keep them as data that separates nothing (GitLab, npm and RabbitMQ need this).
    Keep,
    /// Answer such requests with 400.
    Reject,
}

/// `--proxy-protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProxyProtocol {
    /// Connections start with TLS or HTTP.
    Off,
    /// Connections from --trusted-proxies may start with a PROXY header.
    Optional,
    /// Only connections from --trusted-proxies are accepted, and they must start with a PROXY header.
    Required,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// An address to listen on: `:8080` is every address of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl std::str::FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("localhost:")) {
            let port = port.parse().map_err(|_| format!("\"{port}\" is not a port"))?;
            let ip = if text.starts_with(':') {
                Ipv6Addr::UNSPECIFIED.into()
            } else {
                Ipv4Addr::LOCALHOST.into()
            };
            return Ok(Self(SocketAddr::new(ip, port)));
        }
        text.parse()
            .map(Self)
            .map_err(|_| "write IP:PORT, [IPv6]:PORT or :PORT".to_owned())
    }
}

/// An address to listen on, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// At this address.
    At(ListenAddress),
    /// Not at all.
    Off,
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::At)
            .map_err(|error: String| format!("{error}, or off"))
    }
}

/// `--max-memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxMemory {
    /// No limit.
    Off,
    /// A number of bytes.
    Bytes(u64),
    /// A percentage of the container's limit; no limit outside a container.
    Percent(u8),
}

/// The protocol of an address that clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// An address that the flags ask to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its protocol.
    pub protocol: Protocol,
    /// Where.
    pub address: SocketAddr,
    /// Whether the operator named it. A default that cannot be had is fatal only in a cluster.
    pub named: bool,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; write 500ms, 10s or 1m"))?;
    if duration.is_zero() {
        return Err("it must be longer than 0s".to_owned());
    }
    Ok(duration)
}

pub(crate) fn grace(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write 0s, 500ms or 10s"))
}

/// A time of whole seconds, and of one at least.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.subsec_nanos() == 0 && time.as_secs() > 0 {
        Ok(time)
    } else {
        Err("write whole seconds, at least one, such as 5s".to_owned())
    }
}

/// A size in bytes, with or without a unit.
pub fn bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = match text.find(|character: char| !character.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let unit = match unit {
        "" | "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err("write a number of bytes, or of KiB, MiB or GiB".to_owned()),
    };
    let number: usize = number.parse().map_err(|_| format!("\"{number}\" is not a number"))?;
    number.checked_mul(unit).ok_or_else(|| "it is too large".to_owned())
}

/// Of one of many streams; all of a connection may have as much at once.
pub(super) fn window(text: &str) -> Result<u32, String> {
    let wanted = bytes(text)?;
    let allowed = u32::try_from(wanted)
        .ok()
        .filter(|wanted| (64 << 10..=16 << 20).contains(wanted));
    allowed.ok_or_else(|| "it must be from 64KiB to 16MiB".to_owned())
}

pub(super) fn max_memory(text: &str) -> Result<MaxMemory, String> {
    if text == "off" {
        return Ok(MaxMemory::Off);
    }
    let Some(percent) = text.strip_suffix('%') else {
        let bytes = bytes(text).map_err(|error| format!("{error}; or a percentage such as 90%, or off"))?;
        return Ok(MaxMemory::Bytes(bytes as u64));
    };
    match percent.parse() {
        Ok(percent @ 1..=100) => Ok(MaxMemory::Percent(percent)),
        _ => Err(format!("\"{percent}\" is not a number from 1 to 100")),
    }
}

/// An address or a network.
pub fn net(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| "write an address or a network such as 10.0.0.0/8".to_owned())
}

pub(super) fn secret(text: &str) -> Result<(Arc<str>, Arc<str>), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.into(), name.into()))
        }
        _ => Err("write NAMESPACE/NAME of a Secret".to_owned()),
    }
}

/// The namespace and the name of an object.
pub(super) fn object(text: &str) -> Result<(Arc<str>, Arc<str>), String> {
    secret(text).map_err(|_| "write NAMESPACE/NAME".to_owned())
}

pub(super) fn header(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|_| "it contains characters that header fields may not contain".to_owned())
}

/// The pattern of `--ignore-annotation`.
///
/// # Errors
/// Says what would be right.
pub fn annotation(text: &str) -> Result<Arc<str>, String> {
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("write the name of an annotation, in which * stands for any text".to_owned());
    }
    Ok(text.into())
}

/// A port, or the first and last of several.
pub fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = |_| format!("\"{text}\" is neither a port nor two with a `-` between");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (
        first.trim().parse().map_err(wrong)?,
        last.trim().parse().map_err(wrong)?,
    );
    match first {
        0 => Err("ports begin at 1".to_owned()),
        first if first > last => Err(format!("{first} is more than {last}")),
        first => Ok(first..=last),
    }
}
