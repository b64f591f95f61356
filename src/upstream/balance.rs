//! Which of a backend's endpoints a request goes to.

use super::LiveEndpoint;
use super::clock::Clock;
use super::pod_limit::PodLimit;
use crate::table::{BackendSettings, Balance, Check};
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// By hash, an endpoint may have this many times the average of requests under way, and at least [`ALWAYS`]; the next
/// in its key's order gets what is beyond (consistent hashing with bounded loads, Mirrokni et al., 2016).
const BOUND: f32 = 1.25;
/// With few requests an average means little, and a key would not stay at its pod.
const ALWAYS: u32 = 4;

/// What of a request decides for an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// The hash of the request's balancing key; absent if the request has no such key.
    pub key: Option<u64>,
    /// The endpoint its cookie names.
    pub sticky: Option<u64>,
}

/// All that a choice looks at.
pub(super) struct Choice<'c, B> {
    pub endpoints: &'c [Rc<LiveEndpoint<B>>],
    /// Endpoints this request has tried.
    pub tried: &'c [Rc<LiveEndpoint<B>>],
    pub settings: &'c BackendSettings,
    /// The health check that is used in addition to responses.
    pub check: Option<&'c Arc<Check>>,
    pub clock: &'c Clock,
    pub affinity: Affinity,
    /// Requests under way to all endpoints.
    pub in_flight: u32,
    /// Where the next round begins, for all shards.
    pub rotation: &'c AtomicUsize,
    /// Whether too few are well to believe it.
    pub panics: bool,
    /// Whether some endpoint is not near.
    pub by_hints: bool,
    /// How many requests each may have, where that is limited.
    pub room: Option<&'c PodLimit>,
}

