//! `narthex explain`: which rule answers a URL, which came close and why not.

use super::ask::{AdminArgs, escape};
use super::{Output, check, print};
use crate::admin::view::{Decision, Question, Terms, decide};
use crate::config::{EncodedSlash, RuleArgs, net};
use crate::proxy::TrustedProxies;
use crate::table::decide::Rules;
use clap::Args;
use ipnet::IpNet;
use std::net::IpAddr;
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
    /// The name in the TLS handshake (SNI), if it is not the URL's host
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// The address the request comes from: it may be one of --trusted-proxies
    #[arg(long, value_name = "IP")]
    pub from: Option<IpAddr>,
    /// With --manifests: there is no HTTPS listener, as with --listen-https off
    #[arg(long, requires = "manifests")]
    pub no_https: bool,
    /// With --manifests: what becomes of %2F and %5C in a path
    #[arg(long, value_name = "WHAT", value_enum, default_value = "keep")]
    pub encoded_slash: EncodedSlash,
    /// With --manifests: the peers whose X-Forwarded-* fields are believed
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', value_parser = net)]
    pub trusted_proxies: Vec<IpNet>,
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
    let mut question = Question {
        url: args.url.clone(),
        method: args.method.to_uppercase(),
        server_name: args.server_name.clone(),
        from: args.from,
        headers: Vec::new(),
    };
    for field in &args.headers {
        question.add_field(field).map_err(anyhow::Error::msg)?;
    }
    let decision = if args.manifests.is_empty() {
        ask(args, &question)?
    } else {
        let (mut state, _) = check::compile(&args.manifests, &args.rules)?;
        let table = state.table();
        let terms = Terms {
            rules: Rules {
                https_port: (!args.no_https).then_some(443),
                reject_encoded_slash: args.encoded_slash == EncodedSlash::Reject,
            },
            trusted_proxies: TrustedProxies::new(&args.trusted_proxies),
        };
        decide(&table, state.refresh(), &question, &terms).map_err(anyhow::Error::msg)?
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
    if let Some(name) = &question.server_name {
        target += &format!("&server_name={}", escape(name));
    }
    if let Some(from) = question.from {
        target += &format!("&from={from}");
    }
    let hint = " (give --manifests PATH to decide from files)";
    args.admin.ask_or(&target, hint)
}
