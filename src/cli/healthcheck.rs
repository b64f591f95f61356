//! `narthex healthcheck`: for probes.

use super::{complain, explain, print};
use std::process::ExitCode;

/// Asks `/readyz`: 0 if it is ready, 1 if not or if nobody answers.
pub fn run(admin: &str) -> ExitCode {
    match explain::get(admin, "/readyz") {
        Ok((200, _)) => {
            print("ok\n");
            ExitCode::SUCCESS
        }
        Ok((_, said)) => {
            complain(&said);
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("not ready: {admin}: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}
