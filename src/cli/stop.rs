//! The signals that tell the process to end.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Handles them: from now on they no longer kill the process.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Stop {
    /// Handles SIGTERM and SIGINT; and SIGHUP, if that is wanted and the process was not started by `nohup`.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn new(hangup: bool) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: (hangup && !ignores_hangup())
                .then(|| signal(SignalKind::hangup()))
                .transpose()?,
        })
    }

    /// Waits for one of them; true for all but SIGTERM, after which nobody waits for load balancers.
    pub async fn told(&mut self) -> bool {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => false,
            _ = self.interrupt.recv() => true,
            _ = hung_up => true,
        }
    }

    /// Waits for another SIGINT.
    pub async fn interrupted(&mut self) {
        self.interrupt.recv().await;
    }
}

fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}
