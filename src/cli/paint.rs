//! Colour, where somebody sees it.

use std::io::IsTerminal;

/// Paints only on a terminal, and not where NO_COLOR is set (no-color.org).
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// For standard output.
    pub fn stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            on: wanted && std::io::stdout().is_terminal(),
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A severity, in its colour.
    pub fn severity(self, name: &str) -> String {
        let code = match name {
            "error" => "1;31",
            "warning" => "1;33",
            _ => "1;34",
        };
        self.with(code, name)
    }

    /// What matters.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What matters less.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }
}
