//! Which media types are worth compressing: text in all its forms, and what is not compressed by its own format.

/// Beside `text/*` and what ends in `+json`, `+xml`, `+text` or `+yaml`.
const TYPES: [&str; 31] = [
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/json-seq",
    "application/jsonl",
    "application/n-quads",
    "application/n-triples",
    "application/ndjson",
    "application/openmetrics-text",
    "application/rtf",
    "application/sql",
    "application/toml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-font-opentype",
    "application/x-font-truetype",
    "application/x-font-ttf",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
    "font/collection",
    "font/otf",
    "font/sfnt",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

/// Longer than any of them with its suffix; a type that is longer than this is not looked at.
const LONGEST: usize = 127;

/// Whether a `Content-Type` is of a kind that compression makes smaller. Never gRPC, whose messages have a compression
/// of their own, and whose clients know no other.
pub fn is_compressible(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let mut lower = [0; LONGEST];
    let essence = essence.trim_ascii();
    let Some(text) = lower.get_mut(..essence.len()) else {
        return false;
    };
    text.copy_from_slice(essence);
    text.make_ascii_lowercase();
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    if text.starts_with("application/grpc") {
        return false;
    }
    let suffix = text.rsplit_once('+').map(|(_, suffix)| suffix);
    text.starts_with("text/")
        || matches!(suffix, Some("json" | "xml" | "text" | "yaml"))
        || TYPES.binary_search(&text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        assert!(TYPES.is_sorted());
        for (content_type, wanted) in [
            ("text/html", true),
            ("Text/HTML ; charset=utf-8", true),
            ("text/event-stream", true),
            ("application/json", true),
            ("application/JSON;charset=utf-8", true),
            ("application/problem+json", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("font/ttf", true),
            ("font/woff2", false),
            ("image/png", false),
            ("video/mp4", false),
            ("application/zip", false),
            ("application/gzip", false),
            ("application/octet-stream", false),
            ("application/grpc", false),
            ("application/grpc+json", false),
            ("application/grpc-web-text", false),
            ("application/jsonx", false),
            ("", false),
            (";", false),
            ("\u{fc}/json", false),
        ] {
            assert_eq!(is_compressible(content_type.as_bytes()), wanted, "{content_type}");
        }
        assert!(!is_compressible(format!("text/{}", "x".repeat(200)).as_bytes()));
    }
}
