//! Just enough of Rust's syntax to know every path that a file names: tokens, `use` trees, modules and attributes.
//!
//! Macros are not expanded. Their bodies and arguments are read as tokens, so a path in them counts like any other.

/// A token and the line it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    kind: Kind,
    line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// An identifier or keyword, without `r#`.
    Word(String),
    /// What a string literal holds.
    Text(String),
    /// A number, character or lifetime.
    Other,
    Mark(&'static str),
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A module of the crate's root, or anything else that is named there.
    Room(String),
    /// The root itself: by a glob, by another name, or handed to a macro. What is used of it cannot be seen.
    Root,
    /// The first name of a path that does not start in this crate: another crate, or something in scope.
    Crate(String),
    /// A means by which paths escape this parser.
    Hidden(&'static str),
}

/// What is named in one file.
#[derive(Debug, Default)]
pub struct File {
    /// Each path's target, and its line.
    pub named: Vec<(Target, usize)>,
    /// Modules that are compiled for tests only and have a file of their own.
    pub tests: Vec<Vec<String>>,
}

/// Marks of more than one character that must not be taken apart, and all that are looked for.
const MARKS: &[&str] = &[
    "..=", "...", "..", "::", "->", "=>", "{", "}", "(", ")", "[", "]", "#", "!", "$", "*", ",", ";", ".", "<", "=",
];

const KEYWORDS: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "extern", "fn", "for", "if", "impl",
    "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct", "trait", "type",
    "unsafe", "use", "where", "while", "yield",
];

fn word_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len())
}

/// The length of a comment that nests.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// What a string literal holds and how long it is, if the text begins with one.
fn string(text: &str) -> Option<(&str, usize)> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(['"', '#']))
    })?;
    let rest = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let inside = rest[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inside.find(&end)?;
        return Some((&inside[..length], prefix.len() + hashes + 1 + length + end.len()));
    }
    let inside = rest.strip_prefix('"')?;
    let mut escaped = false;
    let length = inside.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&inside[..length], prefix.len() + length + 2))
}

/// The length of a character or lifetime, if the text begins with one.
fn quoted(text: &str) -> Option<usize> {
    let (prefix, inside) = match text.strip_prefix("b'") {
        Some(inside) => (2, inside),
        None => (1, text.strip_prefix('\'')?),
    };
    if let Some(escape) = inside.strip_prefix('\\') {
        let first = escape.chars().next().map_or(0, char::len_utf8);
        return Some(prefix + 1 + first + escape[first..].find('\'')? + 1);
    }
    let first = inside.chars().next()?.len_utf8();
    if inside[first..].starts_with('\'') {
        return Some(prefix + first + 1);
    }
    Some(prefix + word_length(inside))
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let mut kind = None;
        let length = if rest.starts_with(char::is_whitespace) {
            rest.len() - rest.trim_start().len()
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some((inside, length)) = string(rest) {
            kind = Some(Kind::Text(inside.to_owned()));
            length
        } else if let Some(length) = quoted(rest) {
            kind = Some(Kind::Other);
            length
        } else if rest.starts_with(|c: char| c.is_ascii_digit()) {
            kind = Some(Kind::Other);
            word_length(rest)
        } else if word_length(rest) > 0 {
            let raw = rest.strip_prefix("r#").map_or(0, |_| 2);
            let length = word_length(&rest[raw..]);
            kind = Some(Kind::Word(rest[raw..raw + length].to_owned()));
            raw + length
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            kind = Some(Kind::Mark(mark));
            mark.len()
        } else {
            kind = Some(Kind::Other);
            rest.chars().next().map_or(1, char::len_utf8)
        };
        found.extend(kind.map(|kind| Token { kind, line }));
        line += rest[..length].matches('\n').count();
        at += length;
    }
    found
}

struct Reader<'t> {
    tokens: &'t [Token],
    /// The modules around the token that is read, each with the depth of braces it was opened at.
    module: Vec<(String, usize)>,
    file: File,
}

