//! Requests as they end, for those who watch them (`narthex tap`).
//!
//! While nobody watches, this costs each request one relaxed load. There is a limit to the requests per second that a watcher
//! gets, and to those that wait until it reads them. Requests beyond the limits are counted, and the watcher is told how many
//! there were.
//! Neither header fields nor queries are shown, since both carry secrets.

use crate::model::RouteKey;
use arc_swap::ArcSwap;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Who may watch at once.
const MOST_WATCHERS: usize = 8;
/// Requests that wait for a watcher to read them.
const WAITING: usize = 256;
/// The most requests a second that a watcher may ask for.
pub const MOST_RATE: u32 = 1000;

/// An attempt to get an answer from a pod.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TappedAttempt {
    /// `ip:port`.
    pub address: SocketAddr,
    /// The pod's name.
    pub pod: Option<String>,
    /// Milliseconds for opening a connection; absent where an open one was used.
    pub connect_ms: Option<f64>,
    /// Milliseconds from sending the request to the response head, or to the failure.
    pub response_ms: Option<f64>,
    /// What the pod answered.
    pub status: Option<u16>,
    /// The stable name of why it did not.
    pub error: Option<String>,
}

/// A request that has ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tapped {
    /// When it ended (RFC 3339).
    pub at: String,
    /// The client, behind trusted proxies the one they name.
    pub client: IpAddr,
    /// `http` or `https`.
    pub scheme: String,
    /// `HTTP/1.1`; absent where no head could be read, as for what follows.
    pub protocol: Option<String>,
    pub method: Option<String>,
    pub host: String,
    /// Without its query.
    pub path: String,
    /// What the client got; 499 if it was gone before there was anything to get.
    pub status: u16,
    /// Milliseconds from the head to the end of the reply.
    pub total_ms: f64,
    /// The stable name of what went wrong.
    pub reason: Option<String>,
    /// Whose fault that was: `client`, `upstream` or `us`.
    pub side: Option<String>,
    /// More on it.
    pub cause: Option<String>,
    /// The route, by its id in `/api/v1/routes`.
    pub route: Option<String>,
    /// The rule: the object and its field.
    pub origin: Option<String>,
    /// `namespace/service:port`.
    pub service: Option<String>,
    /// In their order; none where narthex answered itself.
    pub attempts: Vec<TappedAttempt>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub request_id: String,
}

/// What of a request decides whether it is shown.
#[derive(Debug)]
pub struct Ended<'r> {
    /// As the client wrote it.
    pub host: &'r [u8],
    /// Without its query.
    pub path: &'r str,
    pub route: Option<RouteKey>,
    pub status: u16,
    pub total: Duration,
}

/// Which requests a watcher wants; whatever is absent does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// A host, or `*.` and a domain.
    pub host: Option<String>,
    /// What the path begins with.
    pub path: Option<String>,
    pub statuses: Vec<RangeInclusive<u16>>,
    /// Only what took longer.
    pub slower: Option<Duration>,
    /// What the name of a pod that was tried begins with, or its address.
    pub pod: Option<String>,
    pub route: Option<RouteKey>,
}

/// Reads statuses as people write them: `5xx`, `404`, or several with commas between them.
///
/// # Errors
/// The part that is no status.
pub fn statuses(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    let one = |word: &str| {
        let class = word.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
        match (class, word.parse::<u16>()) {
            (Some(class @ 1..=5), _) => Ok(class * 100..=class * 100 + 99),
            (None, Ok(status @ 100..=599)) => Ok(status..=status),
            _ => Err(format!(
                "\"{word}\" is not a status: write 5xx or 404, with commas between several"
            )),
        }
    };
    text.split(',').map(|word| one(word.trim())).collect()
}

