//! The command line: what holds for every flag, and how the process's arguments are read.

use super::Cli;
use crate::config::SecretUrl;
use clap::{ArgAction, Command, CommandFactory, FromArgMatches};
use std::any::TypeId;
use std::collections::HashSet;
use std::ffi::OsString;

/// The command line, as help, completions and docs/reference.md show it.
pub fn command() -> Command {
    prepare(Cli::command())
}

/// Reads the process's arguments; says what is wrong with them, or helps, and ends the process.
pub fn parse() -> Cli {
    let parsed = Cli::from_arg_matches(&command().get_matches_from(arguments()));
    parsed.unwrap_or_else(|error| error.format(&mut command()).exit())
}

/// The flags of this process as they are in effect, by command line, environment and default. What may hold a secret is
/// shown as its type shows it.
pub fn effective() -> serde_json::Value {
    let command = command();
    let Ok(matches) = command.clone().try_get_matches_from(arguments()) else {
        return serde_json::json!({});
    };
    let (command, matches) = match matches.subcommand() {
        Some((name, below)) => (command.find_subcommand(name).unwrap_or(&command), below),
        None => (&command, &matches),
    };
    let mut flags = serde_json::Map::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let Some(values) = matches.try_get_raw(id).ok().flatten() else {
            continue;
        };
        let is_secret = argument.get_value_parser().type_id() == TypeId::of::<SecretUrl>();
        let texts = values.map(|value| match value.to_string_lossy() {
            text if is_secret => SecretUrl::from(&*text).to_string(),
            text => text.into_owned(),
        });
        let value = match <[String; 1]>::try_from(texts.collect::<Vec<_>>()) {
            Ok([one]) => serde_json::Value::from(one),
            Err(several) => serde_json::Value::from(several),
        };
        flags.insert(id.replace('_', "-"), value);
    }
    serde_json::Value::Object(flags)
}

fn prepare(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        // A variable may hold a secret, and help is pasted into bug reports.
        let mut argument = argument.hide_env_values(true);
        if !is_boolean(&argument) {
            return argument;
        }
        if matches!(argument.get_action(), ArgAction::SetTrue) {
            argument = argument
                .value_name("BOOL")
                .default_value("false")
                .hide_default_value(true);
        }
        argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(boolean)
    });
    command.mut_subcommands(prepare)
}

/// Whether a flag says yes or no. Those of one letter may be written together, and so take no value.
fn is_boolean(argument: &clap::Arg) -> bool {
    let is_switch = matches!(argument.get_action(), ArgAction::SetTrue);
    let takes_bool = argument.get_value_parser().type_id() == TypeId::of::<bool>();
    (is_switch || takes_bool) && argument.get_short().is_none() && argument.get_long().is_some()
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "y" | "t" => Ok(true),
        // A variable that is set to nothing says nothing.
        "false" | "no" | "off" | "0" | "n" | "f" | "" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// The process's arguments.
fn arguments() -> Vec<OsString> {
    let mut switches = HashSet::new();
    collect_switches(&command(), &mut switches);
    join(std::env::args_os(), &switches)
}

fn collect_switches(command: &Command, switches: &mut HashSet<String>) {
    for argument in command.get_arguments().filter(|argument| is_boolean(argument)) {
        let aliases = argument.get_all_aliases().unwrap_or_default();
        let names = argument.get_long().into_iter().chain(aliases);
        switches.extend(names.map(|name| format!("--{name}")));
    }
    for below in command.get_subcommands() {
        collect_switches(below, switches);
    }
}

/// Makes `--flag=false` of `--flag false`. clap would have to take any next word for the value, a file's name too.
fn join(words: impl IntoIterator<Item = OsString>, switches: &HashSet<String>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(mut word) = words.next() {
        if word == "--" {
            joined.push(word);
            joined.extend(words);
            break;
        }
        let is_switch = word.to_str().is_some_and(|word| switches.contains(word));
        if let Some(value) = words.next_if(|next| is_switch && (next == "true" || next == "false")) {
            word.push("=");
            word.push(value);
        }
        joined.push(word);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Cli, clap::Error> {
        let mut switches = HashSet::new();
        collect_switches(&command(), &mut switches);
        let words = ["narthex"].iter().chain(words).map(OsString::from);
        let matches = command().try_get_matches_from(join(words, &switches))?;
        Cli::from_arg_matches(&matches)
    }

    #[test]
    fn the_command_line_makes_sense() {
        command().debug_assert();
    }

    #[test]
    fn every_boolean_flag_takes_a_value_or_none() {
        let mut count = 0;
        for argument in command().get_arguments().filter(|argument| is_boolean(argument)) {
            let flag = format!("--{}", argument.get_long().unwrap());
            let value = |words: &[&str]| {
                let words = ["narthex"].iter().chain(words).map(OsString::from);
                let mut switches = HashSet::new();
                collect_switches(&command(), &mut switches);
                let matches = command().get_matches_from(join(words, &switches));
                *matches.get_one::<bool>(argument.get_id().as_str()).unwrap()
            };
            let (no, yes) = (format!("{flag}=false"), format!("{flag}=true"));
            for (words, wanted) in [
                (vec![&*flag], true),
                (vec![&*flag, "true"], true),
                (vec![&*flag, "false"], false),
                (vec![&*yes], true),
                (vec![&*no], false),
                (vec![&*flag, "--shards", "1"], true),
            ] {
                assert_eq!(value(&words), wanted, "{words:?}");
            }
            assert!(read(&[&flag, "maybe"]).is_err(), "{flag}");
            assert!(read(&[&format!("{flag}=maybe")]).is_err(), "{flag}");
            count += 1;
        }
        assert!(count >= 9, "{count}");
    }

    #[test]
    fn a_boolean_flag_leaves_files_alone() {
        for (words, files) in [
            (vec!["check", "--class-less", "a.yaml"], vec!["a.yaml"]),
            (vec!["check", "--class-less", "false", "a.yaml"], vec!["a.yaml"]),
            (vec!["check", "--class-less=false", "--", "true"], vec!["true"]),
        ] {
            let Some(crate::cli::Command::Check(args)) = read(&words).unwrap().command else {
                panic!("{words:?}")
            };
            let paths: Vec<_> = args.paths.iter().map(|path| path.to_str().unwrap()).collect();
            assert_eq!(paths, files, "{words:?}");
        }
    }

    #[test]
    fn help_shows_no_value_of_a_variable() {
        fn look(command: &Command) {
            for argument in command.get_arguments() {
                assert!(argument.is_hide_env_values_set(), "{} {argument}", command.get_name());
            }
            command.get_subcommands().for_each(look);
        }
        look(&command());
    }
}
