//! ConfigMaps: their texts. A value that is not text is noted and costs no other.

use super::fields::Unknown;
use super::{Mistake, meta, read};
use crate::model::object::ConfigMap;
use k8s_openapi::api::core::v1 as core;
use serde_json::Value;
use std::sync::Arc;

/// core/v1 ConfigMap.
///
/// # Errors
/// When `data` is no mapping, or another field does not fit.
pub fn config_map(mut value: Value, unknown: Option<&mut Vec<Unknown>>) -> Result<ConfigMap, Mistake> {
    let data = value.as_object_mut().and_then(|fields| fields.remove("data"));
    let entries = match data {
        None | Some(Value::Null) => serde_json::Map::new(),
        Some(Value::Object(entries)) => entries,
        Some(_) => return Err(("data".to_owned(), "not a mapping, of names and text".to_owned())),
    };
    let object: core::ConfigMap = read(value, unknown)?;
    let mut map = ConfigMap {
        meta: meta(object.metadata),
        ..ConfigMap::default()
    };
    for (name, value) in entries {
        match value {
            Value::String(text) => {
                map.data.insert(name.into(), Arc::from(text));
            }
            Value::Null => {}
            _ => map.not_text.push(name.into()),
        }
    }
    Ok(map)
}
