//! WebSockets (RFC 6455): the one protocol a connection may change to, and the one a stream may carry (RFC 8441).
//!
//! Any other `Upgrade` is taken out like the other fields of one hop: a pod that then changed to h2c would see bytes
//! that no rule has looked at (docs/security.md, row 12). Any other `:protocol` is refused, for the same reason.

use super::error::ProxyError;
use super::facts::Facts;
use crate::message::{Fields, Name, Request};
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::{Extensions, Method, StatusCode, Version};

const WEBSOCKET: &[u8] = b"websocket";
/// What a server adds to a key before it hashes it (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a request asks for a WebSocket as it should (RFC 6455, section 4.1).
pub fn is_asked_for(request: &Request, facts: &Facts<'_>, empty: bool) -> bool {
    let Some(protocol) = facts.upgrade else { return false };
    let names_websocket = protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET);
    names_websocket
        && empty
        && request.method == Method::GET
        && request.version == Version::HTTP_11
        && says_upgrade(&request.fields)
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
    if protocol.as_ref().eq_ignore_ascii_case(WEBSOCKET) {
        Ok(true)
    } else {
        Err(ProxyError::UnknownProtocol)
    }
}

/// Whether a response agrees to it.
pub fn is_websocket(fields: &Fields) -> bool {
    let mut protocols = fields.get_all(&Name::Upgrade);
    let (first, second) = (protocols.next(), protocols.next());
    let websocket = first.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET));
    websocket && second.is_none() && says_upgrade(fields)
}

/// Puts in the fields that agree.
pub fn agree(fields: &mut Fields) {
    fields.insert(&Name::Connection, "upgrade");
    fields.insert(&Name::Upgrade, WEBSOCKET);
}

fn says_upgrade(fields: &Fields) -> bool {
    fields.has_option(&Name::Connection, b"upgrade")
}

/// The key of a handshake that is made for a client which, over HTTP/2, makes none (RFC 8441, section 5).
pub struct Key(String);

impl Key {
    /// One for an extended CONNECT; absent for any other request.
    pub fn of(request: &Request) -> Option<Self> {
        request
            .websocket
            .then(|| Self(STANDARD.encode(fastrand::u128(..).to_ne_bytes())))
    }

    /// It as the pod gets it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Looks whether a pod's answer fits, and takes out what the client knows nothing of (RFC 6455, section 4.1).
    ///
    /// # Errors
    /// [`ProxyError::BadWebSocket`] for an agreement to something else, and for a success that is no agreement: the
    /// client would take it for one.
    pub fn check(&self, status: StatusCode, fields: &mut Fields) -> Result<(), ProxyError> {
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
        let said = fields.get(&Name::SecWebsocketAccept);
        let agrees = said.is_some_and(|said| said.as_bytes() == wanted.as_bytes());
        fields.remove(&Name::SecWebsocketAccept);
        if agrees { Ok(()) } else { Err(ProxyError::BadWebSocket) }
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
            let mut headers = Fields::new();
            headers.insert(&Name::SecWebsocketAccept, accept);
            let fits = key.check(StatusCode::SWITCHING_PROTOCOLS, &mut headers).is_ok();
            (fits, headers.is_empty())
        };
        assert_eq!(answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), (true, true));
        assert_eq!(answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo"), (false, true));
        let mut none = Fields::new();
        assert!(key.check(StatusCode::SWITCHING_PROTOCOLS, &mut none).is_err());
        assert!(key.check(StatusCode::OK, &mut none).is_err());
        assert!(key.check(StatusCode::FORBIDDEN, &mut none).is_ok());
    }
}
