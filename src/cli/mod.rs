//! The commands, one file each.

pub mod ask;
pub mod check;
pub mod cleanup;
pub mod command_line;
pub mod convert;
pub mod demo;
pub mod explain;
pub mod healthcheck;
pub mod paint;
pub mod reference;
pub mod routes;
pub mod serve;
pub mod stop;
pub mod tap;
pub mod top;

use crate::config::ServeArgs;
use crate::model::visible::{Keep, visible};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit status when arguments or surroundings make the command impossible.
pub const UNUSABLE: u8 = 2;

/// A Kubernetes ingress controller and L7 reverse proxy.
///
/// Without a command, narthex serves the cluster that it runs in, or files with --manifests.
#[derive(Parser, Debug)]
#[command(
    name = "narthex",
    version,
    max_term_width = 110,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `serve`, which is what happens without a command.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serve requests; the default without a command
    Serve(Box<ServeArgs>),
    /// Report problems of manifests
    ///
    /// Exits with status 0 if there are no errors, 1 if there are, and 2 if it cannot check anything, because of its arguments. With
    /// --strict warnings count as errors.
    Check(Box<check::CheckArgs>),
    /// Show which rule answers a URL, and why
    Explain(Box<explain::ExplainArgs>),
    /// Convert manifests of old API versions to current ones, and Routes of OpenShift to Ingresses, on standard output
    Convert {
        /// Files of Kubernetes manifests; `-` means standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Run narthex without a cluster, with two Services and six small pods
    Demo(demo::DemoArgs),
    /// Print the routes of a running narthex and their traffic
    Routes(routes::RoutesArgs),
    /// Print requests of a running narthex as they end
    ///
    /// Shows the route, the pods that were tried, times and what went wrong. Header fields and queries are never shown. narthex counts
    /// the requests that it leaves out if more than --rate fit.
    Tap(tap::TapArgs),
    /// Watch the routes and pods of a running narthex in a terminal
    Top(top::TopArgs),
    /// Remove what narthex wrote to a cluster: status of Ingresses, Events, the Lease
    ///
    /// Run this before or after narthex is uninstalled. It can be run again. Exits with status 1 if something is left.
    Cleanup(cleanup::CleanupArgs),
    /// Check whether a running narthex is ready; exits with status 0 or 1
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print docs/reference.md
    #[command(hide = true)]
    Reference {
        /// Print docs/annotations.md instead
        #[arg(long)]
        annotations: bool,
        /// Print docs/annotations.schema.json instead
        #[arg(long, conflicts_with = "annotations")]
        schema: bool,
        /// Print docs/openapi.json instead
        #[arg(long, conflicts_with_all = ["annotations", "schema"])]
        openapi: bool,
        /// Print docs/from-ingress-nginx.md instead
        #[arg(long, conflicts_with_all = ["annotations", "schema", "openapi"])]
        ingress_nginx: bool,
        /// Print docs/from-openshift.md instead
        #[arg(long, conflicts_with_all = ["annotations", "schema", "openapi", "ingress_nginx"])]
        openshift: bool,
    },
}

/// Runs the command of the process's arguments.
pub fn main() -> ExitCode {
    let cli = command_line::parse();
    let result = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Convert { files }) => convert::run(&files).map(|()| ExitCode::SUCCESS),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Routes(args)) => routes::run(&args),
        Some(Command::Tap(args)) => tap::run(&args),
        Some(Command::Top(args)) => top::run(&args),
        Some(Command::Cleanup(args)) => cleanup::run(&args),
        Some(Command::Healthcheck(args)) => Ok(healthcheck::run(&args)),
        Some(Command::Version) => {
            print(&format!("narthex {}\n", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line::command(), "narthex", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Reference {
            annotations,
            schema,
            openapi,
            ingress_nginx,
            openshift,
        }) => {
            print(&match (annotations, schema, openapi, ingress_nginx) {
                _ if openshift => crate::dialect::annotations::openshift::markdown(),
                (true, ..) => crate::dialect::annotations::markdown(),
                (_, true, ..) => crate::dialect::annotations::schema(),
                (_, _, true, _) => crate::admin::openapi().to_owned(),
                (.., true) => crate::dialect::annotations::nginx::markdown(),
                _ => reference::markdown(),
            });
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        complain(&format!("narthex: {error:#}\n"));
        ExitCode::from(UNUSABLE)
    })
}

/// Prints to standard output, with everything escaped that would drive a terminal; a reader that went away is no reason
/// to panic, as `println!` would.
pub fn print(text: &str) {
    write(&mut std::io::stdout(), &visible(text, Keep::Lines));
}

/// Prints to standard error in the same way.
pub fn complain(text: &str) {
    write(&mut std::io::stderr(), &visible(text, Keep::Lines));
}

fn write(to: &mut impl std::io::Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}
