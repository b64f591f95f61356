//! The request that somebody asks about, read by the same code as one that comes in.

use crate::http1::{Limits, RequestHead, RequestReader};
use crate::message::{Fields, Request};
use crate::proxy::{Ends, ProxyError, Settings, TrustedProxies};
use crate::serve::check_http2_head;
use crate::table::canonical::canonical_host;
use crate::table::decide::Rules;
use crate::table::{Listener, Table};
use http::header::{HeaderName, HeaderValue};
use http::{Method, Version};
use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The pseudo-field that makes a CONNECT of HTTP/2 an extended one.
const PROTOCOL: &str = ":protocol";

/// The pseudo-field that names the host over HTTP/2.
const AUTHORITY: &str = ":authority";

/// A question: which rule answers this?
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// `http://host:port/path?query`, or just a path.
    pub url: String,
    /// The method.
    pub method: String,
    /// Header fields; `Host` counts instead of the URL's.
    pub headers: Vec<(String, String)>,
    /// The request target as it is sent, if it is not the URL's path and query: `http://other.example/`.
    pub target: Option<String>,
    /// The version of HTTP, if it is said.
    pub version: Option<Version>,
    /// The name in the TLS handshake (SNI), if it is not the URL's host; for HTTPS.
    pub server_name: Option<String>,
    /// The subject of the certificate that the client shows, which can be verified; absent if it shows none.
    pub client_subject: Option<String>,
    /// The address of the peer: it may be one of `--trusted-proxies`. With a PROXY header, the client that it names.
    pub from: Option<IpAddr>,
    /// The address of the client, whoever the peer is.
    pub client: Option<IpAddr>,
    /// What the client connected to, as a PROXY header without TLS information names it.
    pub to: Option<SocketAddr>,
}

impl Question {
    /// Adds a header field, given as `Name: value`. `:protocol` makes a CONNECT that of HTTP/2 (RFC 8441). Over HTTP/2, a
    /// `Host` beside an `:authority` is sent as it is; without one, it becomes the `:authority`, as clients do it.
    ///
    /// # Errors
    /// When there is no colon in it.
    pub fn add_field(&mut self, text: &str) -> Result<(), String> {
        let colon = text.char_indices().skip(1).find(|(_, one)| *one == ':');
        let (name, value) = colon
            .map(|(at, _)| text.split_at(at))
            .ok_or_else(|| format!("\"{text}\" is not a header field: write Name: value"))?;
        let value = value.strip_prefix(':').unwrap_or(value).trim_matches([' ', '\t']);
        self.headers.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Reads a version of HTTP.
    ///
    /// # Errors
    /// When it is another than narthex serves.
    pub fn set_version(&mut self, text: &str) -> Result<(), String> {
        self.version = Some(match text {
            "1.0" => Version::HTTP_10,
            "1.1" => Version::HTTP_11,
            "2" => Version::HTTP_2,
            other => return Err(format!("version={other}: write 1.0, 1.1 or 2")),
        });
        Ok(())
    }

    /// The listener that a client would connect to: one that serves the name in the handshake, if possible of the URL's
    /// scheme, and if possible of its port. A balancer may have brought the request to any of them.
    pub(super) fn listener<'t>(&self, table: &'t Table, url: &Url, server_name: Option<&str>) -> Option<&'t Listener> {
        let named = url.host.as_deref().and_then(|host| canonical_host(host).ok()?.port);
        let port = self
            .to
            .map(|to| to.port())
            .or(named)
            .unwrap_or(if url.tls { 443 } else { 80 });
        let host = url.host.as_deref().and_then(|host| canonical_host(host).ok());
        let host = host.as_ref().map(|host| &*host.name);
        // At addresses of its own, a Gateway answers for itself alone.
        let is_own = |listener: &Listener| {
            let gateways = table.gateways_of(listener.id, server_name);
            gateways.filter(|port| !port.then_ingresses)
        };
        let has_host = |listener: &Listener| {
            let gateway = is_own(listener).and_then(|port| port.listener(host));
            gateway.is_some_and(|gateway| gateway.hosts.fitting(host).next().is_some())
        };
        let fits = |listener: &Listener| {
            let of_scheme = listener.protocol().begins_with_tls() == url.tls;
            let is_there = match self.to {
                Some(to) => listener.address == to,
                None => has_host(listener) && table.ingress_hosts().rank(host) == 0,
            };
            let is_for_all = is_own(listener).is_none();
            (of_scheme, listener.address.port() == port, is_there, is_for_all)
        };
        let all = table.listeners().map(|listener| &**listener);
        let serving = all.filter(|listener| listener.hosts(server_name).is_some());
        serving.min_by_key(|listener| Reverse(fits(listener)))
    }

    /// The protocol of an extended CONNECT.
    fn protocol(&self) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name == PROTOCOL);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the client came by HTTPS to a balancer, by the port that a PROXY header names.
    pub(super) fn is_by_https_port(&self, terms: &Terms) -> bool {
        let (Some(ip), Some(local)) = (self.from, self.to) else {
            return false;
        };
        let ends = Ends {
            client: SocketAddr::new(ip, 0),
            local,
            tls_version: None,
            silent_on_tls: true,
        };
        ends.is_https(terms.rules.https_port)
    }
}

