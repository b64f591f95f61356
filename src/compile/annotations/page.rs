//! docs/annotations.md and docs/annotations.schema.json.

use super::list::ALL;
use super::{Annotation, PREFIX, Scope};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write;

/// docs/annotations.md.
pub fn markdown() -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut out);
    out
}

fn write_page(out: &mut String) -> std::fmt::Result {
    writeln!(out, "# Annotations\n")?;
    writeln!(
        out,
        "What an Ingress or a Service can ask for beyond its fields. A value is always a string, so numbers and booleans \
         are quoted. One that is wrong is reported and changes nothing. Made from the code; a test compares the two. For \
         editors and CI there is a [JSON schema](annotations.schema.json), and each has an example in \
         [examples](examples)."
    )?;
    writeln!(out, "\n# On an Ingress, for its rules")?;
    for annotation in ALL.iter().filter(|known| known.scope == Scope::Route) {
        write_one(out, annotation)?;
    }
    writeln!(
        out,
        "\n# On a Service, or on an Ingress for what it sends to its Services\n\nOn a Service they hold for every Ingress \
         that leads to it. On an Ingress they hold for that one, before the Service's; its requests are then balanced, \
         counted and limited apart from those of others."
    )?;
    for annotation in ALL.iter().filter(|known| known.scope == Scope::Backend) {
        write_one(out, annotation)?;
    }
    Ok(())
}

fn write_one(out: &mut String, annotation: &Annotation) -> std::fmt::Result {
    let Annotation {
        name,
        about,
        default,
        example,
        value,
        ..
    } = annotation;
    writeln!(out, "\n## `{PREFIX}{name}`\n\n{about}\n")?;
    writeln!(out, "- value: {}", value.form())?;
    writeln!(out, "- without it: {default}")?;
    writeln!(out, "- example: `{PREFIX}{name}: \"{example}\"`")
}

/// docs/annotations.schema.json: of `metadata.annotations` (JSON Schema 2020-12).
pub fn schema() -> String {
    let properties: Map<String, Json> = ALL
        .iter()
        .map(|annotation| {
            let mut schema = annotation.value.schema();
            if let Some(fields) = schema.as_object_mut() {
                fields.insert("type".to_owned(), json!("string"));
                fields.insert("description".to_owned(), json!(annotation.about));
                fields.insert("examples".to_owned(), json!([annotation.example]));
            }
            (format!("{PREFIX}{}", annotation.name), schema)
        })
        .collect();
    let names: Vec<&str> = ALL.iter().map(|annotation| annotation.name).collect();
    let unknown = format!("^narthex\\.io/(?!({})$)", names.join("|"));
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Annotations of narthex",
        "description": "metadata.annotations of an Ingress or a Service",
        "type": "object",
        "properties": properties,
        // Others may have any name; one of ours that is not listed does nothing.
        "propertyNames": { "not": { "pattern": unknown } },
        "additionalProperties": { "type": "string" },
    });
    // Names and texts of our own always have a JSON form.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
