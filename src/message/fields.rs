//! The fields of a message: a flat list in the order in which they came.

use crate::http1::{Line, Name, Span};
use http::HeaderName;
use http::header::{HeaderMap, HeaderValue};
use std::fmt;
use std::ops::Range;

/// Room for lines that are added to a head that was read.
const MORE: usize = 128;

/// The fields of a head or of a trailer section. The bytes of the lines lie in one buffer, as they came.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// Which names there may be lines of. Most names that are looked for are not there.
    names: Names,
}

/// A set of names, which may seem to have more of them than were put in.
#[derive(Clone, Copy, Default)]
struct Names(u64);

impl Names {
    const fn bit(name: Name) -> u64 {
        1 << (name as u8 % 64)
    }

    fn put(&mut self, name: Name) {
        self.0 |= Self::bit(name);
    }

    fn may_have(self, name: Name) -> bool {
        self.0 & Self::bit(name) != 0
    }
}

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'f> {
    /// Which it is, if it is a well-known one.
    pub known: Name,
    /// Its name as it came.
    pub name: &'f [u8],
    /// Its value.
    pub value: Value<'f>,
}

/// The value of a field, without blanks around it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'f>(&'f [u8]);

impl<'f> Value<'f> {
    /// Its bytes.
    pub fn as_bytes(self) -> &'f [u8] {
        self.0
    }

    /// Its text; absent if it has other bytes than visible ASCII and blanks.
    pub fn to_str(self) -> Option<&'f str> {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
        let plain = self.0.iter().all(is_plain);
        plain.then(|| std::str::from_utf8(self.0).ok()).flatten()
    }

    /// Its elements, where it is a list (RFC 9110, section 5.6.1). A comma in a quoted string is not understood.
    pub fn options(self) -> impl Iterator<Item = &'f [u8]> {
        self.0.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
    }

    /// Whether it has an element, in whatever case.
    pub fn has_option(self, option: &[u8]) -> bool {
        self.options().any(|one| one.eq_ignore_ascii_case(option))
    }

    /// It as the `http` crate has it.
    pub fn to_header(self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.0).ok()
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.name.escape_ascii(), self.value)
    }
}

/// They are equal if they say the same in the same order.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: Field<'_>, b: Field<'_>| a.name.eq_ignore_ascii_case(b.name) && a.value == b.value;
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(a, b)| same(a, b))
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// What a field is looked for by.
pub trait FieldName {
    /// Its number, if it is a well-known one.
    fn known(&self) -> Name;
    /// Its text.
    fn text(&self) -> &str;
}

impl FieldName for Name {
    fn known(&self) -> Name {
        *self
    }

    fn text(&self) -> &str {
        self.as_str()
    }
}

impl FieldName for str {
    fn known(&self) -> Name {
        Name::of(self.as_bytes())
    }

    fn text(&self) -> &str {
        self
    }
}

impl FieldName for HeaderName {
    fn known(&self) -> Name {
        Name::of(self.as_str().as_bytes())
    }

    fn text(&self) -> &str {
        self.as_str()
    }
}

