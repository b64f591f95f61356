//! Objects from an API server: one watch per kind (and namespace), each following on its own.
//!
//! Ingresses, Services and EndpointSlices are required: readiness waits for their first full list. IngressClasses,
//! Namespaces (of which only the metadata is read) and Secrets are optional: where they are forbidden or missing, that is said and everything else goes on. Of Secrets,
//! certificates are watched all together and any other that is wanted on its own ([`secrets`]). Where EndpointSlices are forbidden or missing, Endpoints are read instead, and slices tried again now and then.

mod api;
mod follow;
mod lost_nodes;
mod node;
mod secrets;

pub use node::zone_of;

use super::{Sender, Wanted, Watches};
use crate::model::Kind;
use crate::model::kind::{Scope, Watch};
use api::ApiError;
use follow::{Ended, Follower, Order, Superseded, pause};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use secrets::ledger::{Ledger, Voice};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tracing::{error, info, warn};

/// What the log filter should add: kube's client logs every failed request as an error of its own, on every retry,
/// where the watches here say each failure once.
pub const QUIET: &str = "kube_client=off";

/// How long connecting to the API server may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Which cluster, and what of it.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// The kubeconfig to use; none for the pod's own service account or, outside a cluster, what kubectl would use.
    pub kubeconfig: Option<PathBuf>,
    /// The namespaces to watch; empty for all.
    pub namespaces: Vec<String>,
    /// The kinds that are watched because a flag asks for them: those of [`Watch::Installed`].
    pub asked_for: Vec<Kind>,
    /// Whether the labels of namespaces decide what is served, so that readiness waits for them.
    pub needs_namespaces: bool,
    /// How often, how long.
    pub timing: Timing,
}

/// The rhythm of the watches. The defaults are for production; tests are more hurried.
#[derive(Clone, Debug)]
pub struct Timing {
    /// How long the server keeps one watch open. A silent partition is noticed after this and the margin.
    pub watch_time: Duration,
    /// How much longer than that a watch may stay open before it counts as dead.
    pub margin: Duration,
    /// How many objects a page of a list holds.
    pub page_size: u32,
    /// How often the server's resourceVersion is compared with ours while all is well.
    pub compare_every: Duration,
    /// How long a watch must last to begin anew with short waits.
    pub well_after: Duration,
    /// The first wait after a failure.
    pub shortest_wait: Duration,
    /// The longest wait after a failure.
    pub longest_wait: Duration,
    /// The longest wait for an optional kind that is forbidden or missing, and the wait before EndpointSlices are
    /// tried again while Endpoints stand in for them.
    pub denied_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            watch_time: Duration::from_secs(40),
            margin: Duration::from_secs(5),
            page_size: 500,
            compare_every: Duration::from_secs(300),
            well_after: Duration::from_secs(5),
            shortest_wait: Duration::from_millis(400),
            longest_wait: Duration::from_secs(30),
            denied_wait: Duration::from_secs(60),
        }
    }
}

/// Why there is no way to an API server. One line each.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The given kubeconfig is no good.
    #[error("kubeconfig {}: {why}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// In a pod whose service account is not mounted, or the like.
    #[error("in a cluster, but its service account cannot be used: {0}")]
    InCluster(String),
    /// Neither in a cluster, nor a kubeconfig that works.
    #[error("not in a cluster, and {0}; give --kubeconfig PATH, or --manifests PATH to run without a cluster")]
    Nowhere(String),
    /// The settings were found but cannot be used.
    #[error("cannot use the API server's address or credentials: {0}")]
    Client(String),
}

/// Makes the way to the API server. Nothing is sent yet: an API server that is away is no error here.
///
/// # Errors
/// When no usable address and credentials are found.
pub async fn connect(options: &ClusterOptions) -> Result<kube::Client, ConnectError> {
    let mut config = configuration(options).await?;
    config.connect_timeout = Some(CONNECT_TIME);
    // One place waits and tries again, and says why: `follow`.
    config.default_retry = false;
    // kube installs aws-lc-rs as rustls' provider if the process has none yet.
    kube::Client::try_from(config).map_err(|error| ConnectError::Client(one_line(&error)))
}

async fn configuration(options: &ClusterOptions) -> Result<Config, ConnectError> {
    if let Some(path) = &options.kubeconfig {
        let failed = |why| ConnectError::Kubeconfig {
            path: path.clone(),
            why,
        };
        // Read here first: kube's error would name the path again.
        std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(one_line(&error)))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        return config.map_err(|error| failed(one_line(&error)));
    }
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Config::incluster().map_err(|error| ConnectError::InCluster(one_line(&error)));
    }
    let config = Config::from_kubeconfig(&KubeConfigOptions::default()).await;
    config.map_err(|error| ConnectError::Nowhere(one_line(&error)))
}

/// A parser's error may be a picture of several lines; the first says what is wrong.
fn one_line(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}

