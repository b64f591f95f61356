//! The line of a file that a diagnostic is about, with a mark below the place.

use crate::cli::paint::{Sheet, Style};
use crate::model::{Kind, Location, ObjectRef};
use crate::source::directory::parse;
use std::path::PathBuf;

/// The longest part of a line that is shown, in characters.
const WIDTH: usize = 100;

/// The lines of the file that was looked at last: diagnostics come file by file.
#[derive(Default)]
pub(super) struct Lines {
    file: PathBuf,
    all: Vec<String>,
}

impl Lines {
    fn at(&mut self, place: &Location) -> Option<&str> {
        if self.file != place.file {
            // A file that cannot be read any more has no lines.
            let text = parse::read(&place.file).unwrap_or_default();
            self.file.clone_from(&place.file);
            self.all = text.lines().map(str::to_owned).collect();
        }
        self.all.get(place.line.checked_sub(1)?).map(String::as_str)
    }
}

/// Prints the line, unless it may hold what is secret.
pub(super) fn show(
    sheet: &mut Sheet,
    (object, field): (Option<&ObjectRef>, &str),
    place: &Location,
    lines: &mut Lines,
) {
    let is_secret = |object: &ObjectRef| match object.kind {
        Kind::Secret => true,
        // A Route may hold a private key.
        Kind::Route => field.starts_with("spec.tls"),
        _ => false,
    };
    if object.is_some_and(is_secret) {
        return;
    }
    let Some(line) = lines.at(place).filter(|line| !line.contains("PRIVATE KEY")) else {
        return;
    };
    let Some((text, before, marked)) = part(line, place.column.saturating_sub(1)) else {
        return;
    };
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let rows = [
        (&*margin, String::new()),
        (&*number, text),
        (&*margin, " ".repeat(before) + &"^".repeat(marked)),
    ];
    for (margin, text) in rows {
        sheet.put(Style::Dim, &format!("  {margin} |"));
        sheet.put(Style::Plain, format!(" {text}").trim_end());
        sheet.end_line();
    }
}

/// What is shown of a line, how many characters stand before the mark, and how long the mark is: to the next blank or comma.
fn part(line: &str, column: usize) -> Option<(String, usize, usize)> {
    let characters: Vec<char> = line.trim_end().chars().collect();
    let rest = characters.get(column..).filter(|rest| !rest.is_empty())?;
    let word = rest
        .iter()
        .take_while(|c| !c.is_whitespace() && !matches!(c, ',' | '}' | ']'));
    let first = if column + 20 > WIDTH {
        column.saturating_sub(WIDTH / 2)
    } else {
        0
    };
    let shown = characters
        .iter()
        .skip(first)
        .take(WIDTH)
        .map(|c| if *c == '\t' { ' ' } else { *c });
    let marked = word.count().clamp(1, WIDTH - (column - first));
    Some((shown.collect(), column - first, marked))
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn the_mark_is_below_the_word() {
        let line = "  - host: shop_1.example.com, x";
        assert_eq!(part(line, 10), Some((line.to_owned(), 10, 18)));
        assert_eq!(part(line, 90), None);
        assert_eq!(part("", 0), None);
        let long = "x".repeat(300);
        assert_eq!(part(&long, 200), Some(("x".repeat(100), 50, 50)));
        assert_eq!(part("a: {", 3), Some(("a: {".to_owned(), 3, 1)));
    }
}
