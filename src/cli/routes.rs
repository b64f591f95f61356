//! `narthex routes`: the table of a running narthex, with what passes over it.

use super::ask::{AdminArgs, escape};
use super::paint::{Sheet, Style};
use super::{Output, print};
use crate::admin::{EndpointInfo, Page, RouteInfo, SORTS, Status};
use crate::model::visible::{Keep, visible};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::process::ExitCode;

/// Routes that are asked for at once: each comes with its endpoints.
const PER_PAGE: usize = 200;

/// Flags of `routes`.
#[derive(Args, Debug)]
pub struct RoutesArgs {
    /// Show only routes that contain all of these words in host, path, Ingress, Service or pods
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// The narthex to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Show only routes of Ingresses in this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Show only routes with this status
    #[arg(long, value_name = "STATUS", value_parser = ["ok", "warning", "error"])]
    pub status: Option<String>,
    /// Field to sort by
    #[arg(long, value_name = "FIELD", default_value = "host", value_parser = PossibleValuesParser::new(SORTS))]
    pub sort: String,
    /// Sort in descending order
    #[arg(short, long)]
    pub reverse: bool,
    /// Also show the pods of each route
    #[arg(short, long)]
    pub pods: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// Asks page by page and prints.
///
/// # Errors
/// When nobody answers at `--admin`.
pub fn run(args: &RoutesArgs) -> anyhow::Result<ExitCode> {
    let mut routes: Vec<RouteInfo> = Vec::new();
    for page in 1.. {
        let found: Page<RouteInfo> = args.admin.ask(&args.question(page))?;
        let last = found.items.len() < PER_PAGE;
        routes.extend(found.items);
        if last {
            break;
        }
    }
    match args.output {
        Output::Json => print(&(serde_json::to_string_pretty(&routes)? + "\n")),
        Output::Text if routes.is_empty() => print("no such route\n"),
        Output::Text => sheet(&routes, args.pods).print(),
    }
    Ok(ExitCode::SUCCESS)
}

impl RoutesArgs {
    fn question(&self, page: usize) -> String {
        let order = if self.reverse { "-" } else { "" };
        let mut target = format!(
            "/api/v1/routes?page={page}&per_page={PER_PAGE}&sort={order}{}&q={}",
            self.sort,
            escape(&self.words.join(" "))
        );
        for (name, value) in [("namespace", &self.namespace), ("status", &self.status)] {
            if let Some(value) = value {
                target += &format!("&{name}={}", escape(value));
            }
        }
        target
    }
}

/// What somebody else wrote, made fit for a terminal.
pub fn plain(text: &str) -> String {
    visible(text, Keep::Nothing).into_owned()
}

/// `0.4ms`, `1.2s`.
pub fn milliseconds(time: Option<f64>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) if time < 10.0 => format!("{time:.1}ms"),
        Some(time) if time < 1000.0 => format!("{time:.0}ms"),
        Some(time) => format!("{:.1}s", time / 1000.0),
    }
}

