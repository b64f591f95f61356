//! What is printed for people: in colour, where somebody sees it, and with everything escaped that others wrote to drive
//! the terminal.

use crate::model::visible::{Keep, visible};
use std::fmt;
use std::io::IsTerminal;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As the terminal has it.
    Plain,
    /// What matters.
    Bold,
    /// What matters less.
    Dim,
    /// What is wrong.
    Bad,
    /// What may be wrong.
    Doubtful,
    /// The word for a severity, in its colour.
    Severity,
}

/// Text on its way to standard output.
#[derive(Debug)]
pub struct Sheet {
    text: String,
    colour: bool,
    seen: bool,
}

impl Sheet {
    /// An empty sheet: in colour on a terminal, unless NO_COLOR is set (no-color.org).
    pub fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let seen = std::io::stdout().is_terminal();
        Self {
            text: String::new(),
            colour: wanted && seen,
            seen,
        }
    }

    /// Whether it is printed on a terminal.
    pub fn is_seen(&self) -> bool {
        self.seen
    }

    /// Adds text, which is all of a line at most.
    pub fn put(&mut self, style: Style, text: &str) {
        let code = match (style, text) {
            (Style::Plain, _) => None,
            (Style::Bold, _) => Some("1"),
            (Style::Dim, _) => Some("2"),
            (Style::Bad, _) => Some("1;31"),
            (Style::Doubtful, _) => Some("1;33"),
            (Style::Severity, "error") => Some("1;31"),
            (Style::Severity, "warning") => Some("1;33"),
            (Style::Severity, _) => Some("1;34"),
        };
        let text = visible(text, Keep::Nothing);
        match code.filter(|_| self.colour) {
            Some(code) => self.text += &format!("\x1b[{code}m{text}\x1b[0m"),
            None => self.text += &text,
        }
    }

    /// Ends a line.
    pub fn end_line(&mut self) {
        self.text.push('\n');
    }

    /// Prints it.
    pub fn print(&self) {
        super::write(&mut std::io::stdout(), &self.text);
    }
}

impl Default for Sheet {
    fn default() -> Self {
        Self::new()
    }
}

/// Plain text, which may be several lines.
impl fmt::Write for Sheet {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text += &visible(text, Keep::Lines);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn only_its_own_colours_reach_the_terminal() {
        let mut sheet = Sheet {
            text: String::new(),
            colour: true,
            seen: true,
        };
        sheet.put(Style::Bold, "a\u{1b}[2J\nb");
        writeln!(sheet, " c\u{9b}2J").unwrap();
        sheet.put(Style::Severity, "error");
        assert_eq!(
            sheet.text,
            "\u{1b}[1ma\\u001b[2J\\nb\u{1b}[0m c\\u009b2J\n\u{1b}[1;31merror\u{1b}[0m"
        );
    }
}
