//! One narthex with one shard, its tables, and what it has to give back in the end.

use crate::http1::Limits;
use crate::model::{Field, FieldForm, Kind, ObjectRef, Origin, Seniority};
use crate::policy::compress::Memory;
use crate::proxy::{Counters, Ends, Peer, Settings, Timeouts, TrustedProxies, Worker};
use crate::serve::connection;
use crate::serve::proxy_protocol::ProxyProtocol;
use crate::serve::room::Room;
use crate::serve::shard::{Accepted, ConnectionPermit, Shard, ShardSettings, Stage};
use crate::table::{
    Backend, BackendId, BackendSettings, BackendState, Destination, Endpoint, HostPattern, InFlightLimit, Listener,
    PathKind, PathPattern, PodSet, PodSetId, Policies, Route, Table, Terms, route_key,
};
use crate::upstream::simulated::End;
use crate::upstream::{Commons, PoolSettings, Sockets, Stream};
use arc_swap::ArcSwap;
use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Client connections there may be.
const ROOM: usize = 100;
/// How long idle connections to pods are kept.
pub const POOL_IDLE: Duration = Duration::from_secs(3);
/// All time-outs of clients and pods but the following.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Between two requests.
pub const IDLE: Duration = Duration::from_secs(4);

static FIELD: FieldForm = FieldForm {
    text: "spec.rules[].http.paths[]",
    list: "spec.rules",
    host: "spec.rules[].host",
};

/// Which pods a route leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodsOfRoute {
    /// The pods, by number.
    pub pods: Vec<usize>,
    /// Changes when the Service becomes another.
    pub generation: u32,
}

/// Where a pod is reached.
pub fn address(pod: usize) -> SocketAddr {
    let last = u8::try_from(pod + 1).unwrap();
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 80))
}

/// The pod at an address.
pub fn pod_at(address: SocketAddr) -> usize {
    match address {
        SocketAddr::V4(address) => usize::from(address.ip().octets()[3]) - 1,
        SocketAddr::V6(_) => unreachable!("pods have addresses of version 4"),
    }
}

/// What a route's path begins with.
pub fn prefix(route: usize) -> &'static str {
    ["/a", "/b"][route]
}

fn pods_id(route: usize, of: &PodsOfRoute) -> PodSetId {
    PodSetId {
        slot: u32::try_from(route).unwrap(),
        generation: of.generation,
    }
}

/// A table in which each route leads to its pods.
pub fn table(generation: u64, routes: &[PodsOfRoute; 2], settings: &[Arc<BackendSettings>; 2]) -> Table {
    let mut table = Table::default();
    table.generation = generation;
    table.set_listener(
        0,
        Some(Arc::new(Listener::http(0, SocketAddr::from((Ipv4Addr::LOCALHOST, 80))))),
    );
    let terms = Arc::new(Terms::default());
    for (number, (of, settings)) in routes.iter().zip(settings).enumerate() {
        let slot = u32::try_from(number).unwrap();
        let endpoints: Arc<[Endpoint]> = of.pods.iter().map(|pod| endpoint(*pod)).collect();
        let state = if endpoints.is_empty() {
            BackendState::NoEndpoints
        } else {
            BackendState::Ready
        };
        let pods = PodSet {
            id: pods_id(number, of),
            namespace: "n".into(),
            service: prefix(number).into(),
            port: 80,
            state,
            endpoints: endpoints.clone(),
            terms: vec![terms.clone()],
            checks: Vec::new(),
            limits: (settings.max_in_flight.iter())
                .map(|most| InFlightLimit { by: None, most: *most })
                .collect(),
        };
        let id = BackendId { slot, generation: 1 };
        let backend = Backend {
            id,
            namespace: "n".into(),
            service: prefix(number).into(),
            port: "80".into(),
            state,
            app_protocol: None,
            asked: None,
            settings: settings.clone(),
            pods: Some(pods.id),
            terms: terms.clone(),
            check: None,
            limited_by: None,
            tls: None,
            guard: None,
            endpoints,
        };
        table.set_pods(slot, Some(Arc::new(pods)));
        table.set_backend(slot, Some(Arc::new(backend)));
        let path = PathPattern {
            kind: PathKind::Prefix,
            path: prefix(number).into(),
        };
        let route = Route {
            key: route_key(None, &HostPattern::Any, Some(&path), None),
            origin: Origin {
                object: ObjectRef::new(Kind::Ingress, "n", "web"),
                field: Field::within(&FIELD, 0, slot),
            },
            seniority: Seniority::FIRST,
            host: HostPattern::Any,
            path: Some(path.clone()),
            keep_slashes: false,
            when: None,
            to: Destination::Backend(id),
            policies: Arc::new(Policies::default()),
            shadows: Box::default(),
        };
        table.update_host(&HostPattern::Any, |host| host.paths.set(&path, Some(Arc::new(route))));
    }
    table
}

fn endpoint(pod: usize) -> Endpoint {
    Endpoint {
        address: address(pod),
        alternate: None,
        uid: Some(format!("uid-{pod}").into()),
        pod: Some(format!("pod-{pod}").into()),
        zone: None,
        near: true,
    }
}

/// A running narthex.
pub struct Process {
    shard: Rc<Shard>,
    counters: Arc<Counters>,
    commons: Arc<Commons>,
    sockets: Sockets,
    stage: watch::Sender<Stage>,
    serving: JoinHandle<()>,
    room: Arc<Room>,
    open: Arc<AtomicUsize>,
    connections: RefCell<Vec<JoinHandle<()>>>,
    /// Nobody is sent by this, but without it the shard would end.
    _accepted: mpsc::UnboundedSender<Accepted>,
}