/// The settings by which a narthex decides.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Those of the request's road.
    pub rules: Rules,
    /// `--trusted-proxies`.
    pub trusted_proxies: TrustedProxies,
    /// What a request head may hold.
    pub limits: Limits,
}

impl Terms {
    /// Those of a running narthex.
    pub fn of(settings: &Settings, limits: Limits) -> Self {
        Self {
            rules: settings.rules(),
            trusted_proxies: settings.trusted_proxies.clone(),
            limits,
        }
    }
}

/// A URL as a client takes it apart.
pub(super) struct Url {
    /// Whether it is asked for over TLS.
    pub(super) tls: bool,
    /// Whether it is about TLS connections and not about requests: `tls://HOST`.
    pub(super) bare: bool,
    /// Its host and port.
    pub(super) host: Option<String>,
    /// The request target: without a fragment, and with a path.
    pub(super) target: String,
}

impl Url {
    /// Scheme, host and path of a URL; a bare path or host is fine.
    pub(super) fn of(question: &Question) -> Result<Self, String> {
        let url = question.url.as_str();
        // What comes later may be part of a query.
        let is_scheme = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_alphabetic())
                && text
                    .chars()
                    .all(|one| one.is_ascii_alphanumeric() || "+.-".contains(one))
        };
        let target = |path: &str| question.target.clone().unwrap_or_else(|| cut(path));
        let (tls, rest) = match url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tls") => (true, rest),
            Some((scheme, _)) => return Err(format!("\"{url}\": {scheme} is not http, https or tls")),
            None if url.starts_with('/') || url == "*" => {
                let (tls, host, target) = (false, None, target(url));
                let bare = false;
                return Ok(Self {
                    tls,
                    bare,
                    host,
                    target,
                });
            }
            None => (false, url),
        };
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        if host.is_empty() {
            return Err(format!("\"{url}\" names no host: write http://HOST/PATH"));
        }
        let bare = url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tls://"));
        if bare && path.len() > 1 {
            return Err(format!(
                "\"{url}\" has a path, and connections have none: write tls://HOST"
            ));
        }
        let (host, target) = (Some(host.to_owned()), target(path));
        Ok(Self {
            tls,
            bare,
            host,
            target,
        })
    }

    /// The path of the target.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// What a client would name in its handshake (SNI); an address is never named.
    pub(super) fn server_name(&self, question: &Question) -> Option<String> {
        let name = question.server_name.as_deref().or(self.host.as_deref())?;
        let name = canonical_host(name).ok()?.name.into_owned();
        (!name.starts_with('[') && name.parse::<Ipv4Addr>().is_err()).then_some(name)
    }
}

/// The target that a client would send: without a fragment, and with a path.
fn cut(path: &str) -> String {
    let target = path.split('#').next().unwrap_or_default();
    if target.is_empty() || target.starts_with('?') {
        format!("/{target}")
    } else {
        target.to_owned()
    }
}

/// A head that is refused before anything in it is decided.
pub(super) struct Refused {
    pub(super) error: ProxyError,
    /// Why, where more is known than the error says.
    pub(super) why: Option<String>,
}

impl From<ProxyError> for Refused {
    fn from(error: ProxyError) -> Self {
        Self { error, why: None }
    }
}

/// The head of the request that a question describes.
pub(super) struct Head {
    pub(super) request: Request,
}

