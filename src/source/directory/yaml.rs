//! Text to [`Node`]s: YAML by events, so that every value keeps its place, and JSON cut into its documents first.

use super::node::{Entry, Mark, Node, Value, plain};
use serde::de::IgnoredAny;
use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// How many values one document may hold: a manifest of 100,000 routes in one List has about five million.
const MAX_NODES: usize = 16_000_000;
/// How many bytes the copies that aliases make may take in one file, so that a few lines cannot become gigabytes
/// ("billion laughs"). A block of annotations that 5,000 Ingresses share takes some 8 MB.
const MAX_COPIED: usize = 32 << 20;
/// How deep values may nest; Kubernetes objects stay below 30.
const MAX_DEPTH: usize = 128;

/// Where a text stops being YAML or JSON, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where.
    pub at: Mark,
    /// Why.
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.at.line, self.at.column, self.message)
    }
}

impl SyntaxError {
    fn new(at: Mark, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { at, message }
    }
}

/// Calls `each` with every document of a text that holds something, in order, up to the first syntax error.
/// `json` says that the text must be JSON; text that looks like it is read as JSON anyhow.
///
/// # Errors
/// The place where the text cannot be read any further; documents before it have been handed over.
pub fn documents(text: &str, json: bool, each: &mut dyn FnMut(Node)) -> Result<(), SyntaxError> {
    let text = &*without_marks(text);
    if !json && !text.trim_start().starts_with('{') {
        return yaml(text, Mark { line: 1, column: 1 }, each);
    }
    let (cuts, fault) = json_documents(text);
    // `{` opens a YAML mapping as well.
    if fault.is_some() && !json {
        return yaml(text, Mark { line: 1, column: 1 }, each);
    }
    for (at, document) in cuts {
        yaml(document, at, each)?;
    }
    fault.map_or(Ok(()), Err)
}

/// A text without the byte order marks that files begin with: several files may have been put together to one.
fn without_marks(text: &str) -> Cow<'_, str> {
    const MARK: char = '\u{feff}';
    let text = text.strip_prefix(MARK).unwrap_or(text);
    if !text.contains(MARK) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut begins = false;
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix(MARK).filter(|rest| begins || rest.starts_with("---"));
        begins = line.trim_start_matches(MARK).starts_with("---");
        out.push_str(rest.unwrap_or(line));
    }
    Cow::Owned(out)
}

/// Cuts a text into its JSON documents, which (unlike YAML's) need nothing between them.
fn json_documents(text: &str) -> (Vec<(Mark, &str)>, Option<SyntaxError>) {
    let mut cuts = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let (mut at, mut counted, mut from) = (Mark { line: 1, column: 1 }, 0, 0);
    loop {
        let next = stream.next();
        let to = stream.byte_offset();
        match next {
            None => return (cuts, None),
            Some(Ok(IgnoredAny)) => {
                let document = text.get(from..to).unwrap_or_default();
                let start = from + document.len() - document.trim_start().len();
                advance(&mut at, text.get(counted..start).unwrap_or_default());
                counted = start;
                cuts.push((at, document.trim_start()));
                from = to;
            }
            Some(Err(error)) => {
                let place = Mark {
                    line: u32::try_from(error.line()).unwrap_or(u32::MAX),
                    column: u32::try_from(error.column().max(1)).unwrap_or(u32::MAX),
                };
                // serde_json appends the place, which stands in front here.
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                return (cuts, Some(SyntaxError::new(place, message)));
            }
        }
    }
}

fn advance(at: &mut Mark, text: &str) {
    for character in text.chars() {
        if character == '\n' {
            at.line = at.line.saturating_add(1);
            at.column = 1;
        } else {
            at.column = at.column.saturating_add(1);
        }
    }
}

fn yaml(text: &str, base: Mark, each: &mut dyn FnMut(Node)) -> Result<(), SyntaxError> {
    let options = granit_parser::options! {
        // Comments are skipped; emitted, a long block of them would be an error.
        emit_comments: false,
        // To say which alias it is that has no anchor.
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| scan_error(&error, base))?;
        let at = place(&span.start, base);
        if let Some(document) = builder.event(event, at)?
            && document.value != Value::Null
        {
            each(document);
        }
    }
    Ok(())
}