/// `12.3`, `1234`.
pub fn rate(rate: f64) -> String {
    if rate < 100.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

/// `0%`, `0.4%`, `12%`.
pub fn share(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 10.0 {
        format!("{percent:.0}%")
    } else {
        format!("{percent:.1}%")
    }
}

/// How an endpoint is, in a few words.
pub fn state(endpoint: &EndpointInfo) -> String {
    match (&endpoint.set_aside, endpoint.check.as_deref()) {
        (Some(aside), _) => plain(&format!("set aside for {:.0}s: {}", aside.seconds, aside.why)),
        (None, Some("failing")) => "check fails".to_owned(),
        _ => match (&endpoint.failing_since, &endpoint.last_failure) {
            (Some(since), Some(last)) => plain(&format!("fails since {since}: {}", last.what)),
            _ => "ok".to_owned(),
        },
    }
}

/// `default/web`, from `Ingress default/web`.
pub fn object(route: &RouteInfo) -> String {
    plain(&format!("{}/{}", route.namespace, route.name))
}

/// Where a route leads, and why nowhere.
pub fn backend(route: &RouteInfo) -> String {
    let backend = plain(&route.backend);
    match route.endpoints.is_empty() {
        true => format!("{backend} ({})", route.state),
        false => backend,
    }
}

/// The path, marked where it is not a prefix.
pub fn path(route: &RouteInfo) -> String {
    match (&route.path, route.path_type.as_deref()) {
        (None, _) => "(default backend)".to_owned(),
        (Some(path), Some("Exact")) => format!("= {}", plain(path)),
        (Some(path), _) => plain(path),
    }
}

const TITLES: [&str; 10] = [
    "STATUS", "HOST", "PATH", "RATE", "5XX", "P50", "P99", "REQUESTS", "BACKEND", "INGRESS",
];
/// Columns of numbers, which end where others begin.
const NUMBERS: std::ops::Range<usize> = 3..8;

fn cells(route: &RouteInfo) -> [String; 10] {
    let traffic = &route.traffic;
    [
        route.status.name().to_owned(),
        plain(&route.host),
        path(route),
        rate(traffic.rate),
        share(traffic.error_share),
        milliseconds(traffic.p50_ms),
        milliseconds(traffic.p99_ms),
        traffic.requests.to_string(),
        backend(route),
        object(route),
    ]
}

fn sheet(routes: &[RouteInfo], pods: bool) -> Sheet {
    let rows: Vec<_> = routes.iter().map(|route| (route, cells(route))).collect();
    let mut widths = TITLES.map(str::len);
    for (_, row) in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut sheet = Sheet::new();
    line(&mut sheet, &TITLES.map(str::to_owned), widths, |_| Style::Bold);
    for (route, row) in rows {
        line(&mut sheet, &row, widths, |column| match (column, route.status) {
            (0, Status::Warning | Status::Error) => Style::Severity,
            _ => Style::Plain,
        });
        if pods {
            for endpoint in &route.endpoints {
                pod(&mut sheet, endpoint);
            }
        }
    }
    sheet
}

fn line(sheet: &mut Sheet, cells: &[String; 10], widths: [usize; 10], style: impl Fn(usize) -> Style) {
    let last = cells.len() - 1;
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if column > 0 {
            sheet.put(Style::Plain, "  ");
        }
        // Padding is not painted: it would be underlined on some terminals.
        let padding = " ".repeat(width - cell.chars().count());
        let (before, after) = match column {
            column if NUMBERS.contains(&column) => (&*padding, ""),
            column if column == last => ("", ""),
            _ => ("", &*padding),
        };
        sheet.put(Style::Plain, before);
        sheet.put(style(column), cell);
        sheet.put(Style::Plain, after);
    }
    sheet.end_line();
}

fn pod(sheet: &mut Sheet, endpoint: &EndpointInfo) {
    let said = format!(
        "        {}  {}  {}/s, {} requests, {} failed, {} under way",
        endpoint.pod.as_deref().unwrap_or("-"),
        endpoint.address,
        rate(endpoint.rate),
        endpoint.requests,
        endpoint.failures,
        endpoint.in_flight,
    );
    sheet.put(Style::Dim, &said);
    match state(endpoint).as_str() {
        "ok" => {}
        state => sheet.put(Style::Plain, &format!("  {state}")),
    }
    sheet.end_line();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(milliseconds(Some(0.44)), "0.4ms");
        assert_eq!(milliseconds(Some(44.4)), "44ms");
        assert_eq!(milliseconds(Some(1234.0)), "1.2s");
        assert_eq!((rate(0.0), rate(1234.5)), ("0.0".to_owned(), "1234".to_owned()));
        assert_eq!(
            (share(0.0), share(0.004), share(0.5)),
            ("0%".to_owned(), "0.4%".to_owned(), "50%".to_owned())
        );
    }

    #[test]
    fn nothing_drives_the_terminal() {
        assert_eq!(plain("/a\u{1b}[2J\u{9b}\n"), "/a\\u001b[2J\\u009b\\n");
    }
}
