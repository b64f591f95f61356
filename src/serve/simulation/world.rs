//! What all actors of one history share: its chance, its weather, and what the oracle knows.

use super::message::Body;
use super::process::PodsOfRoute;
use crate::table::BackendSettings;
use crate::upstream::simulated::{Link, Network};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Pods there are.
pub const PODS: usize = 3;

/// What may happen in a history besides what should. Most histories have a few of these, for then it is clear what may
/// follow from them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Bytes are cut into pieces.
    pub cuts: bool,
    /// Some pods cannot be connected to.
    pub dials: bool,
    /// Pods break off in a request or an answer.
    pub breaks: bool,
    /// Pods close connections that are idle, or speak on them unasked.
    pub leaves: bool,
    /// Pods do not go on.
    pub stalls: bool,
    /// Pods answer before they have read the request.
    pub early: bool,
    /// Tables change.
    pub swaps: bool,
    /// Clients leave.
    pub goes: bool,
    /// Clients do not go on.
    pub slow: bool,
    /// narthex is replaced.
    pub drains: bool,
    /// There is a limit of requests under way.
    pub limits: bool,
}

impl Weather {
    fn new(random: &mut fastrand::Rng) -> Self {
        let mut is = || random.u8(..3) == 0;
        let mut weather = Self {
            cuts: !is(),
            dials: is(),
            breaks: is(),
            leaves: is(),
            stalls: is(),
            early: is(),
            swaps: is(),
            goes: is(),
            slow: is(),
            drains: is(),
            limits: is(),
        };
        if is() && is() {
            weather = Self {
                cuts: weather.cuts,
                ..Self::default()
            };
        }
        weather
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    pub id: usize,
    pub route: usize,
    pub method: &'static str,
    /// Whether it is of HTTP/1.0.
    pub old: bool,
    pub body: Option<Body>,
    pub expects: bool,
    pub closes: bool,
    pub takes_trailers: bool,
    /// When the client began to send it.
    pub began: Instant,
    /// Whether the client has sent its head, and all of it.
    pub head_sent: bool,
    pub sent: bool,
    /// Whether a pod has read all of it.
    pub taken: bool,
}

impl Ask {
    /// Whether it may be sent twice (RFC 9110, section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.method != "POST" && self.method != "PATCH"
    }
}

/// What a pod answers.
#[derive(Clone, Debug)]
pub struct Given {
    /// To which request.
    pub ask: usize,
    pub status: u16,
    pub body: Body,
    /// Whether it may not come to its end.
    pub breaks: bool,
}

/// What all actors share.
pub struct World {
    pub network: Arc<Network>,
    pub weather: Cell<Weather>,
    pub settings: [Arc<BackendSettings>; 2],
    pub asks: RefCell<Vec<Ask>>,
    pub given: RefCell<Vec<Given>>,
    /// Since when each route has led to which pods.
    tables: RefCell<Vec<(Instant, [PodsOfRoute; 2])>>,
    /// Connections to pods, for what was sent on them.
    pub to_pods: RefCell<Vec<Arc<Link>>>,
    /// What pods do.
    pub serving: RefCell<Vec<JoinHandle<()>>>,
    /// Whether narthex was replaced.
    pub drained: Cell<bool>,
    random: RefCell<fastrand::Rng>,
    faults: RefCell<Vec<String>>,
}

impl World {
    /// A world that is made by its seed.
    pub fn new(seed: u64, log: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let weather = Weather::new(&mut random);
        let settings = [
            Self::settings(&mut random, weather),
            Self::settings(&mut random, weather),
        ];
        let network = Network::new(random.u64(..), !weather.cuts, log);
        network.note("weather", || format!("{weather:?}"));
        for (settings, route) in settings.iter().zip(["/a", "/b"]) {
            network.note("settings", || format!("{route} {}", said(settings)));
        }
        Self {
            network,
            weather: Cell::new(weather),
            settings,
            asks: RefCell::default(),
            given: RefCell::default(),
            tables: RefCell::default(),
            to_pods: RefCell::default(),
            serving: RefCell::default(),
            drained: Cell::new(false),
            random: RefCell::new(random),
            faults: RefCell::default(),
        }
    }

