//! One file to objects and complaints.

use super::node::{Mark, Node, Value, plain};
use super::{validate, yaml};
use crate::dialect::Object;
use crate::dialect::decode;
use crate::model::diagnostic::shortened;
use crate::model::nearest::is_near;
use crate::model::{Code, Diagnostic, Kind, Location, ObjectRef};
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;

/// The longest file that is read, in bytes: 100,000 routes are about 30 MB.
pub const MAX_FILE: u64 = 64 << 20;

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The objects narthex reads, as they stand in the file.
    pub objects: Vec<(Object, Location)>,
    /// Objects that stand in the file but do not fit their kind.
    pub broken: Vec<Broken>,
    /// Whether an object does not say which one it is: it may be any of those that were there before.
    pub nameless: bool,
    /// Whether the file was read to its end.
    pub whole: bool,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
    /// What the API server would refuse, if that was asked for.
    pub refused: Vec<Diagnostic>,
}

/// An object that does not fit its kind.
#[derive(Debug)]
pub struct Broken {
    pub object: ObjectRef,
    /// The object with nothing but its guards, if it has some, and where it stands.
    pub guarded: Option<(Object, Location)>,
    /// The object as it is with quotes around its annotations, if it lacks nothing else: what else is wrong with it can then be said.
    pub quoted: Option<Box<(Object, Location)>>,
}

/// Reads a file.
///
/// # Errors
/// A diagnostic that says why it cannot be used at all: unreadable, too long, not UTF-8.
pub fn read(path: &Path) -> Result<String, Box<Diagnostic>> {
    let fault = |mark, message: String| {
        Box::new(Diagnostic {
            object: None,
            field: String::new(),
            code: Code::InvalidManifest,
            message,
            location: Some(location(path, mark)),
        })
    };
    let nowhere = Mark::default();
    let mut bytes = Vec::new();
    let opened: io::Result<Box<dyn Read>> = match path.to_str() {
        Some(STDIN) => Ok(Box::new(standard_input())),
        _ => std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
    };
    opened
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| fault(nowhere, format!("cannot be read: {}", reason(&error))))?;
    if bytes.len() as u64 > MAX_FILE {
        let message = format!("longer than {} MiB: split it into several files", MAX_FILE >> 20);
        return Err(fault(nowhere, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = good.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        let mark = Mark {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        };
        fault(mark, "not UTF-8 text".to_owned())
    })
}

/// The name of standard input among files.
pub const STDIN: &str = "<stdin>";
/// What the user calls standard input.
pub const STDIN_ARGUMENT: &str = "-";

/// Standard input from its beginning. It can be read only once, but `check` reads a file again to find a line in it.
fn standard_input() -> impl Read {
    static READ: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = READ.get_or_init(|| {
        let mut bytes = Vec::new();
        // What could be read before an error is incomplete YAML, or is all there is.
        let _ = io::stdin().take(MAX_FILE + 1).read_to_end(&mut bytes);
        bytes
    });
    bytes.as_slice()
}

/// An I/O error without the number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Takes a file's text apart.
pub fn parse(path: &Path, text: &str) -> Parsed {
    take_apart(path, text, false)
}

/// Takes a file's text apart, and looks for what the API server would refuse.
pub fn parse_strictly(path: &Path, text: &str) -> Parsed {
    take_apart(path, text, true)
}

fn take_apart(path: &Path, text: &str, is_strict: bool) -> Parsed {
    let json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let mut reader = Reader {
        path,
        text,
        is_strict,
        seen: HashMap::new(),
        parsed: Parsed::default(),
    };
    let result = yaml::documents(text, json, &mut |document| reader.document(&document));
    let mut parsed = reader.parsed;
    match result {
        Ok(()) => parsed.whole = true,
        Err(mut error) => {
            if text.contains("{{") && text.contains("}}") {
                error.message += " (a Helm template has to be rendered first: helm template CHART | narthex check -)";
            }
            parsed.diagnostics.push(Diagnostic {
                object: None,
                field: String::new(),
                code: Code::InvalidManifest,
                message: shortened(error.message),
                location: Some(location(path, error.at)),
            });
        }
    }
    parsed
}

