//! The lines of a file that an object is written in.

use super::parse;
use crate::dialect::Object;
use crate::model::{Location, ObjectRef};
use std::io::{BufRead, BufReader};

/// Lines that are looked through for the end of an object, and the bytes of these.
const MOST_LINES: usize = 5_000;
const MOST_BYTES: u64 = 1 << 20;
/// Lines that are shown.
pub const SHOWN_LINES: usize = 200;

/// Why there are no lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLines {
    /// The file is not there any more, or may not be read.
    #[error("the file cannot be read any more")]
    Unreadable,
    /// Something else stands there.
    #[error("the file has changed since, or the object does not stand there by itself")]
    Elsewhere,
    /// The object holds a private key.
    #[error("the object holds a private key, so its lines are not shown")]
    Private,
}

/// The object's lines as they are written, the first [`SHOWN_LINES`] of them.
///
/// The file may have changed since it was read, and a Secret may stand there now: so what is found is parsed, and shown
/// only if it is this very object and nothing else.
///
/// # Errors
/// Why there are none.
pub fn lines(object: &ObjectRef, place: &Location) -> Result<String, NoLines> {
    let file = std::fs::File::open(&place.file).map_err(|_| NoLines::Unreadable)?;
    let mut rest = skip(BufReader::new(file), place.line.saturating_sub(1)).ok_or(NoLines::Elsewhere)?;
    let text = take(&mut rest, place.column.saturating_sub(1)).ok_or(NoLines::Elsewhere)?;
    let parsed = parse::parse(&place.file, &text);
    match parsed.objects.as_slice() {
        [(Object::Route(route), _)] if route.tls.as_ref().is_some_and(|tls| !tls.key.is_empty()) => {
            Err(NoLines::Private)
        }
        [(found, _)] if parsed.whole && found.reference() == *object && parsed.broken.is_empty() => {
            Ok(text.lines().take(SHOWN_LINES).map(|line| format!("{line}\n")).collect())
        }
        _ => Err(NoLines::Elsewhere),
    }
}

/// A file from a line on.
fn skip(mut file: impl BufRead, lines: usize) -> Option<impl BufRead> {
    for _ in 0..lines {
        if file.skip_until(b'\n').ok()? == 0 {
            return None;
        }
    }
    Some(file.take(MOST_BYTES))
}

/// The object that begins in this column of the first line: to the bracket that closes it, or to the next document, or to
/// a line that is less indented than it.
fn take(file: &mut impl BufRead, column: usize) -> Option<String> {
    let mut text = String::new();
    let mut brackets = Brackets::default();
    for number in 0..MOST_LINES {
        let mut line = String::new();
        if file.read_line(&mut line).ok()? == 0 {
            break;
        }
        let line = line.trim_end_matches(['\n', '\r']);
        if number == 0 {
            let line = line.char_indices().nth(column).and_then(|(at, _)| line.get(at..))?;
            brackets.open = line.starts_with('{');
            if !brackets.open || brackets.end(line).is_none() {
                text += line;
                text.push('\n');
                continue;
            }
            let end = brackets.closed?;
            return line.get(..end).map(|line| format!("{line}\n"));
        }
        if brackets.open {
            if let Some(end) = brackets.end(line) {
                text += line.get(..end)?;
                text.push('\n');
                break;
            }
            text += line;
        } else {
            let indent = line.len() - line.trim_start_matches(' ').len();
            let says_nothing = line.trim_start().is_empty() || line.trim_start().starts_with('#');
            if line.starts_with("---") || line.starts_with("...") || (indent < column && !says_nothing) {
                break;
            }
            text += line.get(column.min(indent)..)?;
        }
        text.push('\n');
    }
    Some(text)
}

/// Counts the brackets of JSON, and of YAML that is written like it.
#[derive(Default)]
struct Brackets {
    /// Whether the object is written with brackets.
    open: bool,
    depth: usize,
    quote: Option<char>,
    escaped: bool,
    closed: Option<usize>,
}

impl Brackets {
    /// Where in this line the first bracket is closed.
    fn end(&mut self, line: &str) -> Option<usize> {
        let mut before = ' ';
        for (at, character) in line.char_indices() {
            match (self.quote, character) {
                (Some(_), _) if self.escaped => self.escaped = false,
                (Some('"'), '\\') => self.escaped = true,
                (Some(quote), _) if character == quote => self.quote = None,
                (Some(_), _) => {}
                // Within a word it is an apostrophe.
                (None, '"' | '\'') if !before.is_alphanumeric() => self.quote = Some(character),
                (None, '{' | '[') => self.depth += 1,
                (None, '}' | ']') => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        self.closed = Some(at + character.len_utf8());
                        return self.closed;
                    }
                }
                (None, _) => {}
            }
            before = character;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;
    use std::fmt::Write;

