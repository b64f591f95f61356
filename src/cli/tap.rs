//! `narthex tap`: requests as they end.

use super::ask::{AdminArgs, escape};
use super::paint::{Sheet, Style};
use super::{Output, complain, print};
use crate::admin::LeftOut;
use crate::telemetry::tap::{Tapped, TappedAttempt, statuses};
use clap::Args;
use std::ops::ControlFlow;
use std::process::ExitCode;

/// Flags of `tap`.
#[derive(Args, Debug)]
pub struct TapArgs {
    /// Show only requests for this host, or for a domain with `*.`, and for paths that begin so: HOST, HOST/PATH or /PATH
    #[arg(value_name = "HOST[/PATH]")]
    pub place: Option<String>,
    /// Show only these statuses: 5xx or 404, with commas between several
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// Show only requests that took longer
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub slower: Option<std::time::Duration>,
    /// Show only requests that were sent to a pod whose name or address begins so
    #[arg(long, value_name = "NAME")]
    pub pod: Option<String>,
    /// Show at most this many requests per second, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// End after this many requests
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Output format; json prints one object per line
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// The narthex to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// Prints until told to end.
///
/// # Errors
/// When a filter makes no sense, nobody answers at `--admin`, or narthex ends.
pub fn run(args: &TapArgs) -> anyhow::Result<ExitCode> {
    let target = target(args)?;
    let mut left = args.count;
    if left == Some(0) {
        return Ok(ExitCode::SUCCESS);
    }
    args.admin.listen(&target, |event, data| {
        match (event, args.output) {
            ("request", output) => {
                match output {
                    Output::Json => print(&format!("{data}\n")),
                    Output::Text => show(&serde_json::from_str(data)?),
                }
                left = left.map(|left| left - 1);
            }
            ("", _) => complain(&format!(
                "showing requests of {} as they end; Ctrl-C ends this\n",
                args.admin.admin
            )),
            // Standard output has requests alone, so that a program can read it.
            ("left-out", _) => {
                let LeftOut { requests } = serde_json::from_str(data)?;
                complain(&format!(
                    "{requests} more in this second: --rate {} leaves them out\n",
                    args.rate
                ));
            }
            _ => {}
        }
        Ok(match left {
            Some(0) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    })?;
    Ok(ExitCode::SUCCESS)
}

fn target(args: &TapArgs) -> anyhow::Result<String> {
    let mut target = format!("/api/v1/tap?rate={}", args.rate);
    let mut add = |name: &str, value: &str| target += &format!("&{name}={}", escape(value));
    if let Some(place) = &args.place {
        let place = place.split_once("://").map_or(place.as_str(), |(_, place)| place);
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        if !host.is_empty() {
            add("host", host);
        }
        if !path.is_empty() {
            add("path", path);
        }
    }
    if let Some(status) = &args.status {
        statuses(status).map_err(|error| anyhow::anyhow!("--status {error}"))?;
        add("status", status);
    }
    if let Some(slower) = args.slower {
        add("slower", &format!("{}us", slower.as_micros()));
    }
    if let Some(pod) = &args.pod {
        add("pod", pod);
    }
    Ok(target)
}

/// `21:54:03.123 502    1.2ms GET dead.test/ → default/dead:80 dead-1, dead-2: connect: connection refused  Ingress default/dead`
fn show(request: &Tapped) {
    let mut sheet = Sheet::new();
    let time = request.at.split_once('T').map_or(request.at.as_str(), |(_, time)| time);
    sheet.put(Style::Dim, &format!("{} ", time.trim_end_matches('Z')));
    let style = match request.status {
        500.. => Style::Bad,
        400.. => Style::Doubtful,
        _ => Style::Plain,
    };
    sheet.put(style, &request.status.to_string());
    let method = request.method.as_deref().unwrap_or("-");
    let total = millis(request.total_ms);
    sheet.put(
        Style::Plain,
        &format!(" {total:>8} {method} {}{}", request.host, request.path),
    );
    if let Some(service) = &request.service {
        sheet.put(Style::Plain, &format!(" → {service}"));
    }
    for (place, attempt) in request.attempts.iter().enumerate() {
        let begin = if place == 0 { " " } else { ", then " };
        sheet.put(Style::Plain, &format!("{begin}{}", tried(attempt)));
    }
    let why = [request.reason.as_deref(), request.cause.as_deref()];
    let why: Vec<&str> = why.into_iter().flatten().collect();
    if !why.is_empty() {
        sheet.put(style, &format!("  {}", why.join(": ")));
    }
    if let Some(origin) = &request.origin {
        sheet.put(Style::Dim, &format!("  {origin}"));
    }
    sheet.end_line();
    sheet.print();
}

/// An attempt: which pod, how long it took, and what came of it, where that is not the reply.
fn tried(attempt: &TappedAttempt) -> String {
    let mut text = attempt.pod.clone().unwrap_or_else(|| attempt.address.to_string());
    if let Some(time) = attempt.response_ms {
        text += &format!(" {}", millis(time));
    }
    match (&attempt.error, attempt.status) {
        (Some(error), _) => text += &format!(" ({error})"),
        (None, Some(status @ 500..)) => text += &format!(" ({status})"),
        _ => {}
    }
    text
}

/// `0.42ms`, `12ms`, `3.1s`.
fn millis(time: f64) -> String {
    match time {
        time if time < 10.0 => format!("{time:.2}ms"),
        time if time < 1000.0 => format!("{time:.0}ms"),
        time => format!("{:.1}s", time / 1000.0),
    }
}