impl<'c, B> Choice<'c, B> {
    /// An endpoint that was not tried yet; none if all were. Those that are not well are passed over as long as there
    /// are others, those that slice hints prefer come first, and new ones get less where that is asked for.
    pub fn make(&self) -> Option<&'c Rc<LiveEndpoint<B>>> {
        let [only] = self.endpoints else {
            return self.of_several();
        };
        self.is_free(only).then_some(only)
    }

    fn of_several(&self) -> Option<&'c Rc<LiveEndpoint<B>>> {
        let usable =
            |live: &Rc<LiveEndpoint<B>>| self.is_free(live) && (self.panics || live.is_well(self.clock, self.check));
        if let Some(sticky) = self.affinity.sticky
            && let Some(live) = self.endpoints.iter().find(|live| live.id == sticky)
            && usable(live)
        {
            return Some(live);
        }
        if let (true, Some(key)) = (
            matches!(self.settings.balance, Some(Balance::Hash(_))),
            self.affinity.key,
        ) {
            return self.by_key(key, usable).or_else(|| {
                if self.awaits_room() {
                    None
                } else {
                    self.by_key(key, |live| self.is_free(live))
                }
            });
        }
        let turn = self.turn();
        let warm = |live: &Rc<LiveEndpoint<B>>| self.is_warm(live) && usable(live);
        let near = |live: &Rc<LiveEndpoint<B>>| live.near.get() && usable(live);
        if self.by_hints
            && let Some(live) = self.spread(turn, near)
        {
            return Some(live);
        }
        self.spread(turn, warm)
            .or_else(|| self.spread(turn, usable))
            .or_else(|| {
                if self.awaits_room() {
                    None
                } else {
                    self.spread(turn, |live| self.is_free(live))
                }
            })
    }

    /// Where this request's turn is, where it has one: few requests are spread evenly by turns, however many shards
    /// there are. Another attempt has no turn of its own, or the next request would begin where this one did.
    fn turn(&self) -> Option<usize> {
        let idle = self.in_flight == 0 && self.settings.balance != Some(Balance::Ewma);
        let turns = idle || self.settings.balance == Some(Balance::RoundRobin);
        (turns && self.tried.is_empty()).then(|| self.rotation.fetch_add(1, Ordering::Relaxed))
    }

    fn is_free(&self, live: &Rc<LiveEndpoint<B>>) -> bool {
        self.is_untried(live) && self.room.is_none_or(|room| room.has_room(live))
    }

    fn is_untried(&self, live: &Rc<LiveEndpoint<B>>) -> bool {
        !self.tried.iter().any(|other| Rc::ptr_eq(live, other))
    }

    /// Whether an endpoint that is well has no room now: it is better waited for than one that is not well is tried.
    fn awaits_room(&self) -> bool {
        let is_well = |live: &LiveEndpoint<B>| self.panics || live.is_well(self.clock, self.check);
        self.room.is_some() && self.endpoints.iter().any(|live| self.is_untried(live) && is_well(live))
    }

    /// Whether there is an endpoint that was not tried, and none of those has room.
    pub fn is_full(&self) -> bool {
        self.room.is_some() && self.endpoints.iter().any(|live| self.is_untried(live))
    }

    fn is_warm(&self, live: &LiveEndpoint<B>) -> bool {
        let window = self.settings.slow_start;
        window.is_none_or(|window| live.is_warm(self.clock, window))
    }

    fn spread(
        &self,
        turn: Option<usize>,
        accept: impl Fn(&Rc<LiveEndpoint<B>>) -> bool,
    ) -> Option<&'c Rc<LiveEndpoint<B>>> {
        let all = self.endpoints;
        // Mostly all are accepted, and one or two are looked at.
        if let Some(turn) = turn {
            if let Some(live) = all.get(turn % all.len().max(1)).filter(|live| accept(live)) {
                return Some(live);
            }
        } else if let Some((a, b)) = two_of(all.len())
            && let (Some(a), Some(b)) = (all.get(a), all.get(b))
            && accept(a)
            && accept(b)
        {
            return Some(if self.is_better(b, a) { b } else { a });
        }
        // The part of one that is not goes to all others, not to its neighbour.
        let accepted: SmallVec<[_; 16]> = all.iter().filter(|live| accept(live)).collect();
        if let Some(turn) = turn {
            return accepted.get((turn / all.len().max(1)) % accepted.len().max(1)).copied();
        }
        match two_of(accepted.len()) {
            Some((a, b)) => match (accepted.get(a), accepted.get(b)) {
                (Some(a), Some(b)) => Some(if self.is_better(b, a) { b } else { a }),
                _ => None,
            },
            None => accepted.first().copied(),
        }
    }

    fn is_better(&self, one: &LiveEndpoint<B>, other: &LiveEndpoint<B>) -> bool {
        if self.settings.balance == Some(Balance::Ewma) {
            return cost(one) < cost(other);
        }
        one.in_flight.get() < other.in_flight.get()
    }

    /// The endpoint with the highest score for a key, unless it has too much to do: when one comes or goes, only the
    /// keys that are its move (rendezvous hashing).
    fn by_key(&self, key: u64, accept: impl Fn(&Rc<LiveEndpoint<B>>) -> bool) -> Option<&'c Rc<LiveEndpoint<B>>> {
        let accepted = || self.endpoints.iter().filter(|live| accept(live));
        let count = accepted().count().max(1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let bound = ((self.in_flight + 1) as f32 / count as f32 * BOUND).ceil() as u32;
        let bound = bound.max(ALWAYS);
        if let Some(size @ 2..) = self.settings.hash_subset {
            return self.of_subset(key, size as usize, &accept);
        }
        let best = |room: bool| {
            accepted()
                .filter(|live| !room || live.in_flight.get() < bound)
                .max_by_key(|live| score(key, live.id))
        };
        best(true).or_else(|| best(false))
    }

    /// The less loaded of two of the endpoints with the highest scores for a key.
    fn of_subset(
        &self,
        key: u64,
        size: usize,
        accept: impl Fn(&Rc<LiveEndpoint<B>>) -> bool,
    ) -> Option<&'c Rc<LiveEndpoint<B>>> {
        let mut all: SmallVec<[_; 16]> = self.endpoints.iter().collect();
        all.sort_unstable_by_key(|live| std::cmp::Reverse(score(key, live.id)));
        // Those that cannot be taken leave the others of the subset where they are.
        let mut subset: SmallVec<[_; 16]> = all.iter().copied().take(size).filter(|live| accept(live)).collect();
        if subset.is_empty() {
            subset.extend(all.iter().copied().skip(size).find(|live| accept(live)));
        }
        match two_of(subset.len()) {
            Some((a, b)) => match (subset.get(a), subset.get(b)) {
                (Some(a), Some(b)) => Some(if self.is_better(b, a) { *b } else { *a }),
                _ => None,
            },
            None => subset.first().copied(),
        }
    }
}

/// Two different random indices below a number; absent if the number is less than two.
fn two_of(count: usize) -> Option<(usize, usize)> {
    if count < 2 {
        return None;
    }
    let first = fastrand::usize(..count);
    Some((first, (first + fastrand::usize(1..count)) % count))
}

/// What another request would wait, by how long others did. One that is not known yet is tried by one request.
fn cost<B>(live: &LiveEndpoint<B>) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "no endpoint has 2^24 requests under way")]
    let load = live.in_flight.get() as f32;
    match live.health.latency() {
        Some(latency) => latency * (load + 1.0),
        None if load > 0.0 => f32::MAX,
        None => 0.0,
    }
}

/// Mixes a key and an endpoint (the finalizer of splitmix64).
fn score(key: u64, endpoint: u64) -> u64 {
    let mut mixed = key ^ endpoint.rotate_left(32);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