pub(super) fn location(path: &Path, at: Mark) -> Location {
    Location {
        file: path.to_owned(),
        line: at.line as usize,
        column: at.column as usize,
    }
}

/// The diagnostic of an object that is defined twice.
pub fn given_twice(object: &ObjectRef, first: &Location, second: &Location) -> Diagnostic {
    Diagnostic {
        object: Some(object.clone()),
        field: String::new(),
        code: Code::InvalidManifest,
        message: format!("given twice: {first} has it too, and that one is used"),
        location: Some(second.clone()),
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    is_strict: bool,
    seen: HashMap<ObjectRef, Location>,
    parsed: Parsed,
}

impl Reader<'_> {
    fn document(&mut self, document: &Node) {
        match &document.value {
            Value::Map(_) if is_list(document) => self.list(document),
            Value::Map(_) => self.object(document, None),
            Value::Seq(items) if items.iter().any(looks_like_an_object) => {
                let message = "a bare list: several objects need `---` between them, or `kind: List` with `items`";
                self.complain(document.at, message);
            }
            Value::Seq(_) => {
                tracing::debug!(file = %self.path.display(), "a list, no Kubernetes object: ignored")
            }
            other => self.complain(
                document.at,
                format!(
                    "{}, no Kubernetes object: that is a mapping with `apiVersion` and `kind`",
                    other.describe()
                ),
            ),
        }
    }

    fn complain(&mut self, at: Mark, message: impl Into<String>) {
        self.say(Code::InvalidManifest, at, message);
    }

    fn say(&mut self, code: Code, at: Mark, message: impl Into<String>) {
        self.parsed.diagnostics.push(Diagnostic {
            object: None,
            field: String::new(),
            code,
            message: shortened(message.into()),
            location: Some(location(self.path, at)),
        });
    }

    fn list(&mut self, list: &Node) {
        // An IngressList's items, as the API sends them, do not repeat what they are.
        let of = list.str_at("kind").and_then(|kind| kind.strip_suffix("List"));
        let of = of.filter(|kind| !kind.is_empty()).zip(list.str_at("apiVersion"));
        for entry in list.entries() {
            if !["apiVersion", "kind", "metadata", "items"].contains(&&*entry.key) {
                let message = format!("a list has no field {}, so it is ignored", entry.key);
                self.say(Code::UnknownField, entry.at, message);
            }
        }
        for item in list.get("items").map(Node::items).unwrap_or_default() {
            match item.value {
                Value::Map(_) if is_list(item) => self.list(item),
                Value::Map(_) => self.object(item, of),
                Value::Null => {}
                ref other => self.complain(
                    item.at,
                    format!("{} among a list's items, where an object belongs", other.describe()),
                ),
            }
        }
    }

    fn object(&mut self, node: &Node, of: Option<(&str, &str)>) {
        let mut json = node.to_json();
        if let (Some((kind, api_version)), Some(fields)) = (of, json.as_object_mut()) {
            fields.entry("kind").or_insert_with(|| kind.into());
            fields.entry("apiVersion").or_insert_with(|| api_version.into());
        }
        let text = |field| json.get(field).and_then(serde_json::Value::as_str);
        let (kind, api_version) = (text("kind"), text("apiVersion"));
        let (Some(kind), Some(api_version)) = (kind, api_version) else {
            // Helm values and the like are no business of ours, but a forgotten line is.
            if !looks_like_an_object(node) {
                tracing::debug!(file = %self.path.display(), line = node.at.line, "no Kubernetes object: ignored");
                return;
            }
            let missing = if kind.is_none() { "kind" } else { "apiVersion" };
            self.parsed.nameless |= kind.is_none_or(|kind| Kind::ALL.iter().any(|ours| ours.name() == kind));
            let meant = node.entries().iter().find(|entry| is_near(&entry.key, missing));
            let (at, hint) = match meant {
                Some(entry) if entry.key == missing => {
                    let hint = self.quoting(node, missing).unwrap_or_default();
                    return self.complain(entry.value.at, format!("`{missing}` has to be text{hint}"));
                }
                Some(entry) => (entry.at, format!(": is that what `{}` was meant to be?", entry.key)),
                None => (node.at, ": which kind of object is this?".to_owned()),
            };
            return self.complain(at, format!("`{missing}` is missing{hint}"));
        };
        if self.is_strict {
            validate::object(node, (kind, api_version), self.path, &mut self.parsed.refused);
        }
        let unknown = decode::unknown_kind(api_version, kind);
        let described = format!("{api_version} {kind}");
        match decode::from_manifest(json) {
            Ok(decode::Manifest {
                object: Some(object),
                said,
            }) => {
                for mut diagnostic in said {
                    diagnostic.location = Some(location(self.path, node.locate(&diagnostic.field)));
                    self.parsed.diagnostics.push(diagnostic);
                }
                self.found(object, node.at);
            }
            Ok(_) => match unknown {
                Some(message) => {
                    // Until now it may have been an object of ours.
                    self.parsed.nameless = true;
                    let at = node.locate("kind");
                    self.say(Code::UnknownKind, at, message);
                }
                None if described.ends_with("List") => {
                    self.complain(node.at, "a list needs `items`, with the objects in it");
                }
                None if node.str_at("kind") == Some("Template") => self.template(node),
                None => tracing::debug!(
                    file = %self.path.display(), line = node.at.line, kind = described, "not a kind narthex reads: ignored"
                ),
            },
            Err(mut error) => {
                let guarded = error.guarded.take();
                let (quoted, more) = self.with_quotes(node, &error.field);
                let at = node.locate(&error.field);
                // What a Secret holds is not quoted, wherever it stands.
                let quotable = node.str_at("kind") != Some("Secret") || error.field == "metadata.name";
                let wants_text = error.message.contains("a string") || error.message.contains("to be text");
                if let Some(hint) = self.quoting(node, &error.field).filter(|_| wants_text && quotable) {
                    error.message += &hint;
                } else if let Some(remedy) = remedy(node, &error.field).filter(|_| quotable) {
                    error.message += &remedy;
                } else if let Some(meant) = instead_of(node, &error.field) {
                    error.message += &format!(" (is that what `{meant}` was meant to be?)");
                }
                match &error.object {
                    Some(object) => self.parsed.broken.push(Broken {
                        object: object.clone(),
                        guarded: guarded.map(|guarded| (*guarded, location(self.path, node.at))),
                        quoted,
                    }),
                    None => self.parsed.nameless = true,
                }
                let mut diagnostic = Diagnostic::from(error);
                diagnostic.location = Some(location(self.path, at));
                self.parsed.diagnostics.push(diagnostic);
                self.parsed.diagnostics.extend(more);
            }
        }
    }

    /// A Template of OpenShift holds objects whose text has `${PARAMETER}` in it, so they are not read.
    fn template(&mut self, node: &Node) {
        let objects = node.get("objects").map(Node::items).unwrap_or_default();
        let is_ours = |object: &&Node| {
            let kind = object.str_at("kind");
            Kind::ALL.iter().any(|ours| kind == Some(ours.name()))
        };
        let Some(first) = objects.iter().find(is_ours) else {
            return;
        };
        let kind = first.str_at("kind").unwrap_or_default();
        let message = format!(
            "the objects of a Template, such as this {kind}, are ignored until its parameters have values: \
             `oc process --local -f {} | narthex check -` looks at them",
            self.path.display()
        );
        self.say(Code::NotYet, first.at, message);
    }

    /// If `field` is an annotation whose value needs quotes: the object with quotes around all such values, and what is to be said
    /// of the others of them.
    fn with_quotes(&self, node: &Node, field: &str) -> (Option<Box<(Object, Location)>>, Vec<Diagnostic>) {
        const ANNOTATIONS: &str = "metadata.annotations";
        let nothing = (None, Vec::new());
        let Some(key) = field.strip_prefix(ANNOTATIONS).and_then(|rest| rest.strip_prefix('.')) else {
            return nothing;
        };
        let mut json = node.to_json();
        let Some(annotations) = json
            .pointer_mut("/metadata/annotations")
            .and_then(|all| all.as_object_mut())
        else {
            return nothing;
        };
        let mut others = Vec::new();
        for (name, value) in annotations.iter_mut() {
            if value.is_boolean() || value.is_number() {
                if name != key {
                    others.push(name.clone());
                }
                *value = value.to_string().into();
            }
        }
        let Ok(decode::Manifest {
            object: Some(object), ..
        }) = decode::from_manifest(json)
        else {
            return nothing;
        };
        let reference = object.reference();
        let said = others.iter().filter_map(|name| {
            let field = format!("{ANNOTATIONS}[{name}]");
            let hint = self.quoting(node, &field)?;
            let mut said = Diagnostic::new(
                Code::InvalidObject,
                &reference,
                format!("{ANNOTATIONS}.{name}"),
                format!("an annotation has to be text{hint}"),
            );
            said.location = Some(location(self.path, node.locate(&field)));
            Some(said)
        });
        let said = said.collect();
        (Some(Box::new((object, location(self.path, node.at)))), said)
    }

    /// The diagnostic of a value that was meant as text but has another type in YAML.
    fn quoting(&self, node: &Node, field: &str) -> Option<String> {
        let value = node.find(field)?;
        let read = match &value.value {
            Value::Bool(read) => format!("the boolean {read}"),
            Value::Number(read) => format!("the number {read}"),
            Value::Null => "nothing".to_owned(),
            _ => return None,
        };
        let line = self.text.lines().nth(value.at.line.checked_sub(1)? as usize)?;
        let rest = line.char_indices().nth(value.at.column.checked_sub(1)? as usize)?.0;
        let ends = |one: char| one.is_whitespace() || ",]}#".contains(one);
        let written = line
            .get(rest..)?
            .split(ends)
            .next()
            .filter(|written| !written.is_empty() && plain(written) == value.value)?;
        Some(format!(
            " (YAML reads {written} as {read}: if it is meant as text, put it in quotes: \"{written}\")"
        ))
    }

    fn found(&mut self, object: Object, at: Mark) {
        let reference = object.reference();
        let here = location(self.path, at);
        if let Some(first) = self.seen.get(&reference) {
            self.parsed.diagnostics.push(given_twice(&reference, first, &here));
            return;
        }
        self.seen.insert(reference, here.clone());
        self.parsed.objects.push((object, here));
    }
}

