//! WebSockets (RFC 6455): the one protocol a connection may change to, and the one a stream may carry (RFC 8441).
//!
//! Any other `Upgrade` is taken out like the other fields of one hop: a pod that then changed to h2c would see bytes
//! that no rule has looked at (docs/security.md, row 12). Any other `:protocol` is refused, for the same reason.

use super::error::ProxyError;
use super::headers::Fields;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Extensions, Method, StatusCode, Version};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// What a server adds to a key before it hashes it (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a request asks for a WebSocket as it should (RFC 6455, section 4.1).
pub fn is_asked_for(parts: &Parts, fields: &Fields<'_>, empty: bool) -> bool {
    let Some(protocol) = fields.upgrade else { return false };
    let names_websocket = protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes());
    names_websocket
        && empty
        && parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && has_option(&parts.headers)
}

/// Whether a request asks for a WebSocket by extended CONNECT, as HTTP/2 has it (RFC 8441, section 4).
///
/// # Errors
/// [`ProxyError::MethodNotAllowed`] for a CONNECT that wants a tunnel to anywhere, [`ProxyError::UnknownProtocol`] for
/// one that wants another protocol.
pub fn is_extended_connect(method: &Method, extensions: &Extensions) -> Result<bool, ProxyError> {
    if *method != Method::CONNECT {
        return Ok(false);
    }
    let protocol = extensions.get::<Protocol>().ok_or(ProxyError::MethodNotAllowed)?;
    if protocol.as_ref().eq_ignore_ascii_case(WEBSOCKET.as_bytes()) {
        Ok(true)
    } else {
        Err(ProxyError::UnknownProtocol)
    }
}

/// Whether a response agrees to it.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let (first, second) = (protocols.next(), protocols.next());
    let websocket = first.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    websocket && second.is_none() && has_option(headers)
}

/// Puts in the fields that ask for it, or agree.
pub fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, WEBSOCKET);
}

fn has_option(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|line| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    })
}

/// The key of a handshake that is made for a client which, over HTTP/2, makes none (RFC 8441, section 5).
pub struct Key(String);

impl Key {
    /// Takes an extended CONNECT for the GET that it is to a pod over HTTP/1.1, and makes its key. None for any other
    /// request, which stays as it is.
    ///
    /// # Errors
    /// Those of [`is_extended_connect`].
    pub fn of(parts: &mut Parts) -> Result<Option<Self>, ProxyError> {
        if !is_extended_connect(&parts.method, &parts.extensions)? {
            return Ok(None);
        }
        parts.method = Method::GET;
        Ok(Some(Self(STANDARD.encode(fastrand::u128(..).to_ne_bytes()))))
    }

    /// Puts in what a pod needs to agree.
    pub fn offer(&self, headers: &mut HeaderMap) {
        // Base64 is header text.
        if let Ok(key) = HeaderValue::from_str(&self.0) {
            headers.insert(header::SEC_WEBSOCKET_KEY, key);
        }
        let version = headers.entry(header::SEC_WEBSOCKET_VERSION);
        version.or_insert(HeaderValue::from_static("13"));
    }

    /// Looks whether a pod's answer fits, and takes out what the client knows nothing of (RFC 6455, section 4.1).
    ///
    /// # Errors
    /// [`ProxyError::BadWebSocket`] for an agreement to something else, and for a success that is no agreement: the
    /// client would take it for one.
    pub fn check(&self, status: StatusCode, headers: &mut HeaderMap) -> Result<(), ProxyError> {
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return if status.is_success() {
                Err(ProxyError::BadWebSocket)
            } else {
                Ok(())
            };
        }
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(self.0.as_bytes());
        context.update(GUID);
        let wanted = STANDARD.encode(context.finish());
        let said = headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        if said.is_some_and(|said| said.as_bytes() == wanted.as_bytes()) {
            Ok(())
        } else {
            Err(ProxyError::BadWebSocket)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_key_fits() {
        // RFC 6455, section 1.3.
        let key = Key("dGhlIHNhbXBsZSBub25jZQ==".to_owned());
        let answer = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(accept));
            let fits = key.check(StatusCode::SWITCHING_PROTOCOLS, &mut headers).is_ok();
            (fits, headers.is_empty())
        };
        assert_eq!(answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), (true, true));
        assert_eq!(answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo"), (false, true));
        let mut none = HeaderMap::new();
        assert!(key.check(StatusCode::SWITCHING_PROTOCOLS, &mut none).is_err());
        assert!(key.check(StatusCode::OK, &mut none).is_err());
        assert!(key.check(StatusCode::FORBIDDEN, &mut none).is_ok());
    }
}
