//! Text that others wrote, made fit for people's eyes and terminals.
//!
//! Names, paths and messages come from manifests, which anybody may have written. Control characters drive a terminal,
//! and characters that turn the direction of text or have no width make a line say something else than it does.

use std::borrow::Cow;
use std::fmt::Write;

/// Which control characters are left as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// None: the text is part of a line.
    Nothing,
    /// Ends of lines and tabs: the text is several lines.
    Lines,
    /// The escape character: the text is coloured already.
    Escape,
}

/// The text with everything escaped that is not seen. Escapes are those of JSON (`\u001b`), so that JSON keeps its
/// meaning.
pub fn visible(text: &str, keep: Keep) -> Cow<'_, str> {
    let hidden = |one: char| is_hidden(one, keep);
    // Nearly all text is plain, and long answers are looked through too.
    let plain = |byte: u8| matches!(byte, b' '..=b'~') || (byte == b'\n' && keep == Keep::Lines);
    if text.bytes().all(plain) || !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for one in text.chars() {
        match one {
            one if !hidden(one) => out.push(one),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            one => {
                for unit in one.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(out)
}

fn is_hidden(one: char, keep: Keep) -> bool {
    match one {
        '\n' | '\t' => keep != Keep::Lines,
        '\u{1b}' => keep != Keep::Escape,
        ' '..='~' => false,
        _ => one.is_control() || is_format(one),
    }
}

/// Characters without a shape of their own: they turn the direction of text, join or part letters, end lines or tag
/// what follows (Unicode's Default_Ignorable_Code_Point, Bidi_Control and line separators).
fn is_format(one: char) -> bool {
    matches!(one,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_drives_the_terminal_or_hides() {
        assert!(matches!(
            visible("a b/c \u{fc} \u{1f600} 中 \u{fffd}", Keep::Nothing),
            Cow::Borrowed(_)
        ));
        let text = "a\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\r\n\tb\u{e0041}\0";
        assert_eq!(
            visible(text, Keep::Nothing),
            "a\\u001b[2J\\u009b2J\\u007f\\u202e\\u2066\\u200b\\ufeff\\r\\n\\tb\\udb40\\udc41\\u0000"
        );
        assert_eq!(visible("a\n\tb\u{1b}", Keep::Lines), "a\n\tb\\u001b");
        assert_eq!(visible("a\n\u{1b}[1mb\u{9b}", Keep::Escape), "a\\n\u{1b}[1mb\\u009b");
    }
}
