//! docs/annotations.md and docs/annotations.schema.json.

use super::list::all;
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
        "Annotations set what the fields of an Ingress or a Service cannot express. A value is always a string, so quote \
         numbers and booleans. narthex reports an invalid value and ignores it, but an invalid value of an annotation that \
         restricts access closes the routes of the Ingress (503). This page is generated from the code, and a \
         test compares the two. There is a [JSON schema](annotations.schema.json) for editors and CI, and an example of each \
         annotation in [examples](examples)."
    )?;
    writeln!(
        out,
        "\n# On an Ingress, for its rules\n\nA request goes through what is asked for in this order: the redirect to HTTPS, the \
         limit of its body, lists of addresses, limits of requests in flight, rates, preflight requests of CORS, redirects, \
         authentication, changes of fields, rewrites. A reply that narthex makes at one of these steps has what the steps \
         before it add to replies, and nothing of those behind it. In an Ingress of another controller that `--drop-in` \
         names, they take the place of that controller's annotations for the same, and the order is that controller's."
    )?;
    for annotation in all().iter().filter(|known| known.scope.is_for_rules()) {
        write_one(out, annotation)?;
    }
    writeln!(
        out,
        "\n# On a Service, or on an Ingress for its requests\n\nOn a Service, these annotations apply to every Ingress that \
         uses the Service. On an Ingress, they apply to the requests of that Ingress and take precedence over those of the \
         Service. The health and connections of pods are shared by all; a limit on requests in flight counts the \
         requests of the object that sets it."
    )?;
    for annotation in all().iter().filter(|known| known.scope == Scope::Backend) {
        write_one(out, annotation)?;
    }
    write_variables(out)?;
    write_foreign(out)
}

/// What texts may name.
fn write_variables(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\n# Variables\n\nTexts of redirects, fields and URLs may have variables, written `$name` or `${{name}}`. They have \
         the names that nginx gives them. A name that is not in this list is an error. Paths are in canonical form, with \
         their escapes, so that nothing a client sends can end a field.\n\n| variable | stands for |\n|---|---|"
    )?;
    for (name, meaning) in crate::table::VARIABLES {
        writeln!(out, "| `{name}` | {meaning} |")?;
    }
    Ok(())
}

/// Of other ingress controllers' annotations: which close, and what narthex has for them.
fn write_foreign(out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n# Annotations of other ingress controllers\n")?;
    writeln!(
        out,
        "narthex does not act on these annotations. A guard is an annotation that restricts who may use a route or what \
         they may do. Guards close the routes that they protect: requests get 503, before any redirect, with the reason \
         `guard_not_enforced` in the log and the metrics. `check`, Events, `explain` and the dashboard report an error for \
         each guard, and a warning for all other annotations.\n\n\
         - Guards are authentication, lists of addresses or hosts, client certificates, limits of requests, connections \
         and bandwidth, web application firewalls, conditions on headers and methods, and everything that may contain one \
         of these: snippets, plugins, middlewares, filters, policies. narthex knows the guards of common controllers by \
         name. For all others the words in the name decide, whatever its prefix, including `narthex.io/` names that narthex \
         does not know. Annotations that are not meant for ingress controllers, such as those of cert-manager, \
         external-dns, Argo CD or cloud load balancers, never close anything.\n\
         - `cors-*`, sizes of bodies, heads and buffers, time-outs, and annotations that only tune a guard \
         (`auth-keepalive*`, `auth-cache-*`) are not guards. `narthex.io/max-in-flight` and related annotations protect \
         pods and not routes: an invalid value is an error and is ignored.\n\
         - A guard that is explicitly off does not close: `\"false\"`, `\"off\"`, `\"no\"`, `\"0\"`, an empty value or list, \
         an allow list with `0.0.0.0/0`, `auth-type: none`. Neither does a guard that another annotation turns off, such \
         as `auth-tls-verify-client: \"off\"`.\n\
         - On an Ingress, a guard closes the routes of the Ingress; on a Service, all routes to it; on an IngressClass, those \
         of all its Ingresses. An IngressClass with `spec.parameters` is closed too, because narthex does not support \
         parameters and cannot know what they require. Its name is then `spec.parameters`.\n\
         - A guard for a whole host (`auth-tls-*`, `server-snippet` and related ones) closes all routes of that host in \
         the same namespace, and whatever else in the namespace would answer a path that the host does not list. It is \
         also reported for routes of other namespaces, which stay open. The same applies to any guard on an \
         Ingress with a path that narthex cannot interpret as intended, such as a regular expression, because narthex cannot \
         know which requests the guard protects.\n\n\
         To serve routes without a guard, because something else enforces it, start narthex with \
         `--ignore-annotation NAME`. `*` in the name stands for any text. `check` lists what is ignored.\n\n\
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
    writeln!(out, "- default: {default}")?;
    writeln!(out, "- example: `{PREFIX}{name}: \"{example}\"`")
}

/// docs/annotations.schema.json: of `metadata.annotations` (JSON Schema 2020-12).
pub fn schema() -> String {
    let properties: Map<String, Json> = all()
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
    let names: Vec<&str> = all().iter().map(|annotation| annotation.name).collect();
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
