//! The field names that the proxy, its policies and its logs look for, or that browsers send, as small numbers.

macro_rules! names {
    ($($name:ident = $text:literal,)*) => {
        /// A well-known field name.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum Name {
            /// Any other.
            #[default]
            Other,
            $($name,)*
        }

        impl Name {
            /// The name in lower case, unless it is another one.
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::Other => "",
                    $(Self::$name => $text,)*
                }
            }
        }

        const ALL: &[(Name, &str)] = &[$((Name::$name, $text),)*];
    };
}

names! {
    Accept = "accept",
    AcceptCharset = "accept-charset",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    AcceptRanges = "accept-ranges",
    AccessControlAllowOrigin = "access-control-allow-origin",
    AccessControlRequestHeaders = "access-control-request-headers",
    AccessControlRequestMethod = "access-control-request-method",
    Age = "age",
    Allow = "allow",
    AltSvc = "alt-svc",
    Authorization = "authorization",
    Baggage = "baggage",
    CacheControl = "cache-control",
    Connection = "connection",
    ContentDisposition = "content-disposition",
    ContentEncoding = "content-encoding",
    ContentLanguage = "content-language",
    ContentLength = "content-length",
    ContentRange = "content-range",
    ContentSecurityPolicy = "content-security-policy",
    ContentType = "content-type",
    Cookie = "cookie",
    Date = "date",
    Dnt = "dnt",
    Etag = "etag",
    Expect = "expect",
    Expires = "expires",
    Forwarded = "forwarded",
    GrpcMessage = "grpc-message",
    GrpcStatus = "grpc-status",
    GrpcTimeout = "grpc-timeout",
    Host = "host",
    Http2Settings = "http2-settings",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    IfRange = "if-range",
    IfUnmodifiedSince = "if-unmodified-since",
    KeepAlive = "keep-alive",
    LastModified = "last-modified",
    Link = "link",
    Location = "location",
    MaxForwards = "max-forwards",
    Origin = "origin",
    Pragma = "pragma",
    Priority = "priority",
    Proxy = "proxy",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    ProxyConnection = "proxy-connection",
    Range = "range",
    Referer = "referer",
    RetryAfter = "retry-after",
    SecChUa = "sec-ch-ua",
    SecChUaMobile = "sec-ch-ua-mobile",
    SecChUaPlatform = "sec-ch-ua-platform",
    SecFetchDest = "sec-fetch-dest",
    SecFetchMode = "sec-fetch-mode",
    SecFetchSite = "sec-fetch-site",
    SecFetchUser = "sec-fetch-user",
    SecGpc = "sec-gpc",
    SecWebsocketAccept = "sec-websocket-accept",
    SecWebsocketExtensions = "sec-websocket-extensions",
    SecWebsocketKey = "sec-websocket-key",
    SecWebsocketProtocol = "sec-websocket-protocol",
    SecWebsocketVersion = "sec-websocket-version",
    Server = "server",
    SetCookie = "set-cookie",
    StrictTransportSecurity = "strict-transport-security",
    Te = "te",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    UpgradeInsecureRequests = "upgrade-insecure-requests",
    UserAgent = "user-agent",
    Vary = "vary",
    Via = "via",
    WwwAuthenticate = "www-authenticate",
    XContentTypeOptions = "x-content-type-options",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedProto = "x-forwarded-proto",
    XFrameOptions = "x-frame-options",
    XNarthexHops = "x-narthex-hops",
    XOriginalUrl = "x-original-url",
    XPoweredBy = "x-powered-by",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
    XRequestedWith = "x-requested-with",
    XRewriteUrl = "x-rewrite-url",
}

/// The length of the longest of them.
const LONGEST: usize = 30;

/// A name with its first and last eight bytes, by which it is found.
#[derive(Clone, Copy)]
struct Entry {
    first: u64,
    last: u64,
    name: Name,
}

/// All of them in order of length, and where those of each length begin.
struct Table {
    entries: [Entry; ALL.len()],
    starts: [u8; LONGEST + 2],
}

static TABLE: Table = table();

/// Makes letters small. No other byte of a token becomes a letter, a digit or a hyphen by that.
const SMALL: u64 = u64::from_ne_bytes([0x20; 8]);

const fn table() -> Table {
    let mut entries = [Entry {
        first: 0,
        last: 0,
        name: Name::Other,
    }; ALL.len()];
    let mut starts = [0; LONGEST + 2];
    let (mut length, mut count) = (0, 0);
    while length <= LONGEST {
        starts[length] = count as u8;
        let mut i = 0;
        while i < ALL.len() {
            let (name, text) = ALL[i];
            if text.len() == length {
                let (first, last) = ends(text.as_bytes());
                entries[count] = Entry { first, last, name };
                count += 1;
            }
            i += 1;
        }
        length += 1;
    }
    starts[length] = count as u8;
    assert!(count == ALL.len());
    Table { entries, starts }
}

/// The first and last bytes of a name, eight or fewer each: all of them, unless there are more than sixteen.
#[inline(always)]
const fn ends(name: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return (u64::from_le_bytes(*first) | SMALL, u64::from_le_bytes(*last) | SMALL);
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return (first as u64 | SMALL, last as u64 | SMALL);
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let (first, last) = (u16::from_le_bytes(*first), u16::from_le_bytes(*last));
        return (first as u64 | SMALL, last as u64 | SMALL);
    }
    (0, 0)
}

impl Name {
    /// Which name this token is, in whatever case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let length = name.len();
        let (Some(&start), Some(&end)) = (TABLE.starts.get(length), TABLE.starts.get(length + 1)) else {
            return Self::Other;
        };
        let (first, last) = ends(name);
        let candidates = TABLE.entries.get(usize::from(start)..usize::from(end));
        for entry in candidates.unwrap_or_default() {
            if entry.first == first && entry.last == last {
                let certain = length <= 16 || name.eq_ignore_ascii_case(entry.name.as_str().as_bytes());
                return if certain { entry.name } else { Self::Other };
            }
        }
        Self::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slowly(name: &[u8]) -> Name {
        let found = ALL.iter().find(|(_, text)| name.eq_ignore_ascii_case(text.as_bytes()));
        found.map_or(Name::Other, |(name, _)| *name)
    }

    #[test]
    fn each_name_is_found_in_any_case_and_nothing_near_it() {
        for &(name, text) in ALL {
            assert_eq!(name.as_str(), text);
            assert_eq!(Name::of(text.as_bytes()), name);
            assert_eq!(Name::of(text.to_uppercase().as_bytes()), name);
            for at in 0..text.len() {
                for other in b"!#$%&'*+.^_`|~0qZ" {
                    let mut near = text.as_bytes().to_vec();
                    near[at] = *other;
                    assert_eq!(Name::of(&near), slowly(&near), "{}", near.escape_ascii());
                }
                let short = &text.as_bytes()[..at];
                assert_eq!(Name::of(short), slowly(short), "{}", short.escape_ascii());
            }
            let long = format!("{text}s");
            assert_eq!(Name::of(long.as_bytes()), slowly(long.as_bytes()), "{long}");
        }
        assert_eq!(Name::of(b""), Name::Other);
        assert_eq!(Name::of(&[b'a'; 1000]), Name::Other);
    }

    #[test]
    fn two_names_of_a_length_differ_at_their_ends() {
        for (at, (_, one)) in ALL.iter().enumerate() {
            for (_, other) in &ALL[at + 1..] {
                assert!(
                    one.len() != other.len() || ends(one.as_bytes()) != ends(other.as_bytes()),
                    "{one}, {other}"
                );
            }
        }
    }
}