fn place(marker: &granit_parser::Marker, base: Mark) -> Mark {
    let line = u32::try_from(marker.line().max(1)).unwrap_or(u32::MAX);
    let column = u32::try_from(marker.col()).unwrap_or(u32::MAX - 1) + 1;
    Mark {
        line: line.saturating_add(base.line - 1),
        column: match line {
            1 => column.saturating_add(base.column - 1),
            _ => column,
        },
    }
}

fn scan_error(error: &ScanError, base: Mark) -> SyntaxError {
    let message = match error.kind() {
        ErrorKind::MissingAnchorOrAliasName => "a value that begins with * or & must be in quotes".to_owned(),
        ErrorKind::RecursionLimitExceeded => format!("nested more than {MAX_DEPTH} deep"),
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            "a tab in the indentation: YAML allows spaces only".to_owned()
        }
        kind => match kind.to_string() {
            said if said.starts_with("mapping values are not allowed") => {
                format!("{said}: is a space missing after a `:`, or a line indented too far?")
            }
            said => said,
        },
    };
    SyntaxError::new(place(error.marker(), base), message)
}

/// A collection that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// In a mapping, the key that waits for its value.
    key: Option<Key>,
    /// Where each key of a mapping stands, to find one given twice.
    keys: HashMap<String, Mark>,
    /// What `<<` brings in, for the keys the mapping itself lacks.
    merged: Vec<Entry>,
}

struct Key {
    text: String,
    at: Mark,
    merge: bool,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    /// Bytes of the copies made by aliases, in all documents so far: what becomes of one may stay in memory.
    copied: usize,
}

