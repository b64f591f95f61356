//! `narthex serve`: puts the two roads together and sees them end well.

mod assemble;
mod successor;

use super::stop::Stop;
use crate::admin::gate::Gate;
use crate::admin::{self, Admin, Around, Labelled, probe};
use crate::compile::{self, State};
use crate::config::{DropIn, Listening, ServeArgs};
use crate::control::{Control, Guard, Shared, lock};
use crate::model::Kind;
use crate::serve::handover::{Inherited, Role, SocketKey};
use crate::serve::heap;
use crate::serve::memory::MemoryWatch;
use crate::serve::{BindError, Bound, Server, Tls, bind};
use crate::source::cluster::{self, ClusterOptions};
use crate::source::{EVENT_QUEUE, Wanted, Watches, directory};
use crate::status;
use crate::table::ListenerProtocol;
use crate::telemetry;
use crate::telemetry::access::AccessLog;
use crate::telemetry::traces::{self, Tracer};
use anyhow::{Context, anyhow};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use successor::{Successor, not_needed};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How often the end of the last connection is looked for.
const POLL: Duration = Duration::from_millis(20);

/// Serves until told to stop.
///
/// # Errors
/// One line on what makes it impossible, with what to do.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    run_prepared(false, || Ok((args.clone(), ())))
}

/// Serves with the flags that `prepare` returns, and drops the other value it returns when serving has ended. Signals are
/// handled from before `prepare` runs, so that value is dropped whichever of them comes; `hangup` adds SIGHUP.
///
/// # Errors
/// As for [`run`].
pub fn run_prepared<K>(
    hangup: bool,
    prepare: impl FnOnce() -> anyhow::Result<(ServeArgs, K)>,
) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control runtime")?;
    let mut stop = runtime
        .block_on(async { Stop::new(hangup) })
        .context("cannot handle signals")?;
    let (args, kept) = prepare()?;
    args.check().map_err(anyhow::Error::msg)?;
    args.rules.owners().map_err(anyhow::Error::msg)?;
    directory::are_there(&args.source.manifests).map_err(anyhow::Error::msg)?;
    let log = telemetry::init(&args.log, cluster::QUIET).map_err(anyhow::Error::msg)?;
    if let Err(error) = heap::give_back() {
        tracing::warn!(error, "the allocator may keep freed memory for a long time");
    }
    for (given, flag) in [(args.traefik.api, "--api"), (args.traefik.kubernetes, "--kubernetes")] {
        if given {
            tracing::info!("{flag} is a flag of Traefik 1.7: it is accepted and has no effect");
        }
    }
    let result = runtime.block_on(serve(&args, &mut stop));
    // Watches and admin connections end with the process; nobody waits for them.
    runtime.shutdown_background();
    drop((log, kept));
    result
}

