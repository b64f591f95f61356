//! Flags of what is counted apart in metrics.

use clap::Args;
use std::str::FromStr;

/// What metrics are labelled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsLabel {
    /// Namespace, Ingress and Service of each rule.
    Route,
    /// Service, pod and address of each endpoint.
    Endpoint,
}

/// A list of them, with commas between. It may be empty, which a list of clap's own may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsLabels(pub Vec<MetricsLabel>);

impl FromStr for MetricsLabels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let labels = names.map(|name| match name {
            "route" => Ok(MetricsLabel::Route),
            "endpoint" => Ok(MetricsLabel::Endpoint),
            _ => Err(format!("\"{name}\" is neither route nor endpoint")),
        });
        labels.collect::<Result<_, _>>().map(Self)
    }
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
    /// Groups of labelled series in /metrics, besides totals: route, endpoint. An empty list turns both off.
    #[arg(
        long,
        env = "NARTHEX_METRICS_LABELS",
        value_name = "LABELS",
        default_value = "route,endpoint"
    )]
    pub metrics_labels: MetricsLabels,
    /// Maximum number of rules, and of endpoints, with series of their own. The busiest get them; the rest are added up as "(other)".
    #[arg(long, env = "NARTHEX_METRICS_SERIES", value_name = "N", default_value_t = 1000)]
    pub metrics_series: usize,
}