impl Filter {
    /// Whether a request fits; `tried` says whether a pod was among those that were asked.
    fn fits(&self, ended: &Ended<'_>, tried: impl FnOnce(&str) -> bool) -> bool {
        self.route.is_none_or(|route| ended.route == Some(route))
            && (self.statuses.is_empty() || self.statuses.iter().any(|range| range.contains(&ended.status)))
            && self.slower.is_none_or(|slower| ended.total > slower)
            && self.path.as_deref().is_none_or(|path| ended.path.starts_with(path))
            && self.host.as_deref().is_none_or(|host| is_host(ended.host, host))
            && self.pod.as_deref().is_none_or(tried)
    }
}

/// Whether a host, as a client writes it, is the one that is wanted.
fn is_host(written: &[u8], wanted: &str) -> bool {
    // A port may follow; an IPv6 address has colons of its own, within brackets.
    let end = match written.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !written.ends_with(b"]") => colon,
        _ => written.len(),
    };
    let name = written.get(..end).unwrap_or(written);
    let name = name.strip_suffix(b".").unwrap_or(name);
    match wanted.strip_prefix('*') {
        Some(domain) => name
            .len()
            .checked_sub(domain.len())
            .and_then(|begin| name.split_at_checked(begin))
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain.as_bytes())),
        None => name.eq_ignore_ascii_case(wanted.as_bytes()),
    }
}

/// How many requests a second are let through: what is not used of a second is there for a moment later.
#[derive(Debug)]
struct Pace {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Pace {
    fn new(rate: u32) -> Self {
        let rate = f64::from(rate.clamp(1, MOST_RATE));
        let (left, at) = (rate, Instant::now());
        Self { rate, left, at }
    }

    fn takes(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + passed * self.rate).min(self.rate);
        let takes = self.left >= 1.0;
        if takes {
            self.left -= 1.0;
        }
        takes
    }
}

#[derive(Debug)]
struct Watcher {
    filter: Filter,
    pace: Mutex<Pace>,
    sender: mpsc::Sender<Bytes>,
    left_out: AtomicU64,
}

/// Where shards offer the requests that end, and who watches them.
#[derive(Debug, Default)]
pub struct Tap {
    watched: AtomicBool,
    watchers: ArcSwap<Vec<Arc<Watcher>>>,
    /// Held while the watchers change.
    changing: Mutex<()>,
}

impl Tap {
    /// Whether anybody watches. This is all that a request pays where nobody does.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Begins to watch; absent where too many do.
    pub fn watch(self: &Arc<Self>, filter: Filter, rate: u32) -> Option<Watch> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let watcher = Arc::new(Watcher {
            filter,
            pace: Mutex::new(Pace::new(rate)),
            sender,
            left_out: AtomicU64::new(0),
        });
        let begins = self.change(|watchers| {
            let has_room = watchers.len() < MOST_WATCHERS;
            if has_room {
                watchers.push(watcher.clone());
            }
            has_room
        });
        begins.then(|| Watch {
            tap: self.clone(),
            watcher,
            receiver,
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Watcher>>) -> T) -> T {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut watchers = (**self.watchers.load()).clone();
        let changed = change(&mut watchers);
        self.watched.store(!watchers.is_empty(), Ordering::Relaxed);
        self.watchers.store(Arc::new(watchers));
        changed
    }

