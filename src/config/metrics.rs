//! Flags of what is counted apart in metrics.

use clap::{Args, ValueEnum};

/// What metrics are labelled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricsLabel {
    /// Namespace, Ingress and Service of each rule.
    Route,
    /// Service, pod and address of each endpoint.
    Endpoint,
}

/// Metrics.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Count requests by route, for metrics, the dashboard, `narthex routes` and `top`. Without this, only totals and
    /// numbers of endpoints are available.
    #[arg(long, env = "NARTHEX_COUNT_ROUTES", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub count_routes: bool,
    /// Groups of labelled series in /metrics, besides totals. An empty list turns both off.
    #[arg(
        long,
        env = "NARTHEX_METRICS_LABELS",
        value_name = "LABELS",
        value_delimiter = ',',
        default_value = "route,endpoint"
    )]
    pub metrics_labels: Vec<MetricsLabel>,
    /// Maximum number of rules, and of endpoints, with series of their own. The busiest get them; the rest are added up as "(other)".
    #[arg(long, env = "NARTHEX_METRICS_SERIES", value_name = "N", default_value_t = 1000)]
    pub metrics_series: usize,
}
