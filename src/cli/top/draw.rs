//! The screen, drawn.

use super::view::{SORTS, View};
use crate::admin::{RouteInfo, Status};
use crate::cli::routes::{backend, milliseconds, object, path, plain, rate, share, state};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Sparkline, Table, TableState};

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// Pods that are shown below the routes, at most.
const MOST_PODS: usize = 12;

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let pods = if view.pods {
        view.route()
            .map_or(0, |route| route.endpoints.len().clamp(1, MOST_PODS) + 2)
    } else {
        0
    };
    let [head, routes, below, keys] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Min(3),
        Constraint::Length(u16::try_from(pods).unwrap_or(0)),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, view);
    draw_routes(frame, routes, view);
    if let Some(route) = view.route().filter(|_| view.pods) {
        draw_pods(frame, below, route);
    }
    draw_keys(frame, keys, view);
}

fn colour(status: Status) -> Style {
    match status {
        Status::Ok => Style::new(),
        Status::Warning => Style::new().fg(Color::Yellow),
        Status::Error => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let Some(snapshot) = &view.snapshot else { return };
    let (overview, traffic) = (&snapshot.overview, &snapshot.overview.traffic);
    let [text, spark] = Layout::horizontal([Constraint::Min(40), Constraint::Length(60)]).areas(area);
    let ready = if overview.ready {
        Span::raw("ready")
    } else {
        Span::styled("not ready", colour(Status::Error))
    };
    let problems = &overview.problems;
    let worst = match (problems.error, problems.warning) {
        (0, 0) => Status::Ok,
        (0, _) => Status::Warning,
        _ => Status::Error,
    };
    let uptime = humantime::format_duration(std::time::Duration::from_secs(overview.uptime_seconds));
    let memory = overview
        .memory_bytes
        .map_or(String::new(), |bytes| format!(", {} MiB", bytes >> 20));
    let lines = vec![
        Line::from(vec![
            Span::styled(format!("narthex {} ", plain(&overview.version.version)), BOLD),
            Span::raw(format!("{}, ", plain(&overview.version.pod))),
            ready,
            Span::raw(format!(", up {uptime}{memory}")),
        ]),
        Line::from(format!(
            "{}/s, 5xx {}, p50 {}, p99 {}, {} under way, {} connections",
            rate(traffic.rate),
            share(traffic.error_share),
            milliseconds(traffic.p50_ms),
            milliseconds(traffic.p99_ms),
            traffic.in_flight,
            overview.connections,
        )),
        Line::from(Span::styled(
            format!(
                "{} routes, {} errors, {} warnings",
                overview.counts.routes, problems.error, problems.warning
            ),
            colour(worst),
        )),
    ];
    frame.render_widget(Paragraph::new(lines), text);
    frame.render_widget(Sparkline::default().data(&traffic.spark).style(DIM), spark);
}

fn draw_routes(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let sorted = SORTS.get(view.sort).map_or("", |(_, name, _)| name);
    let total = view.snapshot.as_ref().map_or(0, |snapshot| snapshot.routes.total);
    let shown = view.routes().len();
    let mut title = format!(" {shown} of {total} routes by {sorted} ");
    if view.writing || !view.words.is_empty() {
        let cursor = if view.writing { "_" } else { "" };
        title += &format!("/{}{cursor} ", plain(&view.words));
    }
    let rows = view.routes().iter().map(|route| {
        let traffic = &route.traffic;
        let number = |text: String| Line::from(text).alignment(Alignment::Right);
        Row::new(vec![
            Line::from(format!("{}{}", plain(&route.host), path(route))),
            number(rate(traffic.rate)),
            number(share(traffic.error_share)),
            number(milliseconds(traffic.p50_ms)),
            number(milliseconds(traffic.p99_ms)),
            number(traffic.in_flight.to_string()),
            Line::from(backend(route)),
            Line::from(object(route)),
        ])
        .style(colour(route.status))
    });
    let number = |text: &'static str| Line::from(text).alignment(Alignment::Right);
    let titles = Row::new(vec![
        Line::from("ROUTE"),
        number("RATE"),
        number("5XX"),
        number("P50"),
        number("P99"),
        number("OPEN"),
        Line::from("BACKEND"),
        Line::from("INGRESS"),
    ]);
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Fill(2),
        Constraint::Fill(2),
    ];
    let table = Table::new(rows, widths)
        .header(titles.style(BOLD))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::new().borders(Borders::TOP).title(title));
    let mut state = TableState::new().with_selected(Some(view.selected()));
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_pods(frame: &mut Frame<'_>, area: Rect, route: &RouteInfo) {
    let mut endpoints: Vec<_> = route.endpoints.iter().collect();
    endpoints.sort_by(|one, other| other.rate.total_cmp(&one.rate).then_with(|| one.pod.cmp(&other.pod)));
    let mut title = format!(" {} pods of {} ", endpoints.len(), plain(&route.backend));
    if endpoints.len() > MOST_PODS {
        title += &format!("(the busiest {MOST_PODS}) ");
    }
    let rows = endpoints.into_iter().take(MOST_PODS).map(|endpoint| {
        let said = state(endpoint);
        let style = colour(if said == "ok" { Status::Ok } else { Status::Warning });
        Row::new(vec![
            endpoint.pod.as_deref().map_or_else(|| "-".to_owned(), plain),
            endpoint.address.clone(),
            rate(endpoint.rate),
            endpoint.requests.to_string(),
            endpoint.failures.to_string(),
            endpoint.in_flight.to_string(),
            said,
        ])
        .style(style)
    });
    let titles = Row::new(vec!["POD", "ADDRESS", "RATE", "REQUESTS", "FAILED", "OPEN", "STATE"]);
    let widths = [
        Constraint::Fill(2),
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Fill(1),
    ];
    let table = Table::new(rows, widths)
        .header(titles.style(BOLD))
        .block(Block::new().borders(Borders::TOP).title(title));
    frame.render_widget(table, area);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let line = match (view.stale(), &view.trouble) {
        (Some(age), trouble) => {
            let why = trouble
                .as_deref()
                .map_or(String::new(), |why| format!(": {}", plain(why)));
            Line::styled(format!("as of {}s ago{why}", age.as_secs()), colour(Status::Error))
        }
        (None, _) if view.writing => Line::styled("write what to look for; Enter keeps it, Esc forgets it", DIM),
        (None, _) => Line::styled(
            "q ends  / looks for  ↑↓ selects  p pods  by: r rate  e errors  t p99  s status  h host",
            DIM,
        ),
    };
    frame.render_widget(Paragraph::new(line), area);
}