    /// A request has ended. It is written down only if somebody gets it. `tried` says whether a pod was among those that
    /// were asked.
    pub fn offer(&self, ended: &Ended<'_>, tried: impl Fn(&str) -> bool, tell: impl Fn() -> Tapped) {
        let mut told: Option<Bytes> = None;
        for watcher in self.watchers.load().iter() {
            if !watcher.filter.fits(ended, &tried) {
                continue;
            }
            let mut pace = watcher.pace.lock().unwrap_or_else(PoisonError::into_inner);
            let takes = watcher.sender.capacity() > 0 && pace.takes(Instant::now());
            drop(pace);
            let text = || {
                let text = serde_json::to_vec(&tell()).unwrap_or_default();
                Bytes::from(text)
            };
            if !takes || watcher.sender.try_send(told.get_or_insert_with(text).clone()).is_err() {
                watcher.left_out.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Somebody who watches, until this is dropped.
#[derive(Debug)]
pub struct Watch {
    tap: Arc<Tap>,
    watcher: Arc<Watcher>,
    receiver: mpsc::Receiver<Bytes>,
}

impl Watch {
    /// The next request, as JSON.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }

    /// How many requests that fit were left out since this was asked last.
    pub fn take_left_out(&self) -> u64 {
        self.watcher.left_out.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let own = &self.watcher;
        self.tap
            .change(|watchers| watchers.retain(|other| !Arc::ptr_eq(other, own)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: u16) -> Ended<'static> {
        Ended {
            host: b"Shop.Test:8080",
            path: "/api/users",
            route: Some(RouteKey(7)),
            status,
            total: Duration::from_millis(20),
        }
    }

    fn tapped() -> Tapped {
        serde_json::from_str(
            "{\"at\":\"\",\"client\":\"127.0.0.1\",\"scheme\":\"http\",\"host\":\"\",\"path\":\"\",\"status\":200,\"total_ms\":1,\
             \"attempts\":[],\"bytes_in\":0,\"bytes_out\":0,\"request_id\":\"\"}",
        )
        .unwrap()
    }

    #[test]
    fn statuses_are_read_as_people_write_them() {
        assert_eq!(statuses("5xx, 404").unwrap(), [500..=599, 404..=404]);
        for wrong in ["", "9xx", "xx", "5", "404,", "teapot"] {
            assert!(statuses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_are_compared_without_port_and_case() {
        for (written, wanted, is) in [
            ("Shop.Test:8080", "shop.test", true),
            ("shop.test.", "shop.test", true),
            ("shop.test", "*.test", true),
            ("test", "*.test", false),
            ("[::1]:80", "[::1]", true),
            ("[::1]", "[::1]", true),
            ("shop.test.evil", "shop.test", false),
        ] {
            assert_eq!(is_host(written.as_bytes(), wanted), is, "{written} {wanted}");
        }
    }

    #[test]
    fn each_part_of_a_filter_counts() {
        let none = Filter::default;
        let tried = |name: &str| "web-1".starts_with(name);
        for (filter, fits) in [
            (none(), true),
            (
                Filter {
                    statuses: vec![500..=599],
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    statuses: vec![500..=599, 200..=200],
                    ..none()
                },
                true,
            ),
            (
                Filter {
                    slower: Some(Duration::from_millis(20)),
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    slower: Some(Duration::from_millis(19)),
                    ..none()
                },
                true,
            ),
            (
                Filter {
                    path: Some("/api".to_owned()),
                    ..none()
                },
                true,
            ),
            (
                Filter {
                    path: Some("/app".to_owned()),
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    pod: Some("web".to_owned()),
                    ..none()
                },
                true,
            ),
            (
                Filter {
                    pod: Some("api".to_owned()),
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    route: Some(RouteKey(8)),
                    ..none()
                },
                false,
            ),
            (
                Filter {
                    host: Some("other.test".to_owned()),
                    ..none()
                },
                false,
            ),
        ] {
            assert_eq!(filter.fits(&ended(200), tried), fits, "{filter:?}");
        }
    }

    #[tokio::test]
    async fn what_a_watcher_gets_is_bounded_and_the_rest_is_counted() {
        let tap = Arc::new(Tap::default());
        assert!(!tap.is_watched());
        let mut watch = tap.watch(Filter::default(), 10).unwrap();
        assert!(tap.is_watched());
        for _ in 0..100 {
            tap.offer(&ended(200), |_| true, tapped);
        }
        // While these were offered, time has passed and let one or another more through.
        let left_out = watch.take_left_out();
        assert!((1..=90).contains(&left_out), "{left_out}");
        for _ in left_out..100 {
            assert!(watch.next().await.is_some());
        }
        drop(watch);
        assert!(!tap.is_watched());
        let all: Vec<_> = (0..MOST_WATCHERS).map(|_| tap.watch(Filter::default(), 1)).collect();
        assert!(all.iter().all(Option::is_some) && tap.watch(Filter::default(), 1).is_none());
    }
}