impl Process {
    /// Starts one. Clients whose half is closed are served if `serves_half_closed` says so.
    pub fn start(tables: &Arc<ArcSwap<Table>>, serves_half_closed: bool) -> Self {
        let sockets = Sockets::new(ROOM);
        let settings = Settings {
            pool: PoolSettings {
                connect_timeout: Duration::from_secs(1),
                idle_timeout: POOL_IDLE,
                sockets: sockets.clone(),
                max_idle: 8,
                max_response_head: 16 << 10,
            },
            timeouts: Timeouts {
                head: PATIENCE,
                idle: IDLE,
                body: PATIENCE,
                send: PATIENCE,
                tunnel: PATIENCE,
                leaving: PATIENCE,
                response: PATIENCE,
                stream: PATIENCE,
            },
            attempts: 3,
            reject_encoded_slash: false,
            after: Box::default(),
            https_port: None,
            trusted_proxies: TrustedProxies::default(),
            max_in_flight: 1000,
            short_of_memory: Arc::default(),
            compression_memory: Arc::new(Memory::new(0)),
            buckets: Arc::default(),
            under_way: Arc::default(),
            passwords: Arc::default(),
            digests: Arc::default(),
            answers: Arc::default(),
            tokens: Arc::default(),
            count_routes: true,
            access_log: None,
            tracer: None,
            tap: Arc::default(),
        };
        let shard_settings = ShardSettings {
            limits: Limits::default(),
            serves_half_closed,
            proxy_protocol: ProxyProtocol::Off,
            tls: None,
            binding: crate::serve::Binding::default(),
            http2_window: 64 << 10,
        };
        let (counters, commons, room) = (
            Arc::<Counters>::default(),
            Arc::<Commons>::default(),
            Arc::new(Room::new(ROOM)),
        );
        let all: Arc<[Arc<Counters>]> = [counters.clone()].into();
        let worker = Worker::new(
            tables.clone(),
            Arc::new(settings),
            counters.clone(),
            all,
            commons.clone(),
        );
        let shard = Shard::new(worker, shard_settings, room.clone());
        let (accepted, queue) = mpsc::unbounded_channel();
        let (stage, stages) = watch::channel(Stage::Serving(0));
        Self {
            serving: tokio::task::spawn_local(shard.clone().run(queue, stages)),
            shard,
            counters,
            commons,
            sockets,
            stage,
            room,
            open: Arc::default(),
            connections: RefCell::default(),
            _accepted: accepted,
        }
    }

    /// A client has connected.
    pub fn accept(&self, stream: End, client: SocketAddr) {
        self.accept_stream(Stream::Simulated(stream), client);
    }

    /// The same, whatever its bytes come by.
    pub fn accept_stream(&self, stream: Stream, client: SocketAddr) {
        let place = ConnectionPermit::new(self.open.clone(), self.room.try_enter());
        self.counters.connections.add();
        let ends = Ends {
            client,
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 80)),
            tls_version: None,
            silent_on_tls: false,
        };
        let listener = Listener::http(0, ends.local).id;
        let peer = Rc::new(Peer::new(listener, ends, false, None, None));
        let shard = self.shard.clone();
        let connection = tokio::task::spawn_local(async move {
            let _place = place;
            connection::run(shard, stream, peer, b"").await;
        });
        self.connections.borrow_mut().push(connection);
    }

    /// There is another table.
    pub fn table_changed(&self, table: &Table) {
        self.commons.retain(table);
        self.stage.send_if_modified(|stage| stage.follow(table.generation));
    }

    /// It accepts no more, and finishes.
    pub fn drain(&self, spread: Duration) {
        self.stage.send_replace(Stage::Draining(spread));
    }

    /// What it still holds of what it has to give back. It has to be without clients, and its pool's time to be over.
    pub fn holds(&self, table: &Table) -> Vec<String> {
        let mut holds = Vec::new();
        let mut look = |what: &str, count: u64| {
            if count != 0 {
                holds.push(format!("{count} {what}"));
            }
        };
        look("client connections", self.open.load(Ordering::Relaxed) as u64);
        look("listed connections", self.shard.connections().len() as u64);
        look(
            "places of connections",
            (0..ROOM).filter_map(|_| self.room.try_enter()).count().abs_diff(ROOM) as u64,
        );
        look("requests under way", self.counters.in_flight.get());
        look("panics", self.counters.panics.get());
        look("refused by the library", self.counters.refused_by_hyper.get());
        look("connections to pods", self.sockets.open() as u64);
        for set in table.all_pods() {
            for endpoint in set.endpoints.iter() {
                for traffic in self.commons.of(set.id).traffic(&endpoint.identity()) {
                    look("requests at an endpoint", traffic.in_flight.get());
                    look("kept connections to an endpoint", traffic.kept.get());
                }
            }
        }
        holds
    }

    /// Ends it. Whether all of it is gone, and nothing has panicked.
    pub async fn stop(self) -> bool {
        for connection in self.connections.take() {
            connection.abort();
            if connection.await.is_err_and(|error| error.is_panic()) {
                return false;
            }
        }
        let gone = Rc::downgrade(&self.shard);
        drop((self.stage, self.shard));
        let ended = self.serving.await;
        ended.is_ok() && gone.upgrade().is_none()
    }
}