impl Reader<'_> {
    fn kind(&self, at: usize) -> Option<&Kind> {
        self.tokens.get(at).map(|token| &token.kind)
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.kind(at)? {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn is(&self, at: usize, mark: &str) -> bool {
        matches!(self.kind(at), Some(Kind::Mark(found)) if *found == mark)
    }

    /// Where the group that opens at `at` ends.
    fn end_of_group(&self, at: usize) -> usize {
        let mut depth = 0;
        for (index, token) in self.tokens.iter().enumerate().skip(at) {
            match token.kind {
                Kind::Mark("{" | "(" | "[") => depth += 1,
                Kind::Mark("}" | ")" | "]") => {
                    depth -= 1;
                    if depth == 0 {
                        return index;
                    }
                }
                _ => {}
            }
        }
        self.tokens.len()
    }

    fn note(&mut self, target: Target, at: usize) {
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        self.file.named.push((target, line));
    }

    fn note_path(&mut self, path: &[String], at: usize) {
        let module: Vec<String> = self.module.iter().map(|(name, _)| name.clone()).collect();
        let target = resolve(path, &module);
        self.note(target, at);
    }

    /// One branch of a `use` tree; gives the position after it.
    fn tree(&mut self, mut path: Vec<String>, mut at: usize) -> usize {
        loop {
            let start = at;
            if self.is(at, "::") {
                at += 1;
            } else if self.is(at, "{") {
                at += 1;
                while at < self.tokens.len() && !self.is(at, "}") {
                    at = self.tree(path.clone(), at);
                    if self.is(at, ",") {
                        at += 1;
                    }
                }
                return at + 1;
            } else if self.is(at, "*") {
                path.push("*".to_owned());
                self.note_path(&path, start);
                return at + 1;
            } else {
                at += usize::from(self.is(at, "$"));
                let Some(word) = self.word(at) else {
                    // A macro's parameter or something unknown: whatever has been read of the path counts.
                    self.note_path(&path, start);
                    return at + 1;
                };
                path.push(word.to_owned());
                at += 1;
                if !self.is(at, "::") {
                    self.note_path(&path, start);
                    return if self.word(at) == Some("as") { at + 2 } else { at };
                }
            }
        }
    }

    /// Gives whether the attribute makes the next item one for tests only.
    fn attribute(&mut self, at: usize) -> bool {
        let end = self.end_of_group(at);
        for index in at..end {
            match self.kind(index) {
                Some(Kind::Word(word)) if word == "macro_use" || word == "macro_export" => {
                    self.note(Target::Hidden("a macro without a path"), index);
                }
                Some(Kind::Word(word)) if word == "path" && self.is(index + 1, "=") => {
                    self.note(Target::Hidden("#[path]"), index);
                }
                // Such as `#[serde(with = "crate::x")]`.
                Some(Kind::Text(text)) if text.contains("::") => {
                    let inside = tokens(text);
                    let mut reader = Reader {
                        tokens: &inside,
                        module: self.module.clone(),
                        file: File::default(),
                    };
                    reader.all();
                    for (target, _) in reader.file.named {
                        self.note(target, index);
                    }
                }
                _ => {}
            }
        }
        let inside: Vec<&Kind> = (at + 1..end).filter_map(|index| self.kind(index)).collect();
        matches!(inside.as_slice(), [Kind::Word(cfg), Kind::Mark("("), Kind::Word(test), Kind::Mark(")")] if cfg == "cfg" && test == "test")
    }

    /// Whether a path begins here: not a field or method, and not a later part of a path.
    fn begins_path(&self, at: usize) -> bool {
        let before = |steps: usize| at.checked_sub(steps).and_then(|at| self.kind(at));
        match before(1) {
            Some(Kind::Mark(".")) => false,
            Some(Kind::Mark("::")) => {
                !matches!(before(2), Some(Kind::Word(word)) if !KEYWORDS.contains(&word.as_str()))
            }
            Some(Kind::Mark("$")) => self.word(at) == Some("crate"),
            _ => true,
        }
    }

    fn all(&mut self) {
        let (mut at, mut depth, mut for_tests) = (0, 0, false);
        while let Some(kind) = self.kind(at).cloned() {
            let was_for_tests = std::mem::take(&mut for_tests);
            match kind {
                Kind::Mark("#") => {
                    let inner = usize::from(self.is(at + 1, "!"));
                    if self.is(at + 1 + inner, "[") {
                        for_tests = self.attribute(at + 1 + inner) || was_for_tests;
                        // The attribute's own paths are read too.
                        let end = self.end_of_group(at + 1 + inner);
                        let inside = self.tokens.get(at + 2 + inner..end).unwrap_or_default();
                        let mut reader = Reader {
                            tokens: inside,
                            module: self.module.clone(),
                            file: File::default(),
                        };
                        reader.all();
                        self.file.named.extend(reader.file.named);
                        at = end;
                    }
                }
                Kind::Mark("{") => depth += 1,
                Kind::Mark("}") => {
                    depth -= 1;
                    if self.module.last().is_some_and(|(_, opened)| *opened == depth + 1) {
                        self.module.pop();
                    }
                }
                Kind::Word(word) => match word.as_str() {
                    "pub" => {
                        for_tests = was_for_tests;
                        let place = if self.is(at + 1, "(") { self.word(at + 2) } else { None };
                        if matches!(place, Some("crate" | "self" | "super" | "in")) {
                            at = self.end_of_group(at + 1);
                        }
                    }
                    "mod" if self.word(at + 1).is_some() => {
                        let name = self.word(at + 1).unwrap_or_default().to_owned();
                        if self.is(at + 2, "{") && was_for_tests {
                            at = self.end_of_group(at + 2);
                        } else if self.is(at + 2, "{") {
                            depth += 1;
                            self.module.push((name, depth));
                            at += 2;
                        } else if was_for_tests {
                            let around = self.module.iter().map(|(name, _)| name.clone());
                            self.file.tests.push(around.chain([name]).collect());
                        }
                    }
                    "use" if !self.is(at + 1, "<") => at = self.tree(Vec::new(), at + 1) - 1,
                    "extern" if self.word(at + 1) == Some("crate") => {
                        let target = match self.word(at + 2) {
                            Some("self") | None => Target::Root,
                            Some(name) => Target::Crate(name.to_owned()),
                        };
                        self.note(target, at);
                        at += 2;
                    }
                    "include" if self.is(at + 1, "!") => {
                        // What build.rs makes is ours and has no paths of this crate.
                        let made = (at..self.end_of_group(at + 2))
                            .any(|at| self.kind(at) == Some(&Kind::Text("OUT_DIR".to_owned())));
                        if !made {
                            self.note(Target::Hidden("include!"), at);
                        }
                    }
                    word if !KEYWORDS.contains(&word) && self.begins_path(at) => at = self.path(at),
                    _ => {}
                },
                _ => {}
            }
            at += 1;
        }
    }

    /// A path in an expression, type, pattern, macro or attribute; gives the position of its last word.
    fn path(&mut self, start: usize) -> usize {
        let (mut at, mut path) = (start, Vec::new());
        while let Some(word) = self.word(at) {
            path.push(word.to_owned());
            if !self.is(at + 1, "::") || self.word(at + 2).is_none() {
                break;
            }
            at += 2;
        }
        let alone = path.len() == 1 && !self.is(at + 1, "::");
        if !alone || path.first().is_some_and(|word| word == "crate") {
            self.note_path(&path, start);
        }
        at
    }
}

/// Where a path in a module of this crate leads to.
fn resolve(path: &[String], module: &[String]) -> Target {
    let mut full: Vec<&str> = Vec::new();
    for (index, name) in path.iter().enumerate() {
        match name.as_str() {
            "crate" if index == 0 => {}
            "self" if index == 0 => full.extend(module.iter().map(String::as_str)),
            "super" => {
                if index == 0 {
                    full.extend(module.iter().map(String::as_str));
                }
                full.pop();
            }
            "self" => {}
            name if index == 0 => return Target::Crate(name.to_owned()),
            name => full.push(name),
        }
    }
    match full.first() {
        None | Some(&"*") => Target::Root,
        Some(room) => Target::Room((*room).to_owned()),
    }
}

/// Everything that a file names which is this module of the crate, outside modules for tests.
pub fn read(text: &str, module: &[String]) -> File {
    let tokens = tokens(text);
    let mut reader = Reader {
        tokens: &tokens,
        module: module.iter().map(|name| (name.clone(), 0)).collect(),
        file: File::default(),
    };
    reader.all();
    reader.file
}
