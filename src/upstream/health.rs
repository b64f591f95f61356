//! What an endpoint's answers say of its health: it is set aside when it cannot be reached, fails several times in a
//! row, or is much slower than the others; and tried again later, by one request at first.

use super::clock::{Clock, Tick};
use crate::telemetry::traffic::EndpointTraffic;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// How long an unreachable endpoint is set aside at first. Short, for a pod that has just begun to listen is new
/// capacity.
const UNREACHABLE: Duration = Duration::from_secs(1);
/// How long one that fails or is slow is (Envoy: 30 s).
const FAILING: Duration = Duration::from_secs(10);
/// Both double each time up to this (Envoy: 300 s), [`UNREACHABLE`] five times at most.
const LONGEST: Duration = Duration::from_secs(300);
const UNREACHABLE_DOUBLINGS: u32 = 5;
/// How much longer it may be at random, so that several endpoints do not come back at once.
const JITTER: f32 = 0.2;
/// How soon the average forgets good times; bad ones count at once (peak EWMA).
const DECAY: Duration = Duration::from_secs(10);
/// Answers after which an average means something.
const SAMPLES: u32 = 16;

/// Why an endpoint is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No connection can be opened.
    Unreachable,
    /// So many failures in a row.
    Failing,
    /// Much slower than the others.
    Slow,
}

impl Why {
    /// By its number.
    pub fn of(number: u8) -> Self {
        match number {
            0 => Why::Unreachable,
            1 => Why::Failing,
            _ => Why::Slow,
        }
    }

