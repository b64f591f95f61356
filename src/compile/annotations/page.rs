//! docs/annotations.md and docs/annotations.schema.json.

use super::list::ALL;
use super::{Annotation, PREFIX, Scope, equivalents};
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
         that leads to it. On an Ingress they hold for that one, before the Service's. The pods' \
         health and connections are the same for all; a limit of requests under way is that of whoever states it."
    )?;
    for annotation in ALL.iter().filter(|known| known.scope == Scope::Backend) {
        write_one(out, annotation)?;
    }
    write_foreign(out)
}

/// Of other ingress controllers' annotations: which close, and what narthex has for them.
fn write_foreign(out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n# Annotations of other ingress controllers\n")?;
    writeln!(
        out,
        "narthex acts on none of them. Those that guard, which is to say that they restrict who may come in or what they \
         may do, close the routes they are for: requests get 503, before any redirect, with the reason \
         `guard_not_enforced` in the log and the metrics. `check` reports an error for each, and so do Events, `explain` \
         and the dashboard. All others are a warning.\n\n\
         - Guards are authentication, lists of addresses or hosts, client certificates, limits of requests, connections \
         and bandwidth, web application firewalls, conditions on headers and methods, and whatever may hold one of \
         these: snippets, plugins, middlewares, filters, policies. They are known by name for the common controllers; \
         for all others the words of the name decide, whatever its prefix, also for `narthex.io/` names that narthex \
         does not know. What only passes by an ingress controller, such as the annotations of cert-manager, \
         external-dns, Argo CD or cloud load balancers, never closes anything.\n\
         - Not guards are `cors-*`, sizes of bodies, heads and buffers, time-outs, and what tunes a guard \
         (`auth-keepalive*`, `auth-cache-*`). `narthex.io/max-in-flight` and its like protect pods and not routes: with \
         a wrong value they are an error and change nothing.\n\
         - A guard that is explicitly off does not close: `\"false\"`, `\"off\"`, `\"no\"`, `\"0\"`, an empty value or list, \
         an allow list with `0.0.0.0/0`, `auth-type: none`; nor does what another annotation turns off, such as \
         `auth-tls-verify-client: \"off\"`.\n\
         - On an Ingress they close its routes; on a Service all routes to it; on an IngressClass those of all its \
         Ingresses. An IngressClass with `spec.parameters` is closed too, for narthex has no parameters and cannot know \
         what they ask for: its name is then `spec.parameters`.\n\
         - What holds for a whole host (`auth-tls-*`, `server-snippet` and their like) closes all routes of that host in \
         the same namespace, and what else of the namespace would answer a path that the host does not list. It is \
         reported for routes of other namespaces, which stay open. The same holds for any guard on an \
         Ingress with a path that narthex cannot read as it is meant, such as a regular expression: which requests it \
         guards is not known.\n\n\
         To serve routes without a guard, because something else enforces it, start narthex with \
         `--ignore-annotation NAME`; `*` in the name stands for anything, and `check` repeats what is ignored.\n\n\
         | annotation | narthex |\n|---|---|"
    )?;
    for equivalent in equivalents::TABLE {
        let names: Vec<String> = equivalent.foreign().map(|name| format!("`{name}`")).collect();
        writeln!(out, "| {} | {} |", names.join(", "), equivalent.text())?;
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
