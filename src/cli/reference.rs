//! docs/reference.md, from the very definitions the flags are parsed by.

use super::command_line;
use crate::model::Code;
use clap::Arg;
use std::fmt::Write;

/// The page.
pub fn markdown() -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut out);
    out
}

fn write_page(out: &mut String) -> std::fmt::Result {
    let command = command_line::command();
    writeln!(out, "# Reference\n")?;
    writeln!(
        out,
        "`narthex reference` generates this page from the code, and a test compares the two.\n"
    )?;
    writeln!(out, "## Flags of `narthex serve`\n")?;
    let mut heading = String::new();
    for argument in command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_id() != "help")
    {
        if argument.get_id() == "version" {
            continue;
        }
        let its = argument.get_help_heading().unwrap_or("Other");
        if its != heading {
            heading = its.to_owned();
            writeln!(
                out,
                "\n### {heading}\n\n| flag | variable | default | meaning |\n|---|---|---|---|"
            )?;
        }
        write_flag(out, argument)?;
    }
    writeln!(out, "\n## Commands\n\n| command | what it does |\n|---|---|")?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(out, "| `narthex {}` | {about} |", sub.get_name())?;
    }
    writeln!(out, "\n## Diagnostic codes\n\n| code | severity |\n|---|---|")?;
    for code in Code::ALL {
        writeln!(out, "| `{}` | {} |", code.name(), code.severity().name())?;
    }
    Ok(())
}

fn write_flag(out: &mut String, argument: &Arg) -> std::fmt::Result {
    let name = argument.get_long().unwrap_or_default();
    let value = if argument.get_action().takes_values() {
        let names: Vec<&str> = argument
            .get_value_names()
            .unwrap_or_default()
            .iter()
            .map(|name| name.as_str())
            .collect();
        format!(" {}", names.join(" "))
    } else {
        String::new()
    };
    let variable = argument
        .get_env()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let default: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    let default = if argument.get_action().takes_values() {
        default.join(",")
    } else {
        "off".to_owned()
    };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    writeln!(
        out,
        "| `--{name}{value}` | `{variable}` | {} | {help} |",
        if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        }
    )
}
