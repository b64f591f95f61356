//! The time of day as the field `Date` has it.

use crate::upstream::{Clock, Tick};
use http::HeaderValue;
use std::cell::RefCell;
use std::time::SystemTime;

/// What `Date` says now. It is written once a tick, and not for each reply.
#[derive(Debug, Default)]
pub struct Date(RefCell<Option<(Tick, HeaderValue)>>);

impl Date {
    /// The value of the field; absent if the system's clock is set to a time that it cannot tell.
    pub fn now(&self, clock: &Clock) -> Option<HeaderValue> {
        let mut known = self.0.borrow_mut();
        if let Some((_, value)) = known.as_ref().filter(|(tick, _)| *tick == clock.now()) {
            return Some(value.clone());
        }
        // Before 1970 and after the year 9999, `httpdate` would panic.
        let now = SystemTime::now();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        let now = (seconds < LAST).then_some(now)?;
        let value = HeaderValue::try_from(httpdate::fmt_http_date(now)).ok()?;
        known.replace((clock.now(), value.clone()));
        Some(value)
    }
}

/// The first second of the year 10000.
const LAST: u64 = 253_402_300_800;
