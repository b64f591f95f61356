//! `narthex healthcheck`: for probes.

use super::{ask, complain, print};
use crate::config::SecretUrl;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long the answer may take; below the time-out of the manifests' probes, so that the reason is ours.
const ANSWER_TIME: Duration = Duration::from_secs(4);

/// Flags of `healthcheck`.
#[derive(Args, Debug)]
pub struct HealthcheckArgs {
    /// Admin address of the narthex to ask
    #[arg(
        long,
        env = "NARTHEX_ADMIN",
        value_name = "ADDR or URL",
        default_value = "127.0.0.1:8080"
    )]
    pub admin: SecretUrl,
    /// Probe socket to ask instead, where no other process can answer
    #[arg(long, env = "NARTHEX_PROBE_SOCKET", value_name = "PATH")]
    pub probe_socket: Option<PathBuf>,
    /// Check only whether it makes progress (/healthz), not whether it is ready
    #[arg(long)]
    pub live: bool,
}

/// Asks `/readyz` or `/healthz`: 0 if all is well, 1 if not or if nobody answers.
pub fn run(args: &HealthcheckArgs) -> ExitCode {
    let (question, not) = if args.live {
        ("/healthz", "not live")
    } else {
        ("/readyz", "not ready")
    };
    let (place, answer) = match &args.probe_socket {
        Some(path) => (path.display().to_string(), ask::get_unix(path, question, ANSWER_TIME)),
        None => (args.admin.to_string(), ask::get(&args.admin, question, ANSWER_TIME)),
    };
    match answer {
        Ok((200, _)) => {
            print("ok\n");
            ExitCode::SUCCESS
        }
        Ok((_, said)) => {
            complain(&said);
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("{not}: {place}: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}
