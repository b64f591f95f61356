//! The statuses of Gateway API objects and Routes as YAML: `check --statuses`.

use crate::model::ObjectRef;
use crate::status::routes::{Router, desired};
use crate::table::Table;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What narthex would write into the status of each Route, under the usual name of a router.
pub(super) fn routes(table: &Table) -> BTreeMap<ObjectRef, Value> {
    let router = Router {
        name: "narthex".to_owned(),
        hostname: None,
    };
    let entry = |admission| json!({"ingress": [desired(&router, admission)]});
    let served = table.all_served();
    served
        .filter_map(|served| Some((served.object.clone(), entry(served.admission.as_ref()?))))
        .collect()
}

/// A document for each object, with what narthex would write into its status. Addresses and times are not known here.
pub(super) fn yaml(statuses: &BTreeMap<ObjectRef, Value>) -> String {
    let mut out = String::new();
    for (object, status) in statuses {
        let mut metadata = json!({"name": &*object.name});
        if let Some(fields) = metadata.as_object_mut().filter(|_| !object.namespace.is_empty()) {
            fields.insert("namespace".to_owned(), Value::from(&*object.namespace));
        }
        out += "---\n";
        let parts = [
            ("apiVersion", Value::from(object.kind.api_version())),
            ("kind", Value::from(object.kind.name())),
            ("metadata", metadata),
            ("status", status.clone()),
        ];
        for (name, value) in parts {
            field(name, &value, 0, &mut out);
        }
    }
    out
}

fn field(name: &str, value: &Value, indent: usize, out: &mut String) {
    let is_nested = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if !is_nested {
        // What JSON writes of a text, a number or an empty list is YAML too.
        out.push_str(&format!("{:indent$}{name}: {value}\n", ""));
        return;
    }
    out.push_str(&format!("{:indent$}{name}:\n", ""));
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                field(name, value, indent + 2, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|one| item(one, indent, out)),
        _ => {}
    }
}

/// An entry of a list: the first of its fields stands behind the dash.
fn item(value: &Value, indent: usize, out: &mut String) {
    let Value::Object(fields) = value else {
        out.push_str(&format!("{:indent$}- {value}\n", ""));
        return;
    };
    let mut text = String::new();
    for (name, value) in fields {
        field(name, value, indent + 2, &mut text);
    }
    let rest = text.get(indent + 2..).unwrap_or_default();
    out.push_str(&format!("{:indent$}- {rest}", ""));
}
