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
    /// Whether requests are counted by route: for metrics, the dashboard, `narthex routes` and `top`. Without it there are
    /// only the whole's numbers, and those of endpoints.
    #[arg(long, env = "NARTHEX_COUNT_ROUTES", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub count_routes: bool,
    /// What is counted apart in /metrics, besides the whole; an empty list is nothing.
    #[arg(
        long,
        env = "NARTHEX_METRICS_LABELS",
        value_name = "LABELS",
        value_delimiter = ',',
        default_value = "route,endpoint"
    )]
    pub metrics_labels: Vec<MetricsLabel>,
    /// Rules, and endpoints, that are shown apart: the busiest. The others are shown together, as "(other)".
    #[arg(long, env = "NARTHEX_METRICS_SERIES", value_name = "N", default_value_t = 1000)]
    pub metrics_series: usize,
}