async fn serve(args: &ServeArgs, stop: &mut Stop) -> anyhow::Result<ExitCode> {
    let shares = args.shares(raise_descriptor_limit());
    let (successor, mut inherited) = Successor::ask(args).await?;
    let bound = bind_all(args, &mut inherited)?;
    let admin_place = SocketKey::tcp(Role::Admin, args.listen.admin.0);
    let admin_socket = bind_one(args, admin_place, &mut inherited)?;
    let probe_socket = args.listen.probe_socket.as_deref().map(probe::bind).transpose()?;
    let own = own_addresses(bound.iter().map(Bound::address).chain([admin_socket.address()]));
    let (sender, events) = mpsc::channel(EVENT_QUEUE);
    let watches = Arc::new(Watches::default());
    // Files hold what they hold: only a cluster is asked for single Secrets.
    let (secrets, wanted) = watch::channel(Wanted::default());
    let mut rules = args.rules.clone();
    let mut cluster_client = None;
    let mut places = None;
    let source = if args.source.manifests.is_empty() {
        let options = ClusterOptions {
            kubeconfig: args.source.kubeconfig.clone(),
            namespaces: args.source.watch_namespace.clone(),
            asked_for: asked_for(args),
            needs_namespaces: args.rules.routes.namespace_labels.is_some(),
            ..ClusterOptions::default()
        };
        let client = cluster::connect(&options).await?;
        rules.zone = zone(&client, args).await;
        cluster_client = Some(client.clone());
        let (sender, watches) = (sender.clone(), watches.clone());
        tokio::spawn(async move { cluster::run(client, options, sender, watches, wanted).await })
    } else {
        let paths = args.source.manifests.clone();
        let known = places.insert(directory::Places::default()).clone();
        tokio::spawn(directory::run_and_tell(paths, sender.clone(), watches.clone(), known))
    };
    let shared = Arc::new(Shared::new(watches));
    let https = bound
        .iter()
        .find(|bound| bound.role() == Role::Listener(ListenerProtocol::Https));
    let tls = https
        .map(|_| Tls::new(&args.tls_settings(), shared.tables.clone()))
        .transpose()?;
    let access_log = access_log(args)?;
    let mut settings = args.proxy_settings(https.map(|bound| bound.address().port()), shares.pods);
    settings.access_log.clone_from(&access_log);
    let identity = admin::Identity::new(args.listen.pod.as_deref());
    settings.tracer = tracer(args, &identity.pod)?;
    let tracer = settings.tracer.clone();
    let memory = MemoryWatch::new(args.limits.max_memory);
    let short = settings.short_of_memory.clone();
    let memory = async { Some(tokio::spawn(memory?.run(short)).await) };
    let server = Server::start(
        shared.tables.clone(),
        Arc::new(settings),
        args.shard_settings(tls.map(Arc::new)),
        args.shards(),
        shares.clients,
    )
    .context("cannot start the shards")?;
    let server = Arc::new(Mutex::new(server));
    let admin_address = admin_socket.address();
    let status = cluster_client.and_then(|client| start_status(client, args, &identity.pod, &shared));
    let gate = Gate::new(
        args.listen.admin_token_file.as_deref(),
        &args.listen.admin_host,
        &identity.pod,
    );
    let gate = gate.map_err(anyhow::Error::msg)?;
    let admin = Admin::new(
        shared.clone(),
        server.clone(),
        identity,
        gate,
        super::command_line::effective(),
    );
    if !args.peers.can_be_found(&args.source.watch_namespace) {
        tracing::warn!("the namespace of --admin-service is not in --watch-namespace, so peers are not known");
    }
    let own_admin = own_addresses([admin_address].into_iter());
    let admin = Arc::new(admin.with(Around {
        peers: args.peers.peers.clone(),
        own: own_admin.clone(),
        places,
        metrics: Labelled {
            labels: args.metrics.metrics_labels.0.clone(),
            most: args.metrics.metrics_series,
        },
    }));
    tokio::spawn(admin::sample(admin.clone()));
    if let Some(socket) = probe_socket {
        tokio::spawn(probe::run(socket, admin.clone()));
    }
    let holdings = lock(&server).holdings();
    let admin_socket = std::net::TcpListener::from(admin_socket.listen()?);
    let intake = holdings
        .add(admin_place, &admin_socket)
        .context("cannot listen on the admin address")?;
    let (live, is_live) = oneshot::channel();
    let (taken, mut handed_over) = watch::channel(false);
    tokio::spawn(successor.serve(is_live, holdings, taken, admin::run(admin_socket, admin, intake)));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), shards = args.shards(), listening = addresses(&bound), admin = %admin_address,
        "starting narthex"
    );
    let options = compile::Options {
        admin_addresses: own_admin,
        listeners: assemble::listeners(&bound),
        local_endpoints: !args.source.manifests.is_empty(),
        reads_nodes: args.source.manifests.is_empty(),
        ..rules.compile_options(own).map_err(anyhow::Error::msg)?
    };
    let control = Control {
        guard: Guard::new(State::new(options)),
        events,
        sender,
        secrets,
        shared: shared.clone(),
        server: server.clone(),
        bound,
        admin_service: args.peers.admin_service.clone(),
        live: Some(live),
    };
    let control = tokio::spawn(control.run());
    let ended = tokio::select! {
        end = control => match end {
            Ok(Ok(())) => Err(anyhow!("the sources have ended")),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(anyhow!("the control task is gone: {error}")),
        },
        // A table that nothing updates any more is worse than a restart.
        _ = source => Err(anyhow!("the source of objects has ended; see the log")),
        Some(_) = memory => Err(anyhow!("nobody looks after memory any more; see the log")),
        () = broken(&server) => Err(anyhow!("a shard or acceptor thread is gone; see the log")),
        quick = stop.told() => {
            give_back(status).await;
            Ok(end(args, &shared, &server, quick, stop).await)
        }
        () = not_needed(&mut handed_over) => Ok(end(args, &shared, &server, false, stop).await),
    };
    // They wait, but nothing else is left to do.
    let finish = move || {
        access_log.inspect(|log| log.finish());
        tracer.inspect(Tracer::finish);
    };
    let _ = tokio::task::spawn_blocking(finish).await;
    ended
}

