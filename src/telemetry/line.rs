//! The last step of the log: each event is one line, and nothing that it quotes drives a terminal.

use crate::model::visible::{Keep, visible};
use std::borrow::Cow;
use std::io::{self, Write};

/// Writes one event, which comes whole.
pub struct Line<W> {
    to: W,
    /// Whether the line is coloured. Its colours are the only escape characters in it then: tracing-subscriber itself
    /// escapes those of values.
    colour: bool,
}

impl<W> Line<W> {
    /// A writer for one event.
    pub fn new(to: W, colour: bool) -> Self {
        Self { to, colour }
    }
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let keep = if self.colour { Keep::Escape } else { Keep::Nothing };
        let text = String::from_utf8_lossy(line);
        let (text, end) = match text.strip_suffix('\n') {
            Some(text) => (text, "\n"),
            None => (&*text, ""),
        };
        match visible(text, keep) {
            Cow::Borrowed(_) => self.to.write_all(line)?,
            Cow::Owned(text) => self.to.write_all((text + end).as_bytes())?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &str, colour: bool) -> String {
        let mut out = Vec::new();
        Line::new(&mut out, colour).write_all(line.as_bytes()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_is_one_line_of_visible_characters() {
        assert_eq!(written("a \u{fc} b\n", false), "a \u{fc} b\n");
        assert_eq!(written("a\nb\u{1b}[2J\u{202e}\n", false), "a\\nb\\u001b[2J\\u202e\n");
        assert_eq!(
            written("\u{1b}[32mINFO\u{1b}[0m a\u{9b}\n", true),
            "\u{1b}[32mINFO\u{1b}[0m a\\u009b\n"
        );
        let json = "{\"m\":\"a\u{9b}2J\u{2066}\u{e0001}\"}\n";
        let line = written(json, false);
        assert!(line.is_ascii(), "{line}");
        let [read, meant] = [&line[..], json].map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        assert_eq!(read, meant);
    }
}
