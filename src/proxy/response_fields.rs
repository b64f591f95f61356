//! Which fields of a response pass, and what they say of its connection (RFC 9110 §7.6.1; docs/security.md, row 24).

use super::error::ProxyError;
use super::facts::{binds, connection_options, lists_too_much, names_no_field};
use super::names::is_hop_by_hop;
use crate::message::{Fields, Name, Value};
use http::StatusCode;

/// Takes what was for our hop out of a response, and what would confuse its framing. Says whether the connection it
/// came on may be used again as far as framing goes.
///
/// # Errors
/// [`ProxyError::BadResponse`] for a transfer coding other than `chunked`, whose name would be lost with the field, and
/// for a `Connection` that names too many fields.
pub fn clean_response(fields: &mut Fields) -> Result<bool, ProxyError> {
    let (mut chunked, mut length, mut names_fields) = (false, false, false);
    let (mut of_hop, mut last_of_hop) = (0, 0);
    for (place, known) in fields.names().enumerate() {
        if is_hop_by_hop(known) {
            of_hop += 1;
            last_of_hop = place;
            if known == Name::TransferEncoding {
                let is_chunked = fields.value_at(place).eq_ignore_ascii_case(b"chunked");
                if std::mem::replace(&mut chunked, true) || !is_chunked {
                    return Err(ProxyError::BadResponse);
                }
            }
            names_fields |= known == Name::Connection && !names_no_field(fields.value_at(place));
        } else if known == Name::ContentLength {
            // Two readers may not agree on `5, 5` (RFC 9112 §6.3).
            let digits = fields.value_at(place).iter().all(u8::is_ascii_digit);
            if std::mem::replace(&mut length, true) || !digits {
                return Err(ProxyError::BadResponse);
            }
        }
    }
    if names_fields {
        if lists_too_much(fields) {
            return Err(ProxyError::BadResponse);
        }
        let named: Vec<Vec<u8>> = connection_options(fields).iter().map(|name| name.to_vec()).collect();
        fields.retain(|field| {
            let stays = matches!(field.known, Name::SetCookie | Name::Date | Name::Connection);
            stays || !named.iter().any(|name| field.name.eq_ignore_ascii_case(name))
        });
    }
    if of_hop == 1 && !names_fields && !(chunked && length) {
        fields.remove_at(last_of_hop);
    } else if of_hop > 0 {
        // Chunked is what was read (RFC 9112 §6.3).
        let length_too = chunked && length;
        fields.retain(|field| !(is_hop_by_hop(field.known) || length_too && field.known == Name::ContentLength));
    }
    Ok(!(chunked && length))
}

/// Takes out what a response of this status may not say: 1xx and 204 have no length (RFC 9110, section 8.6). That of a 304
/// is one of another response, and over HTTP/2 there are clients that miss its bytes.
pub fn forbid_by_status(status: StatusCode, multiplexed: bool, fields: &mut Fields) {
    let forbidden = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || (multiplexed && status == StatusCode::NOT_MODIFIED);
    if forbidden {
        fields.remove(&Name::ContentLength);
    }
}

/// Whether a connection that got this response belongs to one user from now on.
pub fn binds_identity(status: StatusCode, fields: &Fields) -> bool {
    let challenges = |line: Value<'_>| line.options().any(binds);
    status == StatusCode::UNAUTHORIZED && fields.get_all(&Name::WwwAuthenticate).any(challenges)
}