impl Head {
    pub(super) fn of(question: &Question, method: &str, url: &Url, terms: &Terms) -> Result<Self, Refused> {
        let websocket = match question.protocol() {
            Some(protocol) if method == "CONNECT" && !protocol.eq_ignore_ascii_case("websocket") => {
                return Err(ProxyError::UnknownProtocol.into());
            }
            protocol => protocol.is_some() && method == "CONNECT",
        };
        let is_host = |name: &str| name.eq_ignore_ascii_case("host");
        let host = url.host.as_deref().map(|host| ("Host", host));
        let names_host = |name: &str| is_host(name) || name == AUTHORITY;
        let host = host.filter(|_| !question.headers.iter().any(|(name, _)| names_host(name)));
        let given = question
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let lines: Vec<(&str, &str)> = host
            .into_iter()
            .chain(given.filter(|(name, _)| !(websocket && *name == PROTOCOL)))
            .collect();
        // Only HTTP/1.0 has requests without a host.
        let version = match (question.version, lines.iter().any(|(name, _)| is_host(name))) {
            _ if websocket => Version::HTTP_2,
            (Some(Version::HTTP_2), _) => return Self::of_http2(method, url, &lines, terms),
            (Some(version), _) => version,
            (None, true) => Version::HTTP_11,
            (None, false) => Version::HTTP_10,
        };
        let (method, target) = if websocket {
            ("GET", url.target.clone())
        } else {
            (method, read(method, &url.target, version, &lines, terms.limits)?)
        };
        let mut fields = Fields::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| ProxyError::Malformed)?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| ProxyError::Malformed)?;
            fields.append(&name, value);
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| ProxyError::Malformed)?;
        let mut request = Request::new(method, version, &target, fields);
        request.websocket = websocket;
        Ok(Self { request })
    }
}

impl Head {
    /// The same of a request over HTTP/2, whose head the h2 crate reads.
    fn of_http2(method: &str, url: &Url, lines: &[(&str, &str)], terms: &Terms) -> Result<Self, Refused> {
        let is_authority = |(name, _): &(&str, &str)| *name == AUTHORITY;
        let is_host = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case("host");
        let named = (lines.iter().position(is_authority)).or_else(|| lines.iter().position(is_host));
        let authority = named.and_then(|at| lines.get(at)).map_or("", |(_, value)| *value);
        let fields = || {
            let others = lines.iter().enumerate().filter(|(at, _)| Some(*at) != named);
            others.map(|(_, line)| *line)
        };
        if !fields().all(may_be_sent_over_http2) {
            return Err(reset());
        }
        let scheme = if url.tls { "https" } else { "http" };
        let pseudo = [(":method", method), (":scheme", scheme), (":path", url.target.as_str())];
        let authority_line = (!authority.is_empty()).then_some((AUTHORITY, authority));
        // RFC 9113, section 6.5.2.
        let size = |(name, value): (&str, &str)| name.len() + value.len() + 32;
        let bytes: usize = pseudo.into_iter().chain(authority_line).chain(fields()).map(size).sum();
        if bytes >= terms.limits.head_bytes {
            return Err(ProxyError::HeadTooLarge.into());
        }
        let mut request = http::Request::builder().method(method).version(Version::HTTP_2);
        for (name, value) in fields() {
            request = request.header(name, value);
        }
        let mut target = http::Uri::builder().path_and_query(url.target.as_str());
        if !authority.is_empty() {
            target = target.scheme(scheme).authority(authority);
        }
        let target = target.build().map_err(|_| reset())?;
        let request = request.uri(target).body(()).map_err(|_| reset())?;
        check_http2_head(&request, &terms.limits)?;
        let (parts, ()) = request.into_parts();
        Ok(Self {
            request: Request::of_parts(&parts),
        })
    }
}

/// Whether HTTP/2 allows a field: those that speak of an HTTP/1.1 connection are malformed there (RFC 9113, section 8.2.2).
fn may_be_sent_over_http2((name, value): (&str, &str)) -> bool {
    const OF_CONNECTIONS: [&str; 5] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    !OF_CONNECTIONS.into_iter().any(is) && (!is("te") || value == "trailers")
}

/// What becomes of a head that breaks the rules of HTTP/2.
fn reset() -> Refused {
    Refused {
        error: ProxyError::Malformed,
        why: Some("it breaks the rules of HTTP/2, so its stream is reset with PROTOCOL_ERROR".to_owned()),
    }
}

/// Gives a head of HTTP/1 to the reader of clients' heads; the target as it comes out of it.
fn read(
    method: &str,
    target: &str,
    version: Version,
    lines: &[(&str, &str)],
    limits: Limits,
) -> Result<String, Refused> {
    let mut head = format!("{method} {target} {version:?}\r\n");
    for (name, value) in lines {
        // A line that ends early is two lines, which nobody asks about.
        if [name, value].iter().any(|text| text.contains(['\r', '\n'])) {
            return Err(ProxyError::Malformed.into());
        }
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let mut found = RequestHead::default();
    let complete = RequestReader::new(limits).read(head.as_bytes(), &mut found);
    let complete = complete.map_err(|fault| Refused {
        error: fault.into(),
        why: Some(fault.to_string()),
    })?;
    let target = match &found.encoded {
        Some(encoded) => encoded,
        None => found.target.of(head.as_bytes()),
    };
    let target = std::str::from_utf8(target).ok().filter(|_| complete);
    target.map(str::to_owned).ok_or_else(|| ProxyError::BadTarget.into())
}