impl Builder {
    /// Takes one event, and returns the document it completes.
    fn event(&mut self, event: Event<'_>, at: Mark) -> Result<Option<Node>, SyntaxError> {
        match event {
            Event::DocumentStart(..) => {
                *self = Self {
                    copied: self.copied,
                    ..Self::default()
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain
                    || tag.and_then(|tag| tag.core_suffix().map(|core| core == "str")) == Some(true);
                if self.wants_key() {
                    let merge = !quoted && text == "<<";
                    return self.key(text.into_owned(), at, merge).map(|()| None);
                }
                let value = if quoted {
                    Value::String(text.into_owned())
                } else {
                    plain(&text)
                };
                return self.value(Node { at, value }, anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.start(Value::Seq(Vec::new()), at, anchor)?,
            Event::MappingStart(_, anchor, _) => self.start(Value::Map(Vec::new()), at, anchor)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    return self.value(close(open.node, open.keys, open.merged), open.anchor);
                }
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(SyntaxError::new(at, "an alias inside the very value it stands for"));
                };
                let node = Node { at, ..node.clone() };
                self.copied(&node, at)?;
                if self.wants_key() {
                    return match node.value {
                        Value::String(text) => self.key(text, at, false).map(|()| None),
                        other => Err(no_key(at, &other)),
                    };
                }
                return self.value(node, 0);
            }
            Event::UnresolvedAlias(name) => {
                // Shown where it is a host's wildcard; any other word may be a Secret's.
                let message = if name.starts_with('.') {
                    format!(
                        "`*{name}` is a YAML alias, and there is no anchor `&{name}`; if it is meant as text, put it \
                         in quotes: \"*{name}\""
                    )
                } else {
                    "`*` begins a YAML alias, and there is no anchor `&` of its name; if it is meant as text, put it \
                     in quotes"
                        .to_owned()
                };
                return Err(SyntaxError::new(at, message));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Whether the next scalar is a mapping's key.
    fn wants_key(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| open.key.is_none() && matches!(open.node.value, Value::Map(_)))
    }

    fn key(&mut self, text: String, at: Mark, merge: bool) -> Result<(), SyntaxError> {
        if let Some(open) = self.open.last_mut() {
            if !merge && let Some(first) = open.keys.insert(text.clone(), at) {
                let message = format!("the key `{text}` is given twice; first in line {}", first.line);
                return Err(SyntaxError::new(at, message));
            }
            open.key = Some(Key { text, at, merge });
        }
        Ok(())
    }

    fn start(&mut self, value: Value, at: Mark, anchor: usize) -> Result<(), SyntaxError> {
        if self.wants_key() {
            return Err(no_key(at, &value));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(SyntaxError::new(at, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.open.push(Open {
            node: Node { at, value },
            anchor,
            key: None,
            keys: HashMap::new(),
            merged: Vec::new(),
        });
        Ok(())
    }

    /// Puts a finished value where it belongs, and returns it if it is the document.
    fn value(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, SyntaxError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values in one document; split it with `---`");
            return Err(SyntaxError::new(node.at, message));
        }
        if anchor != 0 {
            self.copied(&node, node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            return Ok(Some(node));
        };
        match &mut open.node.value {
            Value::Seq(items) => items.push(node),
            Value::Map(entries) => {
                if let Some(Key { text, at, merge }) = open.key.take() {
                    if merge {
                        open.merged.extend(merge_source(node)?);
                    } else {
                        entries.push(Entry {
                            key: text,
                            at,
                            value: node,
                        });
                    }
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Counts a value that is about to exist twice.
    fn copied(&mut self, node: &Node, at: Mark) -> Result<(), SyntaxError> {
        let (bytes, depth) = node.measure();
        self.copied = self.copied.saturating_add(bytes);
        if self.copied > MAX_COPIED {
            let most = MAX_COPIED >> 20;
            let message = format!("the aliases of this file stand for more than {most} MiB of copies");
            return Err(SyntaxError::new(at, message));
        }
        if self.open.len() + depth > MAX_DEPTH {
            return Err(SyntaxError::new(at, format!("nested more than {MAX_DEPTH} deep")));
        }
        Ok(())
    }
}

fn no_key(at: Mark, value: &Value) -> SyntaxError {
    SyntaxError::new(at, format!("{} cannot be a key here, only text can", value.describe()))
}

/// What `<<: *a` or `<<: [*a, *b]` brings in; earlier ones win.
fn merge_source(node: Node) -> Result<Vec<Entry>, SyntaxError> {
    let at = node.at;
    match node.value {
        Value::Map(entries) => Ok(entries),
        Value::Seq(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => Ok(items
            .into_iter()
            .flat_map(|item| match item.value {
                Value::Map(entries) => entries,
                _ => Vec::new(),
            })
            .collect()),
        _ => Err(SyntaxError::new(
            at,
            "`<<` merges mappings only; as a key it must be in quotes",
        )),
    }
}

/// Completes a mapping with what it merges.
fn close(mut node: Node, mut keys: HashMap<String, Mark>, merged: Vec<Entry>) -> Node {
    if let Value::Map(entries) = &mut node.value {
        for entry in merged {
            if !keys.contains_key(&entry.key) {
                keys.insert(entry.key.clone(), entry.at);
                entries.push(entry);
            }
        }
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Node>, Option<SyntaxError>) {
        let mut found = Vec::new();
        let error = documents(text, false, &mut |node| found.push(node)).err();
        (found, error)
    }

    fn json(text: &str) -> Vec<String> {
        let (found, error) = read(text);
        assert_eq!(error, None, "{text}");
        found.iter().map(|node| node.to_json().to_string()).collect()
    }

    fn fault(text: &str) -> String {
        read(text).1.expect("an error").to_string()
    }

    #[test]
    fn documents_come_in_order_and_empty_ones_do_not() {
        assert_eq!(
            json("---\n# nothing\n---\na: 1\n---\n\n---\nb: [x, \"2\"]\n...\n"),
            [r#"{"a":1}"#, r#"{"b":["x","2"]}"#]
        );
        assert_eq!(json(""), Vec::<String>::new());
        assert_eq!(json("\u{feff}a: b"), [r#"{"a":"b"}"#]);
    }

    #[test]
    fn json_needs_nothing_between_documents() {
        assert_eq!(
            json(r#"{"a":"x\/\u00e9\ud83d\ude00"}{"b":1} {"c":[null,true]}"#),
            ["{\"a\":\"x/é😀\"}", r#"{"b":1}"#, r#"{"c":[null,true]}"#]
        );
        assert_eq!(json("{\n\t\"a\": {\n\t\t\"b\": 1\n\t}\n}\n"), [r#"{"a":{"b":1}}"#]);
        assert_eq!(json("{a: b, c: d}"), [r#"{"a":"b","c":"d"}"#]);
        let (found, _) = read("{\"a\": 1}\n\n  {\"b\": 1}");
        assert_eq!(found[1].at, Mark { line: 3, column: 3 });
        assert_eq!(found[1].locate("b"), Mark { line: 3, column: 9 });
        let mut count = 0;
        let error = documents("{\"a\": 1}\n{\"b\": }", true, &mut |_| count += 1).unwrap_err();
        assert_eq!((count, error.to_string().as_str()), (1, "2:7: expected value"));
    }

    #[test]
    fn what_was_good_before_an_error_is_handed_over() {
        let (found, error) = read("a: 1\n---\nb: [\n---\nc: 1\n");
        assert_eq!(found.len(), 1);
        assert!(error.unwrap().at.line >= 3);
    }

    #[test]
    fn an_unquoted_wildcard_is_explained() {
        let text = fault("spec:\n  rules:\n  - host: *.example.com\n");
        assert!(text.starts_with("3:11: "), "{text}");
        assert!(text.ends_with("put it in quotes: \"*.example.com\""), "{text}");
        assert!(fault("host: *\n").contains("must be in quotes"));
        assert!(fault("a:\n\tb: c\n").contains("tab"));
    }

    #[test]
    fn a_key_given_twice_is_an_error() {
        assert_eq!(
            fault("a: 1\nb: 2\na: 3\n"),
            "3:1: the key `a` is given twice; first in line 1"
        );
        assert!(fault("? [a, b]\n: c\n").contains("cannot be a key"));
    }

    #[test]
    fn anchors_aliases_and_merges() {
        assert_eq!(
            json("x: &x {p: 1, q: 2}\ny:\n  <<: *x\n  q: 3\nz: *x\n"),
            [r#"{"x":{"p":1,"q":2},"y":{"p":1,"q":3},"z":{"p":1,"q":2}}"#]
        );
        assert_eq!(json("80: a\nyes: b\n"), [r#"{"80":"a","yes":"b"}"#]);
        assert_eq!(json("a: !!str 80\nb: |\n  x\n  y\n"), [r#"{"a":"80","b":"x\ny\n"}"#]);
    }

    #[test]
    fn a_bomb_is_an_error() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        assert!(fault(&bomb).contains("copies"));
        // Few values may be long, and several documents make one file.
        let long = format!("a: &a \"{}\"\nb:\n", "x".repeat(100_000));
        let few = |copies: usize| format!("{long}{}", "- *a\n".repeat(copies));
        assert!(
            fault(&few(5_000)).starts_with("337:3: the aliases of this file"),
            "{}",
            fault(&few(5_000))
        );
        assert_eq!(read(&few(200)).1, None);
        assert!(fault(&format!("{0}---\n{0}", few(200))).contains("copies"));
        let mut chain = "a0: &a0 x\n".to_owned();
        for level in 1..400 {
            chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(fault(&chain).contains("deep"));
        assert!(fault(&"[".repeat(100_000)).contains("deep"));
        assert!(fault(&"{\"a\":".repeat(100_000)).contains("deep"));
    }

    #[test]
    fn a_field_is_found_where_it_stands() {
        let (found, _) = read("kind: X\nspec:\n  a.b/c: 1\n  a: {b: 2}\n  list:\n  - x: 1\n  -   y:\n      - 2\n");
        let at = |field: &str| {
            let mark = found[0].locate(field);
            (mark.line, mark.column)
        };
        assert_eq!(at(""), (1, 1));
        assert_eq!(at("kind"), (1, 7));
        assert_eq!(at("spec"), (2, 1));
        assert_eq!(at("spec.a.b/c"), (3, 10));
        assert_eq!(at("spec.a.b"), (4, 10));
        assert_eq!(at("spec.list[0].x"), (6, 8));
        assert_eq!(at("spec.list[1].y"), (7, 7));
        assert_eq!(at("spec.list[1].y[0]"), (8, 9));
        assert_eq!(at("spec.list[1].missing"), (7, 7));
        assert_eq!(at("spec.list[7].missing"), (5, 3));
    }
}
