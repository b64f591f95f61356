//! SARIF 2.1.0 (OASIS): what code hosts and editors show beside the lines of a file.

use super::Rated;
use crate::model::{Location, Severity};
use crate::source::directory::parse::STDIN;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Where each code is explained.
const HELP: &str = "https://narthex.io/docs/reference#diagnostic-codes";

/// One run of `check`.
pub(super) fn report(said: &[Rated<'_>]) -> Value {
    let codes: BTreeMap<&str, Severity> = said
        .iter()
        .map(|(_, said)| (said.code.name(), said.code.severity()))
        .collect();
    let rules: Vec<Value> = codes
        .iter()
        .map(|(code, severity)| {
            json!({
                "id": code, "name": code, "helpUri": HELP,
                "shortDescription": {"text": in_words(code)},
                "defaultConfiguration": {"level": level(*severity)},
            })
        })
        .collect();
    let results = said.iter().map(|(severity, said)| {
        let code = said.code.name();
        let mut result = json!({
            "ruleId": code,
            "ruleIndex": codes.keys().position(|known| *known == code),
            "level": level(*severity),
            "message": {"text": said.message},
        });
        let object = said.object.as_ref().map(|object| match &*said.field {
            "" => object.to_string(),
            field => format!("{object}: {field}"),
        });
        let logical = object.map(|name| json!([{"fullyQualifiedName": name}]));
        let mut location = json!({});
        if let Some(place) = said.location.as_ref().filter(|place| place.file != Path::new(STDIN)) {
            location["physicalLocation"] = physical(place);
        }
        if let Some(logical) = logical {
            location["logicalLocations"] = logical;
        }
        if location != json!({}) {
            result["locations"] = json!([location]);
        }
        result
    });
    let results: Vec<Value> = results.collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "narthex", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// `BackendNotFound` as `Backend not found`.
fn in_words(code: &str) -> String {
    let mut words = String::new();
    for letter in code.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
            words.push(letter.to_ascii_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

fn physical(place: &Location) -> Value {
    let path = place.file.to_string_lossy();
    // A URI reference (RFC 3986): relative to where `check` ran, unless the path is absolute.
    let escaped: String = path
        .bytes()
        .map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    let uri = match escaped.strip_prefix("./") {
        Some(rest) => rest.to_owned(),
        None if escaped.starts_with('/') => format!("file://{escaped}"),
        None => escaped,
    };
    let mut physical = json!({"artifactLocation": {"uri": uri}});
    if place.line > 0 {
        physical["region"] = json!({"startLine": place.line, "startColumn": place.column.max(1)});
    }
    physical
}
