//! `Strict-Transport-Security`.

use super::client::Client;
use crate::table::Policies;
use http::header::{self, HeaderMap};

/// Adds `Strict-Transport-Security` where the route asks for it, over HTTPS only (RFC 6797, section 7.2).
pub fn add_hsts(policies: &Policies, client: &Client, reply: &mut HeaderMap) {
    if let Some(value) = &policies.hsts
        && client.is_secure()
    {
        reply.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
    }
}
