//! One file to objects and complaints.

use super::node::{Mark, Node, Value};
use super::yaml;
use crate::model::{Code, Diagnostic, Kind, Location, Object, ObjectRef};
use crate::source::decode;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

/// The longest file that is read, in bytes: 100,000 routes are about 30 MB.
pub const MAX_FILE: u64 = 64 << 20;

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The objects narthex reads, as they stand in the file.
    pub objects: Vec<(Object, Location)>,
    /// Objects that stand in the file but do not fit their kind.
    pub broken: Vec<ObjectRef>,
    /// Whether an object does not say which one it is: it may be any of those that were there before.
    pub nameless: bool,
    /// Whether the file was read to its end.
    pub whole: bool,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
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
    std::fs::File::open(path)
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

/// An I/O error without the number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Takes a file's text apart.
pub fn parse(path: &Path, text: &str) -> Parsed {
    let json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let mut reader = Reader {
        path,
        seen: HashMap::new(),
        parsed: Parsed::default(),
    };
    let result = yaml::documents(text, json, &mut |document| reader.document(&document));
    let mut parsed = reader.parsed;
    match result {
        Ok(()) => parsed.whole = true,
        Err(error) => parsed.diagnostics.push(Diagnostic {
            object: None,
            field: String::new(),
            code: Code::InvalidManifest,
            message: error.message,
            location: Some(location(path, error.at)),
        }),
    }
    parsed
}

fn location(path: &Path, at: Mark) -> Location {
    Location {
        file: path.to_owned(),
        line: at.line as usize,
        column: at.column as usize,
    }
}

/// What is said of an object that two places give.
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
        self.parsed.diagnostics.push(Diagnostic {
            object: None,
            field: String::new(),
            code: Code::InvalidManifest,
            message: message.into(),
            location: Some(location(self.path, at)),
        });
    }

    fn list(&mut self, list: &Node) {
        // An IngressList's items, as the API sends them, do not repeat what they are.
        let of = list.str_at("kind").and_then(|kind| kind.strip_suffix("List"));
        let of = of.filter(|kind| !kind.is_empty()).zip(list.str_at("apiVersion"));
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
        if let (None, _) | (_, None) = (kind, api_version) {
            // Helm values and the like are no business of ours, but a forgotten line is.
            if !looks_like_an_object(node) {
                tracing::debug!(file = %self.path.display(), line = node.at.line, "no Kubernetes object: ignored");
                return;
            }
            let missing = if kind.is_none() { "kind" } else { "apiVersion" };
            self.parsed.nameless |= kind.is_none_or(|kind| Kind::ALL.iter().any(|ours| ours.name() == kind));
            return self.complain(
                node.at,
                format!("`{missing}` is missing: which kind of object is this?"),
            );
        }
        let described = format!("{} {}", api_version.unwrap_or_default(), kind.unwrap_or_default());
        match decode::from_value(json) {
            Ok(Some(object)) => self.found(object, node.at),
            Ok(None) => tracing::debug!(
                file = %self.path.display(), line = node.at.line, kind = described, "not a kind narthex reads: ignored"
            ),
            Err(error) => {
                let at = node.locate(&error.field);
                match &error.object {
                    Some(object) => self.parsed.broken.push(object.clone()),
                    None => self.parsed.nameless = true,
                }
                let mut diagnostic = Diagnostic::from(error);
                diagnostic.location = Some(location(self.path, at));
                self.parsed.diagnostics.push(diagnostic);
            }
        }
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

/// Whether a document is `kind: List`, or a typed list, with objects in `items`.
pub fn is_list(node: &Node) -> bool {
    node.str_at("kind").is_some_and(|kind| kind.ends_with("List"))
        && node
            .get("items")
            .is_some_and(|items| matches!(items.value, Value::Seq(_) | Value::Null))
}

fn looks_like_an_object(node: &Node) -> bool {
    let has = |key| node.get(key).is_some();
    has("apiVersion") || has("kind") || (has("metadata") && (has("spec") || has("rules") || has("subsets")))
}
