//! `narthex cleanup`: takes back what narthex wrote to a cluster.

use super::{complain, print};
use crate::config::values::{DropIn, grace};
use crate::dialect::Dialect;
use crate::model::Kind;
use crate::source::cluster::{self, ClusterOptions};
use crate::status::api::Api;
use crate::status::cleanup::{self, Order, Outcome};
use anyhow::{Context, anyhow};
use clap::Args;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Flags of `cleanup`: those narthex ran with.
#[derive(Args, Debug)]
pub struct CleanupArgs {
    /// Kubeconfig file for the cluster [default: the service account of the pod, $KUBECONFIG or ~/.kube/config]
    #[arg(long, env = "NARTHEX_KUBECONFIG", value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace that narthex served, unless it served all. Can be repeated
    #[arg(
        long,
        env = "NARTHEX_WATCH_NAMESPACE",
        value_name = "NAMESPACE",
        value_delimiter = ','
    )]
    pub watch_namespace: Vec<String>,
    /// Class of the Ingresses that narthex served, besides IngressClasses with narthex's controller
    #[arg(long, env = "NARTHEX_INGRESS_CLASS", value_name = "NAME", default_value = "narthex")]
    pub ingress_class: String,
    /// Whether narthex served Ingresses without a class
    #[arg(long, env = "NARTHEX_CLASS_LESS", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub class_less: bool,
    /// Controller whose Ingresses narthex served too. Can be repeated
    #[arg(long, env = "NARTHEX_DROP_IN", value_name = "CONTROLLER", value_delimiter = ',')]
    pub drop_in: Vec<DropIn>,
    /// Name of narthex in the status of Routes, with --drop-in openshift
    #[arg(long, env = "NARTHEX_ROUTER_NAME", value_name = "NAME", default_value = "narthex")]
    pub router_name: String,
    /// Namespace of narthex's Lease [default: the namespace of the service account]
    #[arg(long, env = "NARTHEX_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Name of the Lease
    #[arg(long, env = "NARTHEX_LEASE", value_name = "NAME", default_value = "narthex")]
    pub lease: String,
    /// Labels of narthex's pods. The Lease is kept while one of them runs
    #[arg(
        long,
        env = "NARTHEX_POD_SELECTOR",
        value_name = "LABELS",
        default_value = "app.kubernetes.io/name=narthex"
    )]
    pub pod_selector: String,
    /// How long to wait for these pods to end
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = grace)]
    pub wait: Duration,
    /// Maximum number of writes per second
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub rate: u32,
}

/// Takes it back and says what became of it: 0 if nothing is left, 1 if something is.
///
/// # Errors
/// When the cluster cannot be asked.
pub fn run(args: &CleanupArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let outcome = runtime.block_on(clean_up(args))?;
    print(&report(&outcome, args));
    if outcome.is_complete() {
        return Ok(ExitCode::SUCCESS);
    }
    complain("narthex: something is left; run this again\n");
    Ok(ExitCode::FAILURE)
}

async fn clean_up(args: &CleanupArgs) -> anyhow::Result<Outcome> {
    let options = ClusterOptions {
        kubeconfig: args.kubeconfig.clone(),
        ..ClusterOptions::default()
    };
    let client = cluster::connect(&options).await?;
    let order = Order {
        namespace: args
            .namespace
            .clone()
            .unwrap_or_else(|| client.default_namespace().to_owned()),
        lease: args.lease.clone(),
        selector: args.pod_selector.clone(),
        namespaces: args.watch_namespace.clone(),
        class: args.ingress_class.clone(),
        class_less: args.class_less,
        drop_in: args.drop_in.iter().copied().map(Dialect::from).collect(),
        router: args
            .drop_in
            .contains(&DropIn::OpenShift)
            .then(|| args.router_name.clone()),
        rate: args.rate,
        patience: args.wait,
    };
    let done = cleanup::run(&Api::new(client), &order).await;
    done.map_err(|(object, error)| anyhow!("{object}: {error}"))
}

/// A kind's plural at the beginning of a line: `Ingresses`.
fn objects(kind: Kind) -> String {
    let (name, plural) = (kind.name(), kind.plural());
    let ending = plural.get(name.len()..).unwrap_or_default();
    format!("{name}{ending}")
}

fn report(outcome: &Outcome, args: &CleanupArgs) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(holder) = &outcome.holder {
        let _ = writeln!(text, "Lease {}: taken from {holder}", args.lease);
    }
    for (kind, statuses) in &outcome.statuses {
        let _ = writeln!(
            text,
            "{}: {} emptied; {} without addresses of ours, {} of other classes",
            objects(*kind),
            statuses.emptied,
            statuses.untouched,
            statuses.foreign
        );
    }
    let _ = writeln!(text, "Events: {} deleted", outcome.events);
    for failure in &outcome.failures {
        let _ = writeln!(text, "failed: {failure}");
    }
    if outcome.failed > outcome.failures.len() {
        let _ = writeln!(text, "failed: {} more", outcome.failed - outcome.failures.len());
    }
    let _ = match (outcome.failed, outcome.running.as_slice()) {
        (0, []) => writeln!(text, "Lease {}: deleted", args.lease),
        (0, running) => writeln!(
            text,
            "Lease {}: kept, so that nothing is written back by what still runs: {}",
            args.lease,
            running.join(", ")
        ),
        _ => writeln!(text, "Lease {}: kept, for the next try", args.lease),
    };
    text
}