    fn of(name: &str, text: &str) -> Vec<(String, Result<String, NoLines>)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let parsed = parse::parse(&path, text);
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let each = parsed.objects.iter().map(|(object, place)| {
            let reference = object.reference();
            (reference.name.to_string(), lines(&reference, place))
        });
        each.collect()
    }

    const ONE: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: one\n  # {not the end\nspec:\n\n  rules: []\n";

    #[test]
    fn lines_with_a_private_key_are_not_shown() {
        let route = |key: &str| {
            format!(
                "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata:\n  name: one\nspec:\n  host: a.test\n  \
                 tls:\n    termination: edge\n{key}  to:\n    name: web\n"
            )
        };
        assert_eq!(of("a.yaml", &route("    key: k\n"))[0].1, Err(NoLines::Private));
        assert_eq!(of("a.yaml", &route(""))[0].1, Ok(route("")));
    }

    #[test]
    fn documents_list_items_and_flow_style_end_where_they_end() {
        let flow =
            "{apiVersion: v1, kind: Service, metadata: {name: two, annotations: {a: \"}'\", b: it's}}, spec: {}}\n";
        let found = of(
            "a.yaml",
            &format!("# first\n{ONE}---\n{flow}--- # more\n{}", ONE.replace("one", "six")),
        );
        assert_eq!(found[0], ("one".to_owned(), Ok(ONE.to_owned())));
        assert_eq!(found[1], ("two".to_owned(), Ok(flow.to_owned())));
        assert_eq!(found[2], ("six".to_owned(), Ok(ONE.replace("one", "six"))));

        let mut list = "kind: List\napiVersion: v1\nitems:\n".to_owned();
        for name in ["three", "four"] {
            let mut lines = ONE.lines();
            writeln!(list, "- {}", lines.next().unwrap()).unwrap();
            for line in lines {
                writeln!(list, "  {}", line.replace("one", name)).unwrap();
            }
        }
        list += "metadata: {}\n";
        let found = of("list.yaml", &list);
        assert_eq!(found[0], ("three".to_owned(), Ok(ONE.replace("one", "three"))));
        assert_eq!(found[1], ("four".to_owned(), Ok(ONE.replace("one", "four"))));

        let json = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n    {\n      \"apiVersion\": \"v1\", \"kind\": \
                    \"Service\",\n      \"metadata\": {\"name\": \"five\", \"annotations\": {\"a\": \"\\\"}\"}}\n    },\n    {}\n]}";
        let json = json.replace("    {}\n", "    null\n");
        let found = of("list.json", &json);
        let shown = found[0].1.clone().unwrap();
        assert!(shown.starts_with("{\n") && shown.ends_with("\n    }\n"), "{shown}");
        assert_eq!(shown.lines().count(), 4);
    }

    #[test]
    fn what_stands_there_now_is_shown_only_if_it_is_the_object() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        let object = ObjectRef::new(Kind::Ingress, "default", "one");
        let place = |line, column| Location {
            file: path.clone(),
            line,
            column,
        };
        assert_eq!(lines(&object, &place(1, 1)), Err(NoLines::Unreadable));
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: one}\nstringData: {password: MARKER}\n";
        for text in [
            secret.to_owned(),
            ONE.replace("one", "other"),
            format!("{ONE}password: MARKER\nlist: [\n"),
            String::new(),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(lines(&object, &place(1, 1)), Err(NoLines::Elsewhere), "{text}");
        }
        std::fs::write(&path, ONE).unwrap();
        for (line, column) in [(2, 1), (1, 3), (100, 1), (1, 500), (0, 0)] {
            let found = lines(&object, &place(line, column));
            assert!(
                line == 0 || found == Err(NoLines::Elsewhere),
                "{line}:{column}: {found:?}"
            );
        }
        assert_eq!(lines(&object, &place(1, 1)).as_deref(), Ok(ONE));
        let long = format!("{ONE}{}", "  # a comment\n".repeat(1000));
        std::fs::write(&path, long).unwrap();
        assert_eq!(lines(&object, &place(1, 1)).unwrap().lines().count(), SHOWN_LINES);
    }
}
