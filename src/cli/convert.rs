//! `narthex convert`: manifests of old API versions to today's, and Routes of OpenShift to Ingresses, ready for
//! `kubectl apply -f -`.
//!
//! What is not old passes through: the same fields in the same order, though without comments, and with `kind: List`
//! taken apart. Nothing is written unless everything could be read, so that a pipe to kubectl never applies a half.

mod annotations;
mod rbac;
mod rewrite;
mod route;

use super::complain;
use crate::model::visible::{Keep, visible};
use crate::source::directory::node::{Entry, Node, Value};
use crate::source::directory::{files, parse, yaml};
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Converts files to standard output, and says on standard error what was done.
///
/// # Errors
/// When a file cannot be read or parsed, or the output cannot be written.
pub fn run(paths: &[PathBuf]) -> anyhow::Result<()> {
    let mut out = Vec::new();
    let notes = convert(paths, &mut out)?;
    // On a terminal it is for eyes; anywhere else it is for kubectl, to which every character matters.
    let mut stdout = io::stdout().lock();
    let written = if stdout.is_terminal() {
        stdout.write_all(visible(&String::from_utf8_lossy(&out), Keep::Lines).as_bytes())
    } else {
        stdout.write_all(&out)
    };
    written
        .and_then(|()| stdout.flush())
        .context("cannot write the result")?;
    for note in notes {
        complain(&format!("{note}\n"));
    }
    Ok(())
}

/// Converts files (`-` is standard input, a folder all manifests in it), and returns a note for everything done.
///
/// # Errors
/// When a file cannot be read or parsed, or `out` cannot be written; then nothing has been written.
pub fn convert(paths: &[PathBuf], out: &mut impl Write) -> anyhow::Result<Vec<String>> {
    let mut converted = Converted::default();
    let mut documents = Vec::new();
    for path in paths {
        let (files, problems) = files(std::slice::from_ref(path));
        if let Some(problem) = problems.first() {
            anyhow::bail!("{problem}");
        }
        for file in files {
            let text = parse::read(&file).map_err(|problem| anyhow::anyhow!("{problem}"))?;
            read(&file, &text, &mut |document| documents.push((file.clone(), document)))?;
        }
    }
    for (_, document) in &documents {
        converted.services.note(document);
    }
    for (file, document) in documents {
        converted.document(&file, document)?;
    }
    out.write_all(converted.output.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write the result")?;
    Ok(converted.notes)
}

#[derive(Default)]
struct Converted {
    output: String,
    notes: Vec<String>,
    services: route::Services,
}

/// Reads the documents of a text, those of a list one by one.
fn read(file: &Path, text: &str, take: &mut dyn FnMut(Node)) -> anyhow::Result<()> {
    let json = file
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    yaml::documents(text, json, &mut |document| each(document, take))
        .map_err(|error| anyhow::anyhow!("{}:{error}", file.display()))
}

fn each(mut document: Node, take: &mut dyn FnMut(Node)) {
    if !parse::is_list(&document) {
        return take(document);
    }
    let of = ["kind", "apiVersion"].map(|field| document.str_at(field).unwrap_or_default().to_owned());
    let items = document.get_mut("items").and_then(Node::items_mut).map(std::mem::take);
    for mut item in items.unwrap_or_default() {
        name_item(&mut item, &of);
        each(item, take);
    }
}

impl Converted {
    fn document(&mut self, file: &Path, mut document: Node) -> anyhow::Result<()> {
        let place = format!("{}:{}:{}", file.display(), document.at.line, document.at.column);
        let whose = describe(&document);
        let mut objects = Vec::new();
        let notes = if route::is_route(&document) {
            let converted = route::convert(&document, &self.services);
            objects = converted.objects;
            converted.notes
        } else {
            rewrite::rewrite(&mut document)
        };
        self.notes
            .extend(notes.into_iter().map(|note| format!("{place}: {whose}: {note}")));
        if objects.is_empty() {
            objects.push(document);
        }
        for object in objects {
            self.write(&object)
                .with_context(|| format!("{place}: {whose} cannot be written as YAML"))?;
        }
        Ok(())
    }

    fn write(&mut self, document: &Node) -> anyhow::Result<()> {
        if !self.output.is_empty() {
            self.output.push_str("---\n");
        }
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        serde_saphyr::to_fmt_writer_with_options(&mut self.output, document, options)?;
        if !self.output.ends_with('\n') {
            self.output.push('\n');
        }
        Ok(())
    }
}

/// Gives an item of a typed list (an IngressList, as the API sends it) what only the list says.
fn name_item(item: &mut Node, [kind, api_version]: &[String; 2]) {
    let Some(kind) = kind.strip_suffix("List").filter(|kind| !kind.is_empty()) else {
        return;
    };
    if item.get("kind").is_some() || item.get("apiVersion").is_some() {
        return;
    }
    let at = item.at;
    if let Some(entries) = item.entries_mut() {
        let named = [("apiVersion", api_version.as_str()), ("kind", kind)];
        let named = named.map(|(key, text)| Entry {
            key: key.to_owned(),
            at,
            value: Node::text(text),
        });
        entries.splice(0..0, named);
    }
}

/// `Ingress default/web`, as far as the document says.
fn describe(document: &Node) -> String {
    let kind = document.str_at("kind").unwrap_or("document");
    let metadata = document.get("metadata");
    let field = |name| metadata.and_then(|metadata| metadata.str_at(name));
    match (field("namespace"), field("name").or_else(|| field("generateName"))) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        _ => kind.to_owned(),
    }
}

/// Sets a key of a mapping, in its old place if it has one.
fn set(node: &mut Node, key: &str, value: Value) {
    match node.get_mut(key) {
        Some(old) => old.value = value,
        None => {
            if let Some(entries) = node.entries_mut() {
                entries.push(Entry {
                    key: key.to_owned(),
                    at: Default::default(),
                    value: Node::new(value),
                });
            }
        }
    }
}

/// Takes a key out of a mapping.
fn remove(node: &mut Node, key: &str) -> Option<Node> {
    let entries = node.entries_mut()?;
    let index = entries.iter().position(|entry| entry.key == key)?;
    Some(entries.remove(index).value)
}

/// Gives a key another name, in its place.
fn rename(node: &mut Node, from: &str, to: &str) {
    let entries = node.entries_mut().into_iter().flatten();
    for entry in entries.filter(|entry| entry.key == from) {
        to.clone_into(&mut entry.key);
    }
}
