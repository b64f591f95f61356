//! What the cookie of a sticky session says.

use super::Backend;
use crate::message::{Fields, Name};
use smallvec::SmallVec;
use twox_hash::XxHash3_64;

/// How many endpoints a cookie names: those of the Services that a client of one host has asked last.
pub const MOST_NAMED: usize = 8;
/// How many pairs of one name are looked at: a browser sends one for each path and domain they were set for.
const MOST_COOKIES: usize = 8;

/// What one entry of a sticky cookie says. A value is made of entries with dots between them, the last set first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// A hash of the backend it is for; none in cookies of earlier versions.
    pub backend: Option<u32>,
    /// The endpoint's id.
    pub endpoint: u64,
}

impl Named {
    /// Reads an entry.
    pub fn read(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let (backend, endpoint) = match text.len() {
            16 => (None, text),
            24 => {
                let (backend, endpoint) = text.split_at(8);
                (Some(u32::from_str_radix(backend, 16).ok()?), endpoint)
            }
            _ => return None,
        };
        let endpoint = u64::from_str_radix(endpoint, 16).ok()?;
        Some(Self { backend, endpoint })
    }

    /// Adds it to those before it.
    pub fn write(self, text: &mut String) {
        use std::fmt::Write;
        if !text.is_empty() {
            text.push('.');
        }
        // Writing to a String cannot fail.
        let _ = match self.backend {
            Some(backend) => write!(text, "{backend:08x}{:016x}", self.endpoint),
            None => write!(text, "{:016x}", self.endpoint),
        };
    }
}

/// The values of a cookie (RFC 6265, section 5.4: names are compared as they are).
pub fn cookies<'h>(fields: &'h Fields, name: &str) -> impl Iterator<Item = &'h [u8]> {
    let lines = fields.get_all(&Name::Cookie);
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).filter_map(move |pair| {
        pair.strip_prefix(name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
    })
}

/// The hash by which a cookie's entries tell backends apart: the same on all nodes and after restarts.
pub fn backend_hash(backend: &Backend) -> u32 {
    // The lower half is as good a hash as the whole.
    XxHash3_64::oneshot(backend.to_string().as_bytes()) as u32
}

/// All entries of all cookies of a name.
pub fn named(fields: &Fields, name: &str) -> SmallVec<[Named; MOST_NAMED]> {
    let values = cookies(fields, name).take(MOST_COOKIES);
    let texts = values.filter_map(|value| std::str::from_utf8(value).ok());
    let entries = texts.flat_map(|text| text.split('.').take(MOST_NAMED));
    entries.filter_map(Named::read).collect()
}
