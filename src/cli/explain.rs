//! `narthex explain`: which rule answers a URL, which came close and why not.

use super::ask::{AdminArgs, escape};
use super::{Output, check, print};
use crate::admin::view::{Decision, Question, Terms, decide};
use crate::config::{HeadArgs, ReadingArgs, RuleArgs};
use crate::proxy::TrustedProxies;
use crate::table::decide::Rules;
use clap::Args;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// URL that a client would request: http://HOST/PATH; tls://HOST for where its TLS connections go
    pub url: String,
    /// Use these manifests instead of a running narthex; `-` means standard input. Can be repeated
    #[arg(long, value_name = "PATH", conflicts_with = "admin")]
    pub manifests: Vec<PathBuf>,
    /// The narthex to ask otherwise.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Method of the request
    #[arg(short = 'X', long, default_value = "GET")]
    pub method: String,
    /// Header field of the request, as `Name: value`; Host replaces the host of the URL
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub headers: Vec<String>,
    /// Server name in the TLS handshake (SNI) [default: the host of the URL]
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Subject of the certificate that the client shows, such as CN=shop; it is taken for valid [default: none]
    #[arg(long, value_name = "SUBJECT")]
    pub client_subject: Option<String>,
    /// Address that the request comes from, which may be one of --trusted-proxies
    #[arg(long, value_name = "IP")]
    pub from: Option<IpAddr>,
    /// Address of the client, for lists of addresses [default: the address of --from, or what a trusted proxy says]
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
    /// Request target as the client sends it [default: the path and query of the URL]
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// HTTP version of the request: 1.0, 1.1 or 2
    #[arg(long = "http", value_name = "VERSION")]
    pub http_version: Option<String>,
    /// Address and port that the client connected to, as a PROXY header names them
    #[arg(long, value_name = "IP:PORT", requires = "from")]
    pub to: Option<SocketAddr>,
    /// With --manifests: assume no HTTPS listener, as with --listen-https off
    #[arg(long, requires = "manifests")]
    pub no_https: bool,
    /// With --manifests: port in redirects to HTTPS
    #[arg(long, env = "NARTHEX_HTTPS_PORT", value_name = "PORT", default_value_t = 443)]
    pub https_port: u16,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// How the request is understood.
    #[command(flatten, next_help_heading = "HTTP, with --manifests")]
    pub reading: ReadingArgs,
    /// Bounds of the request's head.
    #[command(flatten, next_help_heading = "Limits, with --manifests")]
    pub head: HeadArgs,
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
        target: args.target.clone(),
        server_name: args.server_name.clone(),
        client_subject: args.client_subject.clone(),
        from: args.from,
        client: args.client,
        to: args.to,
        ..Question::default()
    };
    if let Some(version) = &args.http_version {
        question.set_version(version).map_err(anyhow::Error::msg)?;
    }
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
                https_port: (!args.no_https).then_some(args.https_port),
                reject_encoded_slash: args.reading.rejects_encoded_slash(),
            },
            trusted_proxies: TrustedProxies::new(&args.reading.trusted_proxies),
            limits: args.head.limits(),
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
    if let Some(subject) = &question.client_subject {
        target += &format!("&client_subject={}", escape(subject));
    }
    if let Some(from) = question.from {
        target += &format!("&from={from}");
    }
    if let Some(client) = question.client {
        target += &format!("&client={client}");
    }
    if let Some(to) = question.to {
        target += &format!("&to={}", escape(&to.to_string()));
    }
    if let Some(sent) = &question.target {
        target += &format!("&target={}", escape(sent));
    }
    if let Some(version) = &args.http_version {
        target += &format!("&version={version}");
    }
    let hint = " (give --manifests PATH to decide from files)";
    args.admin.ask_or(&target, hint)
}