impl Fields {
    /// None.
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            lines: Vec::new(),
            names: Names(0),
        }
    }

    /// Makes them those of a head: its bytes, and where in them the lines are.
    pub fn set(&mut self, bytes: &[u8], lines: Vec<Line>) {
        self.bytes.clear();
        self.bytes.reserve(bytes.len() + MORE);
        self.bytes.extend_from_slice(bytes);
        self.names = Names(0);
        lines.iter().for_each(|line| self.names.put(line.known));
        self.lines = lines;
    }

    /// Takes all lines out, but keeps the memory of their bytes. The list of them is handed out.
    pub(super) fn clear(&mut self) -> Vec<Line> {
        self.bytes.clear();
        self.names = Names(0);
        std::mem::take(&mut self.lines)
    }

    /// Bytes of memory that they have room for.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Those of a map of the `http` crate. `more` is how many bytes are put behind them.
    pub fn of_map(map: &HeaderMap, more: usize) -> Self {
        let lines = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let mut fields = Self {
            bytes: Vec::with_capacity(lines.sum::<usize>() + more),
            lines: Vec::with_capacity(map.len()),
            names: Names(0),
        };
        for (name, value) in map {
            fields.append(name, value);
        }
        fields
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Bytes that they have, about.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All lines, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + Clone {
        self.lines.iter().map(|line| self.field(line))
    }

    /// The names of all lines, in order, as far as they are well-known ones.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.lines.iter().map(|line| line.known)
    }

    /// The value of the line at a place, if there is one.
    pub fn value_at(&self, place: usize) -> &[u8] {
        self.lines.get(place).map_or(&[], |line| line.value.of(&self.bytes))
    }

    /// The lines of one name, in order.
    pub fn get_all<'f>(
        &'f self,
        name: &'f (impl FieldName + ?Sized),
    ) -> impl DoubleEndedIterator<Item = Value<'f>> + Clone {
        let (known, text) = (name.known(), name.text());
        let lines = self.lines_to_search(known).iter();
        let named = lines.filter(move |line| self.is_named(line, known, text));
        named.map(|line| self.value(line))
    }

    /// All lines, or none if none of them has this name.
    #[inline]
    fn lines_to_search(&self, known: Name) -> &[Line] {
        if self.names.may_have(known) { &self.lines } else { &[] }
    }

    /// The first line of a name.
    #[inline]
    pub fn get(&self, name: &(impl FieldName + ?Sized)) -> Option<Value<'_>> {
        let (known, text) = (name.known(), name.text());
        let mut lines = self.lines_to_search(known).iter();
        let line = lines.find(|line| self.is_named(line, known, text))?;
        Some(self.value(line))
    }

    /// Whether there is a line of a name.
    pub fn contains(&self, name: &(impl FieldName + ?Sized)) -> bool {
        self.get(name).is_some()
    }

    /// Whether a field that is a list of words has this one, in whatever case.
    pub fn has_option(&self, name: &(impl FieldName + ?Sized), option: &[u8]) -> bool {
        self.get_all(name).any(|line| line.has_option(option))
    }

    /// `Content-Length`, which was checked when the message came in.
    pub fn length(&self) -> Option<u64> {
        self.get(&Name::ContentLength)?.to_str()?.parse().ok()
    }

    /// The names of the fields that `Trailer` announces.
    pub fn announced(&self) -> Vec<Box<[u8]>> {
        let names = self.get_all(&Name::Trailer).flat_map(Value::options);
        names.map(Into::into).collect()
    }

    /// Adds a line.
    pub fn append(&mut self, name: &(impl FieldName + ?Sized), value: impl AsRef<[u8]>) {
        let line = self.write(name, value.as_ref());
        self.lines.push(line);
    }

    /// Adds the lines of others.
    pub fn extend(&mut self, others: &Self) {
        for field in others.iter() {
            // A name that was read is a token.
            let name = std::str::from_utf8(field.name).unwrap_or_default();
            self.append(name, field.value.as_bytes());
        }
    }

    /// Sets the value of a name. The new line takes the place of the first line with this name, and other lines with it are
    /// removed.
    pub fn insert(&mut self, name: &(impl FieldName + ?Sized), value: impl AsRef<[u8]>) {
        let (known, text) = (name.known(), name.text());
        let mut lines = self.lines_to_search(known).iter();
        let first = lines.position(|line| self.is_named(line, known, text));
        let new = self.write(name, value.as_ref());
        let Some(first) = first else {
            return self.lines.push(new);
        };
        let bytes = &self.bytes;
        let mut at = 0;
        self.lines.retain_mut(|line| {
            let place = at;
            at += 1;
            if place == first {
                *line = new;
                return true;
            }
            !is_named(bytes, line, known, text)
        });
    }

    /// Takes all lines of a name out.
    pub fn remove(&mut self, name: &(impl FieldName + ?Sized)) {
        let (known, text) = (name.known(), name.text());
        if !self.names.may_have(known) {
            return;
        }
        let bytes = &self.bytes;
        self.lines.retain(|line| !is_named(bytes, line, known, text));
    }

    /// Takes out the line at a place, if there is one.
    pub fn remove_at(&mut self, place: usize) {
        if place < self.lines.len() {
            self.lines.remove(place);
        }
    }

    /// Takes out the lines that are not to stay.
    pub fn retain(&mut self, mut stays: impl FnMut(Field<'_>) -> bool) {
        let bytes = &self.bytes;
        self.lines.retain(|line| stays(field(bytes, line)));
    }

    /// Writes lines as they came, those that lie side by side at once.
    pub fn write_lines(&self, lines: Range<usize>, out: &mut Vec<u8>) {
        let mut rest = self.lines.get(lines).unwrap_or_default();
        while let Some((first, mut behind)) = rest.split_first() {
            if self.bytes.get(first.name.end as usize) != Some(&b':') {
                // There is a blank behind the name, which a proxy takes away (RFC 9112, section 5.1).
                self.write_line(first, out);
                rest = behind;
                continue;
            }
            let mut end = first.value.end.max(first.name.end + 1);
            while let Some((next, more)) = behind.split_first() {
                let is_next = next.name.start == end + 2 && self.bytes.get(next.name.end as usize) == Some(&b':');
                if !is_next {
                    break;
                }
                end = next.value.end.max(next.name.end + 1);
                behind = more;
            }
            let start = first.name.start;
            out.extend_from_slice(Span { start, end }.of(&self.bytes));
            out.extend_from_slice(b"\r\n");
            rest = behind;
        }
    }

    /// Writes the first ones of lines that were all put in by [`Self::append`]: they lie as they are written.
    pub fn write_appended(&self, count: usize, out: &mut Vec<u8>) {
        let end = count.checked_sub(1).and_then(|last| self.lines.get(last));
        let end = end.map_or(0, |last| last.value.end as usize + 2);
        out.extend_from_slice(self.bytes.get(..end).unwrap_or_default());
    }

    fn write_line(&self, line: &Line, out: &mut Vec<u8>) {
        out.extend_from_slice(line.name.of(&self.bytes));
        out.extend_from_slice(b": ");
        out.extend_from_slice(line.value.of(&self.bytes));
        out.extend_from_slice(b"\r\n");
    }

    /// Those as the `http` crate has them. What it does not take, which no reader lets pass, is left out.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        for field in self.iter() {
            if let (Ok(name), Some(value)) = (HeaderName::from_bytes(field.name), field.value.to_header()) {
                map.append(name, value);
            }
        }
        map
    }

    fn write(&mut self, name: &(impl FieldName + ?Sized), value: &[u8]) -> Line {
        let at = |bytes: &Vec<u8>| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let start = at(&self.bytes);
        self.bytes.extend_from_slice(name.text().as_bytes());
        let end = at(&self.bytes);
        self.bytes.extend_from_slice(b": ");
        let from = at(&self.bytes);
        self.bytes.extend_from_slice(value);
        let until = at(&self.bytes);
        self.bytes.extend_from_slice(b"\r\n");
        self.names.put(name.known());
        Line {
            name: Span { start, end },
            value: Span {
                start: from,
                end: until,
            },
            known: name.known(),
        }
    }

    fn is_named(&self, line: &Line, known: Name, text: &str) -> bool {
        is_named(&self.bytes, line, known, text)
    }

    fn value(&self, line: &Line) -> Value<'_> {
        Value(line.value.of(&self.bytes))
    }

    fn field(&self, line: &Line) -> Field<'_> {
        field(&self.bytes, line)
    }
}

fn field<'f>(bytes: &'f [u8], line: &Line) -> Field<'f> {
    Field {
        known: line.known,
        name: line.name.of(bytes),
        value: Value(line.value.of(bytes)),
    }
}

#[inline]
fn is_named(bytes: &[u8], line: &Line, known: Name, text: &str) -> bool {
    line.known == known && (known != Name::Other || line.name.of(bytes).eq_ignore_ascii_case(text.as_bytes()))
}

impl Fields {
    /// The bytes at a place in the buffer of the lines.
    pub(super) fn bytes_at(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// The text there.
    pub(super) fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes_at(span)).unwrap_or_default()
    }

    /// Puts text behind the lines, which is in none of them; where it is.
    pub(super) fn put(&mut self, text: &[u8]) -> Span {
        let at = |bytes: &Vec<u8>| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let start = at(&self.bytes);
        self.bytes.extend_from_slice(text);
        Span {
            start,
            end: at(&self.bytes),
        }
    }
}
