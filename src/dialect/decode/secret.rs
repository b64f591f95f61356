//! Secrets: the entries of their data that may matter, and never a word of their contents in an error.
//!
//! Data is taken out of the value before anything else looks at it, since serde's errors quote what does not fit.

use super::fields::Unknown;
use super::{Mistake, meta, read};
use crate::model::object::{Secret, SecretEntry};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1 as core;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The entries that are kept of every Secret.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const CA: &str = "ca.crt";
const REVOKED: &str = "ca.crl";

/// The types of Secrets that may name users, of which all entries are kept.
const WITH_USERS: &[&str] = &["", "Opaque", "kubernetes.io/basic-auth"];

/// core/v1 Secret. `stringData` overrides `data`, entry by entry, as the API server merges them.
///
/// # Errors
/// When an entry that is kept is not base64 (or not text, in `stringData`), or another field does not fit. Contents
/// are not quoted, also where they stand in the wrong field.
pub fn secret(mut value: Value, unknown: Option<&mut Vec<Unknown>>) -> Result<Secret, Mistake> {
    let mut entries = Entries {
        data: field(&mut value, "data", "names and base64")?,
        text: field(&mut value, "stringData", "names and text")?,
    };
    let certificate = entries.take(CERTIFICATE)?;
    let key = entries.take(KEY)?;
    let ca = entries.take(CA)?;
    let revoked = entries.take(REVOKED)?;
    let object: core::Secret = read(value, unknown).map_err(|(field, message)| (field, without_value(&message)))?;
    let others = if WITH_USERS.contains(&object.type_.as_deref().unwrap_or_default()) {
        entries.others()
    } else {
        Box::default()
    };
    Ok(Secret {
        meta: meta(object.metadata),
        kind: object.type_,
        certificate,
        key,
        ca,
        revoked,
        others,
    })
}

/// `data` and `stringData`.
struct Entries {
    data: Map<String, Value>,
    text: Map<String, Value>,
}

impl Entries {
    fn take(&mut self, name: &str) -> Result<Option<Arc<[u8]>>, Mistake> {
        let mistake = |of: &str, message: &str| (format!("{of}.{name}"), message.to_owned());
        let bytes = match self.data.remove(name) {
            None | Some(Value::Null) => None,
            // Also where `stringData` overrides it: the API server would refuse the whole object.
            Some(Value::String(text)) => Some(base64(text).ok_or_else(|| {
                mistake(
                    "data",
                    "not base64, which values here are; plain text belongs in `stringData`",
                )
            })?),
            Some(_) => return Err(mistake("data", "not text: it has to be base64")),
        };
        match self.text.remove(name) {
            None | Some(Value::Null) => Ok(bytes.map(Arc::from)),
            Some(Value::String(text)) => Ok(Some(text.into_bytes().into())),
            Some(_) => Err(mistake(
                "stringData",
                "not text: put it in quotes, or after `|` in lines of its own",
            )),
        }
    }
}

impl Entries {
    /// What is left. An entry that cannot be read is left out, for most of these are nobody's concern.
    fn others(mut self) -> Box<[SecretEntry]> {
        let mut names: Vec<String> = self.data.keys().chain(self.text.keys()).cloned().collect();
        names.sort_unstable();
        names.dedup();
        let read = |name: String| Some((Arc::from(&*name), self.take(&name).ok()??));
        names.into_iter().filter_map(read).collect()
    }
}

/// Takes a mapping out of a Secret; empty if it is missing.
fn field(value: &mut Value, name: &str, of: &str) -> Result<Map<String, Value>, Mistake> {
    match value.as_object_mut().and_then(|fields| fields.remove(name)) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(entries)) => Ok(entries),
        Some(_) => Err((name.to_owned(), format!("not a mapping, of {of}"))),
    }
}

/// Base64 with padding; line breaks are nothing, as for the API server.
fn base64(text: String) -> Option<Vec<u8>> {
    let text = if text.contains(['\n', '\r']) {
        text.replace(['\n', '\r'], "")
    } else {
        text
    };
    let ByteString(bytes) = serde_json::from_value(Value::String(text)).ok()?;
    Some(bytes)
}

/// What serde expected, without what it found.
fn without_value(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("does not fit, expected {expected}"),
        None => "does not fit".to_owned(),
    }
}
