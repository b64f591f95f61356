//! `narthex explain`: which rule answers a URL, which came close and why not.

use super::ask::{AdminArgs, escape};
use super::{Output, check, print};
use crate::admin::view::{Decision, Question, decide};
use crate::config::RuleArgs;
use anyhow::bail;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The URL, as a client would ask for it: http://HOST/PATH
    pub url: String,
    /// Decide from these manifests; `-` is standard input; may be given again
    #[arg(long, value_name = "PATH", conflicts_with = "admin")]
    pub manifests: Vec<PathBuf>,
    /// Who is asked otherwise.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The method
    #[arg(short = 'X', long, default_value = "GET")]
    pub method: String,
    /// A header field, as `Name: value`; Host counts instead of the URL's
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub headers: Vec<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// What the running narthex would be told.
    #[command(flatten)]
    pub rules: RuleArgs,
}

/// Decides and prints. Exits with 0 whatever the decision: 404 is an answer.
///
/// # Errors
/// When the question makes no sense, or nobody answers at `--admin`.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let mut headers = Vec::new();
    for field in &args.headers {
        let Some((name, value)) = field.split_once(':') else {
            bail!("-H \"{field}\": write Name: value");
        };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let question = Question {
        url: args.url.clone(),
        method: args.method.to_uppercase(),
        headers,
    };
    let decision = if args.manifests.is_empty() {
        ask(args, &question)?
    } else {
        let (mut state, _) = check::compile(&args.manifests, &args.rules)?;
        let table = state.table();
        decide(&table, state.refresh(), &question).map_err(anyhow::Error::msg)?
    };
    match args.output {
        Output::Text => print(&decision.text()),
        Output::Json => print(&(serde_json::to_string_pretty(&decision)? + "\n")),
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(args: &ExplainArgs, question: &Question) -> anyhow::Result<Decision> {
    let mut target = format!(
        "/api/v1/explain?url={}&method={}",
        escape(&question.url),
        escape(&question.method)
    );
    for (name, value) in &question.headers {
        target += &format!("&header={}", escape(&format!("{name}:{value}")));
    }
    let hint = " (give --manifests PATH to decide from files)";
    args.admin.ask_or(&target, hint)
}