/// One watch to be kept running.
#[derive(Clone, Debug)]
struct Duty {
    kind: Kind,
    namespace: Option<String>,
    required: bool,
}

impl Duty {
    fn name(&self) -> String {
        name(self.kind, self.namespace.as_deref())
    }

    fn place(&self) -> Option<Arc<str>> {
        self.namespace.as_deref().map(Arc::from)
    }
}

/// `services`, or `services in team-a`.
fn name(kind: Kind, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{} in {namespace}", kind.plural()),
        None => kind.plural().to_owned(),
    }
}

fn duties(options: &ClusterOptions) -> Vec<Duty> {
    let mut places: Vec<Option<String>> = options.namespaces.iter().cloned().map(Some).collect();
    places.sort();
    places.dedup();
    if places.is_empty() {
        places.push(None);
    }
    let watched = |scope: Scope| {
        let all = Kind::ALL.into_iter();
        let is_wide = |kind: Kind| match kind.facts().watch {
            Watch::Required | Watch::Optional | Watch::Sought => true,
            Watch::Installed => options.asked_for.contains(&kind),
            Watch::Fallback | Watch::Named => false,
        };
        all.filter(move |kind| kind.facts().scope == scope && is_wide(*kind))
    };
    let duty = |kind: Kind, namespace: Option<String>| Duty {
        kind,
        namespace,
        required: matches!(kind.facts().watch, Watch::Required | Watch::Installed | Watch::Sought)
            || (kind == Kind::Namespace && options.needs_namespaces),
    };
    let mut duties: Vec<Duty> = watched(Scope::Cluster).map(|kind| duty(kind, None)).collect();
    for namespace in places {
        duties.extend(watched(Scope::Namespaced).map(|kind| duty(kind, namespace.clone())));
    }
    duties
}

/// Follows everything until the control task is gone, which says in `wanted` which Secrets it needs whatever their
/// type. A watch whose task panics is started again.
pub async fn run(
    client: kube::Client,
    options: ClusterOptions,
    sender: Sender,
    watches: Arc<Watches>,
    wanted: watch::Receiver<Wanted>,
) {
    let cluster = Cluster {
        client,
        sender,
        watches,
        timing: options.timing.clone(),
        secrets: Arc::default(),
        config_maps: Arc::new(Ledger::new(Kind::ConfigMap)),
    };
    let duties = duties(&options);
    // All of them before the first can be done, lest readiness come early; and the one that waits for all others first.
    for (_, watch) in secrets::BY_NAME {
        cluster.watches.register(watch, true);
    }
    for duty in &duties {
        cluster.watches.register(&duty.name(), duty.required);
        if duty.kind == Kind::Secret {
            cluster.secrets.expect(duty.place()).await;
        }
    }
    let mut tasks = JoinSet::new();
    let mut running: HashMap<Id, Task> = HashMap::new();
    let start = |tasks: &mut JoinSet<()>, task: Task, after| {
        let cluster = cluster.clone();
        match task {
            Task::Wide(duty) => tasks.spawn(cluster.fulfil(duty, after)).id(),
            Task::ByName(kind, watch) => tasks.spawn(cluster.by_name((kind, watch), wanted.clone(), after)).id(),
            Task::LostNodes => tasks.spawn(cluster.lost_nodes(wanted.clone(), after)).id(),
        }
    };
    let by_name = secrets::BY_NAME.map(|(kind, watch)| Task::ByName(kind, watch));
    for duty in duties
        .into_iter()
        .map(Task::Wide)
        .chain(by_name)
        .chain([Task::LostNodes])
    {
        running.insert(start(&mut tasks, duty.clone(), Duration::ZERO), duty);
    }
    while let Some(ended) = tasks.join_next_with_id().await {
        let Err(panic) = ended else { continue };
        let Some(duty) = running.remove(&panic.id()) else {
            continue;
        };
        let name = match &duty {
            Task::Wide(duty) => duty.name(),
            Task::ByName(_, watch) => (*watch).to_owned(),
            // It is no watch, and nothing waits for it.
            Task::LostNodes => {
                error!("this is a bug in narthex, nodes are asked about again: {panic}");
                running.insert(start(&mut tasks, duty.clone(), cluster.timing.longest_wait), duty);
                continue;
            }
        };
        error!(
            watch = name,
            "this is a bug in narthex, the watch is started again: {panic}"
        );
        cluster
            .watches
            .failing(&name, "its task panicked (a bug in narthex) and is started again");
        running.insert(start(&mut tasks, duty.clone(), cluster.timing.longest_wait), duty);
    }
}

