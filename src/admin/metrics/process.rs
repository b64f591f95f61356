//! What Prometheus's clients say of a process, by the names they have agreed on.

use super::Page;
use std::fmt;
use std::fs;

/// The process as it is now.
#[derive(Debug, Default)]
pub struct Process {
    cpu_seconds: Option<f64>,
    resident: Option<f64>,
    open_descriptors: Option<f64>,
    most_descriptors: Option<f64>,
    started: f64,
}

/// Clock ticks a second in `/proc`, on every Linux that there is (proc(5)).
const TICKS: f64 = 100.0;

impl Process {
    /// Looks at the process; `started` is in seconds since 1970.
    pub fn now(started: f64) -> Self {
        Self {
            cpu_seconds: cpu_seconds(),
            resident: crate::serve::memory::resident().map(exact),
            open_descriptors: fs::read_dir("/proc/self/fd").ok().map(|all| exact(all.count() as u64)),
            most_descriptors: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .map(exact),
            started,
        }
    }

    pub(super) fn encode(&self, page: &mut Page<'_>) -> fmt::Result {
        if let Some(seconds) = self.cpu_seconds {
            // A counter of parts of seconds.
            page.family(
                "process_cpu_seconds",
                "User and system CPU time of the process",
                prometheus_client::metrics::MetricType::Counter,
                |family| family.encode_counter::<prometheus_client::encoding::NoLabelSet, _, u64>(&seconds, None),
            )?;
        }
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory", self.resident),
            ("process_open_fds", "Open file descriptors", self.open_descriptors),
            (
                "process_max_fds",
                "Maximum number of file descriptors",
                self.most_descriptors,
            ),
            (
                "process_start_time_seconds",
                "Start time of the process, in seconds since 1970",
                Some(self.started),
            ),
        ] {
            page.gauges((name, help), value.map(|value| ((), value)))?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes and descriptors")]
fn exact(value: u64) -> f64 {
    value as f64
}

/// Fields 14 and 15 of `stat`, behind the name, which may hold anything but its own end.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(exact(user + system) / TICKS)
}
