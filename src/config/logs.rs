//! Flags of the log and the access log.

use super::values::duration;
use super::{Format, LogFormat, SecretUrl, Shown, StatusRange};
use clap::Args;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// The log.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// error, warn, info, debug, trace or off; or a filter such as `info,narthex::proxy=debug`.
    #[arg(
        long,
        env = "NARTHEX_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info",
        alias = "logLevel",
        value_parser = log_filter
    )]
    pub log_level: String,
    /// Format of the log.
    #[arg(
        long,
        env = "NARTHEX_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value = "auto"
    )]
    pub log_format: LogFormat,
}

/// The access log.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Access log")]
pub struct AccessArgs {
    /// Log each request: off, json, combined (as in nginx) or traefik (docs/logs.md).
    #[arg(
        long,
        env = "NARTHEX_ACCESS_LOG",
        value_name = "FORMAT",
        value_enum,
        default_value = "off",
        hide_possible_values = true
    )]
    pub access_log: Format,
    /// File to append to, reopened on SIGUSR1 [default: standard output].
    #[arg(long, env = "NARTHEX_ACCESS_LOG_FILE", value_name = "PATH")]
    pub access_log_file: Option<PathBuf>,
    /// Log only requests with these statuses, such as 400-599, and those that other filters select. 499 is a client that disconnected.
    #[arg(
        long,
        env = "NARTHEX_ACCESS_LOG_STATUS",
        value_name = "STATUS",
        value_delimiter = ','
    )]
    pub access_log_status: Vec<StatusRange>,
    /// Log only requests that take at least this long, and those that other filters select.
    #[arg(long, env = "NARTHEX_ACCESS_LOG_MIN_DURATION", value_name = "TIME", value_parser = duration)]
    pub access_log_min_duration: Option<Duration>,
    /// Log a sample of the requests that no other filter selects: the first of each route, and then one in N.
    #[arg(long, env = "NARTHEX_ACCESS_LOG_SAMPLE", value_name = "N")]
    pub access_log_sample: Option<NonZeroU32>,
    /// Fields of requests and responses to log, or an empty list. The values of Authorization, Cookie and other fields with
    /// secrets are hidden, except with NAME=clear.
    #[arg(
        long,
        env = "NARTHEX_ACCESS_LOG_HEADERS",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "Referer,User-Agent",
        value_parser = shown
    )]
    pub access_log_headers: Vec<Option<Shown>>,
}

/// Traces.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// URL of the OpenTelemetry collector for traces (OTLP over HTTP; without a path, /v1/traces). A user and password in
    /// the URL are sent as basic authentication.
    #[arg(long, env = "NARTHEX_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<SecretUrl>,
    /// Share of requests to trace. For requests from --trusted-proxies with a traceparent, the traceparent decides.
    #[arg(long, env = "NARTHEX_OTLP_SAMPLE", value_name = "RATIO", default_value = "0.1", value_parser = ratio)]
    pub otlp_sample: f64,
}

/// The levels of the log.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// A level, or levels by target. tracing-subscriber would take any other word for a target, and log nothing else.
fn log_filter(text: &str) -> Result<String, String> {
    let filter = match text.to_lowercase() {
        // What Traefik 1.7 has beyond.
        level if matches!(level.as_str(), "fatal" | "panic") => "error".to_owned(),
        filter => filter,
    };
    for part in filter.split(',').map(str::trim) {
        let (target, level) = part.split_once('=').unwrap_or(("narthex", part));
        let is_target = target
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-'));
        if target.is_empty() || !is_target {
            return Err(format!(
                "\"{target}\" is not a log target: write one such as narthex::proxy"
            ));
        }
        if !LEVELS.contains(&level) {
            let levels = LEVELS.join(", ");
            return Err(format!(
                "\"{level}\" is not a log level: write one of {levels}, or levels by target such as info,narthex::proxy=debug"
            ));
        }
    }
    Ok(filter)
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "write a number from 0 to 1".to_owned())
}

impl TraceArgs {
    /// Where traces go, and the `Authorization` they are sent with. Absent if traces are off.
    pub fn endpoint(&self) -> Option<(Uri, Option<HeaderValue>)> {
        let (uri, basic) = self.otlp_endpoint.as_ref()?.parts()?;
        if uri.path() != "/" || uri.query().is_some() {
            return Some((uri, basic));
        }
        let mut parts = uri.into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static("/v1/traces"));
        Some((Uri::from_parts(parts).ok()?, basic))
    }

    /// Checks the endpoint. clap would print the value it refuses, and that may hold a password.
    ///
    /// # Errors
    /// An endpoint that is no URL.
    pub fn check(&self) -> Result<(), String> {
        match (&self.otlp_endpoint, self.endpoint()) {
            (Some(shown), None) => Err(format!(
                "--otlp-endpoint {shown}: write http://HOST:PORT or https://HOST:PORT"
            )),
            _ => Ok(()),
        }
    }
}

/// None of an empty list, whose only element is empty.
fn shown(text: &str) -> Result<Option<Shown>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some)
}

impl AccessArgs {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// A flag that says something about a log that is off.
    pub fn check(&self) -> Result<(), String> {
        if self.access_log == Format::Off && self.access_log_file.is_some() {
            return Err("--access-log-file requires --access-log: choose a format".to_owned());
        }
        Ok(())
    }
}