/// Begins to export traces, if that is wanted.
fn tracer(args: &ServeArgs, pod: &str) -> anyhow::Result<Option<Tracer>> {
    let Some((endpoint, authorization)) = args.traces.endpoint() else {
        return Ok(None);
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let roots = compile::backend_tls::system_roots();
    let options = traces::ExportOptions {
        endpoint,
        authorization,
        ratio: args.traces.otlp_sample,
        instance: pod.to_owned(),
        tls: Arc::new(tls.with_root_certificates(roots).with_no_client_auth()),
    };
    traces::start(options).map(Some).context("--otlp-endpoint")
}

/// Begins the access log, if that is wanted, and has SIGUSR1 open it anew. Without one the signal does nothing: it would
/// end the process.
fn access_log(args: &ServeArgs) -> anyhow::Result<Option<Arc<AccessLog>>> {
    let file = args.access.access_log_file.clone();
    let log = args.access.options().map(|options| {
        let place = file
            .as_ref()
            .map_or("standard output".to_owned(), |path| path.display().to_string());
        let started = AccessLog::start(options, file).map(Arc::new);
        started.with_context(|| format!("cannot write the access log to {place}"))
    });
    let log = log.transpose()?;
    let (mut told, reopened) = (signal(SignalKind::user_defined1())?, log.clone());
    tokio::spawn(async move {
        while told.recv().await.is_some() {
            let Some(log) = reopened.clone() else { continue };
            match tokio::task::spawn_blocking(move || log.reopen()).await {
                Ok(Ok(())) => tracing::info!("SIGUSR1: reopened the access log"),
                Ok(Err(error)) => tracing::error!(%error, "SIGUSR1: cannot reopen the access log"),
                Err(error) => tracing::error!(%error, "SIGUSR1"),
            }
        }
    });
    Ok(log)
}

/// The Lease that is to be given back in the end, and the task that may have it.
type StatusWriter = (status::api::Api, status::lease::Wanted, JoinHandle<()>);

/// Begins to tell the cluster of addresses and problems, if that is wanted.
fn start_status(client: kube::Client, args: &ServeArgs, pod: &str, shared: &Arc<Shared>) -> Option<StatusWriter> {
    let admin = args.listen.admin.0;
    // Peers would ask where nobody but this node can.
    let port = (!admin.ip().is_loopback()).then_some(admin.port());
    let namespace = client.default_namespace().to_owned();
    let options = args.status.options(
        pod,
        &namespace,
        port,
        &args.source.watch_namespace,
        !asked_for(args).is_empty(),
    )?;
    let (api, lease) = (status::api::Api::new(client.clone()), options.lease.clone());
    let task = tokio::spawn(status::run(client, options, shared.clone()));
    Some((api, lease, task))
}

/// Lets the next one write status at once.
async fn give_back(status: Option<StatusWriter>) {
    if let Some((api, lease, task)) = status {
        task.abort();
        let given = status::lease::release(&api, &lease);
        let _ = tokio::time::timeout(Duration::from_secs(1), given).await;
    }
}

/// The zone this node is in, where it can be known.
async fn zone(client: &kube::Client, args: &ServeArgs) -> Option<Arc<str>> {
    let (None, Some(node)) = (&args.rules.zone, &args.rules.node) else {
        return args.rules.zone.clone();
    };
    match cluster::zone_of(client, node).await {
        Ok(zone) => zone.map(Arc::from),
        Err(why) => {
            tracing::info!("the zone of node {node} is not known ({why}), so zone hints are ignored");
            None
        }
    }
}

/// Binds the listening sockets. A default address that cannot be bound is fatal only in a cluster, where nobody
/// would see that it is missing.
fn bind_all(args: &ServeArgs, inherited: &mut Vec<Inherited>) -> anyhow::Result<Vec<Bound>> {
    let mut bound = Vec::new();
    for Listening {
        protocol,
        address,
        named,
    } in args.listening()
    {
        let role = Role::from(protocol);
        match bind_one(args, SocketKey::tcp(role, address), inherited) {
            Ok(one) => bound.push(one),
            Err(error) if named || args.source.manifests.is_empty() => return Err(error.into()),
            Err(error) => tracing::warn!("continuing without {role}: {error}"),
        }
    }
    if bound.is_empty() {
        return Err(anyhow!(
            "no address to listen on can be had: give --listen-http ADDR, with a port above 1023"
        ));
    }
    Ok(bound)
}

/// A predecessor's socket, or a new one.
fn bind_one(args: &ServeArgs, place: SocketKey, inherited: &mut Vec<Inherited>) -> Result<Bound, BindError> {
    match inherited.iter().position(|inherited| inherited.place == place) {
        Some(index) => Bound::inherited(inherited.swap_remove(index), &args.binding()),
        None => bind(place, &args.binding()),
    }
}

fn addresses(bound: &[Bound]) -> String {
    let each: Vec<String> = bound
        .iter()
        .map(|bound| format!("{} {}", bound.role(), bound.address()))
        .collect();
    each.join(", ")
}

/// Ends when a thread of the data plane has ended on its own.
async fn broken(server: &Mutex<Server>) {
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    loop {
        looks.tick().await;
        if !lock(server).is_whole() {
            return;
        }
    }
}

/// Readiness goes first; then connections are still accepted for a while; then what is under way finishes.
async fn end(args: &ServeArgs, shared: &Shared, server: &Mutex<Server>, quick: bool, stop: &mut Stop) -> ExitCode {
    shared.ending.store(true, Ordering::Release);
    // Whom a successor serves need not be waited for.
    let handed_over = lock(server).holdings().is_handed_over();
    let grace = if quick || handed_over {
        Duration::ZERO
    } else {
        args.end.drain_grace
    };
    let spread = if quick {
        Duration::ZERO
    } else {
        args.end.drain_spread.min(args.end.drain_deadline / 2)
    };
    tracing::info!(?grace, deadline = ?args.end.drain_deadline, handed_over, "shutting down: no longer ready");
    tokio::select! {
        () = drain(grace, spread, args.end.drain_deadline, server) => {}
        () = stop.interrupted() => tracing::warn!("interrupted again: exiting at once"),
    }
    tracing::info!("narthex has shut down");
    ExitCode::SUCCESS
}

async fn drain(grace: Duration, spread: Duration, deadline: Duration, server: &Mutex<Server>) {
    tokio::time::sleep(grace).await;
    lock(server).drain(spread);
    let until = Instant::now() + deadline;
    while !lock(server).is_drained() {
        if Instant::now() >= until {
            let open = lock(server).open_connections();
            tracing::warn!(open, "the drain deadline has passed: closing the remaining connections");
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Raises the soft limit of file descriptors to the hard one, and says what it is.
fn raise_descriptor_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let now = if setrlimit(Resource::Nofile, wanted).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    // No limit at all would be a table of connections without end.
    usize::try_from(now.unwrap_or(1 << 20)).unwrap_or(1 << 20).min(1 << 20)
}

/// Every address narthex can be reached at, so that an endpoint there can be told.
fn own_addresses(listening: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut own = Vec::new();
    for address in listening {
        if address.ip().is_unspecified() {
            let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
            own.extend(
                interfaces
                    .iter()
                    .map(|interface| SocketAddr::new(interface.ip(), address.port())),
            );
        } else {
            own.push(address);
        }
    }
    own
}

/// The kinds that are watched only because a flag asks for them.
fn asked_for(args: &ServeArgs) -> Vec<Kind> {
    let routes = args.rules.drop_in.contains(&DropIn::OpenShift);
    routes.then_some(Kind::Route).into_iter().collect()
}