    fn settings(random: &mut fastrand::Rng, weather: Weather) -> Arc<BackendSettings> {
        let mut settings = BackendSettings::default();
        if random.u8(..3) == 0 {
            settings.retries = Some(random.u32(..3));
            settings.retry_buffer = [None, Some(100)][random.usize(..2)];
            settings.try_timeout = [None, Some(Duration::from_millis(300))][random.usize(..2)];
        }
        if weather.limits && random.bool() {
            settings.max_in_flight = Some(random.u32(1..3));
            settings.max_pending = Some(random.u32(..4));
        }
        Arc::new(settings)
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        self.random.borrow_mut().usize(..end)
    }

    /// True so often.
    pub fn chance(&self, in_favour: usize, of: usize) -> bool {
        self.below(of) < in_favour
    }

    /// One of these.
    pub fn one<T: Copy>(&self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// So many milliseconds, or fewer.
    pub async fn pause(&self, most: usize) {
        let pause = self.below(most + 1) as u64;
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Something is not as it should be.
    pub fn fault(&self, what: String) {
        self.network.note("FAULT", || what.clone());
        self.faults.borrow_mut().push(what);
    }

    /// All that is not as it should be.
    pub fn take_faults(&self) -> Vec<String> {
        self.faults.take()
    }

    /// From now on the routes lead to these pods.
    pub fn table_changes(&self, routes: &[PodsOfRoute; 2]) {
        self.network.note("table", || {
            let led = routes.iter().map(|of| format!("{:?} ({})", of.pods, of.generation));
            format!("leads to {}", led.collect::<Vec<_>>().join(" and "))
        });
        self.tables.borrow_mut().push((Instant::now(), routes.clone()));
    }

    /// Whether a route has led to a pod at some time since `from`.
    pub fn led_to(&self, route: usize, pod: usize, from: Instant) -> bool {
        let tables = self.tables.borrow();
        let ends = tables.iter().skip(1).map(|(began, _)| Some(*began)).chain([None]);
        tables
            .iter()
            .zip(ends)
            .any(|((_, routes), end)| routes[route].pods.contains(&pod) && end.is_none_or(|end| end >= from))
    }

    /// Looks whether something was sent that may not be.
    pub fn look_at_sent(&self) {
        let mut sent = vec![0_usize; self.asks.borrow().len()];
        for link in self.to_pods.borrow().iter() {
            let record = link.record();
            for at in memchr::memmem::find_iter(&record, b" HTTP/1.1\r\n") {
                let path = record[..at].rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                let id = std::str::from_utf8(path).ok().and_then(|id| id.parse::<usize>().ok());
                match id.and_then(|id| sent.get_mut(id)) {
                    Some(sent) => *sent += 1,
                    None => self.fault(format!("{}: a head of nobody", link.name)),
                }
            }
        }
        for (ask, sent) in self.asks.borrow().iter().zip(sent) {
            let settings = &self.settings[ask.route];
            let repeats = settings.retries.unwrap_or(0) > 0;
            let has_body = ask
                .body
                .is_some_and(|body| body.length > 0 || body.framing == super::message::Framing::Chunked);
            let most = match (ask.is_idempotent(), has_body) {
                (false, _) => 1,
                (true, true) if !repeats => 1,
                // Each kind of attempt, and another round for pods that are gone.
                _ => 12,
            };
            if sent > most {
                self.fault(format!(
                    "request {} ({}) was sent {sent} times to pods",
                    ask.id, ask.method
                ));
            }
        }
    }
}

fn said(settings: &BackendSettings) -> String {
    let said = settings
        .said()
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"));
    said.collect::<Vec<_>>().join(" ")
}