    /// For the log.
    pub fn name(self) -> &'static str {
        match self {
            Why::Unreachable => "it cannot be reached",
            Why::Failing => "it failed several times in a row",
            Why::Slow => "it is much slower than the others",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Aside {
    /// When it was set aside, and since when its pause counts: a request that tries it begins that anew.
    began: Tick,
    since: Tick,
    pause: Duration,
    why: Why,
}

/// The health of one endpoint on one shard.
#[derive(Debug, Default)]
pub struct Health {
    /// In a row.
    failures: Cell<u32>,
    /// In a row, how often it was set aside for the same reason, and when it was well again the last time.
    ejections: Cell<u32>,
    last: Cell<Option<(Aside, Tick)>>,
    aside: Cell<Option<Aside>>,
    /// One request tries it after a pause.
    probing: Cell<bool>,
    /// The average time to a response head, in seconds.
    latency: Cell<f32>,
    measured: Cell<u32>,
    measured_at: Cell<Tick>,
    /// What is shown of it.
    pub traffic: Arc<EndpointTraffic>,
}

impl Health {
    /// In good health.
    pub fn new(traffic: Arc<EndpointTraffic>) -> Self {
        Self {
            traffic,
            ..Self::default()
        }
    }

    /// Whether it is set aside at present.
    pub fn is_set_aside(&self, clock: &Clock) -> bool {
        self.aside
            .get()
            .is_some_and(|aside| !clock.passed(aside.since, aside.pause))
    }

    /// The endpoint was picked. After a pause one request tries it again, and the others pass it over until that one
    /// knows. Says whether this is the one.
    pub fn picked(&self, clock: &Clock) -> bool {
        let Some(aside) = self.aside.get().filter(|_| !self.is_set_aside(clock)) else {
            return false;
        };
        self.probing.set(true);
        self.aside.set(Some(Aside {
            since: clock.now(),
            ..aside
        }));
        true
    }

    /// A response came that does not tell against the endpoint.
    pub fn good(&self, clock: &Clock) {
        self.traffic.good.add();
        self.failures.set(0);
        let Some(aside) = self.aside.get() else { return };
        // What was under way when it was set aside says nothing new; unless it was thought to be gone.
        if self.probing.take() || aside.why == Why::Unreachable || !self.is_set_aside(clock) {
            self.aside.set(None);
            self.traffic.well();
            self.last.set(Some((aside, clock.now())));
        }
    }

    /// The request that tried the endpoint ended without telling anything. The next one may try.
    pub fn unsettled(&self) {
        if self.probing.take()
            && let Some(aside) = self.aside.get()
        {
            self.aside.set(Some(Aside {
                since: aside.began,
                ..aside
            }));
        }
    }

    /// No connection could be opened, for this reason. Failures of requests that were under way when that began say
    /// nothing new.
    pub fn unreachable(&self, clock: &Clock, what: impl Into<Box<str>>) {
        self.traffic.failed(what);
        if self.probing.get() || !self.is_set_aside(clock) {
            self.set_aside(clock, Why::Unreachable);
        }
    }

    /// A failure that is the endpoint's, in a few words. Says whether it is to be set aside: after `limit` in a row (0:
    /// never), or at once if it was being tried again.
    pub fn bad(&self, clock: &Clock, limit: u32, what: impl Into<Box<str>>) -> bool {
        self.traffic.failed(what);
        self.failures.set(self.failures.get().saturating_add(1));
        let enough = limit > 0 && self.failures.get() >= limit;
        self.probing.get() || (enough && !self.is_set_aside(clock))
    }

    /// Takes in how long a response head took, in seconds.
    pub fn measure(&self, clock: &Clock, seconds: f32) {
        let age = clock.since(self.measured_at.replace(clock.now()));
        let average = self.latency.get();
        let kept = (-age.as_secs_f32().max(0.05) / DECAY.as_secs_f32()).exp();
        let next = if seconds > average {
            seconds
        } else {
            average * kept + seconds * (1.0 - kept)
        };
        self.latency.set(next);
        self.measured.set(self.measured.get().saturating_add(1));
    }

    /// The average time to a response head, in seconds; none while nothing is known.
    pub fn latency(&self) -> Option<f32> {
        (self.measured.get() > 0).then(|| self.latency.get())
    }

    /// Whether the average means something yet, and it is time to look at it.
    pub fn is_settled(&self) -> bool {
        self.measured.get() >= SAMPLES
    }

    /// Sets the endpoint aside; each time in a row for twice as long. It is one row if the reason is the same and it
    /// has not been well since for as long as it was set aside.
    pub fn set_aside(&self, clock: &Clock, why: Why) {
        let goes_on = match (self.aside.get(), self.last.get()) {
            (Some(aside), _) => aside.why == why,
            (None, Some((last, well))) => last.why == why && !clock.passed(well, last.pause),
            (None, None) => false,
        };
        if !goes_on {
            self.ejections.set(0);
        }
        let doublings = self.ejections.get();
        let (first, doublings) = match why {
            Why::Unreachable => (UNREACHABLE, doublings.min(UNREACHABLE_DOUBLINGS)),
            Why::Failing | Why::Slow => (FAILING, doublings.min(16)),
        };
        let pause = (first * (1 << doublings)).min(LONGEST);
        self.ejections.set(self.ejections.get().saturating_add(1));
        self.failures.set(0);
        self.probing.set(false);
        // Old times are forgotten, or it would be found slow for ever.
        self.measured.set(0);
        self.latency.set(0.0);
        let pause = pause.mul_f32(1.0 + JITTER * fastrand::f32());
        self.traffic.set_aside(pause, why as u8);
        if why != Why::Unreachable {
            self.traffic.ejections.add();
        }
        self.aside.set(Some(Aside {
            began: clock.now(),
            since: clock.now(),
            pause,
            why,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::TICK;
    use super::*;

    fn wait(clock: &Clock, time: Duration) {
        for _ in 0..time.as_millis() / TICK.as_millis() {
            clock.advance();
        }
    }

    #[test]
    fn failures_in_a_row_count_and_a_good_answer_ends_the_row() {
        let (health, clock) = (Health::default(), Clock::default());
        for _ in 0..4 {
            assert!(!health.bad(&clock, 5, ""));
        }
        health.unsettled();
        assert_eq!(health.traffic.good.get(), 0, "what tells nothing is not good");
        health.good(&clock);
        assert_eq!(health.traffic.good.get(), 1);
        for _ in 0..4 {
            assert!(!health.bad(&clock, 5, ""));
        }
        assert!(health.bad(&clock, 5, ""));
        for _ in 0..100 {
            assert!(!Health::default().bad(&clock, 0, ""), "0 is never");
        }
    }

    #[test]
    fn after_the_pause_one_request_tries_and_each_pause_is_longer() {
        let (health, clock) = (Health::default(), Clock::default());
        let mut last = Duration::ZERO;
        for _ in 0..4 {
            health.set_aside(&clock, Why::Failing);
            // An answer to what was under way before changes nothing.
            health.good(&clock);
            let mut pause = Duration::ZERO;
            while health.is_set_aside(&clock) {
                clock.advance();
                pause += TICK;
            }
            assert!(pause > last, "{pause:?} after {last:?}");
            last = pause;
            health.picked(&clock);
            assert!(health.is_set_aside(&clock), "while one tries, the others pass it over");
            assert!(health.bad(&clock, 5, ""), "the one that tries decides");
        }
        health.set_aside(&clock, Why::Failing);
        wait(&clock, LONGEST);
        health.picked(&clock);
        health.good(&clock);
        assert!(!health.is_set_aside(&clock));
    }

    #[test]
    fn a_try_that_tells_nothing_leaves_it_to_the_next() {
        let (health, clock) = (Health::default(), Clock::default());
        health.set_aside(&clock, Why::Failing);
        wait(&clock, FAILING * 2);
        health.picked(&clock);
        assert!(health.is_set_aside(&clock));
        health.unsettled();
        assert!(!health.is_set_aside(&clock), "nobody tries it any more");
        health.picked(&clock);
        health.good(&clock);
        assert!(!health.is_set_aside(&clock));
    }

    #[test]
    fn pauses_grow_over_short_recoveries_but_not_from_one_reason_to_another() {
        let (health, clock) = (Health::default(), Clock::default());
        let pause_of = |why| {
            health.set_aside(&clock, why);
            let pause = health.aside.get().map(|aside| aside.pause).unwrap();
            wait(&clock, pause + TICK * 2);
            health.picked(&clock);
            health.good(&clock);
            pause
        };
        assert!(pause_of(Why::Failing) < FAILING * 2);
        assert!(pause_of(Why::Failing) >= FAILING * 2, "well only for a moment");
        assert!(pause_of(Why::Unreachable) < UNREACHABLE * 2, "another reason");
        pause_of(Why::Failing);
        wait(&clock, FAILING * 5);
        assert!(pause_of(Why::Failing) < FAILING * 2, "well for long");
    }

    #[test]
    fn bad_times_count_at_once_and_are_forgotten_slowly() {
        let (health, clock) = (Health::default(), Clock::default());
        assert_eq!(health.latency(), None);
        health.measure(&clock, 0.01);
        health.measure(&clock, 1.0);
        assert_eq!(health.latency(), Some(1.0));
        wait(&clock, DECAY);
        health.measure(&clock, 0.01);
        let half_way = health.latency().unwrap();
        assert!(half_way > 0.3 && half_way < 0.5, "{half_way}");
    }
}
