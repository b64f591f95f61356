//! What happens, for people: numbers, and the log. Never in the way of a shard.

pub mod access;
pub mod counter;
mod line;
pub mod tap;
pub mod trace_context;
pub mod traces;
pub mod traffic;

pub use counter::Counter;

use crate::config::{LogArgs, LogFormat};
use line::Line;
use std::io::IsTerminal;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that may wait to be written; those beyond are lost rather than waited for.
const WAITING_LINES: usize = 16_384;

/// Sets up the log on standard error. `quiet` is what the filter holds before the user's own words. Keep the guard until
/// the end: it writes what still waits.
///
/// # Errors
/// When the level or filter cannot be read.
pub fn init(args: &LogArgs, quiet: &str) -> Result<WorkerGuard, String> {
    // What a user names in the level comes last, and so overrules these. h2 and rustls warn of what clients do, which
    // would let anybody fill the log; narthex counts it. notify warns of each folder that is gone before it is told to
    // watch it no more, as with every swap of a ConfigMap mount; what matters of that comes as an event.
    let filter = format!(
        "{quiet},h2=error,hyper=error,rustls=error,notify=error,{}",
        args.log_level
    );
    let filter = EnvFilter::try_new(&filter).map_err(|error| format!("--log-level {}: {error}", args.log_level))?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_LINES)
        .finish(std::io::stderr());
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Line::new(writer.clone(), colour))
        .with_ansi(colour);
    let text = match args.log_format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let set = if text {
        builder.with_target(false).try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    };
    set.map_err(|error| format!("cannot set up the log: {error}"))?;
    Ok(guard)
}