/// What to write instead of a port of the wrong type.
fn remedy(node: &Node, field: &str) -> Option<String> {
    let value = node.find(field)?;
    let is_port = field.ends_with("service.port");
    match &value.value {
        Value::String(text) if text.parse::<i32>().is_ok() && !is_port => {
            Some(format!(" (write {text} without quotes)"))
        }
        Value::String(text) if is_port && text.parse::<i32>().is_err() => {
            Some(format!(" (write port: {{name: {text}}})"))
        }
        Value::String(text) if is_port => Some(format!(" (write port: {{number: {text}}})")),
        Value::Number(number) if is_port => Some(format!(" (write port: {{number: {number}}})")),
        _ => None,
    }
}

/// The key that was probably meant to be a part of a field that is missing.
fn instead_of<'n>(node: &'n Node, field: &str) -> Option<&'n str> {
    let mut node = node;
    for part in field.split('.').filter(|part| !part.contains('[')) {
        let Some(next) = node.get(part) else {
            let meant = node.entries().iter().find(|entry| is_near(&entry.key, part));
            return meant.map(|entry| &*entry.key);
        };
        node = next;
    }
    None
}

/// Whether a document is `kind: List`, or a typed list, with objects in `items`.
pub fn is_list(node: &Node) -> bool {
    node.str_at("kind").is_some_and(|kind| kind.ends_with("List"))
        && node
            .get("items")
            .is_some_and(|items| matches!(items.value, Value::Seq(_) | Value::Null))
}

fn looks_like_an_object(node: &Node) -> bool {
    let has = |key| node.get(key).is_some();
    let (kind, api_version) = (has("kind"), has("apiVersion"));
    // A chart's Chart.yaml has an apiVersion too, and its values may have a kind.
    (kind && api_version) || (has("metadata") && (kind || api_version || has("spec") || has("rules") || has("subsets")))
}
