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

/// A name as it is compared: by its length and its ends.
#[derive(Clone, Copy)]
struct Entry {
    first: u64,
    last: u64,
    /// The bits by which large letters differ from small ones. Other bytes have none.
    first_case: u64,
    last_case: u64,
    length: usize,
    name: Name,
}

const NOTHING: Entry = Entry {
    first: 0,
    last: 0,
    first_case: 0,
    last_case: 0,
    length: 0,
    name: Name::Other,
};

/// How many bits of a hash there are: enough to find a hash without collisions soon.
const BITS: u32 = 10;

/// Room for them all, and a power of two.
const ENTRIES: usize = 128;

/// The names, and by hash the place of the one that it may be.
struct Table {
    factor: u64,
    slots: [u8; 1 << BITS],
    entries: [Entry; ENTRIES],
}

static TABLE: Table = table();

const fn table() -> Table {
    let mut entries = [NOTHING; ENTRIES];
    let mut i = 0;
    while i < ALL.len() {
        let (name, text) = ALL[i];
        let (first, last) = ends(text.as_bytes());
        let length = text.len();
        i += 1;
        entries[i] = Entry {
            first,
            last,
            first_case: case(first),
            last_case: case(last),
            length,
            name,
        };
    }
    let mut factor: u64 = 0x9e37_79b9_7f4a_7c15;
    loop {
        let mut slots = [0; 1 << BITS];
        let mut i = 1;
        while i <= ALL.len() {
            let slot = &mut slots[hash(entries[i].first, entries[i].last, factor)];
            if *slot != 0 {
                break;
            }
            *slot = i as u8;
            i += 1;
        }
        if i > ALL.len() {
            return Table { factor, slots, entries };
        }
        factor = factor.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(2);
    }
}

/// A hash that is the same for small and for large letters.
#[inline(always)]
const fn hash(first: u64, last: u64, factor: u64) -> usize {
    let mixed = (first | CASE) ^ (last | CASE).rotate_left(29);
    (mixed.wrapping_mul(factor) >> (u64::BITS - BITS)) as usize
}

const CASE: u64 = u64::from_ne_bytes([0x20; 8]);

/// The bits of letters that say whether they are small.
const fn case(word: u64) -> u64 {
    let mut bytes = word.to_ne_bytes();
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = if bytes[i].is_ascii_alphabetic() { 0x20 } else { 0 };
        i += 1;
    }
    u64::from_ne_bytes(bytes)
}

/// The first and last bytes of a name, eight or fewer each: all of them, unless there are more than sixteen.
#[inline(always)]
const fn ends(name: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return (first as u64, last as u64);
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let (first, last) = (u16::from_le_bytes(*first), u16::from_le_bytes(*last));
        return (first as u64, last as u64);
    }
    (0, 0)
}

impl Name {
    /// Which name these bytes are, in whatever case. Bytes that are not a token never match a known name.
    #[inline(always)]
    pub fn of(name: &[u8]) -> Self {
        let (first, last) = ends(name);
        let slot = TABLE.slots.get(hash(first, last, TABLE.factor)).copied().unwrap_or(0);
        let entry = TABLE.entries.get(usize::from(slot) % ENTRIES).unwrap_or(&NOTHING);
        let differ = ((first ^ entry.first) & !entry.first_case) | ((last ^ entry.last) & !entry.last_case);
        if differ != 0 || entry.length != name.len() {
            return Self::Other;
        }
        if name.len() > 16 && !name.eq_ignore_ascii_case(entry.name.as_str().as_bytes()) {
            return Self::Other;
        }
        entry.name
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
                for other in 0..=255 {
                    let mut near = text.as_bytes().to_vec();
                    near[at] = other;
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
}