/// What is started again if it panics.
#[derive(Clone)]
enum Task {
    Wide(Duty),
    /// All watches of objects that are asked for by name, and what stands for them.
    ByName(Kind, &'static str),
    /// Whoever asks about nodes whose pods became unready.
    LostNodes,
}

/// What every watch of a cluster shares.
#[derive(Clone)]
struct Cluster {
    client: kube::Client,
    sender: Sender,
    watches: Arc<Watches>,
    timing: Timing,
    secrets: Arc<Ledger>,
    config_maps: Arc<Ledger>,
}

impl Cluster {
    fn ledger(&self, kind: Kind) -> &Arc<Ledger> {
        match kind {
            Kind::ConfigMap => &self.config_maps,
            _ => &self.secrets,
        }
    }

    async fn by_name(self, of: (Kind, &'static str), wanted: watch::Receiver<Wanted>, after: Duration) {
        tokio::time::sleep(after).await;
        secrets::run(self, of, wanted).await;
    }

    async fn lost_nodes(self, wanted: watch::Receiver<Wanted>, after: Duration) {
        tokio::time::sleep(after).await;
        lost_nodes::run(self, wanted).await;
    }

    async fn fulfil(self, duty: Duty, after: Duration) {
        tokio::time::sleep(after).await;
        if duty.kind == Kind::EndpointSlice {
            return self.slices_or_endpoints(duty.namespace).await;
        }
        let patience = if duty.required && duty.kind.facts().watch == Watch::Required {
            self.timing.longest_wait
        } else {
            self.timing.denied_wait
        };
        let order = self.order(duty.kind, duty.namespace, Some(patience));
        // With patience it ends only when there is nobody to tell.
        Follower::new(order).run().await;
    }

    fn order(&self, kind: Kind, namespace: Option<String>, patience: Option<Duration>) -> Order {
        Order {
            client: self.client.clone(),
            sender: self.sender.clone(),
            watches: self.watches.clone(),
            timing: self.timing.clone(),
            kind,
            api_versions: kind.versions(),
            name: name(kind, namespace.as_deref()),
            secrets: (kind == Kind::Secret).then(|| {
                let place = namespace.as_deref().map(Arc::from);
                (self.secrets.clone(), Voice::Wide(place))
            }),
            namespace,
            patience,
        }
    }

    /// Follows EndpointSlices, and Endpoints for as long as slices are denied. Only ever one of the two: where there
    /// are slices, a controller mirrors hand-written Endpoints into some.
    async fn slices_or_endpoints(self, namespace: Option<String>) {
        let mut slices = Follower::new(self.order(Kind::EndpointSlice, namespace.clone(), None));
        let slices_name = name(Kind::EndpointSlice, namespace.as_deref());
        loop {
            let Ended::Denied(failure) = slices.run().await else {
                return;
            };
            let advice = advice(&failure, Kind::EndpointSlice, namespace.as_deref());
            let advice = format!("{advice}; Endpoints are read instead");
            if slices.supersedes.is_none() {
                warn!(watch = slices_name, error = %failure, "{advice}");
                slices.supersedes = Some(self.endpoints_instead(namespace.clone(), slices.synced));
            }
            self.watches.failing(&slices_name, advice);
            // Half of it at random, so that nodes do not ask in step.
            let wait = pause(self.timing.denied_wait, self.timing.denied_wait, 0);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.sender.closed() => return,
            }
        }
    }

    /// Starts to follow Endpoints. `slices_known`: there are objects that stale slices would hide.
    fn endpoints_instead(&self, namespace: Option<String>, slices_known: bool) -> Superseded {
        let order = self.order(Kind::Endpoints, namespace.clone(), Some(self.timing.longest_wait));
        let endpoints_name = order.name.clone();
        let slices_name = name(Kind::EndpointSlice, namespace.as_deref());
        self.watches.hand_over(&slices_name, &endpoints_name);
        let mut endpoints = Follower::new(order);
        endpoints.clears = slices_known.then_some(Kind::EndpointSlice);
        let mut task = JoinSet::new();
        task.spawn(async move {
            endpoints.run().await;
        });
        info!(watch = endpoints_name, "used instead of EndpointSlices");
        Superseded {
            kind: Kind::Endpoints,
            name: endpoints_name,
            task,
        }
    }
}

/// What is wrong and what to do about it, for the log and the readiness detail.
fn advice(failure: &ApiError, kind: Kind, namespace: Option<&str>) -> String {
    let group = kind.group();
    let plural = kind.plural();
    match failure {
        ApiError::Forbidden(_) => {
            let role = match namespace {
                Some(namespace) => format!("a Role in namespace {namespace}"),
                None => "the ClusterRole".to_owned(),
            };
            format!(
                "forbidden: add to {role}: \
                 {{apiGroups: [\"{group}\"], resources: [\"{plural}\"], verbs: [\"get\",\"list\",\"watch\"]}}"
            )
        }
        ApiError::Missing(_) if kind.facts().watch == Watch::Installed => {
            format!(
                "the API server has no {plural} in {}: narthex goes on without them and looks for them at least once a minute",
                kind.versions().join(", ")
            )
        }
        ApiError::Missing(_) => {
            format!("the API server has no {plural} in {}", kind.versions().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
