//! docs/from-openshift.md.

use super::list::{SERVED, UNSERVED};
use crate::dialect::annotations::nginx::Wrong;
use std::fmt::Write;

/// What stands before the table of annotations.
const HEAD: &str = include_str!("page.md");

/// docs/from-openshift.md.
pub fn markdown() -> String {
    let mut out = HEAD.to_owned();
    // Writing to a String cannot fail.
    let _ = write(&mut out);
    out
}

fn write(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "| annotation | value | where it is wrong | how narthex differs |\n|---|---|---|---|"
    )?;
    for known in SERVED {
        let wrong = match known.wrong {
            Wrong::Closes => "the Route is closed: 503",
            Wrong::Default(then) => then,
        };
        writeln!(
            out,
            "| `{}` | {} | {wrong} | {} |",
            known.name,
            known.value.form(),
            known.differs
        )?;
    }
    writeln!(
        out,
        "\n# Annotations that narthex does not act on\n\n| annotation | verdict |\n|---|---|"
    )?;
    for known in UNSERVED {
        let word = if known.no_effect { "no difference" } else { "reported" };
        writeln!(out, "| `{}` | {word}: {} |", known.name, known.why)?;
    }
    Ok(())
}
