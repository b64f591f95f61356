//! The trailers that pass (docs/security.md, row 6).

use crate::http1::is_forbidden;
use http::HeaderMap;

/// Takes out those that may not be there. Over HTTP/1.1 the decoder has refused them already.
pub fn clean(trailers: &mut HeaderMap) {
    let forbidden: Vec<_> = trailers
        .keys()
        .filter(|name| is_forbidden(name.as_str().as_bytes()))
        .cloned()
        .collect();
    for name in forbidden {
        trailers.remove(name);
    }
}
